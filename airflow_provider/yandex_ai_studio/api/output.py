"""Structured output: what the model must keep to, and the value that its text is meant to be."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeGuard

from airflow_provider.yandex_ai_studio.api import schema, values
from airflow_provider.yandex_ai_studio.api.checks import decoded, plain, shape, wrong
from airflow_provider.yandex_ai_studio.exceptions import InvalidOutput

if TYPE_CHECKING:
    from pydantic import BaseModel


@dataclass(frozen=True)
class ModelSchema:
    """A pydantic model in a template field: to render a bare class, Airflow would call it."""

    model: type[BaseModel]

    def __str__(self) -> str:
        return self.model.__name__

    def serialize(self) -> dict[str, Any]:
        """Return what Airflow's UI shows of it."""
        return self.model.model_json_schema()


JsonSchema = Mapping[str, Any] | type["BaseModel"] | ModelSchema | str
"""A schema as users give it: a mapping, a pydantic model, or the JSON text that a template rendered."""


def templatable(json_schema: JsonSchema | None) -> JsonSchema | None:
    """Return a schema in the form in which it may stand in a template field."""
    return ModelSchema(json_schema) if _is_model(json_schema) else json_schema


def _is_model(json_schema: Any) -> TypeGuard[type[BaseModel]]:
    return isinstance(json_schema, type) and hasattr(json_schema, "model_json_schema")


@dataclass(frozen=True)
class Output:
    """
    The form of an answer.

    :param json_object: Any JSON object.
    :param schema: A JSON schema.
    :param model: The pydantic model that the schema comes from.
    """

    json_object: bool = False
    schema: dict[str, Any] | None = None
    model: type[BaseModel] | None = None

    @classmethod
    def of(cls, *, json_object: bool, json_schema: JsonSchema | None) -> Output:
        """
        Check what the user asks for.

        :param json_schema: A JSON schema, or a pydantic model that has one.
        :raises ConfigurationError: Both, or something that is no schema, or one that can't be gone by.
        """
        if json_object and json_schema is not None:
            raise wrong("Give either `json_object` or `json_schema`; both are set")
        if json_schema is None:
            return cls(json_object=json_object)
        if isinstance(json_schema, ModelSchema):
            json_schema = json_schema.model
        if _is_model(json_schema):
            return cls(schema=_schema_of(json_schema), model=json_schema)
        given = decoded(json_schema, "json_schema")
        if not isinstance(given, Mapping):
            raise wrong(f"Give `json_schema` a mapping or a pydantic model: it is {shape(given)}")
        described: dict[str, Any] = plain(dict(given), "json_schema")
        schema.check(described)
        return cls(schema=described)

    @property
    def structured(self) -> bool:
        """Whether the answer is more than a text."""
        return self.json_object or self.schema is not None

    def value_of(self, text: str) -> Any:
        """
        Return what a text is meant to be: the text itself, or the JSON value in it, validated.

        :raises InvalidOutput: It is not what was asked for, or can't be stored. The message repeats none of the text.
        """
        if not self.structured:
            return text
        try:
            value = json.loads(values.storable(text), parse_constant=_no_constant, parse_float=_finite)
        except (ValueError, RecursionError) as error:
            raise InvalidOutput(f"it is not JSON (at character {getattr(error, 'pos', 0)})") from None
        if values.nested_too_deeply(value):  # what looks into it would break
            raise InvalidOutput(str(values.unstorable(value)))
        if self.model is not None:
            value = self._by_model(self.model, value)
        elif self.json_object and not isinstance(value, dict):
            raise InvalidOutput(f"it is a JSON {type(value).__name__}, and an object was asked for")
        elif self.schema is not None and (why := schema.misfit(self.schema, value)):
            raise InvalidOutput(why)
        if why := values.unstorable(value):  # another attempt could not store it either
            raise InvalidOutput(why)
        return value

    @staticmethod
    def _by_model(model: type[BaseModel], value: Any) -> Any:
        from pydantic import ValidationError

        try:
            return model.model_validate(value).model_dump(mode="json")
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise InvalidOutput(f"it does not fit {model.__name__}: {first['type']} at {where}") from None


def _schema_of(model: type[BaseModel]) -> dict[str, Any]:
    from pydantic.errors import PydanticUserError

    try:
        return model.model_json_schema()
    except PydanticUserError as error:
        raise wrong(f"`json_schema` is {model.__name__}, which has no JSON schema: {error.message}") from None


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")


def _finite(written: str) -> float:
    if not math.isfinite(number := float(written)):
        raise InvalidOutput(values.NOT_FINITE)  # a pydantic model would make it None
    return number
