"""Structured output: what the model must keep to, and the value that its text is meant to be."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from airflow_provider.yandex_ai_studio.api.checks import wrong
from airflow_provider.yandex_ai_studio.exceptions import InvalidOutput

if TYPE_CHECKING:
    from pydantic import BaseModel

JsonSchema = Mapping[str, Any] | type["BaseModel"]


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
        :raises ConfigurationError: Both, or something that is no schema.
        """
        if json_object and json_schema is not None:
            raise wrong("Give either `json_object` or `json_schema`; both are set")
        if json_schema is None:
            return cls(json_object=json_object)
        if isinstance(json_schema, type) and hasattr(json_schema, "model_json_schema"):
            return cls(schema=json_schema.model_json_schema(), model=json_schema)
        if not isinstance(json_schema, Mapping):
            raise wrong(f"`json_schema` must be a mapping or a pydantic model, not a {type(json_schema).__name__}")
        from jsonschema import SchemaError
        from jsonschema.validators import validator_for

        try:
            schema: dict[str, Any] = json.loads(json.dumps(json_schema))
        except (TypeError, ValueError):
            raise wrong("`json_schema` holds something that JSON has no form for") from None
        try:
            validator_for(schema).check_schema(schema)
        except SchemaError as error:
            raise wrong(f"`json_schema` is no JSON schema: {error.message}") from None
        return cls(schema=schema)

    @property
    def structured(self) -> bool:
        """Whether the answer is more than a text."""
        return self.json_object or self.schema is not None

    def value_of(self, text: str) -> Any:
        """
        Return what a text is meant to be: the text itself, or the JSON value in it, validated.

        :raises InvalidOutput: It is not what was asked for. The message repeats none of the text.
        """
        if not self.structured:
            return text
        try:
            value = json.loads(text, parse_constant=_no_constant)
        except (ValueError, RecursionError) as error:
            raise InvalidOutput(f"it is not JSON (at character {getattr(error, 'pos', 0)})") from None
        if self.model is not None:
            return self._by_model(self.model, value)
        if self.json_object and not isinstance(value, dict):
            raise InvalidOutput(f"it is a JSON {type(value).__name__}, and an object was asked for")
        if self.schema is not None:
            self._check_against(self.schema, value)
        return value

    @staticmethod
    def _by_model(model: type[BaseModel], value: Any) -> Any:
        from pydantic import ValidationError

        try:
            return model.model_validate(value).model_dump(mode="json")
        except ValidationError as error:
            first = error.errors(include_input=False, include_url=False)[0]
            where = ".".join(map(str, first["loc"])) or "the whole"
            raise InvalidOutput(f"it does not fit {model.__name__}: {first['type']} at {where}") from None

    @staticmethod
    def _check_against(schema: dict[str, Any], value: Any) -> None:
        from jsonschema.validators import validator_for

        for error in validator_for(schema)(schema).iter_errors(value):
            where = ".".join(map(str, error.absolute_path)) or "the whole"
            raise InvalidOutput(f"it does not fit the schema: {error.validator} at {where}")


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is no JSON")
