"""From the words of the OpenAI-compatible APIs to the native request, which the completion is made for."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

_ROLES = {"developer": "system"}
_CHOICES = {"none": "NONE", "auto": "AUTO", "required": "REQUIRED"}
_NO_REASONING = (None, "none")


def of_response(asked: dict[str, Any], listed: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the native form of a request for a response; a reasoning item says nothing.

    :param listed: the items of the conversation, the request's own input included.
    """
    instructions = [{"role": "system", "text": asked["instructions"]}] if "instructions" in asked else []
    form = asked.get("text", {}).get("format", {"type": "text"})
    return {
        "messages": instructions + [_item(item) for item in listed if item["type"] != "reasoning"],
        "completionOptions": _options(asked.get("max_output_tokens"), asked.get("reasoning", {}).get("effort")),
        "tools": [{"function": tool} for tool in asked.get("tools", [])],
        "toolChoice": _tool_choice(asked.get("tool_choice", "auto")),
        **_format(form["type"], form.get("schema")),
    }


def of_chat(asked: dict[str, Any]) -> dict[str, Any]:
    """Return the native form of a request for a chat completion."""
    form = asked.get("response_format", {"type": "text"})
    choice = asked.get("tool_choice", "auto")
    limit = asked.get("max_completion_tokens", asked.get("max_tokens"))
    return {
        "messages": [native for message in asked["messages"] for native in _chat_message(message)],
        "completionOptions": _options(limit, asked.get("reasoning_effort")),
        "tools": [{"function": tool["function"]} for tool in asked.get("tools", [])],
        "toolChoice": _tool_choice(choice if isinstance(choice, str) else choice["function"]),
        **_format(form["type"], form.get("json_schema", {}).get("schema")),
    }


def items(asked: str | list[dict[str, Any]], new_id: Callable[[], str]) -> list[dict[str, Any]]:
    """Return the input of a response item by item, in the full form that the service shows it in."""
    if isinstance(asked, str):
        asked = [{"type": "message", "role": "user", "content": asked}] if asked else []
    return [{"id": new_id(), "status": "completed", **_full(item)} for item in asked]


def _full(item: dict[str, Any]) -> dict[str, Any]:
    content = item.get("content")
    if item["type"] != "message" or not isinstance(content, str):
        return item
    if item["role"] == "assistant":
        part = {"type": "output_text", "text": content, "annotations": [], "logprobs": []}
    else:
        part = {"type": "input_text", "text": content}
    return {**item, "content": [part]}


def _item(item: dict[str, Any]) -> dict[str, Any]:
    match item["type"]:
        case "function_call":
            return _calls([(item["name"], item["arguments"])])
        case "function_call_output":
            return _result(item["call_id"], _text(item["output"]))
    return {"role": _ROLES.get(item["role"], item["role"]), "text": _text(item["content"])}


def _chat_message(message: dict[str, Any]) -> list[dict[str, Any]]:
    role, text = message["role"], _text(message.get("content", ""))
    if role == "tool":
        return [_result(message["tool_call_id"], text)]
    spoken = [{"role": _ROLES.get(role, role), "text": text}] if text or not message.get("tool_calls") else []
    calls = [(call["function"]["name"], call["function"]["arguments"]) for call in message.get("tool_calls", [])]
    return spoken + ([_calls(calls)] if calls else [])


def _calls(calls: list[tuple[str, str]]) -> dict[str, Any]:
    listed = [{"functionCall": {"name": name, "arguments": arguments}} for name, arguments in calls]
    return {"role": "assistant", "toolCallList": {"toolCalls": listed}}


def _result(name: str, content: str) -> dict[str, Any]:
    return {
        "role": "user",
        "toolResultList": {"toolResults": [{"functionResult": {"name": name, "content": content}}]},
    }


def _text(content: str | list[dict[str, Any]]) -> str:
    return content if isinstance(content, str) else "\n".join(part["text"] for part in content)


def _options(limit: int | None, effort: str | None) -> dict[str, Any]:
    mode = "DISABLED" if effort in _NO_REASONING else "ENABLED_HIDDEN"
    return {"reasoningOptions": {"mode": mode}, **({} if limit is None else {"maxTokens": limit})}


def _tool_choice(choice: str | dict[str, Any]) -> dict[str, Any]:
    return {"mode": _CHOICES[choice]} if isinstance(choice, str) else {"functionName": choice["name"]}


def _format(kind: str, schema: dict[str, Any] | None) -> dict[str, Any]:
    if kind == "json_schema" and schema is not None:
        return {"jsonSchema": {"schema": schema}}
    return {"jsonObject": kind != "text"}
