"""A schema leads nowhere else and comes to an end, or it is refused before anything is paid for."""

import json
import socket

import pytest
from pydantic import BaseModel, ConfigDict

from airflow_provider.yandex_ai_studio.api.output import Output
from airflow_provider.yandex_ai_studio.api.schema import misfit
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError, InvalidOutput

NODE = {"type": "object", "properties": {"next": {"$ref": "#/$defs/node"}, "name": {"type": "string"}}}
DRAFT_4 = "http://json-schema.org/draft-04/schema#"
DRAFT_7 = "http://json-schema.org/draft-07/schema#"
TOO_OFTEN = "a{99999999999999999999}"


@pytest.fixture(autouse=True)
def _no_network(monkeypatch):
    fetched = []

    def refuse(*args):
        fetched.append(args)
        raise OSError("there is no network")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    yield
    assert fetched == []


def form(schema):
    return Output.of(json_object=False, json_schema=schema)


def nested(depth):
    schema = {"type": "string"}
    for _ in range(depth):
        schema = {"items": schema}
    return schema


@pytest.mark.parametrize(
    ("schema", "named"),
    [
        ({"$ref": "https://example.com/schema.json"}, "https://example.com/schema.json"),
        ({"properties": {"a": {"$ref": "http://127.0.0.1/x"}}}, "http://127.0.0.1/x"),
        ({"$id": "https://example.com/a/", "$ref": "b.json"}, "b.json"),
        ({"$ref": "file:///etc/passwd"}, "file:///etc/passwd"),
        ({"$ref": "#/$defs/absent"}, r"#/\$defs/absent"),
        ({"items": {"anyOf": [{"$ref": "#nowhere"}]}}, "#nowhere"),
        ({"$dynamicRef": "https://example.com/dynamic"}, "https://example.com/dynamic"),
        ({"$dynamicRef": "#nowhere"}, "#nowhere"),
        ({"$ref": "#/x", "x": {"$ref": "#/$defs/deeper"}}, r"#/\$defs/deeper"),
        ({"$schema": DRAFT_7, "definitions": {"a": {"$ref": "other.json#/a"}}}, "other.json#/a"),
        ({"$ref": "#/allOf/one", "allOf": [True]}, "#/allOf/one"),
        ({"$ref": "#/title", "title": "a text"}, "no JSON schema"),
        ({"$ref": "#/x", "x": {"type": "sentence"}}, "no JSON schema"),
        ({"$ref": "#"}, "leads back"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}, "leads back"),
        ({"properties": {"a": {"allOf": [{"$ref": "#/properties/a"}]}}}, "leads back"),
        ({"items": {"not": {"$ref": "#/items"}}}, "leads back"),
        ({"$schema": "https://example.com/dialect"}, "https://example.com/dialect"),
        ({"$schema": ["x"]}, r"\$schema"),
        ({"pattern": "(unclosed"}, "unclosed"),
        ({"items": {"patternProperties": {r"\p{L}+": {}}}}, "p{L}"),
        ({"$schema": DRAFT_4, "items": {"patternProperties": {"(unclosed": {}}}}, "unclosed"),
        *[({"$schema": draft, "patternProperties": {TOO_OFTEN: {}}}, "too large") for draft in (DRAFT_4, DRAFT_7)],
        ({"items": {"pattern": TOO_OFTEN}}, "too large"),
        ({"$ref": "#/$defs/a", "$defs": {"a": {"pattern": "[z-a]"}}}, "z-a"),
        (nested(100_000), "nested too deep|no form for"),
        ({"default": float("nan")}, "no form for"),
        ({"type": 5}, "no JSON schema"),
        ("{'type': 'object'}", "tojson"),
        ("None", "'None'"),
        ("[1]", "a list"),
    ],
    ids=lambda value: value.replace("\\", "") if isinstance(value, str) else "",
)
def test_a_schema_that_cannot_be_gone_by_is_refused_before_anything_is_paid_for(schema, named):
    with pytest.raises(ConfigurationError, match=rf"(?s){named}.*Nothing was sent") as error:
        form(schema)
    assert "json_schema" in str(error.value)


@pytest.mark.parametrize(
    ("schema", "fits", "misfits"),
    [
        (
            {"$ref": "#/$defs/node", "$defs": {"node": NODE}},
            '{"next": {"next": {"name": "a"}}}',
            '{"next": {"name": 5}}',
        ),
        ({"$ref": DRAFT_7}, '{"type": "object"}', '{"type": 5}'),
        ({"$schema": DRAFT_7, "items": {"$ref": "#"}, "type": "array"}, "[[], [[]]]", "[5]"),
        ({"$dynamicAnchor": "n", "type": "object", "additionalProperties": {"$dynamicRef": "#n"}}, "{}", '{"a": 1}'),
        ({"$id": "https://example.com/me", "items": {"$ref": "https://example.com/me"}, "type": "array"}, "[]", "[1]"),
        ({"anyOf": [{"$ref": "#/$defs/a"}, {"$ref": "#/$defs/a"}], "$defs": {"a": {"type": "null"}}}, "null", "1"),
        ({"items": {"$id": "b", "$schema": "https://example.com/d", "type": "null"}}, "[null]", "[1]"),
        ('{"type": "integer"}', "5", '"5"'),
    ],
)
def test_a_schema_that_holds_all_it_refers_to_is_gone_by(schema, fits, misfits):
    assert form(schema).value_of(fits) is not ...
    with pytest.raises(InvalidOutput, match="does not fit"):
        form(schema).value_of(misfits)


@pytest.mark.parametrize(
    ("value", "why"),
    [
        ('{"ducks": [{"name": "a"}, {"name": 5}]}', "type at ducks.1.name"),
        ("[]", "type at the whole"),
    ],
)
def test_what_does_not_fit_is_told_by_its_place(value, why):
    ducks = {"type": "object", "properties": {"ducks": {"items": {"properties": {"name": {"type": "string"}}}}}}
    with pytest.raises(InvalidOutput) as error:
        form(ducks).value_of(value)
    assert str(error.value).startswith(str(InvalidOutput(f"it does not fit the schema: {why}")))


def test_a_value_that_goes_deeper_than_can_be_followed_is_invalid_and_no_crash():
    schema = {"$ref": "#/$defs/node", "$defs": {"node": NODE}}
    text = '{"next": ' * 900 + "{}" + "}" * 900
    with pytest.raises(InvalidOutput, match="nested too deeply"):
        form(schema).value_of(text)
    with pytest.raises(InvalidOutput, match="RecursionError"):
        misfit(schema, json.loads(text))


def test_a_schema_that_was_never_checked_is_not_fetched_either():
    with pytest.raises(InvalidOutput, match="can't be held against the schema"):
        Output(schema={"$ref": "https://example.com/schema.json"}).value_of("{}")


def test_a_pydantic_model_without_a_json_schema_is_refused():
    class Odd(BaseModel):
        model_config = ConfigDict(arbitrary_types_allowed=True)
        field: socket.socket

    with pytest.raises(ConfigurationError, match="Odd, which has no JSON schema"):
        form(Odd)
