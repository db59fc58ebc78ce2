"""The operator that generates a text with the Responses API."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider.yandex_ai_studio.answers.outcome import answer_of
from airflow_provider.yandex_ai_studio.api import responses
from airflow_provider.yandex_ai_studio.api.output import JsonSchema, templatable
from airflow_provider.yandex_ai_studio.api.response_request import ResponseRequest
from airflow_provider.yandex_ai_studio.operators.operation import OperationOperator

if TYPE_CHECKING:
    from airflow_provider.yandex_ai_studio.api.call import Call
    from airflow_provider.yandex_ai_studio.api.models import Api, Generation, Operation


class YandexAIStudioResponseOperator(OperationOperator):
    """
    Generate a text with the Responses API, which also serves the open models of the catalogue.

    Returns the text, or the value in it where ``json_schema`` asks for one. Beside it go the XComs ``operation_id``
    (the id of the response), ``usage``, ``model_version`` and ``status``. All further parameters are those of
    :class:`~airflow_provider.yandex_ai_studio.operators.base.GenerationOperator`.

    :param prompt: The text of a user message; it comes after ``messages``, if both are given.
    :param messages: Mappings with ``role`` (system, user, assistant) and ``text``.
    :param instructions: A system message for this response alone.
    :param model: As for the completion operator.
    :param temperature: 0 (most predictable) to 1 (most creative). Default: the service's.
    :param max_tokens: Upper bound of the answer's length in tokens. Default: the service's.
    :param previous_response_id: The response that this one goes on from, e.g. another task's XCom ``operation_id``.
    :param json_schema: Ask for JSON that keeps to a schema (a mapping, or a pydantic model), and return it validated.
        What a mapping refers to must lie in itself.
    :param background: Generate in the background, and wait without a worker. If False, wait for at most 180 s on the
        worker; another attempt then pays again.
    :raises InvalidOutput: The answer does not keep to the form that was asked for.

    .. seealso:: https://aistudio.yandex.ru/docs/en/ai-studio/operations/generation/background-request
    """

    api: Api = "responses"
    template_fields: Sequence[str] = (
        "prompt",
        "messages",
        "instructions",
        "model",
        "temperature",
        "max_tokens",
        "previous_response_id",
        "json_schema",
        "conn_id",
    )
    request_fields = (
        "prompt",
        "messages",
        "instructions",
        "model",
        "temperature",
        "max_tokens",
        "previous_response_id",
        "json_schema",
        "background",
    )
    template_fields_renderers = {"prompt": "md", "instructions": "md", "messages": "json", "json_schema": "json"}
    request_of = ResponseRequest.of

    def __init__(
        self,
        *,
        prompt: str | None = None,
        messages: Sequence[Mapping[str, Any]] | None = None,
        instructions: str | None = None,
        model: str | None = None,
        temperature: float | str | None = None,
        max_tokens: int | str | None = None,
        previous_response_id: str | None = None,
        json_schema: JsonSchema | None = None,
        background: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.messages = messages
        self.instructions = instructions
        self.model = model
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.previous_response_id = previous_response_id
        self.json_schema = templatable(json_schema)
        self.background = background
        self.check_constants()

    @property
    def at_once(self) -> bool:
        """Whether the worker waits for the answer itself."""
        return not self.background

    def request(self) -> ResponseRequest:
        """Return the response to ask for, checked."""
        return self.hook.response_request(**self.parts())

    def submission_call(self, request: ResponseRequest) -> Call[Operation]:
        """Return the call that creates a response."""
        return responses.create_response(self.hook.settings.endpoints, request)

    def free_question(self, request: ResponseRequest) -> Call[list[str]]:
        """Return the call that lists the models."""
        return responses.list_models(self.hook.settings.endpoints)

    def generate(self, request: ResponseRequest) -> tuple[Generation, str | None]:
        """Create a response while this worker waits."""
        response = self.hook.create_response(request)
        return answer_of(response), response.id or None
