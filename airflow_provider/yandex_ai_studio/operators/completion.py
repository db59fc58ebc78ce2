"""The operator that generates a text with the text generation API."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider.yandex_ai_studio.api import completion
from airflow_provider.yandex_ai_studio.api.checks import choice, conversation, count, wrong
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.output import JsonSchema, Output, templatable
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError
from airflow_provider.yandex_ai_studio.operators.constants import is_constant, marks_of
from airflow_provider.yandex_ai_studio.operators.operation import OperationOperator

if TYPE_CHECKING:
    from airflow_provider.yandex_ai_studio.api.call import Call
    from airflow_provider.yandex_ai_studio.api.models import Generation, Operation

PROGRESS_SECONDS = 5.0
"""How often a stream tells the log how far it is."""


class YandexAIStudioCompletionOperator(OperationOperator):
    """
    Generate a text with YandexGPT or another model of Yandex AI Studio.

    Returns the text, or the value in it where ``json_object`` or ``json_schema`` asks for one. Beside it go the XComs
    ``operation_id``, ``usage``, ``model_version`` and ``status``; ``tool_calls`` where the model asks for calls; and
    ``messages``, the conversation with the answer, where ``messages`` were given. All further parameters are those of
    :class:`~airflow_provider.yandex_ai_studio.operators.base.GenerationOperator`.

    :param prompt: The text of a user message; it comes after ``messages``, if both are given.
    :param messages: A conversation: mappings with ``role`` (system, user, assistant) and ``text``, or with
        ``tool_calls``, or with ``tool_results``.
    :param instructions: A system message that goes before the others.
    :param model: A short name, with a branch if need be (``yandexgpt``, ``yandexgpt-lite/rc``), or a full model
        URI. Default: the connection's ``model``, else ``yandexgpt``.
    :param temperature: 0 (most predictable) to 1 (most creative). Default: the service's, 0.3.
    :param max_tokens: Upper bound of the answer's length in tokens. Default: the service's.
    :param max_input_tokens: Refuse a request that is longer than this many tokens, before it is paid for. The service
        counts them, free of charge.
    :param reasoning: ``disabled`` or ``enabled_hidden``. Default: the service's, disabled.
    :param json_object: Ask for a JSON object, and return it.
    :param json_schema: Ask for JSON that keeps to a schema (a mapping, or a pydantic model), and return it validated.
        What a mapping refers to must lie in itself.
    :param tools: Functions that the model may ask to be called: mappings with ``name``, ``description``,
        ``parameters`` (a JSON schema) and ``strict``.
    :param tool_choice: ``auto``, ``none``, ``required``, or the name of a function.
    :param parallel_tool_calls: Whether the model may ask for several calls at once. Default: the service's, yes.
    :param mode: ``async`` submits an operation and waits for it without a worker. ``sync`` is for short answers: it
        waits for at most 180 s on the worker, and another attempt pays again.
    :param stream: With ``mode="sync"``: tell the log how far the answer is while it is written.
    :raises InvalidOutput: The answer does not keep to the form that was asked for.

    .. seealso:: https://aistudio.yandex.ru/docs/en/ai-studio/operations/generation/async-request
    """

    template_fields: Sequence[str] = (
        "prompt",
        "messages",
        "instructions",
        "model",
        "temperature",
        "max_tokens",
        "max_input_tokens",
        "reasoning",
        "json_schema",
        "tools",
        "tool_choice",
        "conn_id",
    )
    request_fields = (
        "prompt",
        "messages",
        "instructions",
        "model",
        "temperature",
        "max_tokens",
        "reasoning",
        "json_object",
        "json_schema",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
    )
    template_fields_renderers = {
        "prompt": "md",
        "instructions": "md",
        "messages": "json",
        "json_schema": "json",
        "tools": "json",
    }
    request_of = CompletionRequest.of

    def __init__(
        self,
        *,
        prompt: str | None = None,
        messages: Sequence[Mapping[str, Any]] | None = None,
        instructions: str | None = None,
        model: str | None = None,
        temperature: float | str | None = None,
        max_tokens: int | str | None = None,
        max_input_tokens: int | str | None = None,
        reasoning: str | None = None,
        json_object: bool = False,
        json_schema: JsonSchema | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        tool_choice: str | None = None,
        parallel_tool_calls: bool | None = None,
        mode: Literal["async", "sync"] = "async",
        stream: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.messages = messages
        self.instructions = instructions
        self.model = model
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.max_input_tokens = max_input_tokens
        self.reasoning = reasoning
        self.json_object = json_object
        self.json_schema = templatable(json_schema)
        self.tools = tools
        self.tool_choice = tool_choice
        self.parallel_tool_calls = parallel_tool_calls
        self.mode = mode
        self.stream = stream
        self.check_constants()

    def check_constants(self) -> None:
        """
        Refuse what is wrong in the DAG file already.

        :raises ConfigurationError: It names the parameter that is wrong.
        """
        choice(str(self.mode), "mode", ("async", "sync"))
        if self.stream and not self.at_once:
            raise wrong("Set mode='sync', or leave `stream` out: it is not available in asynchronous mode")
        if is_constant(self.max_input_tokens, marks_of(self)):
            count(self.max_input_tokens, "max_input_tokens")
        super().check_constants()

    @property
    def at_once(self) -> bool:
        """Whether the worker waits for the answer itself."""
        return self.mode == "sync"

    def request(self) -> CompletionRequest:
        """Return the completion to ask for, checked."""
        return self.hook.completion_request(**self.parts())

    def submission_call(self, request: CompletionRequest) -> Call[Operation]:
        """Return the call that submits a completion."""
        return completion.submit_completion(self.hook.settings.endpoints, request)

    def free_question(self, request: CompletionRequest) -> Call[int]:
        """Return the call that counts the tokens of the request."""
        return completion.count_tokens(self.hook.settings.endpoints, request)

    def generate(self, request: CompletionRequest) -> tuple[Generation, None]:
        """Complete while this worker waits, and tell the log how far a stream is."""
        if not self.stream:
            return self.hook.complete(request), None
        told = time.monotonic()
        for generation in self.hook.stream_completion(request):
            if time.monotonic() - told >= PROGRESS_SECONDS:
                self.log.info("So far %s characters", len(generation.text))
                told = time.monotonic()
        return generation, None

    def before_submission(self, request: CompletionRequest) -> None:
        """
        Count the input's tokens, where that is asked for.

        :raises ConfigurationError: They are too many.
        """
        limit = count(self.max_input_tokens, "max_input_tokens")
        if limit is None:
            return
        tokens = self.hook.count_tokens(request)
        if tokens > limit:
            raise ConfigurationError(
                f"The request has {tokens} tokens: {tokens - limit} more than `max_input_tokens` allows.\n"
                "Nothing was submitted, and to count them was free."
            )
        self.log.info("The request has %s tokens", tokens)

    def form(self) -> Output:
        """Return the form that the answer must have."""
        return Output.of(json_object=self.json_object, json_schema=self.json_schema)

    def needs_worker(self) -> bool:
        """Tell whether the answer holds a value to be taken out, or goes on a conversation."""
        return super().needs_worker() or self.messages is not None

    def conversation(self) -> list[dict[str, Any]] | None:
        """Return the conversation so far, where one was given."""
        if self.messages is None:
            return None
        return [turn.as_dict() for turn in conversation(self.prompt, self.messages, None)]
