"""(e) Many rows in one task, on a real Airflow on PostgreSQL: time, CPU against mapped tasks, memory, the ledger."""

from __future__ import annotations

import contextlib
import json
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import psutil

from benchmarks.airflow_paths import LOOK_INTERVAL, PARALLELISM, SETTLE_SECONDS, TASKS_OF_A_RUN, PathRun, Scene
from benchmarks.cpu import Seconds, between, cpu_seconds
from benchmarks.quiet import silence
from benchmarks.report import Part, Table, Target, number
from tools.harness.airflow import LocalAirflow
from tools.harness.emulator import LocalEmulator
from tools.harness.postgres import local_postgres

QUOTA = 10
"""Submissions a second that the service takes, and that the connection asks for."""

SECONDS, SECONDS_MAX = 5, 20
"""How long an operation takes."""

RUN_TIMEOUT = 1800.0
MEGABYTE = 2**20


@dataclass(frozen=True)
class Sizes:
    """
    How much is measured.

    :param rows: Of the task that runs alone.
    :param mapped: Mapped tasks, beside which its CPU is put.
    :param shared: Rows of each of three tasks at once.
    :param large: Rows of 10 kB of the task whose memory is looked at; no quota holds it up.
    """

    rows: int = 1000
    mapped: int = 200
    shared: int = 300
    large: int = 20_000


QUICK = Sizes(rows=100, mapped=40, shared=40, large=1000)


@dataclass(frozen=True)
class BulkRun:
    """
    What bulk tasks, begun together, have cost.

    :param rows: Of all of them.
    :param states: How many runs ended how.
    :param seconds: Wall time until the last of them ended.
    :param measured_seconds: Wall time of the measurement, which ends later.
    :param cpu: CPU seconds by component, all of them.
    :param task_instances: How many there were.
    :param failed_attempts: Attempts that failed and were repeated.
    :param traffic: What the service saw: submissions, 429 to submissions, reads, 429 to reads.
    :param stretches: What each stretch on a worker took: seconds, writes of the ledger, and seconds of these.
    :param worker_megabytes: Memory of a worker's process, at least and at most.
    :param triggerer_megabytes: Memory of the triggerer's processes, at least and at most.
    """

    tasks: int
    rows: int
    states: dict[str, int]
    seconds: float
    measured_seconds: float
    cpu: Seconds
    task_instances: int
    failed_attempts: int
    traffic: dict[str, int]
    stretches: list[dict[str, float]]
    worker_megabytes: list[float]
    triggerer_megabytes: list[float]

    def cpu_per_row(self, idle: Seconds) -> float:
        """Return the CPU seconds of a row, beyond what an idle Airflow takes."""
        return sum(spent - idle[name] * self.measured_seconds for name, spent in self.cpu.items()) / self.rows

    def total(self, what: str) -> float:
        """Add something up over all stretches on a worker."""
        return sum(stretch[what] for stretch in self.stretches)


class Memory:
    """The least and the most megabytes that something had."""

    def __init__(self) -> None:
        self.least, self.most = float("inf"), 0.0

    def look(self, *pids: int) -> None:
        """Look at processes that belong together; where one is gone meanwhile, the look does not count."""
        with contextlib.suppress(psutil.NoSuchProcess):
            now = sum(psutil.Process(pid).memory_info().rss for pid in pids) / MEGABYTE
            self.least, self.most = min(self.least, now), max(self.most, now)

    def value(self) -> list[float]:
        """Return both."""
        return [self.least, self.most]


