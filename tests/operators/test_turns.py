"""A task whose submission meets a spent quota waits for its turn, without a worker."""

from __future__ import annotations

import heapq
import json
import random
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk import task as taskflow
from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferred

from airflow_provider.yandex_ai_studio.client.retry import ATTEMPTS, delay_before
from airflow_provider.yandex_ai_studio.durability.resume import FIRST_TURN, LONGEST_TURN, least_deferral, turn_delay
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import RateLimited
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from airflow_provider.yandex_ai_studio.triggers.bulk import YandexAIStudioBulkTrigger
from airflow_provider.yandex_ai_studio.triggers.operation import YandexAIStudioOperationTrigger
from faults import Task
from support import API_KEY, CONN_ID, FOLDER, SteppedTime


@pytest.fixture
def task(hook: YandexAIStudioHook, emulator: Emulator, clock: SteppedTime) -> Task:
    return Task(hook, emulator, clock)


def spend_the_quota(emulator: Emulator) -> None:
    emulator.fault("completionAsync", "status", status=429, times=None)


def deferral(operator: YandexAIStudioCompletionOperator, context: Any, deferred: TaskDeferred | None = None) -> Any:
    """Run an attempt from its begin, or from its last deferral, to its next one."""
    run = partial(operator.execute, context)
    if deferred is not None:
        kwargs = {**json.loads(json.dumps(deferred.kwargs)), "event": {"reason": "It is time to go on"}}
        run = partial(operator.resume_execution, deferred.method_name, kwargs, context)
    with pytest.raises(TaskDeferred) as caught:
        run()
    return caught.value


def test_a_spent_quota_fails_no_task_and_holds_no_worker(
    task: Task, emulator: Emulator, clock: SteppedTime, capsys: pytest.CaptureFixture[str]
) -> None:
    spend_the_quota(emulator)
    began, deferred, pauses = clock.now, None, []
    for _ in range(9):
        on_worker = clock.now
        deferred = deferral(task.operator(), task.context, deferred)
        assert clock.now - on_worker < 32
        assert isinstance(deferred.trigger, YandexAIStudioBulkTrigger)
        pauses.append(deferred.trigger.wake_at - clock.now)
        assert deferred.timeout.total_seconds() > pauses[-1]
        clock.sleep(pauses[-1])
    for number, pause in enumerate(pauses):
        middle = min(LONGEST_TURN, FIRST_TURN * 2**number)
        assert middle * 0.75 <= pause <= middle * 1.25
    assert "The task tries again in" in capsys.readouterr().out
    assert task.store.values == {}
    assert deferred is not None
    assert deferred.kwargs == {"refused": 9, "since": pytest.approx(began, abs=35)}
    emulator.clear_faults()
    trigger = deferral(task.operator(), task.context, deferred).trigger
    assert isinstance(trigger, YandexAIStudioOperationTrigger)
    assert trigger.deadline == trigger.submitted_at + 7200  # it counts from the submission, as ever
    clock.sleep(4000)
    assert "ducks" in task.resume(trigger)
    assert task.submissions == 1


def test_a_turn_comes_after_the_time_that_the_service_asks_for(
    task: Task, emulator: Emulator, clock: SteppedTime
) -> None:
    emulator.fault("completionAsync", "status", status=429, headers={"Retry-After": "50"}, times=None)
    deferred = deferral(task.operator(), task.context)
    assert 50 + FIRST_TURN * 0.75 <= deferred.trigger.wake_at - clock.now <= 50 + FIRST_TURN * 1.25


def test_who_only_submits_waits_for_the_turn_as_well(task: Task, emulator: Emulator) -> None:
    spend_the_quota(emulator)
    operator = task.operator(wait_for_completion=False)
    deferred = deferral(operator, task.context)
    emulator.clear_faults()
    operation_id = operator.resume_execution(deferred.method_name, {**deferred.kwargs, "event": {}}, task.context)
    assert operation_id == task.context["ti"].xcoms["operation_id"]


def test_a_turn_that_does_not_come_within_the_timeout_of_a_task_fails_the_attempt(
    task: Task, emulator: Emulator, clock: SteppedTime
) -> None:
    spend_the_quota(emulator)
    first = deferral(task.operator(timeout=40), task.context)
    clock.sleep(first.trigger.wake_at - clock.now)
    with pytest.raises(RateLimited):  # it took its time on the worker, so that the 40 s are over
        task.operator(timeout=40).resume_execution(first.method_name, {**first.kwargs, "event": {}}, task.context)


def test_an_attempt_without_a_turn_ends_at_its_execution_timeout(
    task: Task, emulator: Emulator, clock: SteppedTime
) -> None:
    spend_the_quota(emulator)
    task.parameters["execution_timeout"] = timedelta(seconds=45)
    task.context["ti"].start_date = datetime.fromtimestamp(clock.now, UTC)
    first = deferral(task.operator(), task.context)
    assert first.trigger.wake_at <= task.context["ti"].start_date.timestamp() + 45
    clock.sleep(first.trigger.wake_at - clock.now)
    with pytest.raises(AirflowTaskTimeout, match="nothing was submitted"):
        task.operator().resume_execution(first.method_name, {**first.kwargs, "event": {}}, task.context)


