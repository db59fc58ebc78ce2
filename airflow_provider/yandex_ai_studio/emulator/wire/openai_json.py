"""A checker for JSON bodies that follows the habits of OpenAI's API.

It is built like the one for proto3 JSON beside it, but numbers are numbers, names are written in one way only,
and some members are required. What comes back has no member for a JSON ``null``.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NoReturn

from airflow_provider.yandex_ai_studio.emulator.wire.proto_json import Kind, MalformedBody, refuse


@dataclass(frozen=True)
class Member:
    """Describe a member of an object by its name, its kind, and whether a request can do without it."""

    name: str
    kind: Kind
    required: bool = False


@dataclass(frozen=True)
class Object:
    """Describe an object by its members."""

    members: tuple[Member, ...]

    @cached_property
    def by_name(self) -> Mapping[str, Member]:
        """Return the members by their names."""
        return {member.name: member for member in self.members}

    def __call__(self, value: object, path: str = "") -> dict[str, Any]:
        """Check a JSON value against this object.

        :raises MalformedBody: naming the place of the first thing that does not fit.
        """
        if not isinstance(value, dict):
            refuse(value, path, "an object")
        prefix = f"{path}." if path else ""
        if unknown := next((name for name in value if name not in self.by_name), None):
            raise MalformedBody(f"Unknown parameter: '{prefix}{unknown}'.")
        given = {name: member for name, member in value.items() if member is not None}
        if missing := next((m.name for m in self.members if m.required and m.name not in given), None):
            raise MalformedBody(f"Missing required parameter: '{prefix}{missing}'.")
        return {name: self.by_name[name].kind(member, prefix + name) for name, member in given.items()}


def integer(value: object, path: str) -> int:
    """Accept an integral JSON number."""
    if not isinstance(value, int) or isinstance(value, bool):
        refuse(value, path, "an integer")
    return value


def number(value: object, path: str) -> float:
    """Accept a JSON number."""
    if not isinstance(value, (int, float)) or isinstance(value, bool) or not math.isfinite(value):
        refuse(value, path, "a number")
    return value


def anything(value: object, path: str) -> Any:
    """Accept whatever is there: the vendor documents the parameter, and says that it does nothing."""
    return value


def not_emulated(value: object, path: str) -> NoReturn:
    """Refuse what the service knows and the emulator does not."""
    raise MalformedBody(f"'{path}' is not emulated.")


def choice(*words: str) -> Kind:
    """Return the kind of a string that is one of these words."""

    def check(value: object, path: str) -> str:
        if not isinstance(value, str) or value not in words:
            refuse(value, path, "one of " + ", ".join(words))
        return value

    return check


def either(string: Kind, other: Kind) -> Kind:
    """Return the kind of a value that is a string of one kind or something else of another."""
    return lambda value, path: (string if isinstance(value, str) else other)(value, path)


def tagged(default: str = "", **kinds: Kind) -> Kind:
    """Return the kind of an object whose ``type`` says which of these it is.

    :param default: the type of an object that names none; empty when it must.
    """

    def check(value: object, path: str) -> dict[str, Any]:
        kind = value.get("type", default) if isinstance(value, dict) else None
        if not isinstance(kind, str) or kind not in kinds:
            refuse(value, path, "an object of type " + ", ".join(kinds))
        checked: dict[str, Any] = kinds[kind](value, path)
        return {**checked, "type": kind}

    return check
