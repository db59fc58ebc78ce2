"""What else is done with responses: waited for from afar, gone on from, cancelled, refused."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred
from pydantic import BaseModel

from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import (
    BadRequest,
    ConfigurationError,
    InvalidOutput,
    NotFound,
    OperationExpired,
    OperationFailed,
    RateLimited,
    ServiceUnavailable,
)
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.operators.responses import YandexAIStudioResponseOperator
from airflow_provider.yandex_ai_studio.sensors.operation import YandexAIStudioOperationSensor
from airflow_provider.yandex_ai_studio.triggers.operation import YandexAIStudioOperationTrigger
from support import SteppedTime, Store, TaskInstance

PROMPT = "Tell me of ducks. «Утки» 🦆 swim."
TOO_LONG = "number of input tokens must be no more than 32768, got 56832"

Context = dict[str, Any]
Attempt = Callable[..., Any]


class Note(BaseModel):
    """What a task may ask for."""

    title: str


@pytest.fixture
def attempt(hook: YandexAIStudioHook, context: Context) -> Attempt:
    """Run one attempt of a task, which waits on the worker unless told otherwise."""

    def execute(**parameters: Any) -> Any:
        return task(hook, **{"deferrable": False, **parameters}).execute(context)

    return execute


def task(hook: YandexAIStudioHook, **parameters: Any) -> YandexAIStudioResponseOperator:
    with DAG("dag"):
        operator = YandexAIStudioResponseOperator(task_id="generate", **{"prompt": PROMPT, **parameters})
    operator.hook = hook
    return operator


def sensor(hook: YandexAIStudioHook, response_id: str, **parameters: Any) -> YandexAIStudioOperationSensor:
    with DAG("dag"):
        made = YandexAIStudioOperationSensor(
            task_id="wait", **{"operation_id": response_id, "api": "responses", **parameters}
        )
    made.hook = hook
    return made


def submit(hook: YandexAIStudioHook) -> str:
    return hook.create_response(hook.response_request(prompt=PROMPT, background=True)).id


async def test_the_trigger_waits_for_a_response_and_the_worker_takes_it(
    hook: YandexAIStudioHook, emulator: Emulator, context: Context
) -> None:
    response_id = submit(hook)
    emulator.advance(3600)
    waiting = YandexAIStudioOperationTrigger(response_id, submitted_at=time.time() - 5, api="responses")
    (event,) = [event async for event in waiting.run()]
    assert (event.payload["outcome"], event.payload["api"]) == ("ended", "responses")
    assert "ducks" in task(hook).execute_complete(context, event.payload)
    assert emulator.stats()["requests"]["operations.get"] == 0


@pytest.mark.parametrize("deferrable", [True, False])
def test_the_sensor_takes_a_response_that_is_there(
    hook: YandexAIStudioHook, context: Context, clock: SteppedTime, deferrable: bool
) -> None:
    waiting = sensor(hook, submit(hook), deferrable=deferrable)
    clock.sleep(4000)
    assert "ducks" in waiting.execute(context)


def test_the_sensor_defers_for_a_response_that_runs(
    hook: YandexAIStudioHook, context: Context, clock: SteppedTime
) -> None:
    response_id = submit(hook)
    assert not sensor(hook, response_id, deferrable=False).poke(context)
    with pytest.raises(TaskDeferred) as caught:
        sensor(hook, response_id, timeout=600).execute(context)
    trigger = caught.value.trigger
    assert (trigger.operation_id, trigger.api) == (response_id, "responses")
    assert trigger.submitted_at == pytest.approx(clock.now, abs=10)
    clock.sleep(4000)
    event = {"operation_id": response_id, "outcome": "ended", "api": "responses"}
    assert "ducks" in sensor(hook, response_id).execute_complete(context, event)


def test_the_sensor_that_starts_in_the_triggerer_knows_its_api() -> None:
    starting = YandexAIStudioOperationSensor(
        task_id="wait", operation_id="1e5ee267", api="responses", start_from_trigger=True
    )
    assert starting.start_trigger_args is not None
    assert starting.start_trigger_args.trigger_kwargs is not None
    assert starting.start_trigger_args.trigger_kwargs["api"] == "responses"


def test_a_response_is_not_looked_for_among_the_operations(hook: YandexAIStudioHook, context: Context) -> None:
    operation_id = submit(hook)
    event = {"operation_id": operation_id, "outcome": "expired", "api": "completion"}
    with pytest.raises(OperationExpired, match="another cloud or API"):
        sensor(hook, operation_id, api="completion").execute_complete(context, event)


def test_the_sensor_tells_a_failed_response(hook: YandexAIStudioHook, context: Context, emulator: Emulator) -> None:
    response_id = submit(hook)
    emulator.fault("responses.get", "operation_error", code=8, message="too many")
    with pytest.raises(OperationFailed, match=r"too many \(code rate_limit_exceeded\)"):
        sensor(hook, response_id).execute(context)


def test_a_response_goes_on_from_another(attempt: Attempt, ti: TaskInstance, store: Store) -> None:
    attempt()
    alone = ti.xcoms["usage"]["input_tokens"]
    first = ti.xcoms["operation_id"]
    store.values.clear()  # another task
    assert "geese" in attempt(prompt="And what of geese in winter?", previous_response_id=first)
    assert ti.xcoms["usage"]["input_tokens"] > 2 * alone


def test_a_response_that_goes_on_from_nothing_is_refused(attempt: Attempt, emulator: Emulator, store: Store) -> None:
    for nothing in ("", "None"):
        with pytest.raises(ConfigurationError, match="previous_response_id"):
            attempt(previous_response_id=nothing)
    assert sum(emulator.stats()["requests"].values()) == 0
    with pytest.raises(NotFound, match="not found"):
        attempt(previous_response_id="1e5ee267-2d01-49d7-abf9-94b900000000")
    assert store.values == {}


def test_a_response_in_the_background_can_be_cancelled_and_another_can_t(
    hook: YandexAIStudioHook, emulator: Emulator
) -> None:
    cancelled = hook.cancel_operation(submit(hook), "responses")
    assert cancelled.error is not None
    assert cancelled.error.code == "cancelled"
    assert emulator.stats()["operations"]["cancelled"] == 1
    at_once = hook.create_response(hook.response_request(prompt=PROMPT, background=False))
    with pytest.raises(BadRequest, match="background"):
        hook.cancel_operation(at_once.id, "responses")


@pytest.mark.parametrize("killed_in", ["worker", "triggerer"])
async def test_a_kill_cancels_the_response_in_its_own_api(
    hook: YandexAIStudioHook,
    context: Context,
    ti: TaskInstance,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    killed_in: str,
) -> None:
    monkeypatch.setattr(
        "airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_task_states",
        lambda **which: {"run": {"generate": "failed"}},
    )
    operator = task(hook, wait_for_completion=False)
    response_id = operator.execute(context)
    if killed_in == "worker":
        operator.on_kill()
    else:
        killed = YandexAIStudioOperationTrigger(response_id, cancel_on_kill=True, api="responses")
        killed.task_instance = ti  # type: ignore[assignment]
        await killed.on_kill()
    assert emulator.stats()["operations"]["cancelled"] == 1


@pytest.mark.parametrize("background", [True, False])
def test_an_error_in_a_good_answer_s_place_refuses_the_request(
    attempt: Attempt, emulator: Emulator, store: Store, background: bool
) -> None:
    emulator.fault("responses.create", "embedded_error", message=TOO_LONG, times=None)
    with pytest.raises(BadRequest, match=TOO_LONG):
        attempt(background=background)
    assert emulator.stats()["requests"]["responses.create"] == 1
    assert store.values == {}


@pytest.mark.parametrize(
    ("code", "error"),
    [("server_error", ServiceUnavailable), ("rate_limit_exceeded", RateLimited), ("invalid_prompt", BadRequest)],
)
def test_an_error_in_a_good_answer_s_place_is_known_by_its_code(
    hook: YandexAIStudioHook, emulator: Emulator, code: str, error: type[Exception]
) -> None:
    response_id = submit(hook)
    body = {"error": {"code": code, "message": "no more"}, "output": []}
    emulator.fault("responses.get", "status", status=200, body=body)
    with pytest.raises(error, match="no more"):
        hook.get_operation(response_id, "responses", repeat=False)


@pytest.mark.parametrize("background", [True, False])
def test_structured_output_of_a_response_is_returned_as_the_value(
    attempt: Attempt, ti: TaskInstance, store: Store, background: bool
) -> None:
    value = attempt(json_schema=Note, background=background)
    assert value == {"title": attempt()}
    other = dict(store.values)
    with pytest.raises(InvalidOutput, match=r"^Allow more with `max_tokens`"):
        attempt(json_schema=Note, max_tokens=2, background=background)
    assert ti.xcoms["text"].startswith("{")
    assert store.values == ({} if background else other)  # only what was told is struck out


@pytest.mark.parametrize(
    "parameters",
    [
        {"messages": []},
        {"json_schema": "a title"},
        {"temperature": 2},
        {"max_tokens": 0},
        {"instructions": " "},
        {"messages": [{"role": "assistant", "tool_calls": [{"name": "f", "arguments": {}}]}]},
    ],
    ids=lambda parameters: next(iter(parameters)),
)
def test_bad_parameters_are_named_before_anything_is_sent(
    attempt: Attempt, emulator: Emulator, parameters: dict[str, Any]
) -> None:
    with pytest.raises(ConfigurationError, match=next(iter(parameters))):
        attempt(**parameters)
    assert sum(emulator.stats()["requests"].values()) == 0
