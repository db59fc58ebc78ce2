"""What each fault does to a submission, a question and the final read: once, and for good. A test is a column."""

from __future__ import annotations

import time

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import (
    OperationFailed,
    RateLimited,
    ServiceUnavailable,
    SubmissionUnknown,
)
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from faults import ENDINGS, FAULTS, AnotherTurn, Task, cells
from support import SteppedTime

REFUSED, UNAVAILABLE, FAILED = RateLimited, ServiceUnavailable, OperationFailed


@pytest.fixture
def task(hook: YandexAIStudioHook, emulator: Emulator, clock: SteppedTime) -> Task:
    return Task(hook, emulator, clock)


@pytest.mark.parametrize(
    ("fault", "once", "always", "suspected"),
    cells(
        ("429", 1, (AnotherTurn, 0), False),
        ("500", 1, (UNAVAILABLE, 0), True),
        ("503", 1, (UNAVAILABLE, 0), False),
        ("delay", 1, (None, 1), False),
        ("drop", 1, (UNAVAILABLE, 0), True),
        ("garbage", 1, (UNAVAILABLE, 0), True),
        ("operation_error", 1, (None, 1), False),
        ("operation_empty", 1, (None, 1), False),
        ("lost_answer", 2, (UNAVAILABLE, 3), True),
    ),
)
def test_a_fault_of_the_submission(
    task: Task,
    emulator: Emulator,
    clock: SteppedTime,
    fault: str,
    once: int,
    always: tuple[type[Exception] | None, int],
    suspected: bool,
) -> None:
    emulator.fault("completionAsync", **FAULTS[fault])
    trigger = task.defer()
    assert task.submissions == once
    clock.sleep(4000)
    if fault in ENDINGS:
        with pytest.raises(OperationFailed):
            task.resume(trigger)
    else:
        assert "ducks" in task.resume(trigger)

    error, submissions = always
    emulator.fault("completionAsync", **FAULTS[fault], times=None)
    another = Task(task.hook, emulator, clock)
    if error is None:
        another.defer()
    else:
        with pytest.raises(error):
            another.defer()
    assert another.submissions - once == submissions
    assert another.suspected is suspected


@pytest.mark.parametrize(
    ("fault", "error", "submissions"),
    cells(
        ("429", None, 1),
        ("500", SubmissionUnknown, 0),
        ("503", None, 1),
        ("delay", None, 1),
        ("drop", SubmissionUnknown, 0),
        ("garbage", SubmissionUnknown, 0),
        ("operation_error", None, 1),
        ("operation_empty", None, 1),
        ("lost_answer", SubmissionUnknown, 1),
    ),
)
def test_a_fault_of_the_submission_where_a_person_decides(
    task: Task, emulator: Emulator, fault: str, error: type[Exception] | None, submissions: int
) -> None:
    emulator.fault("completionAsync", **FAULTS[fault])
    if error is None:
        task.defer(on_unknown_submission="fail")
    else:
        with pytest.raises(error, match="Clear the task"):
            task.defer(on_unknown_submission="fail")
        assert task.store.values == {}
    assert task.submissions == submissions


@pytest.mark.parametrize("fault", FAULTS)
async def test_a_fault_of_a_question_in_the_triggerer(
    task: Task, emulator: Emulator, clock: SteppedTime, fault: str
) -> None:
    trigger = task.defer()
    clock.sleep(4000)
    # aiohttp repeats a GET by itself where the connection breaks.
    emulator.fault("operations.get", **FAULTS[fault], times=2 if fault in ("drop", "lost_answer") else 1)
    (event,) = [event async for event in trigger.run()]
    assert event.payload["outcome"] == "ended"
    if fault in ENDINGS:
        with pytest.raises(OperationFailed):
            task.resume(trigger)
        return
    emulator.fault("operations.get", **FAULTS[fault], times=None)
    trigger.deadline = time.time() - 1
    (event,) = [event async for event in trigger.run()]
    assert event.payload["outcome"] == ("ended" if fault == "delay" else "timeout")
    emulator.clear_faults()
    assert "ducks" in task.resume(trigger)
    assert task.submissions == 1


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_of_a_question_on_the_worker(task: Task, emulator: Emulator, clock: SteppedTime, fault: str) -> None:
    emulator.fault("operations.get", **FAULTS[fault], times=1 if fault in ENDINGS else 5)
    if fault in ENDINGS:
        with pytest.raises(OperationFailed):
            task.operator(deferrable=False).execute(task.context)
    else:
        assert "ducks" in task.operator(deferrable=False).execute(task.context)
    assert task.submissions == 1


@pytest.mark.parametrize(
    ("fault", "once", "late"),
    cells(
        ("429", None, REFUSED),
        ("500", None, UNAVAILABLE),
        ("503", None, UNAVAILABLE),
        ("delay", None, None),
        ("drop", None, UNAVAILABLE),
        ("garbage", None, UNAVAILABLE),
        ("operation_error", FAILED, FAILED),
        ("operation_empty", FAILED, FAILED),
        ("lost_answer", None, UNAVAILABLE),
    ),
)
def test_a_fault_of_the_final_read(
    task: Task,
    emulator: Emulator,
    clock: SteppedTime,
    fault: str,
    once: type[Exception] | None,
    late: type[Exception] | None,
) -> None:
    trigger = task.defer()
    clock.sleep(4000)
    emulator.fault("operations.get", **FAULTS[fault])
    if once:
        with pytest.raises(once):
            task.resume(trigger)
        return
    assert "ducks" in task.resume(trigger)
    emulator.fault("operations.get", **FAULTS[fault], times=None)
    if fault == "delay":
        assert "ducks" in task.resume(trigger)
    else:
        with pytest.raises(TaskDeferred):  # before the deadline, the wait goes on
            task.resume(trigger)
    clock.sleep(4000)
    if late:
        with pytest.raises(late):
            task.resume(trigger)
    emulator.clear_faults()
    assert "ducks" in task.operator().execute(task.context)  # the next attempt
    assert task.submissions == 1
