"""
Values as plain JSON: so that they come back as they were, or so that equal ones look the same.

What a row holds must be the same in each attempt, to the last digit: its prompt tells it from others.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import fields, is_dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum
from numbers import Integral
from pathlib import PurePath
from typing import Any
from uuid import UUID

FORM = "$form"
"""The key of what JSON has no form for: ``{"$form": ["decimal", "19.90"]}``."""

FORMS: dict[str, tuple[type, Callable[[Any], Any], Callable[[Any], Any]]] = {
    "decimal": (Decimal, str, Decimal),
    "datetime": (datetime, lambda moment: moment.isoformat(), datetime.fromisoformat),  # before date, which it is too
    "date": (date, lambda day: day.isoformat(), date.fromisoformat),
    "time": (time, lambda moment: moment.isoformat(), time.fromisoformat),
    "timedelta": (
        timedelta,
        lambda span: [span.days, span.seconds, span.microseconds],
        lambda parts: timedelta(*parts),
    ),
    "uuid": (UUID, str, UUID),
}
"""By name: which type, how it is written, and how it is read."""


class NoForm(Exception):
    """
    A value has no exact form.

    :param kind: The name of its type. What it holds may be private.
    """

    def __init__(self, kind: str) -> None:
        super().__init__(kind)
        self.kind = kind


def plain(value: Any) -> Any:
    """
    Return a value as plain JSON, from which :func:`read` makes the same value.

    :raises NoForm: It is, or holds, something else than texts, numbers, dates, lists and mappings with textual keys.
    """
    if value is None or isinstance(value, bool | str | float):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, list):
        return [plain(item) for item in value]
    if isinstance(value, tuple):
        return {FORM: ["tuple", [plain(item) for item in value]]}
    if isinstance(value, Mapping):
        if strange := [key for key in value if not isinstance(key, str)]:
            raise NoForm(f"{type(strange[0]).__name__}, as a key")
        items = {key: plain(item) for key, item in value.items()}
        return {FORM: ["mapping", list(items.items())]} if FORM in items else items
    for name, (kind, write, again) in FORMS.items():
        if isinstance(value, kind):
            try:
                again(written := write(value))
            except ValueError:
                break  # what pandas has in place of a date that is not there is a datetime, too
            return {FORM: [name, written]}
    raise NoForm(type(value).__name__)


def read(written: Any) -> Any:
    """Return the value of which :func:`plain` made this."""
    if isinstance(written, list):
        return [read(item) for item in written]
    if not isinstance(written, dict):
        return written
    if FORM not in written:
        return {key: read(item) for key, item in written.items()}
    name, content = written[FORM]
    if name == "tuple":
        return tuple(read(content))
    if name == "mapping":
        return {key: read(item) for key, item in content}
    return FORMS[name][2](content)


def comparable(value: Any, strange: set[str]) -> Any:
    """
    Return plain JSON that is the same for equal values, in each process.

    :param strange: Takes the types of what can't be compared. Two values of such a type look the same.
    """
    from airflow.sdk import ObjectStoragePath  # a DAG file need not pay for these two
    from pydantic import BaseModel

    if isinstance(value, Enum | bytes | PurePath | ObjectStoragePath):
        return str(value)
    if is_dataclass(value) and not isinstance(value, type):
        return comparable({field.name: getattr(value, field.name) for field in fields(value)}, strange)
    if isinstance(value, BaseModel):
        return comparable(value.model_dump(), strange)
    if isinstance(value, Mapping):
        pairs = [[comparable(key, strange), comparable(item, strange)] for key, item in value.items()]
        return {"mapping": sorted(pairs, key=json.dumps)}
    if isinstance(value, AbstractSet):
        return {"set": sorted((comparable(item, strange) for item in value), key=json.dumps)}
    if isinstance(value, Sequence) and not isinstance(value, str):
        return [comparable(item, strange) for item in value]  # XComs of a mapped task don't show what they hold
    try:
        return plain(value)
    except NoForm as error:
        strange.add(error.kind)
        return error.kind