@dataclass(frozen=True)
class Bench:
    """
    A running Airflow.

    :param folder: For inputs and outputs.
    """

    scene: Scene
    folder: Path

    def run(self, name: str, tasks: int, rows: int, service: LocalEmulator, text: str, **extra: float) -> BulkRun:
        """Run bulk tasks with so many rows each, all at once."""
        airflow = self.scene.airflow
        connection = service.connection
        airflow.add_connection(name, {**connection, "extra": {**connection["extra"], **extra}})
        outputs = [self.folder / f"{name}-{task}" for task in range(tasks)]
        for task, output in enumerate(outputs):
            with output.with_suffix(".jsonl").open("w") as file:
                file.writelines(json.dumps({"text": f"Row {row} of {task}: {text}"}) + "\n" for row in range(rows))
        worker, triggerer = Memory(), Memory()
        began, before = time.monotonic(), cpu_seconds(self.scene.roots)
        runs = [
            airflow.trigger("bench_bulk", {"conn_id": name, "inputs": f"{output}.jsonl", "output_path": str(output)})
            for output in outputs
        ]
        states: Counter[str] = Counter()
        while states["success"] + states["failed"] < tasks and time.monotonic() - began < RUN_TIMEOUT:
            time.sleep(LOOK_INTERVAL)
            airflow.check()
            states = Counter(str(row["state"]) for row in self._rows("dag_run", runs))
            for row in self._rows("task_instance", runs):
                if row["state"] == "running":
                    worker.look(row["pid"])
            top = psutil.Process(self.scene.roots["triggerer"])
            triggerer.look(top.pid, *(child.pid for child in top.children(recursive=True)))
        seconds = time.monotonic() - began
        time.sleep(SETTLE_SECONDS)
        stats = service.stats()
        responses = stats["responses"]
        return BulkRun(
            tasks=tasks,
            rows=tasks * rows,
            states=dict(states),
            seconds=seconds,
            measured_seconds=time.monotonic() - began,
            cpu=between(before, cpu_seconds(self.scene.roots)),
            task_instances=len(self._rows("task_instance", runs)),
            failed_attempts=len(self._rows("task_instance_history", runs)),
            traffic={
                "submissions": stats["submissions"],
                "refused": responses["completionAsync"].get("429", 0),
                "reads": sum(responses["operations.get"].values()),
                "refused reads": responses["operations.get"].get("429", 0),
            },
            stretches=[
                json.loads(line) for output in outputs for line in Path(f"{output}.stretches").read_text().splitlines()
            ],
            worker_megabytes=worker.value(),
            triggerer_megabytes=triggerer.value(),
        )

    def _rows(self, table: str, runs: list[str]) -> list[dict[str, Any]]:
        return self.scene.airflow.sql(f"select * from {table} where run_id = any(:runs)", runs=runs)


@contextmanager
def bench(mapped: int, say: Callable[[str], None]) -> Iterator[Bench]:
    """Run a PostgreSQL, an emulator for the mapped tasks, and an Airflow."""
    with (
        tempfile.TemporaryDirectory(prefix="bench-") as folder,
        local_postgres(Path(folder) / "postgres" / "data") as database,
        quick_to_refuse() as service,
        LocalAirflow(
            home=Path(folder) / "airflow",
            dags_folder=Path(__file__).parent / "dags",
            database=database,
            env={
                "BENCH_TASKS": str(TASKS_OF_A_RUN),
                "AIRFLOW__DAG_PROCESSOR__MIN_FILE_PROCESS_INTERVAL": "3600",
                "AIRFLOW__DAG_PROCESSOR__REFRESH_INTERVAL": "3600",
            },
            connections={"yandex_ai_studio_default": service.connection},
            dags=["bench_bulk", "bench_mapped"],
            parallelism=PARALLELISM,
            progress=say,
        ) as airflow,
    ):
        postgres = int((Path(folder) / "postgres" / "data" / "postmaster.pid").read_text().split()[0])
        roots = {name: process.pid for name, process in airflow.processes.items()}
        yield Bench(Scene(airflow, service, {**roots, "postgres": postgres}, mapped), Path(folder))


def quick_to_refuse() -> LocalEmulator:
    """Return a service with the vendor's quotas."""
    return LocalEmulator("--seconds", str(SECONDS), "--seconds-max", str(SECONDS_MAX), "--enforce-quotas")


