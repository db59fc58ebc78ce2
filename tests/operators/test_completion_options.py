"""The options of a completion, against the emulator: what they make of the answer, and what is refused unsent."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred
from pydantic import BaseModel, Field

from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from airflow_provider.yandex_ai_studio.triggers.operation import YandexAIStudioOperationTrigger
from support import ENDS_IN_TRIGGERER, FOLDER, Store, TaskInstance

PROMPT = "Tell me of ducks. «Утки» 🦆 swim."
SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "words": {"type": "integer", "minimum": 3}},
    "required": ["title", "words"],
}
WEATHER = {
    "name": "weather",
    "description": "Tells the weather of a city.",
    "parameters": {"type": "object", "properties": {"city": {"type": "string"}}, "required": ["city"]},
}
TOOL_TURNS = [
    {"role": "user", "text": "What is the weather in Moscow?"},
    {"role": "assistant", "tool_calls": [{"name": "weather", "arguments": {"city": "Moscow"}}]},
    {"role": "user", "tool_results": [{"name": "weather", "content": "Moscow has snow and a strong wind today."}]},
]

Context = dict[str, Any]
Attempt = Callable[..., Any]


class Note(BaseModel):
    """What a task may ask for instead of a schema."""

    title: str
    words: int = Field(ge=3)


@pytest.fixture
def attempt(hook: YandexAIStudioHook, context: Context) -> Attempt:
    """Run one attempt of a task, which waits on the worker unless told otherwise."""

    def execute(**parameters: Any) -> Any:
        return task(hook, **{"deferrable": False, **parameters}).execute(context)

    return execute


def task(hook: YandexAIStudioHook, **parameters: Any) -> YandexAIStudioCompletionOperator:
    asked = {} if "messages" in parameters else {"prompt": PROMPT}
    with DAG("dag"):
        operator = YandexAIStudioCompletionOperator(task_id="generate", **{**asked, **parameters})
    operator.hook = hook
    return operator


def deferred(operator: YandexAIStudioCompletionOperator, context: Context) -> YandexAIStudioOperationTrigger:
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(context)
    assert isinstance(caught.value.trigger, YandexAIStudioOperationTrigger)
    return caught.value.trigger


@pytest.mark.parametrize(
    ("model", "uri"),
    [
        ("aliceai-llm", f"gpt://{FOLDER}/aliceai-llm"),
        ("yandexgpt/rc", f"gpt://{FOLDER}/yandexgpt/rc"),
        ("yandexgpt-lite/latest@tuned", f"gpt://{FOLDER}/yandexgpt-lite/latest@tuned"),
        (f"gpt://{FOLDER}/yandexgpt/deprecated", f"gpt://{FOLDER}/yandexgpt/deprecated"),
        ("ds://bt1tuned", "ds://bt1tuned"),
    ],
    ids=lambda value: value.rsplit("/", 1)[-1],
)
def test_a_model_is_asked_for_by_its_uri(hook: YandexAIStudioHook, model: str, uri: str) -> None:
    request = hook.completion_request(prompt=PROMPT, model=model)
    assert request.model_uri == uri
    assert "ducks" in hook.complete(request).text


def test_the_reasoning_that_was_asked_for_is_billed(attempt: Attempt, ti: TaskInstance) -> None:
    attempt(reasoning="enabled_hidden")
    assert ti.xcoms["usage"]["reasoning_tokens"] > 0
    attempt(reasoning="disabled")
    assert ti.xcoms["usage"]["reasoning_tokens"] == 0


@pytest.mark.parametrize("choice", ["required", "weather"])
def test_calls_of_tools_go_to_xcom(attempt: Attempt, ti: TaskInstance, choice: str) -> None:
    assert attempt(tools=[WEATHER], tool_choice=choice) == ""
    assert ti.xcoms["status"] == "tool_calls"
    (call,) = ti.xcoms["tool_calls"]
    assert call["name"] == "weather"
    assert "ducks" in call["arguments"]["city"]


@pytest.mark.parametrize("choice", ["auto", "none", None])
def test_a_model_that_need_not_call_a_tool_answers(attempt: Attempt, ti: TaskInstance, choice: str | None) -> None:
    assert "ducks" in attempt(tools=[WEATHER], tool_choice=choice, parallel_tool_calls=False)
    assert "tool_calls" not in ti.xcoms


def test_results_of_tools_are_fed_back(attempt: Attempt) -> None:
    assert attempt(messages=TOOL_TURNS, tools=[WEATHER]) == "Moscow has snow and a strong wind today."


def test_calls_of_tools_need_not_fit_the_form_of_the_answer(attempt: Attempt, ti: TaskInstance) -> None:
    assert attempt(tools=[WEATHER], tool_choice="required", json_schema=SCHEMA) == ""
    assert ti.xcoms["tool_calls"]


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"json_object": True, "json_schema": SCHEMA}, "json_object"),
        ({"json_schema": "a title and a count"}, "json_schema"),
        ({"json_schema": int}, "json_schema"),
        ({"json_schema": {"type": "sentence"}}, "json_schema"),
        ({"tools": [{"description": "nameless"}]}, "Tool 1 of `tools`"),
        ({"tools": [WEATHER, {"function": WEATHER}]}, "Tool 2 of `tools`"),
        ({"tools": ["weather"]}, "Tool 1 of `tools`"),
        ({"tools": WEATHER}, "`tools`"),
        ({"tool_choice": "required"}, "tool_choice"),
        ({"tools": [WEATHER], "tool_choice": "traffic"}, "auto, none, required, weather"),
        ({"reasoning": "deep"}, "reasoning"),
        ({"reasoning": "ENABLED_HIDDEN"}, "reasoning"),
        ({"max_input_tokens": 0}, "max_input_tokens"),
        ({"mode": "batch"}, "mode"),
        ({"json_schema": SCHEMA, "end_from_trigger": True, "deferrable": True}, "end_from_trigger"),
        ({"tools": [{"name": "f", "parameters": "a city"}]}, "parameters"),
        ({"json_schema": {"default": object()}}, "json_schema"),
    ],
)
def test_options_that_make_no_sense_are_named_before_anything_is_sent(
    attempt: Attempt, emulator: Emulator, parameters: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        attempt(**parameters)
    assert sum(emulator.stats()["requests"].values()) == 0


def test_a_request_that_is_too_long_is_refused_before_it_is_paid_for(attempt: Attempt, emulator: Emulator) -> None:
    with pytest.raises(
        ConfigurationError, match=r"The request has (\d+) tokens: (\d+) more than `max_input_tokens`"
    ) as e:
        attempt(max_input_tokens=10)
    has, over = (int(word) for word in str(e.value).replace(":", "").split() if word.isdecimal())
    assert (has, over) == (10 + over, has - 10)
    assert emulator.stats()["generations"] == 0
    assert attempt(max_input_tokens=str(has))  # as a template renders it


def test_an_operation_that_is_paid_for_is_found_though_the_tokenizer_is_down(
    hook: YandexAIStudioHook, context: Context, emulator: Emulator
) -> None:
    first = deferred(task(hook, max_input_tokens=1000), context)
    emulator.fault("tokenizeCompletion", "status", status=503, times=None)
    assert deferred(task(hook, max_input_tokens=1000), context).operation_id == first.operation_id


@pytest.mark.parametrize(
    "parameters",
    [{"json_schema": SCHEMA}, {"json_schema": Note}, {"json_object": True}, {"messages": TOOL_TURNS}],
    ids=["schema", "model", "json_object", "messages"],
)
def test_a_task_whose_answer_must_be_worked_on_does_not_end_in_the_triggerer(
    hook: YandexAIStudioHook, context: Context, store: Store, parameters: dict[str, Any]
) -> None:
    assert deferred(task(hook), context).end_from_trigger is ENDS_IN_TRIGGERER
    store.values.clear()
    assert not deferred(task(hook, **parameters), context).end_from_trigger
