"""How the sensor ends without an answer: once and for all where no other attempt can help, and softly where it may."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferralError,
    TaskDeferred,
)

from airflow_provider.yandex_ai_studio.api.models import Generation, Operation, Usage
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import (
    AnswerUnreadable,
    AuthenticationError,
    ConfigurationError,
    OperationCancelled,
    OperationError,
    OperationExpired,
    OperationFailed,
    PermissionDenied,
    ServiceUnavailable,
    TriggerEventError,
)
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.sensors.operation import YandexAIStudioOperationSensor
from airflow_provider.yandex_ai_studio.waiting.decision import REFUSAL_SECONDS
from support import SteppedTime, TaskInstance

Context = dict[str, Any]
MakeSensor = Callable[..., YandexAIStudioOperationSensor]
Way = Callable[..., Any]


@pytest.fixture(params=["first look", "resume", "poke"])
def way(request: pytest.FixtureRequest, sensor: MakeSensor, context: Context, clock: SteppedTime) -> Way:
    """Run a sensor on one of the ways on which it may end."""

    def run(**parameters: Any) -> Any:
        made = sensor(deferrable=request.param != "poke", **parameters)
        if request.param != "resume":
            return made.execute(context)
        event = {
            "operation_id": made.operation_id,
            "outcome": "ended",
            "submitted_at": clock.now - 4000,
            "deadline": clock.now + 4000,
        }
        return made.resume_execution("execute_complete", {"event": event}, context)

    return run


def event_at_deadline(operation_id: str, clock: SteppedTime) -> dict[str, Any]:
    return {"operation_id": operation_id, "outcome": "timeout", "submitted_at": clock.now - 30, "deadline": clock.now}


ENDINGS = [
    ({"kind": "operation_error", "code": 13, "message": "exploded"}, OperationFailed),
    ({"kind": "operation_error", "code": 1, "message": "cancelled"}, OperationCancelled),
    ({"kind": "operation_empty"}, OperationFailed),
]


@pytest.mark.parametrize(("fault", "kind"), ENDINGS, ids=["failed", "cancelled", "empty"])
def test_an_operation_that_ended_without_an_answer_is_final_and_sends_to_the_task_that_submitted_it(
    way: Way, emulator: Emulator, operation_id: str, fault: dict[str, Any], kind: type[OperationError]
) -> None:
    emulator.fault("operations.get", **fault, times=None)
    with pytest.raises(kind, match="Clear the task that submitted it") as caught:
        way()
    assert isinstance(caught.value, AirflowFailException)
    assert "nother attempt" not in str(caught.value)
    assert caught.value.operation_id == operation_id


def test_an_operation_that_is_gone_is_not_looked_for_again(
    sensor: MakeSensor, context: Context, clock: SteppedTime, operation_id: str
) -> None:
    event = {**event_at_deadline(operation_id, clock), "outcome": "expired"}
    clock.sleep(timedelta(days=4).total_seconds())
    with pytest.raises(OperationExpired) as caught:
        sensor().execute_complete(context, event)
    assert isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("soft", ["soft_fail", "never_fail"])
def test_a_wait_without_an_answer_is_skipped_and_says_why(
    way: Way, emulator: Emulator, capsys: pytest.CaptureFixture[str], soft: str
) -> None:
    emulator.fault("operations.get", "operation_error", code=13, message="exploded", times=None)
    with pytest.raises(AirflowSkipException, match="exploded"):
        way(**{soft: True})
    assert "exploded" in capsys.readouterr().out


@pytest.mark.parametrize("soft", ["soft_fail", "never_fail"])
def test_a_task_that_is_wrong_is_never_skipped(way: Way, soft: str) -> None:
    with pytest.raises(ConfigurationError, match="operation_id"):
        way(operation_id="None", **{soft: True})


def test_a_connection_that_is_wrong_is_never_skipped(
    sensor: MakeSensor,
    context: Context,
    clock: SteppedTime,
    operation_id: str,
    monkeypatch: pytest.MonkeyPatch,
    hook: YandexAIStudioHook,
) -> None:
    def wrong(*_: Any, **__: Any) -> None:
        raise ConfigurationError("The connection holds no credential.")

    monkeypatch.setattr(hook, "get_operation", wrong)
    event = {**event_at_deadline(operation_id, clock), "outcome": "refused"}
    for soft in ("soft_fail", "never_fail"):
        with pytest.raises(ConfigurationError):
            sensor(**{soft: True}).resume_execution("execute_complete", {"event": event}, context)


@pytest.mark.parametrize(("status", "kind"), [(401, AuthenticationError), (403, PermissionDenied)])
def test_an_account_that_is_refused_is_skipped_by_never_fail_alone(
    sensor: MakeSensor,
    context: Context,
    emulator: Emulator,
    clock: SteppedTime,
    operation_id: str,
    status: int,
    kind: type[Exception],
) -> None:
    emulator.fault("operations.get", "status", status=status, times=None)
    event = {**event_at_deadline(operation_id, clock), "outcome": "refused"}
    with pytest.raises(kind):
        sensor(soft_fail=True).resume_execution("execute_complete", {"event": event}, context)
    with pytest.raises(AirflowSkipException):
        sensor(never_fail=True).resume_execution("execute_complete", {"event": event}, context)


@pytest.mark.parametrize(("status", "kind"), [(401, AuthenticationError), (403, PermissionDenied)])
def test_a_refusal_that_meets_the_workers_alone_ends_the_wait_after_five_minutes(
    sensor: MakeSensor,
    context: Context,
    emulator: Emulator,
    clock: SteppedTime,
    operation_id: str,
    status: int,
    kind: type[Exception],
) -> None:
    emulator.fault("operations.get", "status", status=status, times=None)
    event = {**event_at_deadline(operation_id, clock), "outcome": "ended", "deadline": clock.now + 4000}
    began, kwargs = clock.now, {}
    for _ in range(50):
        with pytest.raises((TaskDeferred, kind)) as caught:
            sensor().resume_execution("execute_complete", {**kwargs, "event": event}, context)
        if not isinstance(caught.value, TaskDeferred):
            break
        kwargs = caught.value.kwargs
        clock.sleep(5)
    assert isinstance(caught.value, kind)
    assert REFUSAL_SECONDS <= clock.now - began < REFUSAL_SECONDS + 60


def test_a_sensor_that_defers_again_tells_the_trigger_how_often_it_came_back(
    sensor: MakeSensor, context: Context, clock: SteppedTime, operation_id: str
) -> None:
    event = {**event_at_deadline(operation_id, clock), "deadline": clock.now + 4000, "returns": 3}
    with pytest.raises(TaskDeferred) as again:
        sensor().execute_complete(context, event)
    assert again.value.trigger.returns == 3


def test_an_event_of_something_else_is_no_reason_to_skip(sensor: MakeSensor, context: Context) -> None:
    with pytest.raises(TriggerEventError):
        sensor(soft_fail=True).resume_execution("execute_complete", {"event": {"odd": 1}}, context)


def test_a_service_that_is_down_at_the_deadline_is_a_timeout(
    sensor: MakeSensor, context: Context, emulator: Emulator, clock: SteppedTime, operation_id: str
) -> None:
    emulator.fault("operations.get", "status", status=503, body="", times=None)
    event = event_at_deadline(operation_id, clock)
    with pytest.raises(AirflowSensorTimeout) as caught:
        sensor(timeout=30).execute_complete(context, event)
    assert isinstance(caught.value.__cause__, ServiceUnavailable)
    with pytest.raises(AirflowSkipException):
        sensor(timeout=30, soft_fail=True).execute_complete(context, event)


def test_an_unknown_operation_is_not_waited_for_beyond_the_deadline(
    sensor: MakeSensor, context: Context, clock: SteppedTime
) -> None:
    """It may be too fresh to be seen; but who waits 30 s for it wants to know after 30 s, from one worker."""
    with pytest.raises(AirflowSensorTimeout, match="d7qneverwas"):
        sensor(operation_id="d7qneverwas", timeout=30).execute_complete(
            context, event_at_deadline("d7qneverwas", clock)
        )


def test_what_a_sensor_can_t_read_costs_it_nothing(
    sensor: MakeSensor, context: Context, hook: YandexAIStudioHook, operation_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = Operation(operation_id, "completion", done=True, generation=Generation("", "unreadable", Usage()))
    monkeypatch.setattr(hook, "get_operation", lambda *_, **__: seen)
    with pytest.raises(AnswerUnreadable, match=r"(?s)then clear this task.*This task pays for nothing"):
        sensor().execute(context)


LOST = ["Trigger timeout", "Trigger failure"]


@pytest.mark.parametrize("why", LOST)
def test_an_answer_is_taken_where_airflow_has_ended_the_deferral_itself(
    sensor: MakeSensor, context: Context, clock: SteppedTime, why: str
) -> None:
    clock.sleep(4000)
    assert "ducks" in sensor().resume_execution("__fail__", {"error": why}, context)


@pytest.mark.parametrize(("why", "kind"), [(LOST[0], AirflowSensorTimeout), (LOST[1], TaskDeferralError)])
def test_a_deferral_that_airflow_has_ended_is_told_with_the_operation(
    sensor: MakeSensor, context: Context, operation_id: str, why: str, kind: type[Exception]
) -> None:
    fail = "__fail__", {"error": why}, context
    with pytest.raises(kind, match=operation_id):
        sensor().resume_execution(*fail)
    with pytest.raises(AirflowSkipException, match=operation_id):
        sensor(never_fail=True).resume_execution(*fail)
    with pytest.raises(AirflowSkipException if why == LOST[0] else kind, match=operation_id):
        sensor(soft_fail=True).resume_execution(*fail)


@pytest.fixture
def limited(sensor: MakeSensor, ti: TaskInstance, clock: SteppedTime) -> MakeSensor:
    """A sensor that began just now, with an execution_timeout."""
    ti.start_date = datetime.fromtimestamp(clock.now, UTC)

    def make(**parameters: Any) -> YandexAIStudioOperationSensor:
        return sensor(**{"execution_timeout": timedelta(seconds=60), "timeout": 600, **parameters})

    return make


def test_an_attempt_that_is_deferred_ends_at_its_execution_timeout(
    limited: MakeSensor, context: Context, clock: SteppedTime, operation_id: str
) -> None:
    with pytest.raises(TaskDeferred) as caught:
        limited().execute(context)
    assert caught.value.trigger.deadline == pytest.approx(clock.now + 60, abs=0.01)
    clock.sleep(61)
    event = event_at_deadline(operation_id, clock)
    with pytest.raises(AirflowTaskTimeout, match=operation_id):
        limited().execute_complete(context, event)
    with pytest.raises(AirflowSkipException):
        limited(soft_fail=True).execute_complete(context, event)
    with pytest.raises(AirflowSensorTimeout):
        limited(timeout=30).execute_complete(context, event)
