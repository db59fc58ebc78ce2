"""The operator that submits a completion and returns its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider.yandex_ai_studio import api
from airflow_provider.yandex_ai_studio.operators.base import OperationOperator

if TYPE_CHECKING:
    from airflow_provider.yandex_ai_studio.call import Call
    from airflow_provider.yandex_ai_studio.models import Generation, Operation


class YandexAIStudioCompletionOperator(OperationOperator):
    """
    Generate a text with YandexGPT or another model of Yandex AI Studio, in asynchronous mode.

    Returns the text. Beside it go the XComs ``operation_id``, ``usage``, ``model_version`` and ``status``.
    While the model writes, the task is deferred and takes no worker. All further parameters are those of
    :class:`~airflow_provider.yandex_ai_studio.operators.base.OperationOperator`.

    :param prompt: The text of a single user message. Give either this or ``messages``.
    :param messages: A conversation: mappings with ``role`` (system, user, assistant) and ``text``.
    :param instructions: A system message that goes before the others.
    :param model: A short name, with a branch if need be (``yandexgpt``, ``yandexgpt-lite/rc``), or a full model
        URI. Default: the connection's ``model``, else ``yandexgpt``.
    :param temperature: 0 (most predictable) to 1 (most creative). Default: the service's, 0.3.
    :param max_tokens: Upper bound of the answer's length in tokens. Default: the service's.

    .. seealso:: https://aistudio.yandex.ru/docs/en/ai-studio/operations/generation/async-request
    """

    template_fields: Sequence[str] = (
        "prompt",
        "messages",
        "instructions",
        "model",
        "temperature",
        "max_tokens",
        "conn_id",
    )
    template_fields_renderers = {"prompt": "md", "instructions": "md", "messages": "json"}

    def __init__(
        self,
        *,
        prompt: str | None = None,
        messages: Sequence[Mapping[str, Any]] | None = None,
        instructions: str | None = None,
        model: str | None = None,
        temperature: float | str | None = None,
        max_tokens: int | str | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.messages = messages
        self.instructions = instructions
        self.model = model
        self.temperature = temperature
        self.max_tokens = max_tokens

    def submission_call(self) -> Call[Operation]:
        """
        Return the completion to submit, checked.

        :raises ConfigurationError: It names the parameter that is wrong.
        """
        request = self.hook.completion_request(
            model=self.model,
            prompt=self.prompt,
            messages=self.messages,
            instructions=self.instructions,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
        self.log.info(
            "The request: %s message(s) with %s characters to %s",
            len(request.messages),
            sum(len(message.text) for message in request.messages),
            request.model_uri,
        )
        return api.submit_completion(self.hook.settings.endpoints, request)

    def value_of(self, generation: Generation) -> str:
        """Return the text."""
        return generation.text
