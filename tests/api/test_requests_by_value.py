"""What both APIs are asked for, part by part, and which part is named where one is wrong."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.models import Message, ToolCall, ToolResult, Usage
from airflow_provider.yandex_ai_studio.api.output import Output
from airflow_provider.yandex_ai_studio.api.response_request import ResponseRequest
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError

SCHEMA = {"type": "object"}
TOOL = {"name": "weather", "description": "Tells it.", "parameters": SCHEMA, "strict": True}


def completion(**parts: Any) -> CompletionRequest:
    return CompletionRequest.of(**{"model": "yandexgpt", "folder_id": "b1g", "prompt": "Hi", **parts})


def response(**parts: Any) -> ResponseRequest:
    return ResponseRequest.of(**{"model": "yandexgpt", "folder_id": "b1g", "background": True, "prompt": "Hi", **parts})


def test_a_completion_is_asked_for_with_all_its_parts() -> None:
    assert completion(
        messages=[{"role": "assistant", "text": "Ho"}],
        instructions="Be brief.",
        temperature="0.25",
        max_tokens="100",
        reasoning="enabled_hidden",
        json_schema=SCHEMA,
        tools=[TOOL],
        tool_choice="weather",
        parallel_tool_calls=False,
    ) == CompletionRequest(
        "gpt://b1g/yandexgpt",
        (Message("system", "Be brief."), Message("assistant", "Ho"), Message("user", "Hi")),
        0.25,
        100,
        "enabled_hidden",
        Output(schema=SCHEMA),
        (TOOL,),
        "weather",
        False,
    )


def test_what_nobody_gave_is_left_to_the_service() -> None:
    assert completion() == CompletionRequest("gpt://b1g/yandexgpt", (Message("user", "Hi"),))
    assert response() == ResponseRequest("gpt://b1g/yandexgpt", (Message("user", "Hi"),), True)


def test_a_json_object_may_be_asked_for_without_a_schema() -> None:
    assert completion(json_object=True).output == Output(json_object=True)


def test_a_response_is_asked_for_with_all_its_parts() -> None:
    assert response(
        background=False,
        messages=[{"role": "assistant", "text": "Ho"}],
        instructions="Be brief.",
        temperature="0.25",
        max_tokens="100",
        previous_response_id="resp_1",
        json_schema=SCHEMA,
    ) == ResponseRequest(
        "gpt://b1g/yandexgpt",
        (Message("assistant", "Ho"), Message("user", "Hi")),
        False,
        "Be brief.",
        0.25,
        100,
        "resp_1",
        Output(schema=SCHEMA),
    )


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"instructions": ""}, "^Give `instructions`"),
        ({"previous_response_id": "None"}, "^Give `previous_response_id`"),
        ({"temperature": 2}, "`temperature`"),
        ({"max_tokens": 0}, "`max_tokens`"),
        ({"folder_id": None}, "`folder_id`"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": {}}]}]}, "can't send"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_a_part_of_a_response_that_is_wrong_is_named_as_users_write_it(parts: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        response(**parts)


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"temperature": 2}, "`temperature`"),
        ({"max_tokens": 0}, "`max_tokens`"),
        ({"reasoning": "enabled"}, "`reasoning` to one of disabled, enabled_hidden"),
        ({"tools": "None"}, "`tools`"),
        ({"tools": "["}, "`tools`"),
        ({"tools": {"name": "f"}}, "Give `tools` a list"),
        ({"tools": '{"name": "f"}'}, "Give `tools` a list"),
        ({"tools": '"f"'}, "Give `tools` a list"),
        ({"tools": 5}, "Give `tools` a list"),
        ({"tool_choice": "auto"}, "no `tools`"),
        ({"tools": [], "tool_choice": "auto"}, "no `tools`"),
        ({"tools": [TOOL], "tool_choice": "news"}, "`tool_choice` to one of auto, none, required, weather"),
        ({"tools": [TOOL, {"name": ""}]}, "Tool 2 of `tools`"),
        ({"tools": [{"name": 5}]}, "Tool 1 of `tools`"),
        ({"tools": [{"description": "no name"}]}, "Tool 1 of `tools`"),
        ({"tools": [{**TOOL, "more": 1}]}, "Tool 1 of `tools`"),
        ({"tools": [{**TOOL, "parameters": "{}"}]}, "Tool 1 of `tools`"),
        ({"tools": ["weather"]}, "Tool 1 of `tools`"),
        ({"tools": [{"name": "f", "parameters": {"a": object()}}]}, "`tools` values of plain JSON"),
    ],
    ids=lambda value: value.strip("`") if isinstance(value, str) else "",
)
def test_a_part_of_a_completion_that_is_wrong_is_named_as_users_write_it(parts: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError, match=named):
        completion(**parts)


@pytest.mark.parametrize("choice", ["auto", "none", "required", "weather"])
def test_a_choice_of_tools_is_a_mode_or_a_name(choice: str) -> None:
    assert completion(tools=[TOOL], tool_choice=choice).tool_choice == choice


def test_tools_may_say_no_more_than_their_name() -> None:
    assert completion(tools=({"name": "f"},)).tools == ({"name": "f"},)


@pytest.mark.parametrize(
    ("message", "given"),
    [
        (Message("user", "Hi"), {"role": "user", "text": "Hi"}),
        (
            Message("assistant", tool_calls=(ToolCall("f", {"a": 1}),)),
            {"role": "assistant", "tool_calls": [{"name": "f", "arguments": {"a": 1}}]},
        ),
        (
            Message("user", tool_results=(ToolResult("f", "5"),)),
            {"role": "user", "tool_results": [{"name": "f", "content": "5"}]},
        ),
    ],
    ids=["text", "calls", "results"],
)
def test_a_message_is_given_back_as_it_was_given(message: Message, given: dict[str, Any]) -> None:
    assert message.as_dict() == given
    assert completion(prompt=None, messages=[given]).messages == (message,)


def test_usage_is_told_by_its_names() -> None:
    assert Usage(1, 2, 3, 4).as_dict() == {
        "input_tokens": 1,
        "completion_tokens": 2,
        "total_tokens": 3,
        "reasoning_tokens": 4,
    }
