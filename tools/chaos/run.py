"""One chaos run: a real Airflow on PostgreSQL, the emulator, the jobs of a plan, and what is left of them."""

from __future__ import annotations

import contextlib
import random
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

import requests

from tools.chaos.agenda import Agenda, Hit
from tools.chaos.causes import Death
from tools.chaos.events import Mayhem
from tools.chaos.gateway import Gateway
from tools.chaos.jobs import Job, pool_of
from tools.chaos.logs import Line, TaskKey, read_task_logs
from tools.chaos.lookups import FOLDER, Vault
from tools.chaos.parts import texts_of
from tools.chaos.plan import Plan
from tools.chaos.secrets import Canaries
from tools.chaos.service import ChaosService
from tools.chaos.story import Story
from tools.chaos.tables import PAST, TASKS, XCOMS, create_views
from tools.chaos.world import World
from tools.direct import ask
from tools.harness.airflow import Executor, LocalAirflow, free_port
from tools.harness.airflow_client import AirflowClientError
from tools.harness.postgres import scratch_postgres

DAGS = Path(__file__).parent / "dags"

LOOK_INTERVAL = 0.5
"""Seconds between two looks at how far a run is."""

PROGRESS_INTERVAL = 10.0
"""Seconds between two lines about how far a run is."""

SETTLE_SECONDS = 20.0
"""Seconds that the last operations get to end, after the tasks did."""

PARALLELISM = 4
POOL_SLOTS = 1000

LOCKS_SECONDS = 20
"""Seconds that a database session may do nothing within a transaction.

A scheduler that is killed alone leaves its workers behind, and they keep its connection open, with the locks on task
instances that it had: without a bound, Airflow would skip these for ever.
"""

QUICK_TO_NOTICE = {
    # The defaults are minutes. With fewer seconds than these, a scheduler on two loaded cores declares itself dead.
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "20",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "3",
    "AIRFLOW__SCHEDULER__SCHEDULER_HEALTH_CHECK_THRESHOLD": "25",
    "AIRFLOW__SCHEDULER__ORPHANED_TASKS_CHECK_INTERVAL": "5",
    "AIRFLOW__SCHEDULER__JOB_HEARTBEAT_SEC": "2",
    # What a Celery worker had taken and not begun when it was killed is missed by this alone.
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT": "60",
    "AIRFLOW__SCHEDULER__TASK_QUEUED_TIMEOUT_CHECK_INTERVAL": "10",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "12",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "600",
}
ROOT = Path(__file__).parents[2]
BACKEND = {"AIRFLOW__SECRETS__BACKEND": "tools.chaos.lookups.FlakyBackend", "PYTHONPATH": str(ROOT)}
"""Where Airflow looks connections up first."""


@dataclass
class Outcome:
    """
    What is left of a run.

    :param states: The final state of each job's task, by the job's name.
    :param texts: What the jobs returned: of a bulk task, what its folder holds.
    :param manifests: What the bulk tasks returned that write to a folder.
    :param used: The operation that each job's XCom names.
    :param ledgers: The operations that the ledger of each bulk task ever knew.
    :param expected: The texts that the emulator gives when it is asked directly.
    :param operations: All operations of the emulator.
    :param faults: What became of each fault, in the order in which they were queued.
    :param failed_attempts: Of each job, with what Airflow's event log says of it.
    :param ended: When these attempts ended, in seconds since the epoch.
    :param deaths: Of each job, by stage.
    :param hits: What events did to tasks.
    :param schedulers: When a scheduler was started again, in seconds since the epoch.
    :param events: What happened, in this order.
    :param missed: What was to happen, and did not, or to nobody.
    :param spilled: Where a secret was found.
    """

    seconds: float = 0.0
    dags: dict[str, str] = field(default_factory=dict)
    states: dict[str, str | None] = field(default_factory=dict)
    texts: dict[str, Any] = field(default_factory=dict)
    manifests: dict[str, dict[str, Any]] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)
    ledgers: dict[str, frozenset[str]] = field(default_factory=dict)
    expected: dict[str, str | list[str]] = field(default_factory=dict)
    operations: list[dict[str, Any]] = field(default_factory=list)
    stats: dict[str, Any] = field(default_factory=dict)
    faults: list[dict[str, Any]] = field(default_factory=list)
    failed_attempts: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    logs: dict[TaskKey, list[Line]] = field(default_factory=dict)
    ended: dict[str, dict[int, float]] = field(default_factory=dict)
    deaths: dict[str, dict[str, Death]] = field(default_factory=dict)
    hits: list[Hit] = field(default_factory=list)
    schedulers: list[float] = field(default_factory=list)
    events: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)
    spilled: list[str] = field(default_factory=list)


