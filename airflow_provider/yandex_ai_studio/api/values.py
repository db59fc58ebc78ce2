"""How single values of an answer are read. What is not what it should be raises, and counts as garbage."""

from __future__ import annotations

from datetime import datetime
from functools import lru_cache
from typing import Any

import pendulum


def text(value: Any) -> str:
    """Return a text that must be there."""
    if not isinstance(value, str) or not value:
        raise ValueError("a text is missing")
    return value


def text_or(value: Any, default: str | None) -> Any:
    """Return a text that may be absent or empty."""
    return text(value) if value else default


def items(value: Any) -> list[Any]:
    """Return a list that must be there."""
    if not isinstance(value, list):
        raise ValueError("a list is missing")
    return value


def time(value: Any) -> pendulum.DateTime | None:
    """Return an RFC 3339 time; None for what is none. No answer is lost for a time that can't be read."""
    return _time(value) if isinstance(value, str) else None


@lru_cache(maxsize=32_768)  # each question about an operation brings the same times again
def _time(value: str) -> pendulum.DateTime | None:
    try:
        if value[10] != "T":
            return None
        return pendulum.from_timestamp(datetime.fromisoformat(value).timestamp())
    except (LookupError, ValueError, OverflowError):
        return None
