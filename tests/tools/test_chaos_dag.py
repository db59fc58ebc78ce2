"""The chaos run's own operator: the package's, but for its deaths."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider.yandex_ai_studio.durability.journal import RETENTION
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from support import KEEPS_STATE, Store
from tools.chaos.jobs import STAGES
from tools.chaos.parts import texts_of
from tools.chaos.plan import chaos_plan

PROMPT = "The job wants its own sentence back, whatever happens to it."


class Died(BaseException):
    """What a kill of the own process is here."""


@pytest.fixture
def chaos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The DAG file, for a plan of its own."""
    for notes in ("deaths", "ledgers"):
        (tmp_path / notes).mkdir()
    (tmp_path / "plan.json").write_text(chaos_plan(48, 1, short=True).as_json())
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


@pytest.mark.parametrize("name", ["MortalCompletionOperator", "MortalResponseOperator"])
def test_it_dies_once_at_each_stage_and_pays_again_only_where_the_id_was_lost(
    chaos: ModuleType,
    hook: YandexAIStudioHook,
    emulator: Emulator,
    context: dict[str, Any],
    tmp_path: Path,
    name: str,
) -> None:
    def attempt() -> Any:
        with DAG("dag"):
            operator = getattr(chaos, name)(
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
    event = {**deferred.value.trigger.serialize()[1], "outcome": "ended"}
    for _ in ("resume_begin", "resume_end"):
        with pytest.raises(Died):
            attempt().execute_complete(context, event)
    assert attempt().execute_complete(context, event) == PROMPT
    assert emulator.stats()["submissions"] == 2
    assert {note.name for note in (tmp_path / "deaths").iterdir()} == {f"job.{stage}" for stage in STAGES}
    assert {note.read_text() for note in (tmp_path / "deaths").iterdir()} == {"1"}


def test_who_meets_a_fault_first_dies_all_the_same(
    chaos: ModuleType, hook: YandexAIStudioHook, emulator: Emulator, context: dict[str, Any]
) -> None:
    with DAG("dag"):
        operator = chaos.MortalCompletionOperator(
            task_id="generate", prompt=PROMPT, job="job", die_at=["taken"], die_whole=False
        )
    operator.hook = hook
    emulator.fault("completionAsync", "garbage")
    with pytest.raises(Died):
        operator.execute(context)
    assert emulator.stats()["submissions"] == 1


def test_who_waits_for_a_turn_first_dies_all_the_same(
    chaos: ModuleType, hook: YandexAIStudioHook, emulator: Emulator, context: dict[str, Any], tmp_path: Path
) -> None:
    def attempt() -> Any:
        with DAG("dag"):
            operator = chaos.MortalCompletionOperator(
                task_id="generate", prompt=PROMPT, job="job", die_at=["taken", "before_defer"], die_whole=False
            )
        operator.hook = hook
        return operator

    emulator.fault("completionAsync", "status", status=429, times=None)
    with pytest.raises(TaskDeferred) as deferred:
        attempt().execute(context)
    assert deferred.value.method_name == "submit_later"
    emulator.clear_faults()
    vars(hook.get_conn()).pop("send", None)
    with pytest.raises(Died):
        attempt().submit_later(context, {}, **deferred.value.kwargs)
    assert [note.name for note in (tmp_path / "deaths").iterdir()] == ["job.taken"]


@pytest.mark.skipif(not KEEPS_STATE, reason="Airflow 3.2 keeps no state, and the operator says so")
def test_a_bulk_task_dies_among_its_rows_and_its_ledger_is_witnessed(
    chaos: ModuleType, hook: YandexAIStudioHook, emulator: Emulator, context: dict[str, Any], tmp_path: Path
) -> None:
    job = next(job for job in chaos.PLAN["jobs"] if job["folder"])
    stages = ["before_submit", "sending", "taken", "before_defer", "resume_begin", "resume_end"]

    def attempt() -> Any:
        operator, fields = chaos.operator_of({**job, "die_at": stages})
        with DAG("dag"):
            made = operator(task_id="generate", **fields)
        made.hook = hook
        return made

    known = tmp_path / "ledgers" / job["name"]
    paid, knew = [], []
    for _ in range(4):
        with pytest.raises(Died):
            attempt().execute(context)
        vars(hook.get_conn()).pop("send", None)
        paid.append(emulator.stats()["submissions"])
        knew.append(len(set(known.read_text().split())) if known.exists() else 0)
    assert paid[0] == knew[0] == 0
    assert 0 < knew[1] <= paid[1] < paid[2]
    assert knew[1] < knew[2] < paid[2]
    rows = len(job["prompts"])
    assert knew[3] == rows
    event: dict[str, Any] = {"reason": "in a test"}
    with pytest.raises(TaskDeferred) as deferred:
        attempt().execute(context)
    emulator.advance(3600)
    for _ in ("resume_begin", "resume_end"):
        with pytest.raises(Died):
            attempt().execute_complete(context, event, **deferred.value.kwargs)
    manifest = attempt().execute(context)
    assert texts_of(manifest) == job["prompts"]
    assert manifest["submissions"] == rows
    assert emulator.stats()["submissions"] == paid[3]
    assert set(known.read_text().split()) <= {each["id"] for each in emulator.operations()}
    assert {note.name.partition(".")[2] for note in (tmp_path / "deaths").iterdir()} == set(stages)


def test_what_a_dead_attempt_wrote_to_its_ledger_is_witnessed_by_the_next(chaos: ModuleType, tmp_path: Path) -> None:
    """The process may die between its write and its note."""
    store, notes = Store(), tmp_path / "notes"
    store.set("chunk", {"ids": {"0": ["d7q1", 1.0]}}, retention=RETENTION)
    witness = chaos.Witness(store, notes)
    witness.get("chunk")
    assert notes.read_text().split() == ["d7q1"]
    witness.set("chunk", {"ids": {"0": ["d7q1", 1.0], "1": ["d7q2", 1.0]}}, retention=RETENTION)
    assert notes.read_text().split() == ["d7q1", "d7q2"]
    store.broken = {"set"}
    with pytest.raises(ConnectionError):
        witness.set("chunk", {"ids": {"2": ["d7q3", 1.0]}}, retention=RETENTION)
    assert notes.read_text().split() == ["d7q1", "d7q2"]


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
