"""A task that comes back for an answer which is there: what then fails for a moment, and what fails for good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferralError, TaskDeferred

from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    BadRequest,
    ConfigurationError,
    OperationTimeout,
    PermissionDenied,
)
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.triggers.operation import YandexAIStudioOperationTrigger
from airflow_provider.yandex_ai_studio.waiting.decision import REFUSAL_SECONDS
from faults import AnotherTurn, Task
from support import API_KEY, CONN_ID, FOLDER, SteppedTime

Trouble = Callable[[], None]


@pytest.fixture
def task(connection: None, emulator: Emulator, clock: SteppedTime) -> Iterator[Task]:
    """A task whose every worker looks its connection up, as it does in Airflow."""
    hooks: list[YandexAIStudioHook] = []

    class Workers(Task):
        def operator(self, **parameters: Any) -> Any:
            self.hook = YandexAIStudioHook(clock=lambda: clock.now, sleep=clock.sleep)
            hooks.append(self.hook)
            return super().operator(**parameters)

    yield Workers(YandexAIStudioHook(), emulator, clock)
    for hook in hooks:
        if client := vars(hook).get("_client"):
            client.close()


@pytest.fixture(params=["typo", "no key", "not found", "401", "403", "400", "404"])
def trouble(
    request: pytest.FixtureRequest, emulator: Emulator, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Trouble:
    def begin() -> None:
        match request.param:
            case "typo":
                connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER, "modl": "x"})
            case "no key":
                connect(host=emulator.url, extra={"folder_id": FOLDER})
            case "not found":
                monkeypatch.delenv(f"AIRFLOW_CONN_{CONN_ID.upper()}")
            case status:
                emulator.fault("operations.get", "status", status=int(status), times=None)

    return begin


def resumed(task: Task, trigger: YandexAIStudioOperationTrigger, kwargs: Any = None, outcome: str = "ended") -> Any:
    """Resume as the trigger's event says; return the text, or how the task was deferred again."""
    fields = trigger.serialize()[1]
    event = {name: fields[name] for name in ("operation_id", "submitted_at", "deadline", "api")}
    next_kwargs = {**(kwargs or {}), "event": {**event, "outcome": outcome}}
    try:
        return task.operator().resume_execution("execute_complete", next_kwargs, task.context)
    except TaskDeferred as deferred:
        return deferred


def test_what_fails_for_a_moment_as_an_operation_ends_costs_nobody_the_answer(
    task: Task, trouble: Trouble, emulator: Emulator, connect: Callable[..., None], clock: SteppedTime
) -> None:
    trigger = task.defer()
    clock.sleep(4000)
    trouble()
    again = resumed(task, trigger)
    assert isinstance(again, TaskDeferred)
    assert (again.trigger.operation_id, again.trigger.deadline) == (trigger.operation_id, trigger.deadline)
    emulator.clear_faults()
    connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER})
    assert "ducks" in resumed(task, trigger, again.kwargs)
    assert task.submissions == 1


@pytest.mark.parametrize(
    ("trouble", "error"),
    [("typo", ConfigurationError), ("401", AuthenticationError), ("403", PermissionDenied), ("400", BadRequest)],
    indirect=["trouble"],
)
@pytest.mark.parametrize("outcome", ["ended", "refused"])
def test_what_is_wrong_for_good_ends_the_wait_after_five_minutes_and_says_what_becomes_of_the_operation(
    task: Task, trouble: Trouble, clock: SteppedTime, error: type[Exception], outcome: str
) -> None:
    trigger = task.defer()
    clock.sleep(4000)
    trouble()
    began = clock.now

    def resume_again_and_again() -> None:
        kwargs = None
        for _ in range(50):
            kwargs = resumed(task, trigger, kwargs, outcome).kwargs
            clock.sleep(5)

    with pytest.raises(error, match=f"{trigger.operation_id} was submitted before that, and is not cancelled"):
        resume_again_and_again()
    assert clock.now - began < REFUSAL_SECONDS + 60
    assert outcome == "ended" or clock.now == began  # then the trigger has waited these minutes


