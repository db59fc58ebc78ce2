"""A service whose replicas are behind: what was just submitted is unknown to some, what has ended still runs there."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider.yandex_ai_studio.api.models import Api
from airflow_provider.yandex_ai_studio.api.response_request import ResponseRequest
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.sensors.operation import YandexAIStudioOperationSensor
from airflow_provider.yandex_ai_studio.waiting.decision import Wait
from bulk_task import BulkTask, texts
from faults import Task
from support import CONN_ID, FOLDER, SteppedTime, TaskInstance
from waits import Connector, end_of, settings

APIS: list[Api] = ["completion", "responses"]


@pytest.fixture
def submitted(hook: YandexAIStudioHook) -> Callable[[Api], str]:
    def submit(api: Api) -> str:
        if api == "completion":
            return hook.submit_completion(hook.completion_request(prompt="Ducks.")).id
        asked = ResponseRequest.of(model="yandexgpt", folder_id=FOLDER, prompt="Ducks.", background=True)
        return hook.create_response(asked).id

    return submit


def behind(emulator: Emulator, seconds: float, **how: Any) -> None:
    for route in ("operations.get", "responses.get"):
        emulator.fault(route, "stale", seconds=seconds, **{"times": None, **how})


def test_an_attempt_right_after_the_submission_finds_the_operation_and_takes_its_answer(
    hook: YandexAIStudioHook, emulator: Emulator, clock: SteppedTime
) -> None:
    task = Task(hook, emulator, clock)
    behind(emulator, 3)
    task.defer()
    trigger = task.defer()  # another attempt, within the second: to it, the operation is unknown
    clock.sleep(3602)
    with pytest.raises(TaskDeferred):  # the trigger has seen its end, and this replica has not
        task.resume(trigger)
    clock.sleep(5)
    assert "ducks" in task.resume(trigger)
    assert task.submissions == 1


@pytest.mark.parametrize("api", APIS)
async def test_no_wait_ends_because_a_replica_is_behind(
    hook: YandexAIStudioHook, emulator: Emulator, submitted: Callable[[Api], str], api: Api
) -> None:
    operation_id = submitted(api)
    behind(emulator, 4000, times=1)
    emulator.advance(3601)
    seen = await end_of(Connector(settings(emulator)), operation_id, api=api)
    assert emulator.stats()["responses"]["operations.get" if api == "completion" else "responses.get"]["404"] == 1
    assert (seen.outcome, seen.operation and seen.operation.done) == ("ended", True)


@pytest.mark.parametrize("api", APIS)
def test_a_worker_that_waits_itself_survives_404s_and_an_end_that_comes_and_goes(
    hook: YandexAIStudioHook,
    emulator: Emulator,
    clock: SteppedTime,
    submitted: Callable[[Api], str],
    api: Api,
) -> None:
    operation_id = submitted(api)
    behind(emulator, 20, probability=0.5)
    end = hook.wait_for_operation(Wait(operation_id, clock.now, clock.now + 7200, api=api))
    assert end.operation is not None
    assert end.operation.generation is not None


@pytest.mark.parametrize("api", APIS)
def test_a_sensor_pokes_on_where_the_operation_is_not_known_yet(
    hook: YandexAIStudioHook, emulator: Emulator, clock: SteppedTime, submitted: Callable[[Api], str], api: Api
) -> None:
    with DAG("dag"):
        sensor = YandexAIStudioOperationSensor(
            task_id="wait", operation_id=submitted(api), deferrable=False, api=api, conn_id=CONN_ID
        )
    sensor.hook = hook
    context: Any = {"ti": TaskInstance()}
    behind(emulator, 3)
    assert not sensor.poke(context)
    clock.sleep(3602)
    assert not sensor.poke(context)
    clock.sleep(5)
    assert sensor.poke(context)


def test_a_bulk_run_pays_for_each_row_once(connection: None, emulator: Emulator) -> None:
    behind(emulator, 10, probability=0.5)
    run = BulkTask(emulator, inputs=texts(20))
    run.emulator_seconds = 3600.0
    rows = run.attempt()
    assert len(rows) == 20
    assert all("ducks" in row for row in rows)
    assert run.submissions == 20