def run(sizes: Sizes, say: Callable[[str], None]) -> Part:
    """Run a task alone, mapped tasks, three tasks at once, and one with large rows."""
    silence()
    text = "The ducks of the old town are counted each spring, and they are always more."
    with bench(sizes.mapped, say) as started:
        time.sleep(SETTLE_SECONDS)
        say("measuring an idle Airflow")
        idle = started.scene.idle()
        say(f"{sizes.rows} rows in one task")
        with quick_to_refuse() as service:
            alone = started.run("alone", 1, sizes.rows, service, text, submits_per_second=QUOTA)
        say(f"{sizes.mapped} mapped tasks")
        mapped = started.scene.run("bench_mapped")
        say(f"three tasks at once, {sizes.shared} rows each")
        with quick_to_refuse() as service:
            shared = started.run("shared", 3, sizes.shared, service, text, submits_per_second=QUOTA)
        say(f"{sizes.large} rows of 10 kB")
        with LocalEmulator("--seconds", "1") as service:
            pace = {"submits_per_second": 400.0, "polls_per_second": 400.0}
            large = started.run("large", 1, sizes.large, service, "duck " * 2000, **pace)
    runs = {"alone": alone, "shared": shared, "large": large}
    title = f"(e) many rows in one task on a real Airflow, operations of {SECONDS} to {SECONDS_MAX} s"
    names = {
        "alone": f"{sizes.rows} rows",
        "shared": f"three tasks at once, {sizes.shared} rows each",
        "large": f"{sizes.large} rows of 10 kB, operations of 1 s, no quota",
    }
    tables = [_overview(title, {names[name]: one for name, one in runs.items()}, idle, mapped)]
    data = {
        "idle_cpu_per_second": idle,
        "mapped": asdict(mapped),
        "runs": {name: asdict(one) for name, one in runs.items()},
    }
    return Part(title, tables, _targets(runs, idle, mapped), data)


def _overview(title: str, runs: dict[str, BulkRun], idle: Seconds, mapped: PathRun) -> Table:
    head = (
        "",
        "ended well",
        "wall, s",
        "on a worker, s",
        "task instances",
        "worker starts",
        "submissions",
        "429",
        "reads",
        "CPU per row, s",
        "ledger writes per row",
        "their share of a worker's time",
        "worker at most, MB",
        "triggerer at most, MB",
    )
    rows = [
        [
            name,
            f"{one.states.get('success', 0)} of {one.tasks}",
            number(one.seconds),
            number(one.total("seconds")),
            number(one.task_instances),
            number(len(one.stretches)),
            number(one.traffic["submissions"]),
            number(one.traffic["refused"]),
            number(one.traffic["reads"]),
            number(one.cpu_per_row(idle)),
            number(one.total("writes") / one.rows),
            number(one.total("write_seconds") / one.total("seconds")),
            number(one.worker_megabytes[1]),
            number(one.triggerer_megabytes[1]),
        ]
        for name, one in runs.items()
    ]
    ended, cpu = Counter(mapped.states), sum(mapped.cpu_per_task(idle).values())
    rows.append(
        [
            f"{mapped.tasks} mapped tasks, a row each",
            f"{ended['success']} of {ended.total()}",
            number(mapped.seconds),
            "",
            number(mapped.tasks),
            number(mapped.worker_starts),
            *("", "", ""),
            number(cpu),
            *("", "", "", ""),
        ]
    )
    return Table(title, head, rows)


def _targets(runs: dict[str, BulkRun], idle: Seconds, mapped: PathRun) -> list[Target]:
    alone, shared, large = runs["alone"], runs["shared"], runs["large"]
    worker = large.worker_megabytes[1] - alone.worker_megabytes[0]
    triggerer = large.triggerer_megabytes[1] - alone.triggerer_megabytes[0]
    floor, shared_floor = (one.rows / QUOTA + SECONDS_MAX for one in (alone, shared))
    cpu = sum(mapped.cpu_per_task(idle).values()) / alone.cpu_per_row(idle)
    return [
        Target("wall time / what the quota and one operation take", "at most 1.2", number(alone.seconds / floor)),
        Target("submissions refused", "0", number(alone.traffic["refused"])),
        Target("task instances", "1", number(alone.task_instances)),
        Target("CPU of a mapped task / CPU of a row", "at least 20", number(cpu)),
        Target("three at once: wall time / the same floor", "at most 1.3", number(shared.seconds / shared_floor)),
        Target("large rows: memory of the worker beyond idle, MB", "at most 150", number(worker)),
        Target("large rows: memory of the triggerer beyond idle, MB", "at most 150", number(triggerer)),
    ]