class ChaosRun:
    """
    Carries a plan out.

    :param home: The folder of the run: plan, Airflow home, logs, notes of deaths.
    :param timeout: Seconds that each DAG run may take.
    :param emulator: Options of the emulator's command line.
    :param executor: What runs the tasks.
    """

    def __init__(
        self,
        plan: Plan,
        home: Path,
        *,
        timeout: float,
        emulator: tuple[str, ...],
        say: Callable[[str], None],
        executor: Executor = "local",
    ) -> None:
        self.plan = plan
        self.home = home
        self._timeout = timeout
        self._emulator_options = emulator
        self._say = say
        self._executor: Executor = executor
        self._by_key = {job.key: job for job in plan.jobs}

    def carry_out(self) -> Outcome:
        """Start everything, run the DAGs one after the other, and look at what is left."""
        for notes in ("deaths", "ledgers"):
            (self.home / notes).mkdir(parents=True)
        (self.home / "plan.json").write_text(self.plan.as_json())
        outcome = Outcome()
        dags = sorted({job.dag_id for job in self.plan.jobs})
        with (
            ChaosService(*self._emulator_options) as emulator,
            Gateway(free_port(), emulator.port) as gateway,
            scratch_postgres() as database,
            tempfile.TemporaryDirectory(prefix="chaos-vault-") as folder,
        ):
            canaries, vault = Canaries(emulator, gateway.url), Vault(Path(folder))
            vault.keep(canaries.in_vault)
            for job in self.plan.jobs:
                texts = [ask(emulator, ("user", prompt)).text for prompt in job.prompts]
                outcome.expected[job.name] = texts if job.kind == "bulk" else texts[0]
            prepared = self._airflow(database, canaries, vault, dags)
            prepared.sql(f"alter role current_user set idle_in_transaction_session_timeout = '{LOCKS_SECONDS}s'")
            with prepared as airflow:
                create_views(airflow)
                if self.plan.faults:
                    emulator.fault(*self.plan.faults)
                for wave in range(self.plan.waves):
                    airflow.post("/api/v2/pools", json={"name": pool_of(wave), "slots": 0})
                for dag_id in dags:
                    self._run_dag(dag_id, airflow, emulator, canaries, gateway, vault, outcome)
                self._collect(airflow, emulator, outcome)
                self._say("looking for secrets")
                outcome.spilled = [*canaries.in_database(airflow)]
            # The components' own outputs are among the places; and the logs, which name the operations.
            outcome.spilled += canaries.in_files(self.home, outcome.used.values())
        return outcome

    def _airflow(self, database: str, canaries: Canaries, vault: Vault, dags: list[str]) -> LocalAirflow:
        return LocalAirflow(
            home=self.home / "airflow",
            dags_folder=DAGS,
            database=database,
            env={"CHAOS_HOME": str(self.home), FOLDER: str(vault.folder), **BACKEND, **QUICK_TO_NOTICE},
            connections=canaries.in_airflow,
            dags=dags,
            triggerers=2,
            parallelism=PARALLELISM,
            executor=self._executor,
            progress=self._say,
        )

    def _run_dag(
        self,
        dag_id: str,
        airflow: LocalAirflow,
        emulator: ChaosService,
        canaries: Canaries,
        gateway: Gateway,
        vault: Vault,
        outcome: Outcome,
    ) -> None:
        run_id = airflow.trigger(dag_id)
        agenda, dice = Agenda(), random.Random(self.plan.seed)
        mayhem = Mayhem(airflow, emulator, dice, self._say, self.plan.doomed, agenda)
        jobs = [job for job in self.plan.jobs if job.dag_id == dag_id]
        conn_ids = {job.index: job.conn_id for job in jobs}
        world = World(
            airflow=airflow,
            service=emulator,
            canaries=canaries,
            gateway=gateway,
            vault=vault,
            run=(dag_id, run_id),
            conn_ids=conn_ids,
            spared=self.plan.doomed,
            single=frozenset(job.index for job in jobs if job.kind not in ("watch", "bulk")),
            agenda=agenda,
            dice=dice,
            say=self._say,
        )
        under_way = partial(_under_way, airflow, dag_id, run_id, self.plan.active)
        story = Story(self.plan.events, mayhem, world, partial(_open, airflow), under_way, agenda)
        self._say(f"{dag_id}: {len(conn_ids)} tasks")
        began = shown = time.monotonic()
        while (state := _state(airflow, dag_id, run_id)) not in ("success", "failed"):
            if time.monotonic() - began > self._timeout:
                self._say(f"{dag_id} has not ended within {self._timeout:g} s")
                break
            if time.monotonic() - shown > PROGRESS_INTERVAL:
                shown = time.monotonic()
                counts = _counts(airflow, dag_id, run_id)
                self._say("       " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
            story.go_on()
            time.sleep(LOOK_INTERVAL)
        with contextlib.suppress(AirflowClientError, requests.RequestException):
            agenda.attend(all_now=True)
        outcome.dags[dag_id] = f"{state} after {time.monotonic() - began:.0f} s"
        outcome.seconds += time.monotonic() - began
        outcome.hits += agenda.hits
        outcome.schedulers += agenda.schedulers
        outcome.events += story.happened
        outcome.missed += [*story.left, *agenda.again]
        if not agenda.quiet:
            outcome.missed.append("the run ended in the middle of its last event")
        self._say(f"{dag_id}: {outcome.dags[dag_id]}")

    def _collect(self, airflow: LocalAirflow, emulator: ChaosService, outcome: Outcome) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while emulator.stats()["operations"]["running"] and time.monotonic() < deadline:
            time.sleep(LOOK_INTERVAL)
        outcome.stats = emulator.stats()
        outcome.operations = [{**row, "at": _seconds(row["created_at"])} for row in emulator.operations()]
        outcome.logs = read_task_logs(airflow.logs)
        outcome.faults = [{**fault, "hits": [_seconds(at) for at in fault["hits"]]} for fault in emulator.faults()]
        for note in (self.home / "deaths").iterdir():
            name, _, stage = note.name.partition(".")
            death = Death(int(note.read_text() or 0), note.stat().st_mtime, f"died by plan: {stage}")
            outcome.deaths.setdefault(name, {})[stage] = death
        for job, row in self._rows(airflow, f"select * from {TASKS}"):
            outcome.states[job.name] = row["state"]
        for job, row in self._rows(airflow, f"select * from {XCOMS} where key in ('return_value', 'operation_id')"):
            kept = outcome.texts if row["key"] == "return_value" else outcome.used
            kept[job.name] = row["value"]
        for job in self.plan.jobs:
            if job.folder and isinstance(manifest := outcome.texts.get(job.name), dict):
                outcome.manifests[job.name] = manifest
                with contextlib.suppress(OSError, ValueError):  # then the manifest is no right text
                    outcome.texts[job.name] = texts_of(manifest)
        for note in (self.home / "ledgers").iterdir():
            outcome.ledgers[note.name] = frozenset(note.read_text().split())
        for job, row in self._rows(airflow, f"select * from {PAST}"):
            outcome.failed_attempts.setdefault(job.name, {})[row["try_number"]] = set()
            if row["end_date"]:
                outcome.ended.setdefault(job.name, {})[row["try_number"]] = row["end_date"].timestamp()
        for job, row in self._rows(airflow, "select * from log where try_number is not null"):
            if row["try_number"] in outcome.failed_attempts.get(job.name, {}):
                outcome.failed_attempts[job.name][row["try_number"]].add(row["event"])

    def _rows(self, airflow: LocalAirflow, statement: str) -> Iterator[tuple[Job, dict[str, Any]]]:
        """Return the rows of a query that belong to a job."""
        for row in airflow.sql(statement):
            if job := self._by_key.get((row["dag_id"], row["task_id"], row["map_index"])):
                yield job, row


def _open(airflow: LocalAirflow, wave: int) -> None:
    """Let the jobs of a wave begin."""
    pool = pool_of(wave)
    airflow.patch(f"/api/v2/pools/{pool}", json={"pool": pool, "slots": POOL_SLOTS, "include_deferred": False})


def _under_way(airflow: LocalAirflow, dag_id: str, run_id: str, active: int, waves: int) -> bool:
    """Tell whether no more jobs of these waves wait for their turn than may be queued or running."""
    rows = airflow.sql(
        f"select count(*) as count from {TASKS} where dag_id = :dag and run_id = :run and pool = any(:pools)"
        " and coalesce(state, 'none') in ('none', 'scheduled', 'queued')",
        dag=dag_id,
        run=run_id,
        pools=[pool_of(wave) for wave in range(waves)],
    )
    return int(rows[0]["count"]) <= active


def _seconds(timestamp: str) -> float:
    return datetime.fromisoformat(timestamp).timestamp()


def _state(airflow: LocalAirflow, dag_id: str, run_id: str) -> str:
    rows = airflow.sql("select state from dag_run where dag_id = :dag and run_id = :run", dag=dag_id, run=run_id)
    return str(rows[0]["state"])


def _counts(airflow: LocalAirflow, dag_id: str, run_id: str) -> dict[str, int]:
    rows = airflow.sql(
        f"select coalesce(state, 'none') as state, count(*) as count from {TASKS}"
        " where dag_id = :dag and run_id = :run group by 1",
        dag=dag_id,
        run=run_id,
    )
    return {row["state"]: row["count"] for row in rows}
