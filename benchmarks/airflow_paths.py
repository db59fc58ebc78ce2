"""(b) Tasks on a real Airflow on PostgreSQL: CPU and worker starts, by where a task begins and ends."""

from __future__ import annotations

import json
import os
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from benchmarks.cpu import Seconds, between, cpu_seconds
from benchmarks.quiet import silence
from benchmarks.report import Part, Table, Target, median, number, spread
from tools.harness.airflow import LocalAirflow
from tools.harness.emulator import LocalEmulator
from tools.harness.postgres import local_postgres

TASKS, QUICK_TASKS = 200, 40
"""Tasks of each path."""

TASKS_OF_A_RUN = 20
"""Tasks of one DAG run; as many runs as it takes begin together."""

PATHS = {
    "bench_empty": "a task that does nothing",
    "bench_resume": "resume on the worker",
    "bench_auto": "end in the triggerer (auto)",
    "bench_sensor": "sensor, start from the trigger",
}

SECONDS, SECONDS_MAX = "2", "6"
"""How long an operation of the first two paths takes."""

SENSED_SECONDS, SENSED_SECONDS_MAX = "15", "25"
"""How long those take that are submitted before the run of the sensors: they must not be over when it begins."""

PARALLELISM = 4
SETTLE_SECONDS = 20.0
"""Seconds after the start, and after each run, in which what is left over gets done; they count as part of the run."""

IDLE_SECONDS = 40.0
"""Seconds in which an Airflow is measured that has nothing to do."""

LOOK_INTERVAL = 1.0
RUN_TIMEOUT = 900.0


@dataclass(frozen=True)
class PathRun:
    """
    What the runs of a DAG, begun together, have cost.

    :param states: How many runs ended how.
    :param seconds: Wall time until the last of them ended.
    :param measured_seconds: Wall time of the measurement, which ends later.
    :param cpu: CPU seconds by component, all of them.
    :param worker_starts: How often a task began to run on a worker.
    :param failed_attempts: Attempts that failed and were repeated.
    """

    dag_id: str
    tasks: int
    states: dict[str, int]
    seconds: float
    measured_seconds: float
    cpu: Seconds
    worker_starts: int
    failed_attempts: int

    def cpu_per_task(self, idle: Seconds) -> Seconds:
        """Return the CPU seconds of a task by component, beyond what an idle Airflow takes."""
        return {name: (spent - idle[name] * self.measured_seconds) / self.tasks for name, spent in self.cpu.items()}


@dataclass(frozen=True)
class Scene:
    """A running Airflow, and what it runs on."""

    airflow: LocalAirflow
    sensed: LocalEmulator
    roots: dict[str, int]
    tasks: int

    def idle(self) -> Seconds:
        """Measure the CPU time that each component takes in a second when there is nothing to do."""
        began, before = time.monotonic(), cpu_seconds(self.roots)
        while time.monotonic() - began < IDLE_SECONDS:
            self.airflow.sql("select state from dag_run")
            time.sleep(LOOK_INTERVAL)
        seconds = time.monotonic() - began
        return {name: spent / seconds for name, spent in between(before, cpu_seconds(self.roots)).items()}

    def run(self, dag_id: str) -> PathRun:
        """Run a DAG as often as it takes, all at once."""
        ids = self._submitted() if dag_id == "bench_sensor" else []
        began, before = time.monotonic(), cpu_seconds(self.roots)
        runs = [
            self.airflow.trigger(dag_id, {"ids": ids[start : start + TASKS_OF_A_RUN]})
            for start in range(0, self.tasks, TASKS_OF_A_RUN)
        ]
        states: Counter[str] = Counter()
        while states["success"] + states["failed"] < len(runs) and time.monotonic() - began < RUN_TIMEOUT:
            time.sleep(LOOK_INTERVAL)
            self.airflow.check()
            states = Counter(str(row["state"]) for row in self._rows("dag_run", runs))
        seconds = time.monotonic() - began
        time.sleep(SETTLE_SECONDS)
        measured = time.monotonic() - began
        return PathRun(
            dag_id=dag_id,
            tasks=self.tasks,
            states=dict(states),
            seconds=seconds,
            measured_seconds=measured,
            cpu=between(before, cpu_seconds(self.roots)),
            worker_starts=sum(row["event"] == "running" for row in self._rows("log", runs)),
            failed_attempts=len(self._rows("task_instance_history", runs)),
        )

    def _submitted(self) -> list[str]:
        os.environ["AIRFLOW_CONN_SENSED"] = json.dumps(self.sensed.connection)
        hook = YandexAIStudioHook("sensed")
        return [
            hook.submit_completion(hook.completion_request(prompt=f"What was written about item {number}?")).id
            for number in range(self.tasks)
        ]

    def _rows(self, table: str, runs: list[str]) -> list[dict[str, Any]]:
        return self.airflow.sql(f"select * from {table} where run_id = any(:runs)", runs=runs)


