"""
How single values of an answer are read.

What an answer can't do without is read by :func:`text` and :func:`items`: they raise, and the answer counts as garbage.
All else gives way: what is not what it should be is read as if it were not there.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterator, Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime
from functools import lru_cache
from typing import Any

import pendulum

INT64 = 2**63
STORABLE_INTS = range(-(2**63), 2**64)
"""The whole numbers that can be written to XCom: they go to Airflow's supervisor as MessagePack."""

STORABLE_DEPTH = 100
"""How deep a value may be nested to be written to XCom: Airflow's own messages end at 255."""

NOT_FINITE = "it holds a number that JSON has no form for"

RESERVED = {"__classname__", "__id__"}
"""Names that no member may have in an XCom: Airflow keeps them for its own."""

LONGEST_PAUSE = 60.0
"""Seconds that are waited at most because an answer asks for it: a gateway may ask for a day."""

FIRST, LAST = 946_684_800, 4_102_444_800
"""The seconds since the epoch between which the time of an operation may be: those of this century."""


def text(value: Any) -> str:
    """Return a text that must be there."""
    if not isinstance(value, str) or not value:
        raise ValueError("a text is missing")
    return value


def items(value: Any) -> list[Any]:
    """Return a list that must be there."""
    if not isinstance(value, list):
        raise ValueError("a list is missing")
    return value


def text_or_none(value: Any) -> str | None:
    """Return a text that is not empty, or None."""
    return value if isinstance(value, str) and value else None


def members(value: Any) -> Mapping[str, Any]:
    """Return the members of an object; of what is none, no members."""
    return value if isinstance(value, Mapping) else {}


def objects(value: Any) -> list[Mapping[str, Any]]:
    """Return the objects in a list; of what is none, no objects."""
    return [item for item in value if isinstance(item, Mapping)] if isinstance(value, list) else []


def decoded(document: bytes | str) -> Any:
    """
    Return what a JSON document holds, so that it can be stored; None for what is no JSON.

    A number that can't be stored stays the text that it is written as: ``NaN``, ``1e999``, or 30 digits.
    """
    try:
        if not isinstance(document, str):
            document = document.decode(json.detect_encoding(document), "replace")
        text = storable(document)
        return (_CAREFUL if _ODD_NUMBER.search(text) else _PLAIN).decode(text)
    except (ValueError, RecursionError):
        return None


def storable(document: str) -> str:
    """
    Return a JSON document with U+FFFD for NUL and for half a pair of surrogates.

    PostgreSQL stores neither, so that the XCom of an answer that was paid for could not be written, at any attempt.
    """
    if not _UNSTORABLE.search(document):
        return document
    document = document.replace("\\\\", "\\u005c")  # what begins with a backslash now is an escape
    return _UNSTORABLE_ALONE.sub("\\\\ufffd", document)


# No Python runs for each escape or number: an answer may have millions, and the triggerer reads on its event loop.
_UNSTORABLE = re.compile(r"\\u(?:0000|[dD][89a-fA-F])")
_UNSTORABLE_ALONE = re.compile(
    r"\\u0000|\\u[dD][89abAB]..(?!\\u[dD][c-fC-F])|(?<!\\u[dD][89abAB]..)\\u[dD][c-fC-F]..", re.DOTALL
)
_ODD_NUMBER = re.compile(r"[0-9]{19}|[0-9][eE][+-]?[0-9]")
"""What may be written where a number is that can't be stored."""


def _fraction(written: str) -> float | str:
    return number if math.isfinite(number := float(written)) else written


def _whole(written: str) -> int | str:
    return number if len(written) <= 20 and (number := int(written)) in STORABLE_INTS else written


_PLAIN = json.JSONDecoder(parse_constant=str)
_CAREFUL = json.JSONDecoder(parse_constant=str, parse_float=_fraction, parse_int=_whole)


def unstorable(value: Any) -> str | None:
    """Say why a value that was read from JSON can't be written to XCom, or to a part of a bulk run; None if it can."""
    if nested_too_deeply(value):
        return "it is nested too deeply to be stored"
    for one in (one for level in _levels(value) for one in level):
        if isinstance(one, float) and not math.isfinite(one):
            return NOT_FINITE
        if isinstance(one, int) and one not in STORABLE_INTS:
            return "it holds a whole number of more than 64 bits"
        if isinstance(one, Mapping) and not RESERVED.isdisjoint(one):
            return f"it has a member named {' or '.join(sorted(RESERVED))}, which Airflow does not store"
    return None


def nested_too_deeply(value: Any) -> bool:
    """Tell whether a value is nested too deeply to be stored, and to be looked into by what calls itself."""
    return any(depth > STORABLE_DEPTH for depth, _ in enumerate(_levels(value)))


def _levels(value: Any) -> Iterator[list[Any]]:
    level = [value]
    while level:
        yield level
        level = [
            inner
            for one in level
            for inner in (one.values() if isinstance(one, Mapping) else one if isinstance(one, list) else ())
        ]


def flag(value: Any) -> bool:
    """Tell whether a value says yes. A text that says no does not."""
    return value is True or (isinstance(value, str) and value.lower() == "true")


def count(value: Any) -> int:
    """Return a number of things, which proto3 writes as a text; 0 for what is none."""
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < INT64 else 0


def moment(value: Any) -> pendulum.DateTime | None:
    """Return the time of an operation: RFC 3339, or a number of seconds or milliseconds. None for nonsense."""
    if isinstance(value, str):
        return _moment(value)
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if FIRST * 1000 <= value < LAST * 1000:
        value = value / 1000
    return pendulum.from_timestamp(value) if FIRST <= value < LAST else None


@lru_cache(maxsize=32_768)  # each question about an operation brings the same times again
def _moment(value: str) -> pendulum.DateTime | None:
    told = time(value)
    return told if told and FIRST <= told.timestamp() < LAST else None


def pause_asked(retry_after: str | None, date: str | None) -> float:
    """
    Return the seconds that a ``Retry-After`` asks for, a minute at most; 0 for what can't be read.

    :param date: The ``Date`` of the same answer: a point in time is read by the clock of the service.
    """
    said = (retry_after or "").strip()
    try:
        seconds = float(said)
    except ValueError:
        try:
            seconds = (parsedate_to_datetime(said) - parsedate_to_datetime(date or "")).total_seconds()
        except (TypeError, ValueError, OverflowError):
            return 0.0
    return min(seconds, LONGEST_PAUSE) if seconds > 0 else 0.0


def time(value: Any) -> pendulum.DateTime | None:
    """Return an RFC 3339 time; None for what is none. No answer is lost for a time that can't be read."""
    try:
        if value[10] != "T":
            return None
        return pendulum.from_timestamp(datetime.fromisoformat(value).timestamp())
    except (LookupError, TypeError, ValueError, OverflowError):
        return None
