"""What of a task is known when its DAG is parsed: its constants. Templates and XComs have no value before it runs."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider.yandex_ai_studio.api.output import ModelSchema

TEMPLATE = ("{{", "{%", "{#")


def is_constant(value: Any) -> bool:
    """Tell whether a parameter is now what it will be when the task runs."""
    match value:
        case str():
            return not any(mark in value for mark in TEMPLATE)
        case Mapping():
            return all(map(is_constant, value)) and all(map(is_constant, value.values()))
        case list() | tuple():
            return all(map(is_constant, value))
    return value is None or isinstance(value, bool | int | float | type | ModelSchema)


def constants_of(parts: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return the parts of a request that are known; what they could be taken amiss without is filled in, or left out.

    :param parts: The parameters that go into the request, by their names.
    """
    known = {name: value for name, value in parts.items() if is_constant(value)}
    if not {"prompt", "messages"} <= known.keys() and known.get("messages") is None:
        known["prompt"] = known.get("prompt") or "not known yet"
    if "tools" not in known:
        known.pop("tool_choice", None)
    return {**known, "model": known.get("model") or "not known yet", "folder_id": "not known yet"}
