"""What the Responses API is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider.yandex_ai_studio.api import checks
from airflow_provider.yandex_ai_studio.api.models import Message
from airflow_provider.yandex_ai_studio.api.output import JsonSchema, Output


@dataclass(frozen=True)
class ResponseRequest:
    """
    A checked request. Build it with :meth:`of`.

    :param model_uri: ``gpt://<folder>/<model>[/<branch>]``.
    :param messages: The input; a single user message goes over the wire as a text.
    :param background: Answer at once with an id, and generate in the background.
    :param instructions: A system message for this response alone.
    :param temperature: 0 (most predictable) to 1 (most creative); None leaves it to the service.
    :param max_output_tokens: Upper bound of the answer's length in tokens; None leaves it to the service.
    :param previous_response_id: The response that this one goes on from.
    :param output: The form of the answer.

    .. seealso:: https://aistudio.yandex.ru/docs/en/ai-studio/operations/generation/background-request
    """

    model_uri: str
    messages: tuple[Message, ...]
    background: bool = False
    instructions: str | None = None
    temperature: float | None = None
    max_output_tokens: int | None = None
    previous_response_id: str | None = None
    output: Output = field(default=Output())

    @classmethod
    def of(
        cls,
        *,
        model: str,
        folder_id: str | None,
        background: bool,
        prompt: str | None = None,
        messages: Sequence[Mapping[str, Any]] | None = None,
        instructions: str | None = None,
        temperature: float | str | None = None,
        max_tokens: int | str | None = None,
        previous_response_id: str | None = None,
        json_schema: JsonSchema | None = None,
    ) -> ResponseRequest:
        """
        Check the parts of a request and put them together; they mean what they mean for a completion.

        :param previous_response_id: The response that this one goes on from.
        :raises ConfigurationError: It names the parameter that is wrong.
        """
        if instructions is not None:
            checks.text(instructions, "`instructions`")
        if previous_response_id is not None:
            checks.text(previous_response_id, "`previous_response_id`")
        conversation = checks.conversation(prompt, messages, None)
        if any(message.text is None for message in conversation):
            raise checks.wrong("`messages` holds tool calls or results, which this operator can't send; give texts")
        return cls(
            model_uri=checks.model_uri(model, folder_id),
            messages=conversation,
            background=background,
            instructions=instructions,
            temperature=checks.fraction(temperature, "temperature"),
            max_output_tokens=checks.count(max_tokens, "max_tokens"),
            previous_response_id=previous_response_id,
            output=Output.of(json_object=False, json_schema=json_schema),
        )
