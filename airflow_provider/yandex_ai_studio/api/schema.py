"""
A JSON schema: whether it can be gone by, and whether a value keeps to it. Nothing is ever fetched for it.

What is wrong with a schema is found before anything is paid for: what it refers to must lie in itself, and following it
must come to an end.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider.yandex_ai_studio.api.checks import wrong
from airflow_provider.yandex_ai_studio.exceptions import InvalidOutput

if TYPE_CHECKING:
    from referencing import Resource
    from referencing._core import Resolver

REFERENCES = ("$ref", "$dynamicRef", "$recursiveRef")
IN_PLACE = ("allOf", "anyOf", "oneOf", "not", "if", "then", "else", "dependentSchemas", "dependencies")
"""What holds schemas for the very value that the schema around them is for."""


def check(schema: Mapping[str, Any]) -> None:
    """
    Look whether a schema can be gone by.

    :raises ConfigurationError: It is no schema, refers to what is not in it, or never ends.
    """
    try:
        _Walk(schema).run()
    except RecursionError:
        raise wrong("Flatten `json_schema`: it is nested too deep") from None


def misfit(schema: Mapping[str, Any], value: Any) -> str | None:
    """
    Return why a value does not keep to a schema that was checked; None if it does. The value is not repeated.

    :raises InvalidOutput: It can't be told.
    """
    from jsonschema.validators import validator_for
    from referencing import Registry

    try:
        for error in validator_for(schema)(schema, registry=Registry()).iter_errors(value):
            where = ".".join(map(str, error.absolute_path)) or "the whole"
            return f"it does not fit the schema: {error.validator} at {where}"
    except Exception as error:
        raise InvalidOutput(f"it can't be held against the schema ({type(error).__name__})") from None
    return None


class _Walk:
    """A walk through all that a schema consists of and refers to."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        from jsonschema.validators import validator_for
        from jsonschema_specifications import REGISTRY  # type: ignore[import-untyped] # it leaves them out
        from referencing.jsonschema import DRAFT202012, UnknownDialect, specification_with

        dialect = schema.get("$schema")
        try:
            self._specification = specification_with(str(dialect)) if dialect else DRAFT202012
        except UnknownDialect:
            raise wrong(
                f"Leave `$schema` out of `json_schema`, or name a draft: {str(dialect)[:100]!r} is none"
            ) from None
        self._check_schema = validator_for(schema).check_schema
        root = self._specification.create_resource(schema)
        self._todo: list[tuple[Resource[Any], Resolver[Any]]] = [(root, REGISTRY.resolver_with_root(root))]
        self._seen: set[int] = set()

    def run(self) -> None:
        self._check(self._todo[0][0].contents)
        while self._todo:
            self._visit(*self._todo.pop(), within=())

    def _visit(self, resource: Resource[Any], resolver: Resolver[Any], within: tuple[int, ...]) -> None:
        schema = resource.contents
        if id(schema) in within:
            raise wrong("Mend `json_schema`: a `$ref` in it leads back to itself, without an end")
        if id(schema) in self._seen or not isinstance(schema, Mapping):
            return
        self._check_patterns(schema)
        held = {id(item) for name in IN_PLACE for item in _schemas_in(schema.get(name))}
        for part in resource.subresources():
            if id(part.contents) in held:
                self._visit(part, resolver.in_subresource(part), (*within, id(schema)))
            else:
                self._todo.append((part, resolver.in_subresource(part)))
        for name in REFERENCES:
            if isinstance(reference := schema.get(name), str):
                self._visit(*self._target(reference, resolver), (*within, id(schema)))
        self._seen.add(id(schema))

    def _target(self, reference: str, resolver: Resolver[Any]) -> tuple[Resource[Any], Resolver[Any]]:
        from referencing.exceptions import Unresolvable

        try:
            found = resolver.lookup(reference)
        except (Unresolvable, LookupError, TypeError, ValueError, AttributeError):
            raise wrong(
                f"Put what {reference[:200]!r} refers to into `json_schema` itself, under '$defs'.\n"
                "It is not there, and nothing is fetched from elsewhere"
            ) from None
        self._check(found.contents)
        return self._specification.create_resource(found.contents), found.resolver

    def _check(self, schema: Any) -> None:
        from jsonschema import SchemaError

        try:
            self._check_schema(schema)
        except SchemaError as error:
            raise wrong(f"`json_schema` is no JSON schema: {error.message[:300]}") from None
        except OverflowError as error:  # of a pattern that asks for too many repetitions
            raise wrong(f"`json_schema` is no JSON schema: {error}") from None

    @staticmethod
    def _check_patterns(schema: Mapping[str, Any]) -> None:
        """Look at those that the older drafts don't check themselves."""
        for pattern in schema.get("patternProperties") or ():
            try:
                re.compile(pattern)
            except (re.error, OverflowError) as error:
                raise wrong(f"Mend the pattern {str(pattern)[:100]!r} in `json_schema`: {error}") from None


def _schemas_in(value: Any) -> list[Any]:
    if isinstance(value, list):
        return value
    return [value, *value.values()] if isinstance(value, Mapping) else []
