"""From a completion to what the Responses API shows of it: output items, usage, and the events of a stream."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from airflow_provider.yandex_ai_studio.emulator.generation.completion import Completion

#: Return an id for an output item.
NewId = Callable[[], str]

Event = dict[str, Any]

_IN_PROGRESS = "in_progress"


def shown(completion: Completion, new_id: NewId) -> dict[str, Any]:
    """Return the members of a response that is done."""
    status = "incomplete" if completion.truncated else "completed"
    reasoning = {"id": new_id(), "type": "reasoning", "summary": [], "status": "completed"}
    return {
        "status": status,
        "incomplete_details": {"reason": "max_output_tokens"} if completion.truncated else None,
        "output": [*([reasoning] if completion.reasoning_tokens else []), _item(completion, status, new_id)],
        "usage": {
            "input_tokens": completion.input_tokens,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": completion.completion_tokens,
            "output_tokens_details": {"reasoning_tokens": completion.reasoning_tokens},
            "total_tokens": completion.input_tokens + completion.completion_tokens,
        },
    }


def events(begun: dict[str, Any], ended: dict[str, Any], deltas: list[str]) -> Iterator[Event]:
    """Yield the events of a response's stream.

    :param begun: the response while it is in progress.
    :param ended: the response when it is done, whichever way.
    :param deltas: the pieces of its text.
    """
    told = _events(begun, ended, deltas)
    return ({"type": event["type"], "sequence_number": number, **event} for number, event in enumerate(told))


def _events(begun: dict[str, Any], ended: dict[str, Any], deltas: list[str]) -> Iterator[Event]:
    yield {"type": "response.created", "response": begun}
    yield {"type": "response.in_progress", "response": begun}
    for index, item in enumerate(ended["output"]):
        bare = {name: [] if name == "content" else member for name, member in item.items()}
        if item["type"] == "function_call":
            bare["arguments"] = ""
        yield {
            "type": "response.output_item.added",
            "output_index": index,
            "item": {**bare, "status": _IN_PROGRESS},
        }
        place = {"item_id": item["id"], "output_index": index}
        if item["type"] == "message" and item["content"][0]["type"] == "output_text":
            yield from _text_events({**place, "content_index": 0}, item["content"][0], deltas)
        if item["type"] == "function_call":
            yield {"type": "response.function_call_arguments.delta", **place, "delta": item["arguments"]}
            call = {"name": item["name"], "arguments": item["arguments"]}
            yield {"type": "response.function_call_arguments.done", **place, **call}
        yield {"type": "response.output_item.done", "output_index": index, "item": item}
    yield {"type": f"response.{ended['status']}", "response": ended}


def _text_events(place: dict[str, Any], part: dict[str, Any], deltas: list[str]) -> Iterator[Event]:
    yield {"type": "response.content_part.added", **place, "part": {**part, "text": ""}}
    for delta in deltas:
        yield {"type": "response.output_text.delta", **place, "delta": delta, "logprobs": []}
    yield {"type": "response.output_text.done", **place, "text": part["text"], "logprobs": []}
    yield {"type": "response.content_part.done", **place, "part": part}


def _item(completion: Completion, status: str, new_id: NewId) -> dict[str, Any]:
    if call := completion.call:
        return {
            "id": new_id(),
            "type": "function_call",
            "call_id": new_id(),
            "name": call["name"],
            "arguments": json.dumps(call["arguments"], ensure_ascii=False, separators=(",", ":")),
            "status": status,
        }
    part = {"type": "output_text", "text": completion.text, "annotations": [], "logprobs": []}
    return {"id": new_id(), "type": "message", "role": "assistant", "status": status, "content": [part]}
