"""What a fault makes of an answer that is right: other members, another form, another pace."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from airflow_provider.yandex_ai_studio.emulator.request import Answer
from airflow_provider.yandex_ai_studio.emulator.state.faults import Fault

#: The member that a fault adds to each object, as the next version of the service might add others.
FOREIGN = "notInTheReference"

_MILLISECONDS = 1000.0


def altered(answer: Answer, fault: Fault) -> Answer:
    """Return what becomes of an answer; faults that do something else leave it as it is."""
    match fault.kind:
        case "trickle":
            return replace(answer, seconds=fault.seconds)
        case "gzip":
            return replace(answer, unpacked=fault.size or 0)
        case "cut":
            return replace(answer, parts=(b"".join(answer.parts)[: fault.size],), ends=False)
        case "foreign":
            return answer.changed(_foreign)
        case "patch":
            return answer.changed(lambda payload: _patched(payload, fault.body))
        case "milliseconds":
            return answer.changed(_in_milliseconds)
    return answer


def _foreign(value: Any) -> Any:
    """Add a member that nobody knows to each object, and turn the order of the others round."""
    if isinstance(value, dict):
        members = {name: _foreign(member) for name, member in reversed(value.items())}
        return {FOREIGN: {"since": "v2", "values": [1, None]}, **members}
    return [_foreign(item) for item in value] if isinstance(value, list) else value


def _patched(value: Any, patch: object) -> Any:
    """Apply a JSON merge patch (RFC 7396): null takes a member away."""
    if not isinstance(patch, dict):
        return patch
    merged = dict(value) if isinstance(value, dict) else {}
    for name, member in patch.items():
        if member is None:
            merged.pop(name, None)
        else:
            merged[name] = _patched(merged.get(name), member)
    return merged


def _in_milliseconds(response: Any) -> Any:
    if not isinstance(response, dict) or "created_at" not in response:
        return response
    return {**response, "created_at": response["created_at"] * _MILLISECONDS}
