"""One chaos run: a real Airflow on PostgreSQL, the emulator, the jobs of a plan, and what is left of them."""

from __future__ import annotations

import contextlib
import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import requests

from tools.chaos.events import Mayhem
from tools.chaos.logs import Line, TaskKey, read_task_logs
from tools.chaos.plan import CONNECTIONS, Event, Job, Plan
from tools.chaos.secrets import Canaries
from tools.harness.airflow import LocalAirflow
from tools.harness.airflow_client import AirflowClientError
from tools.harness.emulator import LocalEmulator
from tools.harness.postgres import scratch_postgres

DAGS = Path(__file__).parent / "dags"

LOOK_INTERVAL = 0.5
"""Seconds between two looks at how far a run is."""

PROGRESS_INTERVAL = 10.0
"""Seconds between two lines about how far a run is."""

SETTLE_SECONDS = 20.0
"""Seconds that the last operations get to end, after the tasks did."""

EVENT_GAP = 6.0
"""Seconds between two events: a task can't survive everything at once."""

PARALLELISM = 4

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
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
    "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
    "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "12",
    "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "600",
    "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "600",
}


@dataclass
class Outcome:
    """
    What is left of a run.

    :param states: The final state of each job's task, by the job's name.
    :param texts: What the jobs returned.
    :param used: The operation that each job's XCom names.
    :param expected: The texts that the emulator gives when it is asked directly.
    :param operations: All operations of the emulator.
    :param failed_attempts: Of each job, with what Airflow's event log says of it.
    :param spilled: Where a secret was found.
    """

    seconds: float = 0.0
    dags: dict[str, str] = field(default_factory=dict)
    states: dict[str, str | None] = field(default_factory=dict)
    texts: dict[str, Any] = field(default_factory=dict)
    used: dict[str, str] = field(default_factory=dict)
    expected: dict[str, str] = field(default_factory=dict)
    operations: list[dict[str, Any]] = field(default_factory=list)
    stats: dict[str, Any] = field(default_factory=dict)
    failed_attempts: dict[str, dict[int, set[str]]] = field(default_factory=dict)
    logs: dict[TaskKey, list[Line]] = field(default_factory=dict)
    deaths: dict[str, set[str]] = field(default_factory=dict)
    events: list[str] = field(default_factory=list)
    spilled: list[str] = field(default_factory=list)


