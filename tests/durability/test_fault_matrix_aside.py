"""What each fault does to a cancellation and to the exchange of a token: once, and for good. A test is a column."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider.yandex_ai_studio.client import retry
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import RateLimited, ServiceUnavailable
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from faults import ENDINGS, FAULTS, AnotherTurn, Task, cells
from support import FOLDER, SteppedTime

REFUSED, UNAVAILABLE = RateLimited, ServiceUnavailable


@pytest.fixture
def task(hook: YandexAIStudioHook, emulator: Emulator, clock: SteppedTime) -> Task:
    return Task(hook, emulator, clock)


@pytest.mark.parametrize(
    ("fault", "always"),
    cells(
        ("429", 0),
        ("500", 0),
        ("503", 0),
        ("delay", 1),
        ("drop", 0),
        ("garbage", 0),
        ("lost_answer", 1),
    ),
)
async def test_a_fault_of_a_cancellation(
    task: Task,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    fault: str,
    always: int,
) -> None:
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(
        "airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_task_states",
        lambda **which: {"run": {"generate": "failed"}},
    )

    def cancelled(since: int) -> int:
        return int(emulator.stats()["operations"]["cancelled"]) - since

    operator = task.operator(wait_for_completion=False)
    operator.execute(task.context)
    emulator.fault("operations.cancel", **FAULTS[fault])
    operator.on_kill()
    assert cancelled(0) == 1  # the worker asks again

    task.clear()
    trigger = task.defer()
    emulator.fault("operations.cancel", **FAULTS[fault])
    trigger.task_instance = task.context["ti"]
    await trigger.on_kill()
    assert cancelled(1) == 1  # so does the triggerer

    replaced = task.defer(prompt="Another prompt, for one more duck.")
    emulator.fault("operations.cancel", **FAULTS[fault], times=None)
    before = cancelled(0)
    assert task.defer().operation_id != replaced.operation_id  # whatever becomes of the old operation
    assert cancelled(before) == always
    assert ("It may run to its end, and be billed" in capsys.readouterr().out) is (fault != "delay")


@pytest.mark.parametrize("fault", ENDINGS)
@pytest.mark.parametrize("route", ["operations.cancel", "iam.tokens"])
def test_the_other_cells_are_empty(emulator: Emulator, route: str, fault: str) -> None:
    with pytest.raises(ValueError, match="belongs to"):
        emulator.fault(route, **FAULTS[fault])


@pytest.mark.parametrize(
    ("fault", "tokens", "error"),
    cells(
        ("429", 1, AnotherTurn),
        ("500", 1, UNAVAILABLE),
        ("503", 1, UNAVAILABLE),
        ("delay", 1, None),
        ("drop", 1, UNAVAILABLE),
        ("garbage", 1, UNAVAILABLE),
        ("lost_answer", 2, UNAVAILABLE),
    ),
)
async def test_a_fault_of_the_token_exchange(
    emulator: Emulator,
    connect: Callable[..., None],
    clock: SteppedTime,
    fault: str,
    tokens: int,
    error: type[Exception] | None,
) -> None:
    key = json.dumps(emulator.create_service_account_key())
    connect(host=emulator.url, extra={"folder_id": FOLDER, "service_account_json": key})

    def fresh() -> Task:
        """Return a task on a worker that has no token yet."""
        return Task(YandexAIStudioHook(clock=lambda: clock.now, sleep=clock.sleep), emulator, clock)

    task = fresh()
    emulator.fault("iam.tokens", **FAULTS[fault])
    trigger = task.defer()
    assert (task.submissions, emulator.stats()["tokens_issued"]) == (1, tokens)
    clock.sleep(4000)
    emulator.fault("iam.tokens", **FAULTS[fault])
    (event,) = [event async for event in trigger.run()]  # the triggerer has a token of its own
    assert event.payload["outcome"] == "ended"

    another = fresh()
    emulator.fault("iam.tokens", **FAULTS[fault], times=None)
    if error is None:
        another.defer()
    else:
        with pytest.raises(error, match="exchange the service-account key"):
            another.defer()
        assert another.store.values == {}
        with pytest.raises(TaskDeferred):
            fresh().resume(trigger)
    assert another.submissions == (1 if error else 2)
    emulator.clear_faults()
    assert "ducks" in task.resume(trigger)
    task.hook.get_conn().close()
    another.hook.get_conn().close()
