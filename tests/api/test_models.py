"""A request is checked before anything is paid for."""

import pytest

from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.models import Message
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError

SECRET = "the diagnosis of patient 17"


def request(**parts):
    return CompletionRequest.of(**{"model": "yandexgpt", "folder_id": "b1g", "prompt": "Hello", **parts})


def chat(*messages, **parts):
    return request(prompt=None, messages=list(messages), **parts)


@pytest.mark.parametrize(
    ("parts", "named"),
    [
        ({"prompt": None}, "Neither `prompt` nor `messages`"),
        ({"messages": []}, "`messages`"),
        ({"prompt": ""}, "`prompt`"),
        ({"prompt": " \n\t"}, "`prompt`"),
        ({"prompt": 7}, "`prompt`"),
        ({"prompt": "half of a pair: \ud800"}, "`prompt`"),  # no text that could be sent as UTF-8
        ({"instructions": ""}, "`instructions`"),
        ({"instructions": ["Be brief"]}, "`instructions`"),
        # what templates make of an XCom that is not there, and of render_template_as_native_obj
        *[({part: "None"}, f"`{part}`") for part in ("prompt", "instructions", "model", "temperature", "max_tokens")],
        *[({part: "None"}, f"`{part}`") for part in ("messages", "tools", "json_schema")],
        ({"prompt": " None\n"}, "the text 'None'. Did the task before it return one?"),
        ({"prompt": 5}, "render_template_as_native_obj"),
        ({"prompt": ["a", "b"]}, "render_template_as_native_obj"),
        ({"tools": "[{'name': 'f'}]"}, "`tojson`"),
        ({"tools": [{"name": "f", "parameters": {"default": object()}}]}, "`tools`"),
        ({"tools": [{"name": "f", "parameters": {"maximum": float("nan")}}]}, "`tools`"),
        ({"model": ""}, "`model`"),
        ({"model": "  "}, "`model`"),
        ({"folder_id": None}, "`folder_id`"),
        ({"folder_id": ""}, "`folder_id`"),
        *[
            ({"temperature": value}, "`temperature`")
            for value in (-0.1, 1.01, "2", "nan", float("nan"), float("inf"), "warm", "", [0.3], True)
        ],
        *[
            ({"max_tokens": value}, "`max_tokens`")
            for value in (0, -1, 1.5, "1.5", "abc", "", float("nan"), [100], True, 2**63)
        ],
    ],
)
def test_a_wrong_part_is_named_and_nothing_is_sent(parts, named):
    with pytest.raises(ConfigurationError, match=r"Nothing was sent to the service\.$") as error:
        request(**parts)
    assert named in str(error.value)


