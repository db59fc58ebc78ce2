"""The sensor: waits for what something else submitted, and never cancels it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowFailException, AirflowSensorTimeout, AirflowSkipException, TaskDeferred

from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError, OperationExpired, OperationFailed
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from airflow_provider.yandex_ai_studio.sensors.operation import YandexAIStudioOperationSensor
from airflow_provider.yandex_ai_studio.sensors.start import template_for_the_triggerer
from airflow_provider.yandex_ai_studio.triggers.operation import YandexAIStudioOperationTrigger
from support import ENDS_IN_TRIGGERER, SteppedTime, TaskInstance

Context = dict[str, Any]
MakeSensor = Callable[..., YandexAIStudioOperationSensor]


def test_an_answer_that_is_there_is_taken_without_deferring(
    sensor: MakeSensor, context: Context, ti: TaskInstance, clock: SteppedTime, operation_id: str
) -> None:
    clock.sleep(4000)
    assert "ducks" in sensor().execute(context)
    assert ti.xcoms["operation_id"] == operation_id
    assert ti.xcoms["status"] == "final"


def test_a_running_operation_is_waited_for_in_the_triggerer(
    sensor: MakeSensor, context: Context, ti: TaskInstance, clock: SteppedTime, operation_id: str
) -> None:
    with pytest.raises(TaskDeferred) as caught:
        sensor(timeout=600).execute(context)
    trigger = caught.value.trigger
    assert trigger.operation_id == operation_id
    assert trigger.deadline == clock.now + 600
    assert trigger.submitted_at == pytest.approx(clock.now, abs=10)
    assert not trigger.cancel_on_kill
    assert ti.xcoms == {"operation_id": operation_id}  # what the trigger leaves to the worker


def test_a_service_that_is_down_does_not_end_the_wait_before_it_began(
    sensor: MakeSensor, context: Context, emulator: Emulator
) -> None:
    emulator.fault("operations.get", "status", status=503, body="", times=None)
    with pytest.raises(TaskDeferred):
        sensor().execute(context)
    assert not sensor(deferrable=False).poke(context)
    assert emulator.stats()["requests"]["operations.get"] == 2  # a worker does not wait for it to come back


def test_poking_looks_once_and_says_whether_it_is_done(
    sensor: MakeSensor, context: Context, clock: SteppedTime, emulator: Emulator
) -> None:
    poking = sensor(deferrable=False)
    assert not poking.poke(context)
    emulator.fault("operations.get", "status", status=429, body={"code": 8, "message": "quota"}, times=1)
    assert not poking.poke(context)
    clock.sleep(4000)
    poked = poking.poke(context)
    assert poked
    assert "ducks" in poked.xcom_value  # type: ignore[union-attr]


def test_a_failed_operation_fails_the_sensor_or_skips_it(
    sensor: MakeSensor, context: Context, emulator: Emulator, operation_id: str
) -> None:
    emulator.fault("operations.get", "operation_error", code=13, message="exploded", times=None)
    event = {"operation_id": operation_id, "outcome": "ended"}
    with pytest.raises(OperationFailed, match="exploded"):
        sensor().execute_complete(context, event)
    with pytest.raises(AirflowSkipException):
        sensor(soft_fail=True).resume_execution("execute_complete", {"event": event}, context)


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_failure_that_the_worker_sees_is_softened_and_told(
    sensor: MakeSensor, context: Context, emulator: Emulator, capsys: pytest.CaptureFixture[str], deferrable: bool
) -> None:
    emulator.fault("operations.get", "operation_error", code=13, message="exploded", times=None)
    with pytest.raises(AirflowSkipException, match="exploded"):
        sensor(soft_fail=True, deferrable=deferrable).execute(context)
    assert "exploded" in capsys.readouterr().out


def test_a_timeout_is_a_sensor_s_timeout(sensor: MakeSensor, context: Context, operation_id: str) -> None:
    event = {"operation_id": operation_id, "outcome": "timeout"}
    with pytest.raises(AirflowSensorTimeout, match=operation_id):
        sensor().execute_complete(context, event)
    with pytest.raises(AirflowSkipException):
        sensor(soft_fail=True).resume_execution("execute_complete", {"event": event}, context)


def test_an_unknown_operation_is_told_from_one_that_runs(
    sensor: MakeSensor, context: Context, clock: SteppedTime
) -> None:
    poking = sensor(operation_id="d7qneverwas", deferrable=False)
    for _ in range(5):
        assert not poking.poke(context)
        clock.sleep(60)
    with pytest.raises(OperationExpired, match="3 days") as caught:
        poking.poke(context)
    assert isinstance(caught.value, AirflowFailException)  # no retry finds what is gone


@pytest.mark.parametrize("status", [400, 401, 403, 404])
@pytest.mark.parametrize("deferrable", [True, False])
def test_one_refusal_does_not_end_the_wait_before_it_began(
    sensor: MakeSensor, context: Context, emulator: Emulator, deferrable: bool, status: int
) -> None:
    emulator.fault("operations.get", "status", status=status, times=1)
    if deferrable:
        with pytest.raises(TaskDeferred):
            sensor().execute(context)
    else:
        assert not sensor(deferrable=False).poke(context)


def test_a_deadline_with_a_404_in_its_way_is_a_sensor_s_timeout(
    sensor: MakeSensor, context: Context, clock: SteppedTime, emulator: Emulator, operation_id: str
) -> None:
    emulator.fault("operations.get", "status", status=404, times=None)
    event = {
        "operation_id": operation_id,
        "outcome": "timeout",
        "submitted_at": clock.now - 600,
        "deadline": clock.now - 1,
    }
    with pytest.raises(AirflowSensorTimeout, match=f"{operation_id}.*did not know it"):
        sensor().execute_complete(context, event)


@pytest.mark.parametrize("wrong", [None, "", "  ", 5])
def test_what_is_no_id_is_refused_before_anything_is_sent(
    sensor: MakeSensor, context: Context, emulator: Emulator, wrong: Any
) -> None:
    with pytest.raises(ConfigurationError, match="operation_id"):
        sensor(operation_id=wrong).execute(context)
    assert emulator.stats()["requests"]["operations.get"] == 0


def from_trigger(operation_id: Any, **parameters: Any) -> YandexAIStudioOperationSensor:
    return YandexAIStudioOperationSensor(
        task_id="wait", operation_id=operation_id, start_from_trigger=True, **{"timeout": 600, **parameters}
    )


def test_the_output_of_a_task_becomes_a_template_that_the_triggerer_can_render() -> None:
    with DAG("dag"):
        submit = YandexAIStudioCompletionOperator(task_id="submit", prompt="x", wait_for_completion=False)
        wait = from_trigger(submit.output)
    assert wait.start_from_trigger
    assert wait.start_trigger_args is not None
    assert wait.start_trigger_args.trigger_kwargs == {
        "operation_id": "{{ ti.xcom_pull(task_ids='submit', key='return_value', map_indexes=-1) }}",
        "conn_id": "yandex_ai_studio_default",
        "api": "completion",
        "end_from_trigger": ENDS_IN_TRIGGERER,
        "margin": 900.0,
    }
    assert wait.start_trigger_args.timeout > timedelta(seconds=600)
    assert wait.upstream_task_ids == {"submit"}
    assert YandexAIStudioOperationTrigger(**wait.start_trigger_args.trigger_kwargs).deadline is None


@pytest.mark.parametrize(
    "operation_id",
    ["d7q1", "{{ params.id }}", "{{ ti.xcom_pull(task_ids='submit', map_indexes=-1) }}", "{{ dag_run.conf['id'] }}"],
)
def test_what_the_triggerer_can_render_is_taken_as_it_is(operation_id: str) -> None:
    assert template_for_the_triggerer(operation_id) == operation_id


def test_an_xcom_pull_that_would_hang_is_refused_with_its_mend() -> None:
    with pytest.raises(ConfigurationError, match=r"xcom_pull\(task_ids='submit', map_indexes=-1\)"):
        from_trigger("{{ ti.xcom_pull(task_ids='submit') }}")


def test_an_output_that_the_triggerer_can_t_render_is_refused() -> None:
    with DAG("dag"):
        mapped = YandexAIStudioCompletionOperator.partial(task_id="submit").expand(prompt=["x", "y"])
        single = YandexAIStudioCompletionOperator(task_id="single", prompt="x")
    for output in (mapped.output, single.output.map(str), None, 5):
        with pytest.raises(ConfigurationError, match="leave start_from_trigger out"):
            template_for_the_triggerer(output)


@pytest.mark.parametrize(
    ("timeout", "execution_timeout", "waits"),
    [
        (600, None, 600),
        (600, timedelta(hours=2), 600),
        (600, timedelta(seconds=1000), 600),
        (600, timedelta(seconds=600), 540),
        (600, timedelta(minutes=5), 270),
        (7 * 86_400, timedelta(minutes=20), 19 * 60),
        (7 * 86_400, timedelta(hours=6), 6 * 3600 - 60),
        (600, timedelta(seconds=20), 18),
        (30, None, 30),
    ],
)
def test_a_task_that_begins_in_the_triggerer_waits_for_as_long_as_airflow_lets_it(
    timeout: float, execution_timeout: timedelta | None, waits: float
) -> None:
    """Airflow fixes the trigger's own timeout when it begins, as the sooner of the two limits."""
    with DAG("dag"):
        sensor = from_trigger("d7q1", timeout=timeout, execution_timeout=execution_timeout)
    assert sensor.start_trigger_args is not None
    assert sensor.start_trigger_args.timeout is not None
    trigger = YandexAIStudioOperationTrigger(**sensor.start_trigger_args.trigger_kwargs or {})
    limit = sensor.start_trigger_args.timeout
    began = datetime.fromtimestamp(10_000, UTC)
    trigger.timeout_after = began + min(limit, execution_timeout or limit)
    assert trigger._deadline() == 10_000 + waits
    trigger.deadline = 5.0
    assert trigger._deadline() == 5.0


def test_a_template_that_rendered_to_nothing_is_told_from_an_expired_operation(
    sensor: MakeSensor, context: Context
) -> None:
    with pytest.raises(ConfigurationError, match="Did the task that submits it return one"):
        sensor().execute_complete(context, {"operation_id": "None", "outcome": "expired"})
