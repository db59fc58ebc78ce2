"""The stand-in for a model, as plain functions."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.emulator.generation.completion import as_text, complete
from airflow_provider.yandex_ai_studio.emulator.generation.extract import extract
from airflow_provider.yandex_ai_studio.emulator.generation.structured import UnusableSchema, build
from airflow_provider.yandex_ai_studio.emulator.generation.tokens import pieces, tokenize

README = """\
Summarize this README in one sentence:

<!-- generated -->
<h1 align="center"><img src="logo.png"></h1>

# Hedgehog 🦔

[![CI](https://ci/badge.svg)](https://ci) ![downloads](https://x/y.svg)

| a | b |
|---|---|

- [Docs](https://docs)

**Hedgehog** is a *prickly* library, e.g. for [HTTP](https://http). It has no dependencies.
It rolls up.

```python
import hedgehog
```
"""

FAMILY = "👩\u200d👩\u200d👧"


def test_the_extract_of_a_readme_is_its_first_prose_without_markup() -> None:
    assert extract(README) == "Hedgehog is a prickly library, e.g. for HTTP. It has no dependencies."


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("ping", "ping"),
        ("To be, or not to be: that is the question.", "To be, or not to be: that is the question."),
        ("Кратко перескажи:\n\nЁжики спят зимой. Они сворачиваются.", "Ёжики спят зимой. Они сворачиваются."),
        ("Title\n=====\n\n.. image:: x\n   :alt: y\n\nA tool that does things.", "A tool that does things."),
        ("snake_case_names and 2 * 3 * 4 stay", "snake_case_names and 2 * 3 * 4 stay"),
        ("猫が好きです。犬も好きです。鳥は嫌いです。", "猫が好きです。犬も好きです。"),
        (f"e\u0301 is not é, nor is {FAMILY} one letter", f"e\u0301 is not é, nor is {FAMILY} one letter"),
        ("***", "***"),
        ("```\nonly code\n```", "```\nonly code\n```"),
    ],
)
def test_the_extract_keeps_characters_as_they_are(text: str, expected: str) -> None:
    assert extract(text) == expected


def test_a_long_text_is_cut_between_words() -> None:
    text = " ".join(f"word{n}" for n in range(1000))
    assert len(extract(text)) <= 320
    assert text.startswith(extract(text) + " ")


@pytest.mark.parametrize("text", ["", " ", "a b\n\nc  d\t", "Привет, мир! 🦔", "\n\n", "x" * 33])
def test_pieces_join_to_the_text_they_came_from(text: str) -> None:
    assert "".join(pieces(text)) == text


def request(text: str = "one two three", **members: Any) -> dict[str, Any]:
    return {"messages": [{"role": "system", "text": "s"}, {"role": "user", "text": text}], **members}


def answer_text(**members: Any) -> str:
    return str(complete(request(**members)).message["text"])


def test_the_answer_depends_on_the_request_alone() -> None:
    assert complete(request()) == complete(request())


def test_an_answer_longer_than_max_tokens_is_truncated() -> None:
    cut = complete(request(completionOptions={"maxTokens": 2}))
    assert (cut.message["text"], cut.status) == ("one two", "ALTERNATIVE_STATUS_TRUNCATED_FINAL")
    assert cut.completion_tokens == 2


def test_an_answer_of_just_max_tokens_is_whole() -> None:
    assert complete(request(completionOptions={"maxTokens": 3})).status == "ALTERNATIVE_STATUS_FINAL"


def test_hidden_reasoning_is_billed() -> None:
    plain = complete(request())
    reasoned = complete(request(completionOptions={"reasoningOptions": {"mode": "ENABLED_HIDDEN"}}))
    assert reasoned.message == plain.message
    assert reasoned.completion_tokens == plain.completion_tokens + reasoned.reasoning_tokens
    assert reasoned.reasoning_tokens > 0


def test_usage_counts_the_tokens_that_the_tokenizer_shows() -> None:
    assert complete(request()).input_tokens == len(tokenize(as_text(request())))


def test_a_json_object_is_a_string_that_holds_an_object() -> None:
    assert json.loads(answer_text(jsonObject=True)) == {"output": "one two three"}


def test_parts_of_a_stream_grow_to_the_whole_answer() -> None:
    whole = complete(request("word " * 40))
    parts = list(whole.parts())
    texts = [part.message["text"] for part in parts]
    assert len(parts) > 2
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert {part.status for part in parts[:-1]} == {"ALTERNATIVE_STATUS_PARTIAL"}
    assert parts[-1] == whole


TOOLS = [
    {"function": {"name": "first", "parameters": {"type": "object", "properties": {"n": {"type": "integer"}}}}},
    {"function": {"name": "second"}},
]


@pytest.mark.parametrize(
    ("choice", "called"),
    [({"mode": "REQUIRED"}, ("first", {"n": 0})), ({"functionName": "second"}, ("second", {}))],
)
def test_a_demanded_tool_is_called(choice: dict[str, str], called: tuple[str, dict[str, Any]]) -> None:
    completion = complete(request(tools=TOOLS, toolChoice=choice))
    (call,) = completion.message["toolCallList"]["toolCalls"]
    assert completion.status == "ALTERNATIVE_STATUS_TOOL_CALLS"
    assert (call["functionCall"]["name"], call["functionCall"]["arguments"]) == called


@pytest.mark.parametrize("choice", [{}, {"mode": "AUTO"}, {"mode": "NONE"}])
def test_an_offered_tool_is_not_called(choice: dict[str, str]) -> None:
    assert "text" in complete(request(tools=TOOLS, toolChoice=choice)).message


def test_the_result_of_a_tool_is_what_the_answer_is_made_of() -> None:
    asked = request()
    asked["messages"].append(
        {"role": "user", "toolResultList": {"toolResults": [{"functionResult": {"name": "f", "content": "42 °C"}}]}}
    )
    assert complete(asked).message["text"] == "42 °C"


NODE = {
    "type": "object",
    "properties": {"name": {"type": "string"}, "child": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]}},
    "required": ["name", "child"],
}


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        ({"type": "string"}, "some text"),
        ({"type": "string", "maxLength": 6}, "some"),
        ({"type": "string", "minLength": 12}, "some text..."),
        ({"type": "string", "format": "date"}, "2025-01-31"),
        ({"type": "integer"}, 0),
        ({"type": "integer", "minimum": 1, "maximum": 5}, 1),
        ({"type": "integer", "exclusiveMinimum": 2.5, "multipleOf": 2}, 6),
        ({"type": "number", "maximum": -0.5}, -0.5),
        ({"type": "boolean"}, True),
        ({"type": "null"}, None),
        ({"type": ["null", "integer"]}, 0),
        ({"enum": ["red", "green"]}, "red"),
        ({"const": 7}, 7),
        ({"type": "array", "items": {"type": "integer"}}, [0]),
        ({"type": "array", "items": {"type": "integer"}, "minItems": 3}, [0, 0, 0]),
        ({"type": "array", "maxItems": 0}, []),
        ({"anyOf": [{"type": "boolean"}, {"type": "string"}]}, True),
        ({"type": "object", "required": ["a"]}, {"a": "some text"}),
        ({"properties": {"a": {"$ref": "#/$defs/n"}}, "$defs": {"n": {"type": "integer"}}}, {"a": 0}),
        (
            {"allOf": [{"properties": {"a": {"const": 1}}}, {"properties": {"b": {"const": 2}}}]},
            {"a": 1, "b": 2},
        ),
    ],
)
def test_a_schema_gets_a_value_that_satisfies_it(schema: dict[str, Any], expected: Any) -> None:
    assert build(schema, "some text") == expected


def test_a_recursive_schema_comes_to_an_end() -> None:
    value = build({**NODE, "$defs": {"node": NODE}}, "t")
    depth = 0
    while value is not None:
        assert value["name"] == "t"
        value, depth = value["child"], depth + 1
    assert depth < 10


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/nowhere"},
        {"$ref": "https://elsewhere/schema"},
        {"$ref": "#"},
        {"type": "array", "minItems": 1, "items": {"$ref": "#"}},
        {"type": "tuple"},
    ],
)
def test_a_schema_without_a_value_is_reported(schema: dict[str, Any]) -> None:
    with pytest.raises(UnusableSchema):
        build(schema, "t")