def test_a_worker_that_waits_itself_gives_the_same_five_minutes(
    task: Task, emulator: Emulator, clock: SteppedTime
) -> None:
    emulator.fault("operations.get", "status", status=403, times=None)
    began = clock.now
    with pytest.raises(PermissionDenied):
        task.operator(deferrable=False).execute(task.context)
    assert REFUSAL_SECONDS <= clock.now - began < REFUSAL_SECONDS + 120


def lost(task: Task, why: str, **parameters: Any) -> Any:
    """Resume where Airflow has ended the deferral itself."""
    return task.operator(**parameters).resume_execution("__fail__", {"error": why, "traceback": ["boom"]}, task.context)


@pytest.mark.parametrize("why", ["Trigger timeout", "Trigger failure"])
@pytest.mark.parametrize("keeps_state", [True, False])
def test_an_answer_is_taken_where_airflow_has_ended_the_deferral_itself(
    task: Task, clock: SteppedTime, why: str, keeps_state: bool
) -> None:
    if not keeps_state:
        task.context["task_state_store"] = None
    task.defer()
    clock.sleep(7200 + 900)
    assert "ducks" in lost(task, why)
    assert task.submissions == 1


def test_a_deferral_that_timed_out_ends_in_words_that_name_the_operation(task: Task, clock: SteppedTime) -> None:
    trigger = task.defer(timeout=600)
    clock.sleep(600 + 900)
    with pytest.raises(OperationTimeout, match=trigger.operation_id):
        lost(task, "Trigger timeout", timeout=600)
    assert lost_to_another_deadline(task).trigger.deadline == trigger.submitted_at + 7200
    clock.sleep(4000)
    assert "ducks" in task.operator(timeout=600).execute(task.context)
    assert task.submissions == 1


def lost_to_another_deadline(task: Task) -> TaskDeferred:
    """Resume after the author has raised the timeout meanwhile."""
    with pytest.raises(TaskDeferred) as caught:
        lost(task, "Trigger timeout", timeout=7200)
    return caught.value


@pytest.mark.parametrize("status", [200, 503, 403])
def test_a_trigger_that_can_t_run_is_not_started_again_and_again(task: Task, emulator: Emulator, status: int) -> None:
    trigger = task.defer()
    if status != 200:
        emulator.fault("operations.get", "status", status=status, times=None)
    with pytest.raises(TaskDeferralError, match=f"(?s)clear the task.*Trigger failure.*{trigger.operation_id} was"):
        lost(task, "Trigger failure")
    emulator.clear_faults()
    assert task.defer().operation_id == trigger.operation_id  # the retry


def test_a_turn_to_submit_that_nobody_woke_the_task_for_takes_no_answer_of_another_request(
    task: Task, emulator: Emulator, clock: SteppedTime
) -> None:
    task.defer()
    clock.sleep(4000)
    task.context["ti"].xcoms.clear()  # as Airflow does when another attempt begins
    emulator.fault("completionAsync", "status", status=429, times=None)
    with pytest.raises(AnotherTurn):
        task.defer(prompt="Tell me of geese.")
    with pytest.raises(TaskDeferralError, match="Nothing is known to be submitted"):
        lost(task, "Trigger failure", prompt="Tell me of geese.")
    with pytest.raises(TaskDeferred) as again:
        lost(task, "Trigger timeout", prompt="Tell me of geese.")
    assert again.value.method_name == "submit_later"
    assert task.store.values  # the answer of the other request stays


@pytest.mark.parametrize("outcome", ["timeout", "broken"])
def test_a_task_that_defers_again_tells_the_trigger_how_often_it_came_back(task: Task, outcome: str) -> None:
    """Else a worker starts every five seconds, for as long as a clock is wrong or a triggerer can't ask."""
    trigger = task.defer()
    for returns in range(1, 4):
        event = {**trigger.serialize()[1], "outcome": outcome, "returns": returns}
        with pytest.raises(TaskDeferred) as again:
            task.operator().execute_complete(task.context, event)
        assert again.value.trigger.returns == returns
        trigger = again.value.trigger
