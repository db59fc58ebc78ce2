"""The chaos run's own operator: the package's, but for its deaths."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from tools.chaos.plan import STAGES, chaos_plan

PROMPT = "The job wants its own sentence back, whatever happens to it."


class Died(BaseException):
    """What a kill of the own process is here."""


@pytest.fixture
def chaos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The DAG file, for a plan of its own."""
    (tmp_path / "deaths").mkdir()
    (tmp_path / "plan.json").write_text(chaos_plan(10, 1, short=True).as_json())
    monkeypatch.setenv("CHAOS_HOME", str(tmp_path))
    path = Path(__file__).parents[2] / "tools" / "chaos" / "dags" / "chaos_generations.py"
    spec = importlib.util.spec_from_file_location("chaos_generations", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)

    def die(pid: int, signum: int) -> None:
        raise Died

    monkeypatch.setattr(module.os, "kill", die)
    return module


def test_it_dies_once_at_each_stage_and_pays_again_only_where_the_id_was_lost(
    chaos: ModuleType, hook: YandexAIStudioHook, emulator: Emulator, context: dict[str, Any], tmp_path: Path
) -> None:
    def attempt() -> Any:
        with DAG("dag"):
            operator = chaos.MortalCompletionOperator(
                task_id="generate", prompt=PROMPT, job="job", die_at=list(STAGES), die_whole=False
            )
        operator.hook = hook
        return operator

    paid = []
    for _ in ("before_submit", "sending", "taken", "before_defer"):
        with pytest.raises(Died):
            attempt().execute(context)
        paid.append(emulator.stats()["submissions"])
        vars(hook.get_conn()).pop("send", None)  # the next process has a client of its own
    assert paid == [0, 0, 1, 2]
    with pytest.raises(TaskDeferred) as deferred:
        attempt().execute(context)
    emulator.advance(3600)
    event = {"operation_id": deferred.value.trigger.operation_id, "outcome": "ended"}
    for _ in ("resume_begin", "resume_end"):
        with pytest.raises(Died):
            attempt().execute_complete(context, event)
    assert attempt().execute_complete(context, event) == PROMPT
    assert emulator.stats()["submissions"] == 2
    assert {note.name for note in (tmp_path / "deaths").iterdir()} == {f"job.{stage}" for stage in STAGES}
    assert {note.read_text() for note in (tmp_path / "deaths").iterdir()} == {"1"}


def test_who_finds_the_answer_at_once_dies_all_the_same(
    chaos: ModuleType, hook: YandexAIStudioHook, emulator: Emulator, context: dict[str, Any], tmp_path: Path
) -> None:
    """Else a death that was planned would depend on how fast the service is."""
    with DAG("dag"):
        operator = chaos.MortalCompletionOperator(
            task_id="generate", prompt=PROMPT, job="job", die_at=["resume_end"], die_whole=False
        )
    operator.hook = hook
    with pytest.raises(TaskDeferred):
        operator.execute(context)
    emulator.advance(3600)
    with pytest.raises(Died):
        operator.execute(context)
    assert (tmp_path / "deaths" / "job.resume_end").exists()