def test_an_attempt_that_has_lost_answers_waits_for_no_turn_to_lose_more(task: Task, emulator: Emulator) -> None:
    emulator.fault("completionAsync", "lost_answer", times=2)
    spend_the_quota(emulator)
    with pytest.raises(RateLimited):
        task.operator().execute(task.context)
    assert task.submissions == 2


def test_a_turn_that_no_triggerer_told_in_time_is_taken_all_the_same(task: Task, emulator: Emulator) -> None:
    spend_the_quota(emulator)
    deferral(task.operator(), task.context)
    emulator.clear_faults()
    with pytest.raises(TaskDeferred) as caught:
        task.operator().resume_execution("__fail__", {"error": "Trigger timeout"}, task.context)
    assert isinstance(caught.value.trigger, YandexAIStudioOperationTrigger)
    assert task.submissions == 1


def test_a_turn_outlasts_a_connection_that_is_away_for_a_moment(
    task: Task, emulator: Emulator, clock: SteppedTime, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    spend_the_quota(emulator)
    deferred = deferral(task.operator(), task.context)
    emulator.clear_faults()
    monkeypatch.delenv(f"AIRFLOW_CONN_{CONN_ID.upper()}")

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER})

    task.hook = YandexAIStudioHook(clock=lambda: clock.now, sleep=sleep)
    assert isinstance(deferral(task.operator(), task.context, deferred).trigger, YandexAIStudioOperationTrigger)
    task.hook.get_conn().close()


def test_nothing_is_paid_for_at_the_very_end_of_an_attempt(task: Task, emulator: Emulator, clock: SteppedTime) -> None:
    """It would be given up at once, and cancelled."""
    spend_the_quota(emulator)
    task.parameters["execution_timeout"] = timedelta(seconds=45)
    task.context["ti"].start_date = datetime.fromtimestamp(clock.now, UTC)
    first = deferral(task.operator(), task.context)
    clock.sleep(first.trigger.wake_at - clock.now)
    emulator.clear_faults()
    with pytest.raises(AirflowTaskTimeout, match="nothing was submitted: the quota was spent"):
        task.operator().resume_execution(first.method_name, {**first.kwargs, "event": {}}, task.context)
    assert task.submissions == 0


def test_a_task_under_dag_test_finds_its_turn_though_it_forgets_how_long_it_waited(
    task: Task, emulator: Emulator
) -> None:
    spend_the_quota(emulator)
    deferral(task.operator(), task.context)
    emulator.clear_faults()
    with pytest.raises(TaskDeferred) as caught:
        task.operator().submit_later(task.context, {})
    assert isinstance(caught.value.trigger, YandexAIStudioOperationTrigger)


def test_a_task_that_waits_on_its_worker_fails_and_leaves_the_pace_to_its_retries(
    task: Task, emulator: Emulator
) -> None:
    spend_the_quota(emulator)
    with pytest.raises(RateLimited):
        task.operator(deferrable=False).execute(task.context)


def test_a_function_is_called_again_for_its_turn(
    hook: YandexAIStudioHook, context: dict[str, Any], emulator: Emulator
) -> None:
    calls = []

    @taskflow.yandex_ai_studio
    def ducks() -> str:
        calls.append(1)
        return f"Tell me of {len(calls)} ducks."

    with DAG("dag"):
        operators = [ducks().operator, ducks().operator]
    for operator in operators:
        operator.hook = hook
    spend_the_quota(emulator)
    deferred = deferral(operators[0], dict(context))
    emulator.clear_faults()
    deferral(operators[1], dict(context), deferred)
    assert [operation["prompt_head"] for operation in emulator.operations()] == ["Tell me of 2 ducks."]


def test_a_turn_comes_no_sooner_than_any_airflow_can_resume_a_task() -> None:
    assert turn_delay(0, random=0.0) > least_deferral("3.2.0")
    assert [turn_delay(refused, random=0.5) for refused in (0, 1, 2, 5, 6, 99)] == [30, 60, 120, 960, 1200, 1200]
    assert [turn_delay(1, random=number) for number in (0.0, 1.0)] == [45, 75]


@pytest.mark.parametrize(("tasks", "quotas"), [(300, 2.2), (1000, 1.8)])
def test_hundreds_of_tasks_that_start_together_are_all_submitted_soon_after_the_quota_allows(
    tasks: int, quotas: float
) -> None:
    """Ten submissions a second, all tasks within ten seconds; each as it repeats and waits for its turn."""
    chance = random.Random(1)
    line = [(chance.uniform(0, 10), number, 1, 0) for number in range(tasks)]
    heapq.heapify(line)
    taken: list[float] = []
    while line:
        now, number, attempt, turn = heapq.heappop(line)
        if len(taken) < 10 or taken[-10] <= now - 1:
            taken.append(now)
        elif attempt < ATTEMPTS:
            again = now + delay_before(attempt + 1, random=chance.random())
            heapq.heappush(line, (again, number, attempt + 1, turn))
        else:
            heapq.heappush(line, (now + turn_delay(turn, random=chance.random()), number, 1, turn + 1))
    assert len(taken) == tasks
    assert taken[-1] <= quotas * tasks / 10