@pytest.mark.parametrize(
    "messages",
    [
        [],
        (),
        "Hello",
        {"role": "user", "text": "Hello"},
        7,
        iter([{"role": "user", "text": "Hello"}]),
        ["Hello"],
        [None],
        [{"role": "user"}],
        [{"text": "Hello"}],
        [{}],
        [{"role": "user", "text": "Hello", "name": "Ann"}],
        [{"role": "user", "content": "Hello"}],
        [{"role": "robot", "text": "Hello"}],
        [{"role": "USER", "text": "Hello"}],
        [{"role": ["user"], "text": "Hello"}],
        [{"role": "user", "text": ""}],
        [{"role": "user", "text": "  "}],
        [{"role": "user", "text": None}],
        [{"role": "user", "text": "None"}],
        [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": {"a": object()}}]}],
        [{"role": "user", "text": {"text": "Hello"}}],
        [{"role": "user", "text": "\udcff"}],
    ],
)
def test_wrong_messages_are_named_and_nothing_is_sent(messages):
    with pytest.raises(ConfigurationError, match=r"(?s)`messages`.*\nNothing was sent to the service\.$"):
        request(prompt=None, messages=messages)


def test_the_error_says_which_of_many_messages_is_wrong():
    with pytest.raises(ConfigurationError, match="message 2 "):
        chat({"role": "user", "text": "Hello"}, {"role": "assistant", "text": " "}, {"role": "robot", "text": "Hi"})


@pytest.mark.parametrize(
    "parts",
    [
        {"prompt": [SECRET]},
        {"prompt": {"text": SECRET}},
        {"instructions": (SECRET,)},
        {"prompt": None, "messages": SECRET},
        {"prompt": None, "messages": [SECRET]},
        {"prompt": None, "messages": {"role": "user", "text": SECRET}},
        {"prompt": None, "messages": [{"role": "robot", "text": SECRET}]},
        {"prompt": None, "messages": [{"role": "user", "text": [SECRET]}]},
        {"prompt": None, "messages": [{"role": "user", "text": SECRET, "name": SECRET}]},
        {"prompt": None, "messages": [{"role": SECRET, "text": "user"}]},  # put in each other's place
    ],
)
def test_a_private_text_stays_out_of_the_error(parts):
    with pytest.raises(ConfigurationError) as error:
        request(**parts)
    assert SECRET not in str(error.value)
    assert SECRET not in repr(error.value)


@pytest.mark.parametrize(("given", "meant"), [(0, 0.0), (1, 1.0), (0.3, 0.3), ("0.3", 0.3), (" 1 ", 1.0), (None, None)])
def test_a_temperature_may_be_a_number_or_its_rendered_template(given, meant):
    assert request(temperature=given).temperature == meant


@pytest.mark.parametrize(("given", "meant"), [(1, 1), (2000, 2000), ("100", 100), (" 7 ", 7), (None, None)])
def test_max_tokens_may_be_a_number_or_its_rendered_template(given, meant):
    assert request(max_tokens=given).max_tokens == meant


@pytest.mark.parametrize(
    ("model", "folder_id", "uri"),
    [
        ("yandexgpt", "b1g", "gpt://b1g/yandexgpt"),
        (" yandexgpt ", "b1g", "gpt://b1g/yandexgpt"),
        ("yandexgpt-lite/rc", "b1g", "gpt://b1g/yandexgpt-lite/rc"),
        ("yandexgpt-lite/latest@tuned", "b1g", "gpt://b1g/yandexgpt-lite/latest@tuned"),
        ("gpt://other/yandexgpt", "b1g", "gpt://other/yandexgpt"),
        ("gpt://other/yandexgpt", None, "gpt://other/yandexgpt"),
        ("ds://tuned-by-datasphere", None, "ds://tuned-by-datasphere"),
    ],
)
def test_a_short_model_name_belongs_to_the_folder_and_a_full_uri_to_itself(model, folder_id, uri):
    assert request(model=model, folder_id=folder_id).model_uri == uri


def test_a_missing_folder_is_told_with_the_uri_that_would_do_without():
    with pytest.raises(ConfigurationError, match="gpt://<folder_id>/yandexgpt-lite/rc"):
        request(model="yandexgpt-lite/rc", folder_id=None)


def test_instructions_go_before_the_conversation_and_texts_stay_as_they_are():
    turns = [{"role": "user", "text": "  Hi\n"}, {"role": "assistant", "text": "Ho"}, {"role": "user", "text": "Why?"}]
    assert chat(*turns, instructions=" Be brief. ").messages == (
        Message("system", " Be brief. "),
        Message("user", "  Hi\n"),
        Message("assistant", "Ho"),
        Message("user", "Why?"),
    )
    assert request(prompt="\tHi ").messages == (Message("user", "\tHi "),)


def test_what_a_model_or_a_tool_has_said_may_be_none():
    said = [
        {"role": "assistant", "text": "None"},
        {"role": "user", "tool_results": [{"name": "f", "content": "None"}]},
    ]
    assert chat(*said).messages[0].text == "None"
    assert chat(*said).messages[1].tool_results[0].content == "None"


def test_a_list_or_a_schema_may_be_the_json_that_a_template_rendered():
    asked = request(
        prompt=None,
        messages='[{"role": "user", "text": "Hi"}]',
        tools='[{"name": "f", "parameters": {}}]',
        json_schema='{"type": "object"}',
    )
    assert asked.messages == (Message("user", "Hi"),)
    assert asked.tools == ({"name": "f", "parameters": {}},)
    assert asked.output.schema == {"type": "object"}
