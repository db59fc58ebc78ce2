"""What the text generation API is asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider.yandex_ai_studio.api import checks
from airflow_provider.yandex_ai_studio.api.models import Message
from airflow_provider.yandex_ai_studio.api.output import JsonSchema, Output

REASONING_MODES = ("disabled", "enabled_hidden")
TOOL_CHOICES = ("auto", "none", "required")
TOOL_FIELDS = {"name", "description", "parameters", "strict"}


@dataclass(frozen=True)
class CompletionRequest:
    """
    A checked request. Build it with :meth:`of`.

    :param model_uri: ``gpt://<folder>/<model>[/<branch>]``.
    :param messages: The conversation so far; the model writes the next assistant turn.
    :param temperature: 0 (most predictable) to 1 (most creative); None leaves it to the service (0.3).
    :param max_tokens: Upper bound of the answer's length in tokens; None leaves it to the service.
    :param reasoning: ``disabled`` or ``enabled_hidden``; None leaves it to the service.
    :param output: The form of the answer.
    :param tools: The functions that the model may ask to be called.
    :param tool_choice: ``auto``, ``none``, ``required``, or the name of a function.
    :param parallel_tool_calls: Whether it may ask for several calls at once.

    .. seealso:: https://aistudio.yandex.ru/docs/en/ai-studio/text-generation/api-ref/TextGeneration/completion
    """

    model_uri: str
    messages: tuple[Message, ...]
    temperature: float | None = None
    max_tokens: int | None = None
    reasoning: str | None = None
    output: Output = field(default=Output())
    tools: tuple[Mapping[str, Any], ...] = ()
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None

    @classmethod
    def of(
        cls,
        *,
        model: str,
        folder_id: str | None,
        prompt: str | None = None,
        messages: Sequence[Mapping[str, Any]] | None = None,
        instructions: str | None = None,
        temperature: float | str | None = None,
        max_tokens: int | str | None = None,
        reasoning: str | None = None,
        json_object: bool = False,
        json_schema: JsonSchema | None = None,
        tools: Sequence[Mapping[str, Any]] | None = None,
        tool_choice: str | None = None,
        parallel_tool_calls: bool | None = None,
    ) -> CompletionRequest:
        """
        Check the parts of a request and put them together.

        Numbers may be strings, and ``messages``, ``tools`` and ``json_schema`` may be JSON texts, because a rendered
        template is one.

        :param model: A short name (``yandexgpt``, ``yandexgpt-lite/rc``) or a full model URI.
        :param folder_id: The folder that a short name belongs to.
        :param prompt: The text of a user message; it comes after ``messages``, if both are given.
        :param messages: Mappings with ``role`` and ``text`` (or ``tool_calls``, or ``tool_results``).
        :param instructions: A system message that goes before the others.
        :param json_object: Ask for a JSON object.
        :param json_schema: Ask for JSON that keeps to a schema, or to that of a pydantic model.
        :param tools: Mappings with ``name``, ``description``, ``parameters`` (a JSON schema) and ``strict``.
        :raises ConfigurationError: It names the parameter that is wrong.
        """
        tools = checks.decoded(tools, "tools")
        if tools is not None and (isinstance(tools, str | Mapping) or not isinstance(tools, Sequence)):
            raise checks.wrong(f"Give `tools` a list of mappings: it is {checks.shape(tools)}")
        checked = tuple(_tool(tool, number) for number, tool in enumerate(tools or (), start=1))
        names = tuple(str(tool["name"]) for tool in checked)
        if tool_choice is not None and not checked:
            raise checks.wrong("`tool_choice` is set, and no `tools` are given")
        return cls(
            model_uri=checks.model_uri(model, folder_id),
            messages=checks.conversation(prompt, messages, instructions),
            temperature=checks.fraction(temperature, "temperature"),
            max_tokens=checks.count(max_tokens, "max_tokens"),
            reasoning=checks.choice(reasoning, "reasoning", REASONING_MODES),
            output=Output.of(json_object=json_object, json_schema=json_schema),
            tools=checked,
            tool_choice=checks.choice(tool_choice, "tool_choice", (*TOOL_CHOICES, *names)),
            parallel_tool_calls=parallel_tool_calls,
        )


def _tool(tool: Mapping[str, Any], number: int) -> Mapping[str, Any]:
    match tool:
        case {"name": str(name)} if name and set(tool) <= TOOL_FIELDS:
            if isinstance(tool.get("parameters", {}), Mapping):
                plain: Mapping[str, Any] = checks.plain(tool, "tools")
                return plain
    raise checks.wrong(
        f"Tool {number} of `tools` must be a mapping with a 'name', 'parameters' that are a JSON schema, and none but "
        f"{', '.join(sorted(TOOL_FIELDS))}; it is {checks.shape(tool)}"
    )
