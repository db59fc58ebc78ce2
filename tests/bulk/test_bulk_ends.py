"""An attempt that must end, ends between groups: told to, or at its `execution_timeout`."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowTaskTimeout, TaskDeferralError, TaskDeferred

from airflow_provider.yandex_ai_studio.bulk.ledger import KEY
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.operators.bulk import YandexAIStudioBulkCompletionOperator
from bulk_task import API_KEY, FOLDER, BulkTask, texts
from support import TaskInstance

ROWS = 40


class Interrupted(BulkTask):
    """A task that Airflow tells to end, at a time; it works on, as a worker does after a signal."""

    ends_at: float | None = None

    def operator(self) -> YandexAIStudioBulkCompletionOperator:
        operator = super().operator()
        sleep = operator.hook.sleep

        def sleep_on(seconds: float) -> None:
            sleep(seconds)
            if self.ends_at is not None and self.clock.now >= self.ends_at:
                operator.on_kill()

        operator.hook.sleep = sleep_on
        return operator


@pytest.fixture(autouse=True)
def connected(emulator: Emulator, connect: Callable[..., None]) -> None:
    connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER, "submits_per_second": 10})


@pytest.fixture
def began(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Note when the attempt of a task begins, as Airflow does."""

    def note(task: BulkTask) -> None:
        monkeypatch.setattr(TaskInstance, "start_date", datetime.fromtimestamp(task.clock.now, UTC))

    return note


def test_a_task_that_is_told_to_end_submits_no_more_and_another_attempt_pays_for_the_rest_alone(
    emulator: Emulator,
) -> None:
    task = Interrupted(emulator, inputs=texts(ROWS))
    task.ends_at = task.clock.now + 1
    with pytest.raises(AirflowException, match=r"told to end. What was submitted is written down"):
        task.attempt()
    assert 0 < task.submissions < ROWS
    task.ends_at = None
    assert len(task.attempt()) == task.submissions == ROWS


def test_the_execution_timeout_ends_an_attempt_while_it_submits(emulator: Emulator, began: Any) -> None:
    task = BulkTask(emulator, inputs=texts(ROWS), execution_timeout=timedelta(seconds=2))
    began(task)
    with pytest.raises(AirflowTaskTimeout, match="another attempt goes on with it"):
        task.attempt()
    assert 0 < task.submissions < ROWS
    assert sum(task.store.values[KEY]["hour"].values()) == task.submissions  # the quota of an hour is not spent anew
    del task.parameters["execution_timeout"]
    assert len(task.attempt()) == task.submissions == ROWS


def test_the_execution_timeout_ends_an_attempt_that_is_deferred(emulator: Emulator, began: Any) -> None:
    task = BulkTask(emulator, inputs=texts(3), execution_timeout=timedelta(seconds=4))  # operations take 5 at least
    began(task)
    ends_at = task.clock.now + 4
    with pytest.raises(AirflowTaskTimeout):
        task.attempt()
    assert [deferral.trigger.wake_at for deferral in task.deferrals] == [pytest.approx(ends_at, abs=0.001)]


def test_a_deferral_lasts_as_long_as_an_operation_may_take_for_a_triggerer_may_be_away(emulator: Emulator) -> None:
    task = BulkTask(emulator, inputs=texts(3), timeout=7200)
    task.attempt()
    assert [deferral.timeout for deferral in task.deferrals] == [timedelta(hours=2, minutes=15)]


@pytest.mark.parametrize("output", [None, "out"])
def test_a_deferral_that_airflow_has_ended_itself_loses_nothing(
    emulator: Emulator, tmp_path: Path, output: str | None
) -> None:
    """No triggerer took it for longer than the wait was to be."""
    task = BulkTask(emulator, inputs=texts(ROWS), output_path=output and str(tmp_path / output))
    context: Any = {"ti": TaskInstance(), "task_state_store": task.store}
    with pytest.raises(TaskDeferred):
        task.operator().execute(context)
    task.clock.sleep(2 * 86_400)
    answers = task.operator().resume_execution("__fail__", {"error": "Trigger timeout"}, context)
    assert (answers["counts"]["succeeded"] if output else len(answers)) == task.submissions == ROWS
    with pytest.raises(TaskDeferralError):  # a trigger that can't be built would be deferred to again and again
        task.operator().resume_execution("__fail__", {"error": "Trigger failure"}, context)
