"""A submission whose fate is unknown is repeated after a pause, and by a service that works; else it is left alone."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider.yandex_ai_studio.durability import submission
from airflow_provider.yandex_ai_studio.durability.submission import PAUSES, SUBMISSIONS
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import ServiceUnavailable
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.operators.responses import YandexAIStudioResponseOperator
from faults import Task
from support import SteppedTime

SUBMIT, QUESTION = "completionAsync", "tokenizeCompletion"


@pytest.fixture
def task(hook: YandexAIStudioHook, emulator: Emulator, clock: SteppedTime) -> Task:
    return Task(hook, emulator, clock)


def requests(emulator: Emulator, route: str) -> int:
    return int(emulator.stats()["requests"][route])


def down(emulator: Emulator, *routes: str, status: int = 502) -> None:
    for route in routes:
        emulator.fault(route, "status", status=status, body="<html>", times=None)


def test_submissions_of_unknown_fate_are_spaced_out_by_growing_pauses(
    task: Task, emulator: Emulator, clock: SteppedTime
) -> None:
    emulator.fault(SUBMIT, "lost_answer", times=None)
    with pytest.raises(ServiceUnavailable):
        task.defer()
    assert task.submissions == SUBMISSIONS
    first, second = clock.slept
    assert PAUSES[0] / 2 <= first <= PAUSES[0] < PAUSES[1] / 2 <= second <= PAUSES[1]


def test_an_answer_that_breaks_off_after_its_end_is_a_submission(task: Task, emulator: Emulator) -> None:
    emulator.fault(SUBMIT, "cut", times=None)
    task.defer()
    assert task.submissions == 1
    assert not task.suspected


def test_a_service_that_is_out_of_order_altogether_is_asked_to_generate_once(
    task: Task, emulator: Emulator, clock: SteppedTime
) -> None:
    down(emulator, SUBMIT, QUESTION)
    with pytest.raises(
        ServiceUnavailable, match=r"(?s)Another attempt will settle it.*may have been billed.*free question"
    ):
        task.defer()
    assert (requests(emulator, SUBMIT), requests(emulator, QUESTION)) == (1, len(PAUSES))
    assert sum(clock.slept) <= sum(PAUSES) <= 30
    assert task.suspected

    clock.slept.clear()
    with pytest.raises(ServiceUnavailable):  # the next attempt asks first, and at once: its delay was the pause
        task.defer()
    assert clock.slept[0] == 0
    assert requests(emulator, SUBMIT) == 1
    assert task.suspected
    emulator.clear_faults()
    task.defer()
    assert task.submissions == 1


def test_a_service_that_comes_back_within_the_pauses_gets_the_request_again(task: Task, emulator: Emulator) -> None:
    emulator.fault(SUBMIT, "status", status=502, times=1)
    emulator.fault(QUESTION, "drop", times=2)
    task.defer()
    assert (task.submissions, requests(emulator, SUBMIT)) == (1, 2)


@pytest.mark.parametrize("status", [400, 404, 429])
def test_a_refusal_of_the_question_is_an_answer(task: Task, emulator: Emulator, status: int) -> None:
    emulator.fault(SUBMIT, "lost_answer", times=1)
    down(emulator, QUESTION, status=status)
    task.defer()
    assert task.submissions == 2


def test_a_question_that_hangs_holds_no_worker(task: Task, emulator: Emulator, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(submission, "QUESTION_TIMEOUT", 0.1)
    emulator.fault(SUBMIT, "lost_answer", times=1)
    emulator.fault(QUESTION, "delay", seconds=1.0, times=None)
    with pytest.raises(ServiceUnavailable, match="free question"):
        task.defer()


def test_the_responses_api_is_asked_for_its_models(
    hook: YandexAIStudioHook, emulator: Emulator, context: dict[str, Any]
) -> None:
    down(emulator, "responses.create", "models")
    with DAG("dag"):
        operator = YandexAIStudioResponseOperator(task_id="generate", prompt="Tell me of ducks.")
    operator.hook = hook
    with pytest.raises(ServiceUnavailable, match="list the models"):
        operator.execute(context)
    assert requests(emulator, "responses.create") == 1
    emulator.clear_faults()
    with pytest.raises(TaskDeferred):
        operator.execute(context)


def test_a_client_that_can_t_be_made_leaves_no_suspicion(task: Task, monkeypatch: pytest.MonkeyPatch) -> None:
    def missing() -> None:
        raise ModuleNotFoundError("No module named 'yandex'")

    monkeypatch.setattr(task.hook, "get_conn", missing)
    with pytest.raises(ModuleNotFoundError):
        task.operator().execute(task.context)
    monkeypatch.undo()
    assert task.store.values == {}