@contextmanager
def scene(tasks: int, say: Callable[[str], None]) -> Iterator[Scene]:
    """Run a PostgreSQL, two emulators and an Airflow."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        local_postgres(Path(folder) / "postgres" / "data") as database,
        LocalEmulator("--seconds", SECONDS, "--seconds-max", SECONDS_MAX, "--enforce-quotas") as service,
        LocalEmulator("--seconds", SENSED_SECONDS, "--seconds-max", SENSED_SECONDS_MAX) as sensed,
        LocalAirflow(
            home=Path(folder) / "airflow",
            dags_folder=Path(__file__).parent / "dags",
            database=database,
            env={
                "BENCH_TASKS": str(TASKS_OF_A_RUN),
                "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
                "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3600",
            },
            connections={"yandex_ai_studio_default": service.connection, "sensed": sensed.connection},
            dags=list(PATHS),
            parallelism=PARALLELISM,
            progress=say,
        ) as airflow,
    ):
        postgres = int((Path(folder) / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
        components = {name: process.pid for name, process in airflow.processes.items()}
        yield Scene(airflow, sensed, {**components, "postgres": postgres}, tasks)


def run(runs: int, tasks: int, say: Callable[[str], None]) -> Part:
    """Run the three DAGs in turn, and repeat that."""
    silence()
    found: dict[str, list[PathRun]] = {dag_id: [] for dag_id in PATHS}
    with scene(tasks, say) as started:
        time.sleep(SETTLE_SECONDS)
        say("measuring an idle Airflow")
        idle = started.idle()
        for turn in range(1, runs + 1):
            for dag_id, path in PATHS.items():
                say(f"run {turn} of {runs}: {tasks} tasks, {path}")
                found[dag_id].append(started.run(dag_id))
    title = f"(b) {tasks} tasks on a real Airflow, {TASKS_OF_A_RUN} to a DAG run"
    data = {
        "idle_cpu_per_second": idle,
        "runs": {dag_id: [asdict(each) for each in repeats] for dag_id, repeats in found.items()},
    }
    totals = {dag_id: [sum(each.cpu_per_task(idle).values()) for each in repeats] for dag_id, repeats in found.items()}
    tables = [_overview(f"{title}, medians of {runs}", found, totals), _components(found, idle)]
    return Part(title, tables, _targets(found, totals), data)


def _overview(title: str, found: dict[str, list[PathRun]], totals: dict[str, list[float]]) -> Table:
    head = ("", "CPU per task, s", "worker starts per task", "failed attempts", "wall, s", "DAG runs that succeeded")
    rows = [
        [
            PATHS[dag_id],
            spread(totals[dag_id]),
            number(_starts(runs)),
            number(sum(each.failed_attempts for each in runs)),
            number(median(each.seconds for each in runs)),
            _succeeded(sum((Counter(each.states) for each in runs), Counter())),
        ]
        for dag_id, runs in found.items()
    ]
    return Table(title, head, rows)


def _succeeded(states: Counter[str]) -> str:
    return f"{states['success']} of {states.total()}"


def _components(found: dict[str, list[PathRun]], idle: Seconds) -> Table:
    rows = [
        [PATHS[dag_id], *(number(median(each.cpu_per_task(idle)[name] for each in runs)) for name in idle)]
        for dag_id, runs in found.items()
    ]
    rows.append(["idle, CPU seconds a second", *map(number, idle.values())])
    return Table("CPU seconds of a task by component; workers are children of the scheduler", ("", *idle), rows)


def _starts(runs: list[PathRun]) -> float:
    return median(each.worker_starts / each.tasks for each in runs)


def _targets(found: dict[str, list[PathRun]], totals: dict[str, list[float]]) -> list[Target]:
    def over(dag_id: str, other: str) -> list[float]:
        return [mine / theirs for mine, theirs in zip(totals[dag_id], totals[other], strict=True)]

    return [
        Target("worker starts per task, auto", "1", number(_starts(found["bench_auto"]))),
        Target("worker starts per task, sensor from the trigger", "0", number(_starts(found["bench_sensor"]))),
        Target("CPU per task, sensor / resume", "at most 0.2", spread(over("bench_sensor", "bench_resume"))),
        Target("CPU per task, auto / a task that does nothing", "at most 2", spread(over("bench_auto", "bench_empty"))),
        Target("CPU per task, resume / the same", "at most 3", spread(over("bench_resume", "bench_empty"))),
        Target(
            "failed attempts, all", "0", number(sum(each.failed_attempts for runs in found.values() for each in runs))
        ),
    ]
