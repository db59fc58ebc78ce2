"""From a completion to a chat completion, whole or as the chunks of a stream.

Two services stand behind the one route, and recordings show that they write differently: the vendor's own
models, and the open ones that it hosts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from airflow_provider.yandex_ai_studio.emulator.generation.completion import Completion

_OWN = re.compile(r"ds://|gpt://[^/]+/(yandexgpt|aliceai)")
_FOLDER = re.compile(r"^gpt://[^/]+/")


@dataclass(frozen=True)
class Reply:
    """Hold what all chunks of an answer share.

    :param id: a UUID, to which hosted models put a prefix.
    :param model: the model URI of the request, from which hosted models drop the folder.
    :param created: in seconds since the epoch.
    """

    id: str
    model: str
    created: int

    def whole(self, completion: Completion) -> dict[str, Any]:
        """Return the answer in one piece."""
        message = {"role": "assistant", "content": completion.text, **_tool_calls(completion)}
        choice = {"index": 0, "message": message, "finish_reason": _reason(completion)}
        return {**self._head("chat.completion"), "choices": [choice], "usage": _usage(completion)}

    def chunks(self, completion: Completion) -> Iterator[dict[str, Any]]:
        """Yield the answer in chunks that add up to it."""
        role = {"role": "assistant"}
        texts = [{"content": text} for text in completion.deltas()]
        deltas: list[dict[str, Any]] = [_tool_calls(completion)] if completion.call else list(texts)
        if self._own:
            deltas[0] = {**role, **deltas[0]}
        else:
            deltas = [role, *deltas, {}]
        for delta in deltas[:-1]:
            yield self._chunk({"index": 0, "delta": delta})
        yield self._chunk({"index": 0, "delta": deltas[-1], "finish_reason": _reason(completion)})
        if not self._own:
            yield {**self._chunk(), "usage": _usage(completion)}

    @property
    def _own(self) -> bool:
        return bool(_OWN.match(self.model))

    def _chunk(self, *choices: dict[str, Any]) -> dict[str, Any]:
        return {**self._head("chat.completion.chunk"), "choices": list(choices)}

    def _head(self, kind: str) -> dict[str, Any]:
        return {
            "id": self.id if self._own else f"chatcmpl-{self.id}",
            "object": kind,
            "created": self.created,
            "model": self.model if self._own else _FOLDER.sub("gpt://", self.model),
        }


def _reason(completion: Completion) -> str:
    if completion.call:
        return "tool_calls"
    return "length" if completion.truncated else "stop"


def _tool_calls(completion: Completion) -> dict[str, Any]:
    if completion.call is None:
        return {}
    name = completion.call["name"]
    arguments = json.dumps(completion.call["arguments"], ensure_ascii=False, separators=(",", ":"))
    # The service names the call after its function.
    call = {"index": 0, "id": name, "type": "function", "function": {"name": name, "arguments": arguments}}
    return {"tool_calls": [call]}


def _usage(completion: Completion) -> dict[str, Any]:
    reasoning = completion.reasoning_tokens
    return {
        "prompt_tokens": completion.input_tokens,
        "total_tokens": completion.input_tokens + completion.completion_tokens,
        "completion_tokens": completion.completion_tokens,
        **({"completion_tokens_details": {"reasoning_tokens": reasoning}} if reasoning else {}),
    }
