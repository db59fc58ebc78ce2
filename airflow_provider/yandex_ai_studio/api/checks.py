"""Checks of what a user asks for. Each error names the parameter, and repeats no text that may be private."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any, cast, get_args

from airflow_provider.yandex_ai_studio.api.models import Message, Role, ToolCall, ToolResult
from airflow_provider.yandex_ai_studio.api.words import ended
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError

CONTENTS = ("text", "tool_calls", "tool_results")
"""What a message may hold, one of them."""

FOR_MANY = "For many rows, use YandexAIStudioBulkCompletionOperator, or @task.yandex_ai_studio(bulk=True)"
"""What somebody may have meant who gives a list where one prompt is expected."""

NATIVE = "With `render_template_as_native_obj`, a template gives what its text looks like: a number, a list, …"


def wrong(what: str) -> ConfigurationError:
    """Return the error for a parameter that is wrong."""
    return ConfigurationError(f"{ended(what)}\nNothing was sent to the service.")


def is_absent(value: Any) -> bool:
    """Tell whether a value is what a template makes of an XCom that is not there: no text, or the text "None"."""
    return isinstance(value, str) and value.strip() in ("", "None")


def model_uri(model: str, folder_id: str | None) -> str:
    """
    Return the URI of a model: a full URI as it is, a short name within the folder.

    :raises ConfigurationError: No model, or a short name and no folder.
    """
    model = model.strip()
    if is_absent(model):
        raise wrong(f"Name a `model`, e.g. 'yandexgpt'; it is {shape(model)}")
    if "://" in model:
        return model
    if not folder_id:
        raise wrong(
            f"Set `folder_id` in the connection's extra fields, or give `model` as gpt://<folder_id>/{model}.\n"
            f"The model {model!r} belongs to a folder, and none is given"
        )
    return f"gpt://{folder_id}/{model}"


def conversation(
    prompt: str | None, messages: Sequence[Mapping[str, Any]] | None, instructions: str | None
) -> tuple[Message, ...]:
    """
    Return the messages of a request: instructions, then the conversation so far, then the prompt.

    :raises ConfigurationError: Neither a prompt nor messages, or a message that is not one.
    """
    if prompt is None and messages is None:
        raise wrong("Give a `prompt`, a conversation as `messages`, or both. Neither `prompt` nor `messages` is set")
    turns: list[Message] = []
    if instructions is not None:
        turns.append(Message("system", text(instructions, "`instructions`")))
    if messages is not None:
        messages = decoded(messages, "messages")
        if isinstance(messages, str | Mapping) or not isinstance(messages, Sequence) or not messages:
            raise wrong(
                f"Give `messages` a list with at least one {{'role': ..., 'text': ...}}: it is {shape(messages)}"
            )
        turns += [_message(item, number) for number, item in enumerate(messages, start=1)]
    if isinstance(prompt, list | tuple):
        raise wrong(f"Give `prompt` a text: it is {shape(prompt)}.\n{FOR_MANY}.\n{NATIVE}")
    if prompt is not None:
        turns.append(Message("user", text(prompt, "`prompt`")))
    return tuple(turns)


def text(value: Any, what: str, *, may_be_none: bool = False) -> str:
    """
    Return a text that is not empty and can be sent.

    :param may_be_none: It may be the text "None". Else that comes of a template, and of an XCom that is not there.
    """
    if is_absent(value) and not (may_be_none and value.strip()):
        raise wrong(f"Give {what} a text: it is {shape(value)}. Did the task before it return one?")
    if not isinstance(value, str):
        raise wrong(f"Give {what} a text: it is {shape(value)}.\n{NATIVE}")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise wrong(
            f"Mend {what}: it holds half a character (a lone surrogate), which can't be sent. Was it cut "
            "or decoded wrongly?"
        ) from None
    return value


def decoded(value: Any, what: str) -> Any:
    """Return the value that a template rendered to its JSON text; what is no text, as it is."""
    if not isinstance(value, str):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        raise wrong(
            f"Give `{what}` as a value, or render it with the filter `tojson`: it is {shape(value)}, and no JSON"
        ) from None


def plain(value: Any, what: str) -> Any:
    """Return a value as plain JSON, which can be sent."""
    try:
        return json.loads(json.dumps(value, allow_nan=False))
    except (TypeError, ValueError, RecursionError):
        raise wrong(f"Give `{what}` values of plain JSON: it holds something that JSON has no form for") from None


def fraction(value: float | str | None, what: str) -> float | None:
    """Return a number from 0 to 1. It may be a string, because a rendered template is one."""
    if value is None:
        return None
    number = _number(value)
    if not 0 <= number <= 1:
        raise wrong(f"Give `{what}` a number from 0 to 1: it is {value!r}")
    return number


def positive(value: float | str, what: str) -> float:
    """Return a number above 0. It may be a string, because a rendered template is one."""
    number = _number(value)
    if not 0 < number < math.inf:
        raise wrong(f"Give `{what}` a number above 0: it is {value!r}")
    return number


def _number(value: float | str) -> float:
    try:
        return math.nan if isinstance(value, bool) else float(value)
    except (TypeError, ValueError, OverflowError):
        return math.nan


def count(value: int | str | None, what: str) -> int | None:
    """Return a whole number of at least 1. It may be a string, because a rendered template is one."""
    if value is None:
        return None
    try:
        number = int(str(value))
    except ValueError:
        number = 0
    if not 1 <= number < 2**63:
        raise wrong(f"Give `{what}` a whole number of at least 1: it is {value!r}")
    return number


def choice(value: str | None, what: str, choices: Sequence[str]) -> str | None:
    """Return one of the choices."""
    if value is not None and value not in choices:
        raise wrong(f"Set `{what}` to one of {', '.join(choices)}: it is {value!r}")
    return value


def shape(value: Any) -> str:
    """Describe a wrong value without repeating a text that may be private."""
    if is_absent(value):
        return "the text 'None'" if value.strip() else "an empty text"
    if isinstance(value, str):
        return "a text"
    if isinstance(value, Mapping):
        return f"a mapping with the keys {sorted(map(str, value))}"
    if isinstance(value, Sequence) and not isinstance(value, bytes):
        return f"a list of {len(value)}"
    return "None" if value is None else f"a value of the type {type(value).__name__}"


def _message(item: Mapping[str, Any], number: int) -> Message:
    where = f"message {number} of `messages`"
    keys = set(item) if isinstance(item, Mapping) else set()
    content = keys - {"role"}
    if len(content) != 1 or "role" not in keys or not content <= set(CONTENTS):
        advice = "" if "role" in keys else f".\n{FOR_MANY}"
        raise wrong(
            f"Give {where} the key 'role' and one of {', '.join(map(repr, CONTENTS))}, and no others: "
            f"it is {shape(item)}{advice}"
        )
    role = item["role"]
    if role not in get_args(Role):
        shown = repr(role) if isinstance(role, str) and re.fullmatch(r"\w{1,20}", role) else shape(role)
        raise wrong(f"Give {where} one of the roles {', '.join(get_args(Role))}: it has {shown}")
    role = cast(Role, role)
    if "text" in item:
        return Message(role, text(item["text"], f"the text of {where}", may_be_none=role == "assistant"))
    if "tool_calls" in item:
        calls = [_tool_call(call, where) for call in _listed(item["tool_calls"], where)]
        return Message(role, tool_calls=tuple(calls))
    results = [_tool_result(result, where) for result in _listed(item["tool_results"], where)]
    return Message(role, tool_results=tuple(results))


def _listed(value: Any, where: str) -> Sequence[Any]:
    if isinstance(value, str | Mapping) or not isinstance(value, Sequence) or not value:
        raise wrong(f"List at least one tool call or result in {where}: it has {shape(value)}")
    return value


def _tool_call(call: Any, where: str) -> ToolCall:
    match call:
        case {"name": str(name), "arguments": Mapping() as arguments} if set(call) == {"name", "arguments"}:
            return ToolCall(name, plain(dict(arguments), "messages"))
    raise wrong(
        f"List the tool calls of {where} as {{'name': ..., 'arguments': {{...}}}}, the arguments as a mapping: "
        f"one of them is {shape(call)}"
    )


def _tool_result(result: Any, where: str) -> ToolResult:
    match result:
        case {"name": str(name), "content": str(content)} if set(result) == {"name", "content"}:
            return ToolResult(name, text(content, f"the content of a tool result in {where}", may_be_none=True))
    raise wrong(
        f"List the tool results of {where} as {{'name': ..., 'content': ...}}, the content as a text: "
        f"one of them is {shape(result)}"
    )
