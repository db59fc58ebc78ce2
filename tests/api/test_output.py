"""The form of an answer: what may be asked for, and what a text must be then."""

from __future__ import annotations

import json
from enum import Enum
from typing import Any

import pytest
from pydantic import BaseModel

from airflow_provider.yandex_ai_studio.api.output import ModelSchema, Output, templatable
from airflow_provider.yandex_ai_studio.api.values import NOT_FINITE
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError, InvalidOutput


class Colour(Enum):
    """What model_dump must turn into JSON."""

    BLUE = "blue"


class Duck(BaseModel):
    """A form of an answer."""

    name: str
    colours: list[Colour] = []


SCHEMA = {"type": "object", "properties": {"name": {"type": "string"}}, "required": ["name"]}
TEXT, ANY_OBJECT, BY_SCHEMA, BY_MODEL = (
    Output.of(json_object=json_object, json_schema=schema)
    for json_object, schema in ((False, None), (True, None), (False, SCHEMA), (False, Duck))
)


class Weight(BaseModel):
    """A model that takes any value, and makes None of a number that is not finite."""

    kg: Any


BY_WEIGHT = Output.of(json_object=False, json_schema=Weight)
BY_ITSELF = Output.of(json_object=False, json_schema={"properties": {"a": {"$ref": "#"}}})


def test_a_form_is_what_was_asked_for() -> None:
    for any_object, asked, json_object, schema, model in (
        (False, None, False, None, None),
        (True, None, True, None, None),
        (False, SCHEMA, False, SCHEMA, None),
        (False, Duck, False, Duck.model_json_schema(), Duck),
    ):
        form = Output.of(json_object=any_object, json_schema=asked)
        assert (form.json_object, form.schema, form.model) == (json_object, schema, model)
    assert [form.structured for form in (TEXT, ANY_OBJECT, BY_SCHEMA, BY_MODEL)] == [False, True, True, True]
    assert Output.of(json_object=False, json_schema={}).structured
    assert Output.of(json_object=False, json_schema=json.dumps(SCHEMA)) == BY_SCHEMA
    assert Output.of(json_object=False, json_schema=ModelSchema(Duck)) == BY_MODEL


@pytest.mark.parametrize(
    ("json_object", "json_schema", "named"),
    [
        (True, SCHEMA, "Give either `json_object` or `json_schema`; both are set"),
        (True, {}, "both are set"),
        (False, "[1]", "Give `json_schema` a mapping or a pydantic model: it is a list of 1"),
        (False, "{", "`json_schema`"),
        (False, {"default": float("nan")}, "`json_schema`"),
        (False, dict, "Give `json_schema` a mapping"),
        (False, {"type": "sentence"}, "`json_schema` is no JSON schema"),
    ],
)
def test_a_form_that_can_t_be_is_named(json_object: bool, json_schema: Any, named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        Output.of(json_object=json_object, json_schema=json_schema)
    assert named in str(caught.value)


def test_only_a_model_is_wrapped_to_stand_in_a_template_field() -> None:
    wrapped = templatable(Duck)
    assert wrapped == ModelSchema(Duck)
    assert isinstance(wrapped, ModelSchema)
    assert (str(wrapped), wrapped.serialize()) == ("Duck", Duck.model_json_schema())
    for other in (None, SCHEMA, "{{ schema }}", wrapped):
        assert templatable(other) is other
    assert templatable(dict) is dict  # type: ignore[arg-type] # it is no model


@pytest.mark.parametrize(
    ("form", "text", "value"),
    [
        (TEXT, "{", "{"),
        (ANY_OBJECT, ' {"a": [1, null]} ', {"a": [1, None]}),
        (ANY_OBJECT, '{"a": "\\u0000"}', {"a": "\ufffd"}),
        (ANY_OBJECT, '{"a": 0.5}', {"a": 0.5}),
        (BY_WEIGHT, '{"kg": 0.5}', {"kg": 0.5}),
        (BY_SCHEMA, '{"name": "Утка", "more": 1}', {"name": "Утка", "more": 1}),
        (Output.of(json_object=False, json_schema={"type": "array"}), "[]", []),
        (BY_MODEL, '{"name": "Утка", "colours": ["blue"]}', {"name": "Утка", "colours": ["blue"]}),
        (BY_MODEL, '{"name": "Утка"}', {"name": "Утка", "colours": []}),
    ],
)
def test_a_text_is_what_it_is_meant_to_be(form: Output, text: str, value: Any) -> None:
    assert form.value_of(text) == value
    assert json.dumps(form.value_of(text))


@pytest.mark.parametrize(
    ("form", "text", "why"),
    [
        (ANY_OBJECT, "", "it is not JSON (at character 0)"),
        (ANY_OBJECT, '{"a": canary}', "it is not JSON (at character 6)"),
        (ANY_OBJECT, '{"a": NaN}', "it is not JSON (at character 0)"),
        (BY_SCHEMA, "[" * 100_000, "it is not JSON (at character 0)"),
        (ANY_OBJECT, '["canary"]', "it is a JSON list, and an object was asked for"),
        (BY_SCHEMA, '{"name": 5}', "it does not fit the schema: type at name"),
        (BY_SCHEMA, '{"nom": "canary"}', "it does not fit the schema: required at the whole"),
        (BY_MODEL, '{"nom": "canary"}', "it does not fit Duck: missing at name"),
        (BY_MODEL, '{"name": "a", "colours": ["blue", "canary"]}', "it does not fit Duck: enum at colours.1"),
        (BY_MODEL, '"canary"', "it does not fit Duck: model_type at the whole"),
        (ANY_OBJECT, '{"a": 1e400}', NOT_FINITE),
        (BY_WEIGHT, '{"kg": 1e400}', NOT_FINITE),
        (ANY_OBJECT, '{"__id__": "canary"}', "it has a member named"),
        (BY_ITSELF, '{"a":' * 400 + "1" + "}" * 400, "it is nested too deeply to be stored"),
    ],
)
def test_a_text_that_is_something_else_is_told_by_its_place_and_never_repeated(
    form: Output, text: str, why: str
) -> None:
    with pytest.raises(InvalidOutput) as caught:
        form.value_of(text)
    assert why in str(caught.value)
    assert "canary" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
