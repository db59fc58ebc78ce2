"""What the service asks of a request beyond its structure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

ROLES = ("system", "user", "assistant")
LONGEST_TEXT = 100_000

#: The folder, the model, and its branch, which one that was tuned has too.
TEXT_MODEL = re.compile(r"gpt://(?P<folder>[^/\s]+)/(?P<model>[^/@\s]+)(/(?P<branch>[^/@\s]+)(@[^/@\s]+)?)?")

_TUNED_IN_DATASPHERE = re.compile(r"ds://[^/\s]+")


def folder_of(model_uri: str) -> str | None:
    """Return the folder that a model URI names; ``None`` when its scheme has none.

    :raises ValueError: when it is no URI of a text model.
    """
    if match := TEXT_MODEL.fullmatch(model_uri):
        return match["folder"]
    if _TUNED_IN_DATASPHERE.fullmatch(model_uri):
        return None
    raise ValueError("Failed to parse model URI")


def problems(request: dict[str, Any]) -> Iterator[str]:
    """Yield what the service would refuse in a structurally sound completion request."""
    options = request.get("completionOptions", {})
    temperature = options.get("temperature", 0.0)
    if not 0 <= temperature <= 1:
        yield f"temperature is {temperature}, which is outside the range [0, 1]"
    if options.get("maxTokens", 1) <= 0:
        yield f"max tokens is {options['maxTokens']}, it must be greater than zero"
    if not request.get("messages"):
        yield "messages must not be empty"
    for message in request.get("messages", []):
        yield from _message_problems(message)
    yield from _tool_problems(request)


def text_problem(text: str) -> str | None:
    """Return what is wrong with the length of a text, if anything is."""
    if 0 < len(text) <= LONGEST_TEXT:
        return None
    return f"text length is {len(text)}, which is outside the range (0, {LONGEST_TEXT}]"


def _message_problems(message: dict[str, Any]) -> Iterator[str]:
    role = message.get("role", "")
    if role not in ROLES:
        yield f"invalid message role '{role}'"
    if "toolCallList" in message or "toolResultList" in message:
        return
    if problem := text_problem(message.get("text", "")):
        yield problem


def _tool_problems(request: dict[str, Any]) -> Iterator[str]:
    choice = request.get("toolChoice", {})
    names = [tool.get("function", {}).get("name", "") for tool in request.get("tools", [])]
    if choice.get("mode") == "REQUIRED" and not names:
        yield "tool choice requires a call, but there are no tools"
    if "functionName" in choice and choice["functionName"] not in names:
        yield f"tool choice names '{choice['functionName']}', which is not among the tools"
