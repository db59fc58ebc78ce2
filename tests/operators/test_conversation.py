"""A conversation across tasks: messages in, the answer and the grown history out."""

from __future__ import annotations

import json
from typing import Any

import pendulum
import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred
from airflow.serialization.serialized_objects import DagSerialization
from pydantic import BaseModel

from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from support import SteppedTime, Store, TaskInstance

QUESTION = {"role": "user", "text": "Why do ducks swim in circles?"}
WEATHER = {"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}

Context = dict[str, Any]


def task(hook: YandexAIStudioHook, **parameters: Any) -> YandexAIStudioCompletionOperator:
    with DAG("dag"):
        operator = YandexAIStudioCompletionOperator(task_id="generate", **parameters)
    operator.hook = hook
    return operator


def said_in_turn(hook: YandexAIStudioHook, **parameters: Any) -> tuple[str, list[dict[str, Any]]]:
    """Run a task of its own on the worker; return its text, and the history as another task gets it."""
    ti = TaskInstance()
    text = task(hook, deferrable=False, **parameters).execute({"ti": ti, "task_state_store": Store()})
    return text, json.loads(json.dumps(ti.xcoms["messages"]))


def test_the_history_is_what_was_asked_and_the_answer(hook: YandexAIStudioHook) -> None:
    text, history = said_in_turn(hook, messages=[QUESTION], prompt="Tell it in one sentence.")
    assert history == [
        QUESTION,
        {"role": "user", "text": "Tell it in one sentence."},
        {"role": "assistant", "text": text},
    ]


def test_instructions_are_each_task_s_own(hook: YandexAIStudioHook) -> None:
    _, history = said_in_turn(hook, messages=[QUESTION], instructions="Answer like a pirate.")
    assert [turn["role"] for turn in history] == ["user", "assistant"]


def test_without_messages_there_is_no_history(hook: YandexAIStudioHook, context: Context, ti: TaskInstance) -> None:
    task(hook, prompt="Tell me of ducks.", deferrable=False).execute(context)
    assert "messages" not in ti.xcoms


@pytest.mark.parametrize("mode", ["async", "sync"])
def test_a_second_task_goes_on_from_the_history_of_the_first(
    hook: YandexAIStudioHook, emulator: Emulator, mode: str
) -> None:
    _, history = said_in_turn(hook, messages=[QUESTION], mode=mode)
    request = hook.completion_request(messages=history, prompt="And geese, do they swim in circles too?")
    text, grown = said_in_turn(hook, messages=history, prompt="And geese, do they swim in circles too?", mode=mode)
    assert "geese" in text
    assert grown[:2] == history
    assert [turn["role"] for turn in grown] == ["user", "assistant", "user", "assistant"]
    assert hook.count_tokens(request) > hook.count_tokens(hook.completion_request(messages=history))
    assert emulator.stats()["generations"] == 2


def deferral(hook: YandexAIStudioHook, context: Context, **parameters: Any) -> TaskDeferred:
    with pytest.raises(TaskDeferred) as caught:
        task(hook, **parameters).execute(context)
    return caught.value


def resumed(hook: YandexAIStudioHook, context: Context, deferred: TaskDeferred, **parameters: Any) -> str:
    """Resume with what Airflow renders by then."""
    told = {name: getattr(deferred.trigger, name) for name in ("operation_id", "asked")}
    event = {**told, "outcome": "ended", "submitted_at": hook.clock() - 60}
    kwargs = {**json.loads(json.dumps(deferred.kwargs)), "event": event}
    operator = task(hook, prompt="a template")
    for name, rendered in {"prompt": None, **parameters}.items():
        setattr(operator, name, rendered)
    return str(operator.resume_execution("execute_complete", kwargs, context))


def test_a_history_that_was_waited_for_in_the_triggerer_is_the_same(
    hook: YandexAIStudioHook, context: Context, ti: TaskInstance, clock: SteppedTime
) -> None:
    _, blocking = said_in_turn(hook, messages=[QUESTION], prompt="Shortly, please.")
    asked = {"messages": [QUESTION], "prompt": "Shortly, please."}
    deferred = deferral(hook, context, **asked)
    assert "messages" not in ti.xcoms
    clock.sleep(4000)
    resumed(hook, context, deferred, **asked)
    assert ti.xcoms["messages"] == blocking


def test_calls_of_tools_and_their_results_are_part_of_the_history(hook: YandexAIStudioHook) -> None:
    text, history = said_in_turn(hook, messages=[QUESTION], tools=[WEATHER], tool_choice="required")
    assert text == ""
    (call,) = history[-1]["tool_calls"]
    result = {"role": "user", "tool_results": [{"name": call["name"], "content": "It snows all over the pond."}]}
    text, grown = said_in_turn(hook, messages=[*history, result], tools=[WEATHER])
    assert text == "It snows all over the pond."
    assert grown == [*history, result, {"role": "assistant", "text": text}]


@pytest.mark.parametrize(
    ("asked", "named"),
    [
        ({"messages": [{"role": "user", "text": "x", "tool_calls": []}]}, "message 1"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"function": "weather"}]}]}, "tool calls"),
        ({"messages": [{"role": "user", "tool_results": ["snow"]}]}, "tool results"),
        ({"messages": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": "{}"}]}]}, "tool calls"),
        ({"messages": [{"role": "assistant", "tool_calls": []}]}, "at least one tool call"),
    ],
)
def test_a_turn_that_makes_no_sense_is_named_before_anything_is_sent(
    hook: YandexAIStudioHook, context: Context, emulator: Emulator, asked: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        task(hook, **asked).execute(context)
    assert sum(emulator.stats()["requests"].values()) == 0


@pytest.mark.parametrize(
    "later",
    [None, "null", "[]", "None", 5, '[{"role": "user", "text": "What are GEESE?"}]', [{"role": "nobody"}]],
    ids=str,
)
def test_messages_that_are_rendered_to_others_on_resume_cost_no_answer_and_are_paired_with_none(
    hook: YandexAIStudioHook,
    context: Context,
    ti: TaskInstance,
    clock: SteppedTime,
    capsys: pytest.CaptureFixture[str],
    later: Any,
) -> None:
    deferred = deferral(hook, context, messages=[QUESTION])
    clock.sleep(4000)
    assert "ducks" in resumed(hook, context, deferred, messages=later)
    assert "messages" not in ti.xcoms
    assert "The XCom `messages` is left out" in capsys.readouterr().out


def test_a_wait_that_goes_on_after_a_resume_keeps_what_its_answer_goes_with(
    hook: YandexAIStudioHook, context: Context, ti: TaskInstance, clock: SteppedTime
) -> None:
    deferred = deferral(hook, context, messages=[QUESTION])
    with pytest.raises(TaskDeferred) as caught:
        resumed(hook, context, deferred, messages=[])
    clock.sleep(4000)
    resumed(hook, context, caught.value, messages=[QUESTION])
    assert ti.xcoms["messages"][0] == QUESTION


def test_a_task_without_messages_says_nothing_of_them(
    hook: YandexAIStudioHook, context: Context, clock: SteppedTime, capsys: pytest.CaptureFixture[str]
) -> None:
    deferred = deferral(hook, context, prompt="Tell me of ducks.")
    clock.sleep(4000)
    resumed(hook, context, deferred, prompt="Tell me of geese.")
    assert "`messages`" not in capsys.readouterr().out


class Note(BaseModel):
    """What a mapped task asks for."""

    title: str


def test_a_dag_with_all_kinds_of_options_is_serialized_and_read_back() -> None:
    with DAG("dag", schedule=None, start_date=pendulum.datetime(2026, 1, 1, tz="UTC")) as dag:
        first = YandexAIStudioCompletionOperator(task_id="first", messages=[QUESTION], tools=[WEATHER])
        history: Any = first.output["messages"]  # type: ignore[index]
        YandexAIStudioCompletionOperator(task_id="second", messages=history, prompt="And geese?")
        YandexAIStudioCompletionOperator.partial(task_id="mapped", json_schema=Note).expand(prompt=["x", "y"])
    read = DagSerialization.from_dict(json.loads(json.dumps(DagSerialization.to_dict(dag))))
    assert {name: set(task.upstream_task_ids) for name, task in read.task_dict.items()} == {
        "first": set(),
        "second": {"first"},
        "mapped": set(),
    }
