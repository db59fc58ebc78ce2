"""What the OpenAI-compatible APIs ask of a request beyond its structure."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

CHAT_ROLES = ("system", "developer", "user", "assistant", "tool")

_NAME = re.compile(r"[a-zA-Z0-9_-]{1,64}")


def response_problems(request: dict[str, Any], earlier: list[dict[str, Any]]) -> Iterator[str]:
    """Yield what the service would refuse in a structurally sound request for a response.

    :param request: with its input item by item.
    :param earlier: the items of the conversation that it continues.
    """
    yield from _number_problems(request, "max_output_tokens")
    items = request["input"]
    if all(item["type"] == "reasoning" for item in items):
        yield "input must not be empty"
    if request.get("background") and request.get("store") is False:
        yield "background requires store"
    if request.get("background") and request.get("stream"):
        yield "a stream of a background response is not emulated"
    called = {item["call_id"] for item in earlier + items if item["type"] == "function_call"}
    for item in items:
        if item["type"] == "function_call_output" and item["call_id"] not in called:
            yield f"No tool call found for function call output with call_id {item['call_id']}."
    form = request.get("text", {}).get("format", {})
    yield from _name_problems("text.format.name", form.get("name", "any"))
    choice = request.get("tool_choice", "auto")
    named = choice["name"] if isinstance(choice, dict) else None
    yield from _tool_problems("tools", request.get("tools", []), choice == "required", named)


def chat_problems(request: dict[str, Any]) -> Iterator[str]:
    """Yield what the service would refuse in a structurally sound request for a chat completion."""
    yield from _number_problems(request, "max_tokens", "max_completion_tokens")
    if request.get("n", 1) != 1:
        yield "n other than 1 is not emulated"
    if not request["messages"]:
        yield "messages must not be empty"
    for message in request["messages"]:
        yield from _message_problems(message)
    schema = request.get("response_format", {}).get("json_schema", {})
    yield from _name_problems("response_format.json_schema.name", schema.get("name", "any"))
    choice = request.get("tool_choice", "auto")
    if isinstance(choice, str) and choice not in ("none", "auto", "required"):
        yield f"invalid tool choice: {choice}"
    tools = [tool["function"] for tool in request.get("tools", [])]
    named = choice["function"]["name"] if isinstance(choice, dict) else None
    yield from _tool_problems("tools", tools, choice == "required", named)


def _number_problems(request: dict[str, Any], *limits: str) -> Iterator[str]:
    for name in ("temperature", "top_p"):
        if not 0 <= request.get(name, 0) <= 1:
            yield f"{name} is {request[name]}, which is outside the range [0, 1]"
    for name in limits:
        if request.get(name, 1) <= 0:
            yield f"{name} is {request[name]}, it must be greater than zero"


def _message_problems(message: dict[str, Any]) -> Iterator[str]:
    role = message["role"]
    if role not in CHAT_ROLES:
        yield f"invalid message role '{role}'"
    if role == "tool" and "tool_call_id" not in message:
        yield "a message of a tool needs tool_call_id"
    if "content" not in message and not (role == "assistant" and message.get("tool_calls")):
        yield f"a message of the role '{role}' needs content"


def _tool_problems(path: str, tools: list[dict[str, Any]], required: bool, named: str | None) -> Iterator[str]:
    for tool in tools:
        yield from _name_problems(f"{path}.name", tool["name"])
    if required and not tools:
        yield "tool choice requires a call, but there are no tools"
    if named is not None and named not in (tool["name"] for tool in tools):
        yield f"tool choice names '{named}', which is not among the tools"


def _name_problems(path: str, name: str) -> Iterator[str]:
    if not _NAME.fullmatch(name):
        yield f"'{path}' must be of 1 to 64 letters, digits, underscores and dashes"
