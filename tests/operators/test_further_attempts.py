"""What another attempt does, after a timeout, a cancellation, a clear, or a change of the connection."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException, AirflowTaskTimeout, TaskDeferred

from airflow_provider.yandex_ai_studio.durability import advice
from airflow_provider.yandex_ai_studio.durability.journal import KEY
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import (
    OperationCancelled,
    OperationExpired,
    OperationTimeout,
    TriggerEventError,
)
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from faults import Task
from support import API_KEY, FOLDER, SteppedTime, Store


@pytest.fixture
def task(hook: YandexAIStudioHook, emulator: Emulator, clock: SteppedTime) -> Task:
    return Task(hook, emulator, clock)


def told(task: Task, trigger: Any, outcome: str = "timeout", **parameters: Any) -> Any:
    """Resume as the trigger's event says."""
    event = {name: getattr(trigger, name) for name in ("operation_id", "submitted_at", "deadline", "api")}
    return task.operator(**parameters).execute_complete(task.context, {**event, "outcome": outcome})


def counts(emulator: Emulator) -> tuple[int, int]:
    """Return how many operations run, and how many were cancelled."""
    states = emulator.stats()["operations"]
    return states["running"], states["cancelled"]


class Stumbling(Store):
    """A task_state_store of which every other call fails."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def _check(self, method: str) -> None:
        self.calls += 1
        if self.calls % 2:
            raise ConnectionError("the state store restarts")


def test_a_store_that_stumbles_at_every_step_neither_fails_an_attempt_nor_hides_what_it_paid_for(
    task: Task, emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    task.context["task_state_store"] = Stumbling()
    first = task.defer()
    assert task.defer().operation_id == first.operation_id
    emulator.advance(3600)
    assert "ducks" in task.resume(first)
    assert task.submissions == 1
    assert "can't be read or written (the state store restarts). It is tried again" in capsys.readouterr().out


def test_before_its_deadline_no_retry_extends_it(task: Task, clock: SteppedTime) -> None:
    first = task.defer(timeout=600)
    clock.sleep(500)
    second = task.defer(timeout=600)
    assert (second.operation_id, second.deadline) == (first.operation_id, first.deadline)
    assert task.defer(timeout=7200).deadline == first.submitted_at + 7200  # a larger one in the DAG does


def test_after_a_timeout_each_attempt_waits_as_long_again_for_the_same_operation(
    task: Task, clock: SteppedTime, emulator: Emulator
) -> None:
    first = task.defer(timeout=600)
    clock.sleep(601)
    with pytest.raises(OperationTimeout, match=r"^Retry .*to wait as long again") as caught:
        told(task, first, timeout=600)
    assert not isinstance(caught.value, AirflowFailException)
    clock.sleep(100)  # the delay of the retry
    second = task.defer(timeout=600)
    assert (second.operation_id, second.deadline) == (first.operation_id, clock.now + 600)
    clock.sleep(300)
    third = task.defer(timeout=600)  # a worker died: that extends nothing
    assert third.deadline == second.deadline
    clock.sleep(4000)
    assert "ducks" in told(task, third, "ended", timeout=600)
    assert task.submissions == 1


def test_a_service_that_can_t_be_asked_is_no_reason_to_wait_for_no_time(
    task: Task, clock: SteppedTime, emulator: Emulator
) -> None:
    task.defer(timeout=600)
    clock.sleep(700)
    emulator.fault("operations.get", "status", status=503, body="", times=None)
    assert task.defer(timeout=600).deadline == clock.now + 600


def test_a_timeout_that_is_to_be_final_burns_no_retries_and_a_clear_waits_again(
    task: Task, clock: SteppedTime, emulator: Emulator
) -> None:
    wishes = {"timeout": 600, "on_timeout": "fail"}
    first = task.defer(**wishes)
    clock.sleep(601)
    for attempt in (lambda: told(task, first, **wishes), lambda: task.operator(**wishes).execute(task.context)):
        with pytest.raises(OperationTimeout, match=r"^Clear the task.* to wait as long again") as caught:
            attempt()
        assert isinstance(caught.value, AirflowFailException)
        assert caught.value.operation_id == first.operation_id
    task.clear()
    again = task.defer(**wishes)
    assert (again.operation_id, again.deadline) == (first.operation_id, clock.now + 600)
    assert counts(emulator) == (1, 0)


def test_an_operation_that_outlived_its_deadline_is_replaced_where_that_is_asked_for(
    task: Task, clock: SteppedTime, emulator: Emulator
) -> None:
    wishes = {"timeout": 600, "on_timeout": "resubmit"}
    first = task.defer(**wishes)
    clock.sleep(601)
    with pytest.raises(OperationTimeout, match=r"cancel the operation.* and submit the request anew"):
        told(task, first, **wishes)
    assert counts(emulator) == (1, 0)
    second = task.defer(**wishes)
    assert second.operation_id != first.operation_id
    assert second.deadline == clock.now + 600
    assert counts(emulator) == (1, 1)


@pytest.mark.parametrize("on_timeout", ["wait", "fail", "resubmit"])
def test_an_answer_that_came_after_the_deadline_is_taken_whatever_is_chosen(
    task: Task, clock: SteppedTime, on_timeout: str
) -> None:
    task.defer(timeout=600)
    clock.sleep(4000)
    assert "ducks" in task.operator(timeout=600, on_timeout=on_timeout).execute(task.context)
    assert task.submissions == 1


def test_a_cancellation_by_a_person_is_not_undone_by_a_retry(task: Task, emulator: Emulator) -> None:
    trigger = task.defer()
    task.hook.cancel_operation(trigger.operation_id)
    for attempt in (lambda: told(task, trigger, "ended"), lambda: task.operator().execute(task.context)):
        record = dict(task.store.values)
        with pytest.raises(OperationCancelled, match="Clear the task") as caught:
            attempt()
        assert isinstance(caught.value, AirflowFailException)
        assert task.store.values == {}  # told: whoever clears the task submits anew
        task.store.values = record
    assert task.submissions == 1


def test_a_submission_that_is_not_waited_for_says_that_its_operation_was_cancelled(task: Task) -> None:
    operation_id = task.operator(wait_for_completion=False).execute(task.context)
    task.hook.cancel_operation(operation_id)
    with pytest.raises(OperationCancelled):
        task.operator(wait_for_completion=False).execute(task.context)


def test_a_clear_after_a_cancellation_submits_anew(task: Task) -> None:
    first = task.defer()
    task.hook.cancel_operation(first.operation_id)
    task.clear()
    assert task.defer().operation_id != first.operation_id


def test_a_clear_long_ago_is_no_wish_to_undo_a_cancellation(task: Task) -> None:
    task.defer()
    task.clear()
    found = task.defer()
    task.hook.cancel_operation(found.operation_id)
    with pytest.raises(OperationCancelled):
        task.operator().execute(task.context)


def test_a_clear_takes_the_answer_or_writes_it_again_as_the_author_chose(
    task: Task, clock: SteppedTime, emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    first = task.defer()
    clock.sleep(4000)
    text = told(task, first, "ended")
    task.clear()
    assert task.operator().execute(task.context) == text
    assert task.submissions == 1
    assert "ducks" in task.operator(on_clear="resubmit").execute(task.context)  # a retry is no clear
    task.clear()
    capsys.readouterr()
    second = task.defer(on_clear="resubmit")
    assert second.operation_id != first.operation_id
    assert emulator.stats()["requests"]["operations.cancel"] == 0  # it is done
    assert "billed" not in capsys.readouterr().out
    assert task.defer(on_clear="resubmit").operation_id == second.operation_id


@pytest.mark.parametrize("fault", [None, {"kind": "status", "status": 503}, {"kind": "drop"}], ids=str)
def test_a_clear_that_writes_again_cancels_what_still_runs_though_nobody_can_look_at_it(
    task: Task, emulator: Emulator, fault: dict[str, Any] | None
) -> None:
    first = task.defer(on_clear="resubmit")
    task.clear()
    if fault:
        emulator.fault("operations.get", **fault, times=None)
    assert task.defer(on_clear="resubmit").operation_id != first.operation_id
    assert counts(emulator) == (1, 1)


@pytest.fixture
def change_default(connect: Callable[..., None], emulator: Emulator, clock: SteppedTime) -> Callable[[str], Any]:
    """Let the next worker find another default model in the connection; return its hook."""

    def change(model: str) -> YandexAIStudioHook:
        connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER, "model": model})
        return YandexAIStudioHook(clock=lambda: clock.now, sleep=clock.sleep)

    return change


def test_another_default_of_the_connection_does_not_give_up_what_was_paid_for(
    task: Task, clock: SteppedTime, change_default: Callable[[str], Any], capsys: pytest.CaptureFixture[str]
) -> None:
    first = task.defer()
    task.hook = change_default("aliceai-llm")
    assert task.defer().operation_id == first.operation_id
    said = capsys.readouterr().out
    assert f"asked of gpt://{FOLDER}/yandexgpt. By the connection, that is gpt://{FOLDER}/aliceai-llm now" in said
    clock.sleep(4000)
    assert "ducks" in task.operator().execute(task.context)
    assert task.submissions == 1
    assert task.defer(model="aliceai-llm").operation_id != first.operation_id  # the task itself asks for another
    task.hook.get_conn().close()


@pytest.mark.parametrize("model", [None, "yandexgpt"])
def test_another_folder_of_the_connection_does_not_give_up_what_was_paid_for(
    task: Task, clock: SteppedTime, connect: Callable[..., None], emulator: Emulator, model: str | None
) -> None:
    first = task.defer(model=model)
    connect(host=emulator.url, password=API_KEY, extra={"folder_id": "b1gother"})
    task.hook = YandexAIStudioHook(clock=lambda: clock.now, sleep=clock.sleep)
    assert task.defer(model=model).operation_id == first.operation_id
    clock.sleep(4000)
    assert "ducks" in task.operator(model=model).execute(task.context)
    assert task.submissions == 1
    task.hook.get_conn().close()


def test_an_answer_that_a_gateway_hid_through_a_whole_wait_is_taken_by_the_next_attempt(
    task: Task, clock: SteppedTime, emulator: Emulator
) -> None:
    first = task.defer()
    emulator.fault("operations.get", "status", status=404, times=None)
    with pytest.raises(OperationExpired):
        told(task, first, "expired")
    emulator.clear_faults()
    clock.sleep(4000)
    assert "ducks" in task.operator().execute(task.context)
    assert task.submissions == 1
    assert task.store.values[KEY]["gone"] is False


def test_one_that_is_not_there_at_another_look_either_is_submitted_anew(task: Task, emulator: Emulator) -> None:
    first = task.defer()
    emulator.fault("operations.get", "status", status=404, times=None)
    with pytest.raises(OperationExpired):
        told(task, first, "expired")
    assert task.defer().operation_id != first.operation_id
    assert task.submissions == 2


def test_a_record_of_the_release_before_is_found(task: Task) -> None:
    first = task.defer(model="yandexgpt")
    record = task.store.values[KEY]
    task.store.values[KEY] = {name: record[name] for name in ("fingerprint", "submitted_at", "operation_id", "api")}
    task.clear()
    assert task.defer(model="yandexgpt").operation_id == first.operation_id


@pytest.fixture
def limited(task: Task, clock: SteppedTime) -> Task:
    """A task whose attempt began just now, with an execution_timeout."""
    task.parameters["execution_timeout"] = timedelta(seconds=600)
    task.context["ti"].start_date = datetime.fromtimestamp(clock.now, UTC)
    return task


def test_an_attempt_that_is_deferred_ends_at_its_execution_timeout_and_the_next_finds_the_operation(
    limited: Task, clock: SteppedTime, emulator: Emulator
) -> None:
    limited.context["ti"].max_tries = 1
    trigger = limited.defer()
    assert trigger.deadline == pytest.approx(clock.now + 600, abs=0.01)
    clock.sleep(601)
    with pytest.raises(AirflowTaskTimeout, match=f"{trigger.operation_id} has no answer. Another attempt finds it"):
        told(limited, trigger)
    assert counts(emulator) == (1, 0)
    limited.context["ti"].start_date = datetime.fromtimestamp(clock.now, UTC)
    again = limited.defer()
    assert (again.operation_id, again.deadline) == (trigger.operation_id, pytest.approx(clock.now + 600, abs=0.01))


def test_a_timeout_that_comes_before_the_execution_timeout_is_told_as_such(limited: Task, clock: SteppedTime) -> None:
    trigger = limited.defer(timeout=300)
    assert trigger.deadline == pytest.approx(clock.now + 300, abs=0.01)
    clock.sleep(700)
    with pytest.raises(OperationTimeout):
        told(limited, trigger, timeout=300)


def test_an_answer_that_came_with_the_execution_timeout_is_taken(limited: Task, clock: SteppedTime) -> None:
    trigger = limited.defer()
    clock.sleep(4000)
    assert "ducks" in told(limited, trigger)


@pytest.mark.parametrize("status", [200, 429, 503])
@pytest.mark.parametrize(("max_tries", "cancelled"), [(1, 0), (0, 1)])
def test_the_last_attempt_that_is_out_of_time_while_deferred_cancels_as_on_a_worker(
    limited: Task,
    clock: SteppedTime,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    max_tries: int,
    cancelled: int,
) -> None:
    monkeypatch.setattr(
        "airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_task_states",
        lambda **which: {"run": {"generate": "running"}},
    )
    limited.context["ti"].max_tries = max_tries
    trigger = limited.defer()
    clock.sleep(601)
    if status != 200:
        emulator.fault("operations.get", "status", status=status, times=None)
    operator = limited.operator()
    event = {name: getattr(trigger, name) for name in ("operation_id", "submitted_at", "deadline", "api")}
    becomes = "It is cancelled, as far as" if cancelled else "Another attempt finds it"
    with pytest.raises(AirflowTaskTimeout, match=becomes) as caught:
        operator.execute_complete(limited.context, {**event, "outcome": "timeout"})
    try:
        raise caught.value
    except AirflowTaskTimeout:
        operator.on_kill()  # as Airflow does
    assert counts(emulator)[1] == cancelled


def test_a_wait_that_goes_on_after_a_resume_keeps_the_end_of_its_attempt(
    limited: Task, clock: SteppedTime, emulator: Emulator
) -> None:
    trigger = limited.defer()
    clock.sleep(60)
    emulator.fault("operations.get", "status", status=503, body="", times=6)
    with pytest.raises(TaskDeferred) as caught:
        told(limited, trigger, "ended")
    assert caught.value.trigger.deadline == trigger.deadline


@pytest.mark.parametrize(
    ("discards", "keeps_state", "on_timeout", "said"),
    [
        (False, True, "wait", "^Retry or clear the task to wait"),
        (True, True, "wait", "^Retry the task, or clear it and keep its state, to wait"),
        (True, True, "fail", "^Clear the task and keep its state to wait"),
        (False, False, "wait", "^Wait for it with .*another attempt submits and pays again"),
        (False, False, "fail", "^Wait for it with .*another attempt submits and pays again"),
    ],
)
def test_whoever_does_what_an_error_says_goes_on_with_what_was_paid_for(
    task: Task,
    clock: SteppedTime,
    monkeypatch: pytest.MonkeyPatch,
    discards: bool,
    keeps_state: bool,
    on_timeout: str,
    said: str,
) -> None:
    monkeypatch.setattr(advice, "clear_may_discard", lambda: discards)
    if not keeps_state:
        task.context["task_state_store"] = None
    wishes = {"timeout": 600, "on_timeout": on_timeout}
    trigger = task.defer(**wishes)
    clock.sleep(601)
    with pytest.raises(OperationTimeout, match=said):
        told(task, trigger, **wishes)
    not_an_event = {"odd": 1}
    with pytest.raises(TriggerEventError, match="keep its state" if discards else "(?s)clear the task|pays again"):
        task.operator(**wishes).execute_complete(task.context, not_an_event)
