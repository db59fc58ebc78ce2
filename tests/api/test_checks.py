"""What a user asks for is taken by its value, or refused with what to do and without a text that may be private."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api import checks
from airflow_provider.yandex_ai_studio.api.models import Message, ToolCall, ToolResult
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError

WEATHER = {"name": "weather", "arguments": {"city": "Omsk"}}
SUNNY = {"name": "weather", "content": "sunny"}


def one(message: Any) -> Message:
    [read] = checks.conversation(None, [message], None)
    return read


@pytest.mark.parametrize(
    ("message", "read"),
    [
        ({"role": "assistant", "text": "None"}, Message("assistant", "None")),
        (
            {"role": "assistant", "tool_calls": [WEATHER, {"name": "time", "arguments": {}}]},
            Message("assistant", tool_calls=(ToolCall("weather", {"city": "Omsk"}), ToolCall("time", {}))),
        ),
        (
            {"role": "user", "tool_results": [SUNNY, {"name": "time", "content": "None"}]},
            Message("user", tool_results=(ToolResult("weather", "sunny"), ToolResult("time", "None"))),
        ),
    ],
)
def test_a_message_is_read_as_it_is_written(message: Any, read: Message) -> None:
    assert one(message) == read


AN_AGE = "a mapping with the keys ['age']"


@pytest.mark.parametrize(
    ("message", "told"),
    [
        ({"role": "robot", "text": "Hi"}, "one of the roles system, user, assistant: it has 'robot'"),
        ({"role": "x" * 21, "text": "Hi"}, "it has a text"),
        ({"role": "a secret", "text": "Hi"}, "it has a text"),
        ({"role": ["user"], "text": "Hi"}, "it has a list of 1"),
        ({"role": "user", "text": ""}, "Give the text of message 1 of `messages` a text: it is an empty text"),
        ({"role": "assistant", "tool_calls": []}, "in message 1 of `messages`: it has a list of 0"),
        ({"role": "assistant", "tool_calls": "weather"}, "in message 1 of `messages`: it has a text"),
        ({"role": "assistant", "tool_calls": WEATHER}, "it has a mapping with the keys ['arguments', 'name']"),
        ({"role": "assistant", "tool_calls": iter([WEATHER])}, "it has a value of the type list_iterator"),
        ({"role": "assistant", "tool_calls": None}, "it has None"),
        ({"role": "assistant", "tool_calls": [{"age": 5}]}, f"of message 1 of `messages` as {{'name'...{AN_AGE}"),
        ({"role": "assistant", "tool_calls": [{**WEATHER, "age": 5}]}, "one of them is a mapping"),
        ({"role": "assistant", "tool_calls": [{"name": "weather", "arguments": "{}"}]}, "one of them is a mapping"),
        ({"role": "assistant", "tool_calls": [{"name": 5, "arguments": {}}]}, "one of them is a mapping"),
        ({"role": "user", "tool_results": []}, "in message 1 of `messages`: it has a list of 0"),
        ({"role": "user", "tool_results": [{"age": 5}]}, f"of message 1 of `messages` as {{'name'...{AN_AGE}"),
        ({"role": "user", "tool_results": [{**SUNNY, "age": 5}]}, "one of them is a mapping"),
        ({"role": "user", "tool_results": [{"name": "weather", "content": 5}]}, "one of them is a mapping"),
        (
            {"role": "user", "tool_results": [{"name": "weather", "content": ""}]},
            "Give the content of a tool result in message 1 of `messages` a text",
        ),
        (
            {"role": "user", "text": "Hi", "tool_calls": [WEATHER]},
            "and no others: it is a mapping with the keys ['role', 'text', 'tool_calls'].\nNothing was sent",
        ),
        (
            "Hi",
            "'text', 'tool_calls', 'tool_results', and no others: it is a text.\nFor many rows, use YandexAIStudioBulk",
        ),
        (
            {"text": "Hi"},
            "and no others: it is a mapping with the keys ['text'].\nFor many rows, use YandexAIStudioBulk",
        ),
    ],
)
def test_a_wrong_message_is_told_by_its_place_and_its_shape(message: Any, told: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        one(message)
    for part in told.split("..."):
        assert part in str(error.value)


@pytest.mark.parametrize(
    ("value", "shape"),
    [
        ("", "an empty text"),
        (" \n", "an empty text"),
        (" None ", "the text 'None'"),
        ("my secret", "a text"),
        ({"b": 1, "a": "my secret"}, "a mapping with the keys ['a', 'b']"),
        (["my", "secret"], "a list of 2"),
        (b"my secret", "a value of the type bytes"),
        (None, "None"),
        (7, "a value of the type int"),
    ],
)
def test_a_wrong_value_is_described_without_its_text(value: Any, shape: str) -> None:
    assert checks.shape(value) == shape


@pytest.mark.parametrize(("value", "number"), [(0, 0.0), ("0.5", 0.5), (1, 1.0), (None, None)])
def test_a_fraction_may_be_rendered(value: Any, number: float | None) -> None:
    assert checks.fraction(value, "temperature") == number


@pytest.mark.parametrize(("value", "number"), [(0.5, 0.5), ("7", 7.0), (1e300, 1e300)])
def test_a_positive_number_may_be_rendered(value: Any, number: float) -> None:
    assert checks.positive(value, "timeout") == number


@pytest.mark.parametrize("value", [0, -1, "0", True, float("inf"), float("nan"), 10**400, "soon", None, [1]])
def test_what_is_no_positive_number_is_refused_by_its_name(value: Any) -> None:
    with pytest.raises(ConfigurationError, match=r"Give `timeout` a number above 0: it is"):
        checks.positive(value, "timeout")


def test_a_choice_is_one_of_those_that_there_are_or_none() -> None:
    assert checks.choice("b", "mode", ("a", "b")) == "b"
    assert checks.choice(None, "mode", ("a", "b")) is None
    with pytest.raises(ConfigurationError, match=r"^Set `mode` to one of a, b: it is 'c'\."):
        checks.choice("c", "mode", ("a", "b"))


@pytest.mark.parametrize(
    ("parts", "advice"),
    [
        ({"prompt": None}, "Give a `prompt`, a conversation as `messages`, or both."),
        ({"prompt": "", "instructions": "Be brief"}, "Give `prompt` a text"),
        ({"prompt": ["Hi", "Ho"]}, "Give `prompt` a text: it is a list of 2.\nFor many rows, use YandexAIStudioBulk"),
        ({"prompt": ("Hi",)}, "Give `prompt` a text: it is a list of 1.\nFor many rows, use YandexAIStudioBulk"),
        ({"prompt": "Hi", "instructions": ""}, "Give `instructions` a text"),
        ({"prompt": None, "messages": "Hi"}, "Give `messages` as a value, or render it with the filter `tojson`"),
    ],
)
def test_a_wrong_part_of_a_conversation_is_told_first_of_all(parts: dict[str, Any], advice: str) -> None:
    with pytest.raises(ConfigurationError) as error:
        checks.conversation(**{"messages": None, "instructions": None, **parts})
    assert str(error.value).startswith(advice)
