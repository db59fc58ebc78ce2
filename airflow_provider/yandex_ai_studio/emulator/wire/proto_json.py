"""A checker for JSON bodies that follows the rules of proto3 JSON.

A message is described as data, from the kinds below; calling the description checks a value. What comes back
has camelCase names, ints for int64, floats for doubles, and no member for a JSON ``null``.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from functools import cached_property
from typing import Any, NoReturn

#: Check the JSON value found at a path, and return it in its normal form.
Kind = Callable[[object, str], Any]

_NUMBER = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?([eE][+-]?\d{1,3})?")
_INT64 = range(-(2**63), 2**63)


class MalformedBody(ValueError):
    """A body is not the JSON form of the message that the route takes."""


def decode(body: bytes) -> object:
    """Parse a body as strict JSON: UTF-8, no repeated names, no NaN or Infinity.

    :raises MalformedBody: when it is not.
    """
    try:
        return json.loads(body.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    except RecursionError:
        raise MalformedBody("the body is nested too deeply") from None
    except ValueError as error:
        raise MalformedBody(str(error)) from None


@dataclass(frozen=True)
class Field:
    """Describe a field of a message by its JSON name, its kind, and the oneof that it belongs to."""

    name: str
    kind: Kind
    oneof: str | None = None


@dataclass(frozen=True)
class Message:
    """Describe a message by its full proto name and its fields."""

    name: str
    fields: tuple[Field, ...]

    @cached_property
    def by_name(self) -> Mapping[str, Field]:
        """Return the fields by both names that proto3 JSON accepts."""
        snake = {re.sub(r"[A-Z]", lambda m: "_" + m.group().lower(), f.name): f for f in self.fields}
        return snake | {f.name: f for f in self.fields}

    def __call__(self, value: object, path: str = "") -> dict[str, Any]:
        """Check a JSON value against this message.

        :raises MalformedBody: naming the place of the first thing that does not fit.
        """
        if not isinstance(value, dict):
            refuse(value, path, f"an object ({self.name})")
        parsed: dict[str, Any] = {}
        chosen: dict[str, str] = {}
        for name, member in value.items():
            field = self.by_name.get(name)
            if field is None:
                raise MalformedBody(f'{_place(path)}unknown field "{name}" in {self.name}')
            if member is None:
                continue
            if field.name in parsed:
                raise MalformedBody(f'{_place(path)}field "{field.name}" of {self.name} is set twice')
            if field.oneof and chosen.setdefault(field.oneof, name) != name:
                both = f'"{chosen[field.oneof]}" and "{name}"'
                raise MalformedBody(f"{_place(path)}{both} of {self.name} exclude each other ({field.oneof})")
            parsed[field.name] = field.kind(member, f"{path}.{name}" if path else name)
        return parsed


def string(value: object, path: str) -> str:
    """Accept a string that can be encoded, which one with half of a surrogate pair can't."""
    if not isinstance(value, str) or not _encodable(value):
        refuse(value, path, "a string")
    return value


def boolean(value: object, path: str) -> bool:
    """Accept true and false, and nothing that resembles them."""
    if not isinstance(value, bool):
        refuse(value, path, "true or false")
    return value


def int64(value: object, path: str) -> int:
    """Accept an integral number, bare or in a string."""
    if isinstance(value, str) and _NUMBER.fullmatch(value):
        number = Fraction(value)
        value = number.numerator if number.denominator == 1 else value
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if not isinstance(value, int) or isinstance(value, bool) or value not in _INT64:
        refuse(value, path, "an int64")
    return value


def double(value: object, path: str) -> float:
    """Accept a number, bare or in a string, and the three names of the numbers that JSON can't write."""
    if isinstance(value, str):
        if value in ("NaN", "Infinity", "-Infinity"):
            return float(value)
        if _NUMBER.fullmatch(value):
            value = float(value)
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        refuse(value, path, "a number")
    return float(value)


def struct(value: object, path: str) -> dict[str, Any]:
    """Accept any JSON object."""
    if not isinstance(value, dict) or not _encodable(json.dumps(value, ensure_ascii=False)):
        refuse(value, path, "an object")
    return value


def enum(*names: str) -> Kind:
    """Return the kind of an enum whose values are numbered from zero in this order.

    Enums of proto3 are open: a number without a name is let through, a name without a number is not.
    """

    def check(value: object, path: str) -> str:
        if isinstance(value, str) and value in names:
            return value
        if isinstance(value, int) and not isinstance(value, bool):
            return names[value] if 0 <= value < len(names) else str(value)
        refuse(value, path, "one of " + ", ".join(names))

    return check


def repeated(kind: Kind) -> Kind:
    """Return the kind of a list of another kind, none of them null."""

    def check(value: object, path: str) -> list[Any]:
        if not isinstance(value, list):
            refuse(value, path, "a list")
        return [kind(item, f"{path}[{index}]") for index, item in enumerate(value)]

    return check


def refuse(value: object, path: str, wanted: str) -> NoReturn:
    """Refuse a value by its place and type, without repeating it: a body can hold a credential.

    :raises MalformedBody: always.
    """
    found = "null" if value is None else type(value).__name__
    raise MalformedBody(f"{_place(path)}{wanted} expected, not this {found}")


def _place(path: str) -> str:
    return f"{path}: " if path else ""


def _encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:
        return False
    return True


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    members = dict(pairs)
    if len(members) < len(pairs):
        raise ValueError("a name is repeated in an object")
    return members


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
