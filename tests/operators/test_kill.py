"""What a kill of the operator's task does with the operation that it has paid for."""

from __future__ import annotations

from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferred

from airflow_provider.yandex_ai_studio.durability import kill
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from airflow_provider.yandex_ai_studio.triggers.operation import YandexAIStudioOperationTrigger
from support import Store, TaskInstance

Context = dict[str, Any]


def task(hook: YandexAIStudioHook, **parameters: Any) -> YandexAIStudioCompletionOperator:
    with DAG("dag"):
        operator = YandexAIStudioCompletionOperator(task_id="generate", **{"prompt": "Ducks.", **parameters})
    operator.hook = hook
    return operator


def airflow_says(monkeypatch: pytest.MonkeyPatch, state: str) -> dict[str, Any]:
    """Let Airflow say how the task stands; what is returned may be changed later."""
    states = {"run": {"generate": state}}
    monkeypatch.setattr(
        "airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_task_states", lambda **which: states
    )
    return states


def test_a_last_attempt_that_runs_out_of_time_cancels_and_another_one_does_not(
    hook: YandexAIStudioHook, context: Context, ti: TaskInstance, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow_says(monkeypatch, "running")
    operator = task(hook, wait_for_completion=False)
    operator.execute(context)
    for max_tries, cancelled in ((1, 0), (0, 1)):
        ti.max_tries = max_tries
        try:
            raise AirflowTaskTimeout
        except AirflowTaskTimeout:
            operator.on_kill()
        assert emulator.stats()["operations"]["cancelled"] == cancelled


def test_a_killed_task_cancels_only_what_nobody_will_come_for(
    hook: YandexAIStudioHook, context: Context, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = airflow_says(monkeypatch, "running")
    operator = task(hook, wait_for_completion=False)
    operator.on_kill()
    operator.execute(context)
    operator.on_kill()
    assert emulator.stats()["operations"]["cancelled"] == 0
    states["run"]["generate"] = "failed"
    operator.on_kill()
    assert emulator.stats()["operations"]["cancelled"] == 1


def test_a_task_that_is_cleared_to_start_over_cancels_what_it_leaves_behind(
    hook: YandexAIStudioHook, context: Context, store: Store, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    airflow_says(monkeypatch, "restarting")
    monkeypatch.setattr(kill, "clear_may_discard", lambda: True)
    operator = task(hook, wait_for_completion=False)
    operator.execute(context)
    store.values.clear()
    operator.on_kill()
    assert emulator.stats()["operations"]["cancelled"] == 1


@pytest.mark.parametrize("cancel_on_kill", [True, False])
@pytest.mark.parametrize("killed_in", ["worker", "triggerer"])
async def test_who_chose_to_keep_an_operation_keeps_it_when_its_task_is_marked(
    hook: YandexAIStudioHook,
    context: Context,
    ti: TaskInstance,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    killed_in: str,
    cancel_on_kill: bool,
) -> None:
    airflow_says(monkeypatch, "failed")
    operator = task(hook, cancel_on_kill=cancel_on_kill)
    with pytest.raises(TaskDeferred) as deferral:
        operator.execute(context)
    killed: Any = operator
    if killed_in == "triggerer":
        killed = YandexAIStudioOperationTrigger(**deferral.value.trigger.serialize()[1])
        killed.task_instance = ti
        await killed.on_kill()
    else:
        killed.on_kill()
    assert emulator.stats()["requests"]["operations.cancel"] == int(cancel_on_kill)
    assert emulator.stats()["operations"]["cancelled"] == int(cancel_on_kill)


def test_a_cancellation_that_is_refused_says_what_becomes_of_the_operation_and_breaks_no_kill(
    hook: YandexAIStudioHook,
    context: Context,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    airflow_says(monkeypatch, "failed")
    operator = task(hook, wait_for_completion=False)
    operator.execute(context)
    emulator.fault("operations.cancel", "status", status=403, times=None)
    operator.on_kill()
    assert emulator.stats()["operations"]["cancelled"] == 0
    assert "It may run to its end, and be billed." in capsys.readouterr().out
