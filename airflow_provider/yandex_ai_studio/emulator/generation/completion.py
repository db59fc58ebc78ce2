"""From a checked completion request to the answer to it."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from airflow_provider.yandex_ai_studio.emulator.generation.extract import extract
from airflow_provider.yandex_ai_studio.emulator.generation.structured import build
from airflow_provider.yandex_ai_studio.emulator.generation.tokens import count, pieces

#: Tells whoever reads a stored answer that no model wrote it.
MODEL_VERSION = "emulator"

RESPONSE_TYPE = "type.googleapis.com/yandex.cloud.ai.foundation_models.v1.CompletionResponse"

_PARTIAL = "ALTERNATIVE_STATUS_PARTIAL"
_FINAL = "ALTERNATIVE_STATUS_FINAL"
_TRUNCATED = "ALTERNATIVE_STATUS_TRUNCATED_FINAL"
_TOOL_CALLS = "ALTERNATIVE_STATUS_TOOL_CALLS"

_PIECES_PER_PART = 8
_REASONING_TOKENS = 64


@dataclass(frozen=True)
class Completion:
    """Hold what was generated: the message, how it ended, and what it cost."""

    message: dict[str, Any]
    status: str
    input_tokens: int
    completion_tokens: int
    reasoning_tokens: int = 0

    @property
    def text(self) -> str:
        """Return what was said; empty when a tool was called instead."""
        return str(self.message.get("text", ""))

    @property
    def truncated(self) -> bool:
        """Say whether the text was cut at the most tokens that were allowed."""
        return self.status == _TRUNCATED

    @property
    def call(self) -> dict[str, Any] | None:
        """Return the name and the arguments of the tool that was called, if one was."""
        calls = self.message.get("toolCallList", {}).get("toolCalls")
        return calls[0]["functionCall"] if calls else None

    def response(self) -> dict[str, Any]:
        """Return the vendor's CompletionResponse, with int64 as strings."""
        return {
            "alternatives": [{"message": self.message, "status": self.status}],
            "usage": {
                "inputTextTokens": str(self.input_tokens),
                "completionTokens": str(self.completion_tokens),
                "totalTokens": str(self.input_tokens + self.completion_tokens),
                "completionTokensDetails": {"reasoningTokens": str(self.reasoning_tokens)},
            },
            "modelVersion": MODEL_VERSION,
        }

    def parts(self) -> Iterator[Completion]:
        """Yield the answers of a stream: each holds all the text so far, and the last is this one."""
        cut = pieces(self.text)
        for end in range(_PIECES_PER_PART, len(cut), _PIECES_PER_PART):
            message = {**self.message, "text": "".join(cut[:end])}
            yield Completion(message, _PARTIAL, self.input_tokens, end)
        yield self

    def deltas(self) -> list[str]:
        """Return the text in the steps in which it grows, at least one."""
        cut = pieces(self.text)
        return ["".join(cut[at : at + _PIECES_PER_PART]) for at in range(0, len(cut) or 1, _PIECES_PER_PART)]


def complete(request: dict[str, Any]) -> Completion:
    """Answer a request.

    :raises ValueError: when the request asks for a JSON schema that no value can be built for.
    """
    options = request.get("completionOptions", {})
    input_tokens = count(as_text(request))
    reasons = options.get("reasoningOptions", {}).get("mode") == "ENABLED_HIDDEN"
    reasoning_tokens = _REASONING_TOKENS if reasons else 0
    text = extract(prompt(request))
    if call := _tool_call(request, text):
        message = {"role": "assistant", "toolCallList": {"toolCalls": [{"functionCall": call}]}}
        spent = len(pieces(json.dumps(call, ensure_ascii=False)))
        return Completion(message, _TOOL_CALLS, input_tokens, spent + reasoning_tokens, reasoning_tokens)
    cut = pieces(_formatted(request, text))
    kept = cut[: options.get("maxTokens", len(cut))]
    return Completion(
        {"role": "assistant", "text": "".join(kept)},
        _FINAL if len(kept) == len(cut) else _TRUNCATED,
        input_tokens,
        len(kept) + reasoning_tokens,
        reasoning_tokens,
    )


def prompt(request: dict[str, Any]) -> str:
    """Return what the answer is made of: the last text of the user, or what the tools have returned since."""
    for message in reversed(request["messages"]):
        if "toolResultList" in message:
            results = message["toolResultList"].get("toolResults", [])
            return "\n\n".join(result.get("functionResult", {}).get("content", "") for result in results)
        if message["role"] == "user" and "text" in message:
            return str(message["text"])
    return str(request["messages"][-1].get("text", ""))


def as_text(request: dict[str, Any]) -> str:
    """Return the whole conversation as the text whose tokens are billed as input."""
    return "\n".join(f"{message['role']}: {_content(message)}" for message in request["messages"])


def _content(message: dict[str, Any]) -> str:
    lists = {name: message[name] for name in ("toolCallList", "toolResultList") if name in message}
    return json.dumps(lists, ensure_ascii=False) if lists else str(message.get("text", ""))


def _formatted(request: dict[str, Any], text: str) -> str:
    schema = request.get("jsonSchema", {}).get("schema")
    if schema:
        return json.dumps(build(schema, text), ensure_ascii=False)
    if request.get("jsonObject") or "jsonSchema" in request:
        return json.dumps({"output": text}, ensure_ascii=False)
    return text


def _tool_call(request: dict[str, Any], text: str) -> dict[str, Any] | None:
    """Return the call that the tool choice demands; a model that may choose chooses to answer."""
    choice = request.get("toolChoice", {})
    tools = [tool.get("function", {}) for tool in request.get("tools", [])]
    if "functionName" in choice:
        tools = [tool for tool in tools if tool.get("name") == choice["functionName"]]
    elif choice.get("mode") != "REQUIRED":
        return None
    parameters = tools[0].get("parameters") or {"type": "object"}
    return {"name": tools[0].get("name", ""), "arguments": build(parameters, text)}
