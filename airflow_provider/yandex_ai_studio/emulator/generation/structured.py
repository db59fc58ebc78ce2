"""A value for a JSON schema: the simplest that satisfies it, with the text wherever a string is free."""

from __future__ import annotations

import math
from typing import Any

from airflow_provider.yandex_ai_studio.emulator.generation.extract import shorten

#: From this depth on only what is required is filled in, so that recursive schemas come to an end.
_DEEP = 4
_DEEPEST = 24

_FORMATS = {
    "date": "2025-01-31",
    "time": "12:00:00Z",
    "date-time": "2025-01-31T12:00:00Z",
    "duration": "PT1H",
    "email": "user@example.com",
    "hostname": "example.com",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uri": "https://example.com/",
    "uuid": "00000000-0000-4000-8000-000000000000",
}


class UnusableSchema(ValueError):
    """No value can be built for a schema."""


def build(schema: dict[str, Any], text: str) -> Any:
    """Return a value that satisfies a schema.

    ``pattern``, ``not``, ``if`` and the like are not understood: a schema that uses them may be given a
    value that does not satisfy it.

    :param text: what strings are made of.
    :raises UnusableSchema: when a reference leads nowhere, or a required part contains itself.
    """
    return _Builder(schema, text).value(schema, 0)


class _Builder:
    def __init__(self, root: dict[str, Any], text: str) -> None:
        self._root = root
        self._text = text

    def value(self, schema: object, depth: int) -> Any:
        if depth > _DEEPEST:
            raise UnusableSchema("the schema requires a value that contains itself")
        schema = self._resolved(schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return schema["enum"][0]
        for keyword in ("anyOf", "oneOf"):
            if schema.get(keyword):
                rest = {name: member for name, member in schema.items() if name != keyword}
                return self.value(_merged(rest, self._option(schema[keyword], depth)), depth + 1)
        match _type_of(schema, depth):
            case "object":
                return self._object(schema, depth)
            case "array":
                return self._array(schema, depth)
            case "string":
                return self._string(schema)
            case "integer":
                return int(_number(schema, 1))
            case "number":
                return _number(schema, 0)
            case "boolean":
                return True
            case "null":
                return None
        raise UnusableSchema(f"the schema has an unknown type {schema['type']!r}")

    def _resolved(self, schema: object) -> dict[str, Any]:
        """Follow references and merge what ``allOf`` adds."""
        if not isinstance(schema, dict):
            return {}
        followed = 0
        while "$ref" in schema:
            followed += 1
            if followed > _DEEPEST:
                raise UnusableSchema("the schema has a reference to itself")
            rest = {name: member for name, member in schema.items() if name != "$ref"}
            schema = _merged(self._target(schema["$ref"]), rest)
        for part in schema.get("allOf", []):
            schema = _merged(schema, self._resolved(part))
        return schema

    def _target(self, reference: object) -> dict[str, Any]:
        found: Any = self._root
        if not isinstance(reference, str) or not reference.startswith("#"):
            raise UnusableSchema(f"the schema refers to {reference!r}, which is not within it")
        for step in reference.lstrip("#").strip("/").split("/"):
            name = step.replace("~1", "/").replace("~0", "~")
            if name:
                found = found.get(name) if isinstance(found, dict) else None
        if not isinstance(found, dict):
            raise UnusableSchema(f"the schema refers to {reference!r}, which it does not have")
        return found

    def _option(self, options: list[Any], depth: int) -> dict[str, Any]:
        resolved = [self._resolved(option) for option in options]
        simplest = next((option for option in resolved if option.get("type") == "null"), resolved[0])
        return simplest if depth >= _DEEP else resolved[0]

    def _object(self, schema: dict[str, Any], depth: int) -> dict[str, Any]:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        wanted = [name for name in properties if depth < _DEEP or name in required]
        wanted += [name for name in required if name not in properties]
        return {name: self.value(properties.get(name, {"type": "string"}), depth + 1) for name in wanted}

    def _array(self, schema: dict[str, Any], depth: int) -> list[Any]:
        given = [self.value(item, depth + 1) for item in schema.get("prefixItems", [])]
        shortest = int(schema.get("minItems", 0))
        length = max(shortest, min(1 if depth < _DEEP else 0, int(schema.get("maxItems", 1))))
        return given + [self.value(schema.get("items"), depth + 1) for _ in range(length - len(given))]

    def _string(self, schema: dict[str, Any]) -> str:
        if schema.get("format") in _FORMATS:
            return _FORMATS[schema["format"]]
        text = self._text
        if "maxLength" in schema:
            text = shorten(text, int(schema["maxLength"]))
        return text.ljust(int(schema.get("minLength", 0)), ".")


def _type_of(schema: dict[str, Any], depth: int) -> str:
    declared = schema.get("type")
    if isinstance(declared, list):
        nullable = "null" in declared and depth >= _DEEP
        return "null" if nullable else next((name for name in declared if name != "null"), "null")
    if isinstance(declared, str):
        return declared
    if "properties" in schema or "required" in schema:
        return "object"
    return "array" if "items" in schema or "prefixItems" in schema else "string"


def _number(schema: dict[str, Any], whole: int) -> float:
    """Return the number nearest to zero that is within the bounds.

    :param whole: the step of integers, 0 for numbers of any kind.
    """
    step = schema.get("multipleOf", 0) or whole
    low, high = -math.inf, math.inf
    if "minimum" in schema:
        low = schema["minimum"]
    if "exclusiveMinimum" in schema:
        low = max(low, schema["exclusiveMinimum"] + (step or 0.5))
    if "maximum" in schema:
        high = schema["maximum"]
    if "exclusiveMaximum" in schema:
        high = min(high, schema["exclusiveMaximum"] - (step or 0.5))
    if low <= 0 <= high:
        return 0
    if low > 0:
        return math.ceil(low / step) * step if step else low
    return math.floor(high / step) * step if step else high


def _merged(base: dict[str, Any], extra: dict[str, Any]) -> dict[str, Any]:
    merged = {**base, **extra}
    for name in ("properties", "$defs"):
        if name in base and name in extra:
            merged[name] = {**base[name], **extra[name]}
    if "required" in base and "required" in extra:
        merged["required"] = list(dict.fromkeys([*base["required"], *extra["required"]]))
    return merged