class ChaosRun:
    """
    Carries a plan out.

    :param home: The folder of the run: plan, Airflow home, logs, notes of deaths.
    :param timeout: Seconds that each DAG run may take.
    :param emulator: Options of the emulator's command line.
    """

    def __init__(
        self, plan: Plan, home: Path, *, timeout: float, emulator: tuple[str, ...], say: Callable[[str], None]
    ) -> None:
        self.plan = plan
        self.home = home
        self._timeout = timeout
        self._emulator_options = emulator
        self._say = say
        self._by_key = {job.key: job for job in plan.jobs}

    def carry_out(self) -> Outcome:
        """Start everything, run the DAGs one after the other, and look at what is left."""
        (self.home / "deaths").mkdir(parents=True)
        (self.home / "plan.json").write_text(self.plan.as_json())
        outcome = Outcome()
        dags = sorted({job.dag_id for job in self.plan.jobs})
        with LocalEmulator(*self._emulator_options) as emulator, scratch_postgres() as database:
            canaries = Canaries.of(emulator)
            outcome.expected = {job.name: ask_directly(emulator, job.prompt) for job in self.plan.jobs}
            prepared = self._airflow(database, canaries, dags)
            prepared.sql(f"alter role current_user set idle_in_transaction_session_timeout = '{LOCKS_SECONDS}s'")
            with prepared as airflow:
                if self.plan.faults:
                    emulator.fault(*self.plan.faults)
                for dag_id in dags:
                    self._run_dag(dag_id, airflow, emulator, outcome)
                self._collect(airflow, emulator, outcome)
                self._say("looking for secrets")
                outcome.spilled = [*canaries.in_database(airflow)]
            # The plan is not among the places: it has no secrets. The components' own outputs are.
            outcome.spilled += canaries.in_files(self.home)
        return outcome

    def _airflow(self, database: str, canaries: Canaries, dags: list[str]) -> LocalAirflow:
        return LocalAirflow(
            home=self.home / "airflow",
            dags_folder=DAGS,
            database=database,
            env={"CHAOS_HOME": str(self.home), **QUICK_TO_NOTICE},
            connections={conn_id: canaries.connections[conn_id] for conn_id in CONNECTIONS},
            dags=dags,
            triggerers=2,
            parallelism=PARALLELISM,
            progress=self._say,
        )

    def _run_dag(self, dag_id: str, airflow: LocalAirflow, emulator: LocalEmulator, outcome: Outcome) -> None:
        mayhem = Mayhem(airflow, emulator, random.Random(self.plan.seed), self._say, self.plan.doomed)
        total = sum(job.dag_id == dag_id for job in self.plan.jobs)
        run_id = airflow.trigger(dag_id)
        self._say(f"{dag_id}: {total} tasks")
        began = time.monotonic()
        coming = list(self.plan.events)
        quiet_since = shown = began
        while (state := _state(airflow, dag_id, run_id)) not in ("success", "failed"):
            if time.monotonic() - began > self._timeout:
                self._say(f"{dag_id} has not ended within {self._timeout:g} s")
                break
            counts = _counts(airflow, dag_id, run_id)
            if time.monotonic() - shown > PROGRESS_INTERVAL:
                shown = time.monotonic()
                self._say("       " + ", ".join(f"{count} {name}" for name, count in sorted(counts.items())))
            done = sum(counts.get(name, 0) for name in ("success", "failed")) / total
            mayhem.attend()
            if coming and done >= coming[0].at and time.monotonic() - quiet_since > EVENT_GAP and mayhem.quiet:
                self._happen(coming.pop(0), mayhem, outcome)
                quiet_since = time.monotonic()
            time.sleep(LOOK_INTERVAL)
        with contextlib.suppress(AirflowClientError, requests.RequestException):
            mayhem.attend(all_now=True)
        outcome.dags[dag_id] = f"{state} after {time.monotonic() - began:.0f} s"
        outcome.seconds += time.monotonic() - began
        self._say(f"{dag_id}: {outcome.dags[dag_id]}")

    def _happen(self, event: Event, mayhem: Mayhem, outcome: Outcome) -> None:
        mayhem.happen(event.kind)
        outcome.events.append(event.kind)

    def _collect(self, airflow: LocalAirflow, emulator: LocalEmulator, outcome: Outcome) -> None:
        deadline = time.monotonic() + SETTLE_SECONDS
        while emulator.stats()["operations"]["running"] and time.monotonic() < deadline:
            time.sleep(LOOK_INTERVAL)
        outcome.stats = emulator.stats()
        outcome.operations = emulator.operations()
        outcome.logs = read_task_logs(airflow.logs)
        for note in (self.home / "deaths").iterdir():
            name, _, stage = note.name.partition(".")
            outcome.deaths.setdefault(name, set()).add(stage)
        for job, row in self._rows(airflow, "select * from task_instance"):
            outcome.states[job.name] = row["state"]
        for job, row in self._rows(airflow, "select * from xcom where key in ('return_value', 'operation_id')"):
            kept = outcome.texts if row["key"] == "return_value" else outcome.used
            kept[job.name] = row["value"]
        for job, row in self._rows(airflow, "select * from task_instance_history"):
            outcome.failed_attempts.setdefault(job.name, {})[row["try_number"]] = set()
        for job, row in self._rows(airflow, "select * from log where try_number is not null"):
            if row["try_number"] in outcome.failed_attempts.get(job.name, {}):
                outcome.failed_attempts[job.name][row["try_number"]].add(row["event"])

    def _rows(self, airflow: LocalAirflow, statement: str) -> Iterator[tuple[Job, dict[str, Any]]]:
        """Return the rows of a query that belong to a job."""
        for row in airflow.sql(statement):
            if job := self._by_key.get((row["dag_id"], row["task_id"], row["map_index"])):
                yield job, row


def ask_directly(emulator: LocalEmulator, prompt: str) -> str:
    """Ask the emulator for the text of a prompt, without the package and without an operation."""
    answer = requests.post(
        f"{emulator.url}/foundationModels/v1/completion",
        json={
            "modelUri": f"gpt://{emulator.folder_id}/yandexgpt",
            "messages": [{"role": "user", "text": prompt}],
        },
        headers={"Authorization": f"Api-Key {emulator.api_key}"},
        timeout=30,
    )
    answer.raise_for_status()
    return str(answer.json()["result"]["alternatives"][0]["message"]["text"])


def _state(airflow: LocalAirflow, dag_id: str, run_id: str) -> str:
    rows = airflow.sql("select state from dag_run where dag_id = :dag and run_id = :run", dag=dag_id, run=run_id)
    return str(rows[0]["state"])


def _counts(airflow: LocalAirflow, dag_id: str, run_id: str) -> dict[str, int]:
    rows = airflow.sql(
        "select coalesce(state, 'none') as state, count(*) as count from task_instance"
        " where dag_id = :dag and run_id = :run and map_index >= 0 group by 1",
        dag=dag_id,
        run=run_id,
    )
    return {row["state"]: row["count"] for row in rows}
