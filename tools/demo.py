"""
Run the example DAG ``summarize_dependencies`` on a real Airflow, and show what came of it.

    python -m tools.demo           run it once, print the summaries, stop everything
    python -m tools.demo --stay    the same, and leave Airflow running, with its UI

The emulator answers, unless YANDEX_API_KEY and YANDEX_FOLDER_ID are set: then the real service does, and bills it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sqlite3
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

from tools.direct import Direct, ask
from tools.harness.airflow import LocalAirflow
from tools.harness.airflow_client import AirflowClientError
from tools.harness.emulator import LocalEmulator

ROOT = Path(__file__).parent.parent
DAG = "summarize_dependencies"
GENERATION_TASK = "summarize"
RUN_TIMEOUT = 240.0
"""Seconds that the DAG run may take."""

SCHEDULE_TIMEOUT = 60.0
"""Seconds until the scheduler must have created the run."""

SECONDS, SECONDS_MAX = "3", "12"
"""How long the emulator takes for a text."""


INSTRUCTIONS = "Answer in two sentences, for a data engineer. Today is {today}."
PROMPT = "What is the Python package {package} for? Its README says:\n\n{text}"
FOLDER, MODEL = "b1gemulator", "yandexgpt"
OPTIONS = {"temperature": 0.2, "maxTokens": "200"}
"""What the DAG asks for; written down once more here, so that a request that changes on its way is seen."""

Row = tuple[str, str, int, str]
"""Package, summary, tokens, operation id: a row of the table that the DAG fills."""


@dataclass
class Progress:
    """Prints what happens."""

    started: float = field(default_factory=time.monotonic)

    def say(self, line: str) -> None:
        """Print a line with the seconds since the start."""
        print(f"{time.monotonic() - self.started:6.1f} s  {line}", flush=True)

    def changed(self, instance: dict[str, Any]) -> None:
        """Note that a task instance is in another state."""
        task, index, state = instance["task_id"], instance["map_index"], instance["state"]
        self.say(f"{task}{f'[{index}]' if index >= 0 else ''}: {state or 'waiting'}")


@contextmanager
def service() -> Iterator[tuple[dict[str, Any], LocalEmulator | None]]:
    """Yield the Airflow connection to use, and the emulator behind it if it is one."""
    api_key, folder_id = os.environ.get("YANDEX_API_KEY"), os.environ.get("YANDEX_FOLDER_ID")
    if api_key and folder_id:
        yield {"conn_type": "yandex_ai_studio", "password": api_key, "extra": {"folder_id": folder_id}}, None
        return
    with LocalEmulator("--seconds", SECONDS, "--seconds-max", SECONDS_MAX, "--enforce-quotas") as emulator:
        yield emulator.connection, emulator


def table(rows: list[Row], seconds: dict[str, float]) -> str:
    """Lay the summaries out for a terminal."""
    width = max(40, shutil.get_terminal_size((140, 24)).columns - 76)
    line = f"{{:<34}} {{:<{width}}} {{:>6}}  {{:<20}} {{:>8}}"
    head = line.format("package", "summary", "tokens", "operation", "deferred")
    body = [
        line.format(package[:34], textwrap.shorten(text, width, placeholder="…"), tokens, id_, f"{seconds[id_]:.1f} s")
        for package, text, tokens, id_ in rows
    ]
    return "\n".join([head, "-" * len(head), *body])


def empty(rows: list[Row]) -> list[str]:
    """Say which texts are none: all that can be said without knowing what they should be."""
    return [f"{package}: the summary is empty" for package, text, _, _ in rows if not text.strip()]


def changed(operation: Mapping[str, Any]) -> Iterator[str]:
    """Say what an operation of the emulator was asked, if that is not what the DAG asks for; or that it ended badly."""
    asked, options = operation["options"], dict(operation["options"].get("completionOptions", {}))
    if options.get("stream") is False:
        del options["stream"]  # as if it were not there
    found = {**asked, "completionOptions": {**options, "maxTokens": str(options.get("maxTokens"))}}
    if found != {"modelUri": f"gpt://{FOLDER}/{MODEL}", "completionOptions": OPTIONS}:
        yield f"operation {operation['id']} was asked with {asked}"
    if operation["state"] != "succeeded":
        yield f"operation {operation['id']} is {operation['state']}"


def complaints(
    rows: list[Row],
    expected: Mapping[str, Direct],
    operations: Sequence[Mapping[str, Any]],
    tries: Mapping[str, int],
) -> list[str]:
    """
    Say what is wrong with the outcome.

    :param rows: What the DAG loaded into its table.
    :param expected: By package, what the emulator answers to the same question when it is asked directly.
    :param operations: The operations that the emulator created, with what they were asked.
    :param tries: The attempts of each task.
    """
    found = {package: (text, tokens) for package, text, tokens, _ in rows}
    wrong = [f"{package}: no summary" for package in expected if package not in found]
    wrong += [f"{package}: nobody asked for a summary" for package in found if package not in expected]
    for package in expected.keys() & found.keys():
        text, tokens = found[package]
        if text != expected[package].text:
            wrong.append(f"{package}: {text!r} instead of {expected[package].text!r}")
        if tokens != expected[package].total_tokens:
            wrong.append(f"{package}: {tokens} tokens instead of {expected[package].total_tokens}")
    ids, created = sorted(row[3] for row in rows), sorted(operation["id"] for operation in operations)
    if ids != created:
        wrong.append(f"the table names the operations {ids}, the emulator created {created}")
    wrong += [complaint for operation in operations for complaint in changed(operation)]
    return wrong + [f"{task} took {count} attempts" for task, count in tries.items() if count != 1]


def answers(airflow: LocalAirflow, run_id: str, emulator: LocalEmulator) -> dict[str, Direct]:
    """Ask the emulator directly what the DAG asked it, by package."""
    end = airflow.get(f"/api/v2/dags/{DAG}/dagRuns/{quote(run_id)}")["data_interval_end"]
    instructions = INSTRUCTIONS.format(today=end[: len("2026-01-01")])
    return {
        readme["package"]: ask(emulator, ("system", instructions), ("user", PROMPT.format(**readme)), options=OPTIONS)
        for readme in airflow.xcom(DAG, run_id, "extract")
    }


def scheduled_run(airflow: LocalAirflow) -> str:
    """Return the run that the scheduler creates once the DAG is switched on: that of the last whole week."""
    deadline = time.monotonic() + SCHEDULE_TIMEOUT
    while time.monotonic() < deadline:
        if runs := airflow.get(f"/api/v2/dags/{DAG}/dagRuns")["dag_runs"]:
            return str(runs[0]["dag_run_id"])
        time.sleep(0.25)
    raise AirflowClientError(f"The scheduler created no run of {DAG} within {SCHEDULE_TIMEOUT:g} s.")


def run(*, stay: bool, home: Path, port: int) -> int:
    """Run the demo; return the exit code."""
    progress = Progress()
    shutil.rmtree(home, ignore_errors=True)
    home.mkdir(parents=True)
    database = home / "summaries.db"
    with (
        service() as (connection, emulator),
        LocalAirflow(
            home=home / "airflow",
            dags_folder=ROOT / "dags",
            port=port,
            env={"SUMMARIZE_DATABASE": str(database)},
            connections={"yandex_ai_studio_default": connection},
            dags=[DAG],
            paused=True,
            progress=progress.say,
        ) as airflow,
    ):
        progress.say(f"texts come from {emulator.url if emulator else 'Yandex AI Studio'}")
        airflow.patch(f"/api/v2/dags/{DAG}", json={"is_paused": False})
        run_id = scheduled_run(airflow)
        state = airflow.wait(DAG, run_id, timeout=RUN_TIMEOUT, on_change=progress.changed)
        if state != "success":
            print(f"The run ended as {state}; the logs are in {airflow.logs}", file=sys.stderr)
            return 1
        instances = airflow.task_instances(DAG, run_id)
        tasks = [task for task in instances if task["task_id"] == GENERATION_TASK]
        operation_of = {
            task["map_index"]: airflow.xcom(DAG, run_id, GENERATION_TASK, "operation_id", task["map_index"])
            for task in tasks
        }
        with sqlite3.connect(database) as connected:
            rows = connected.execute("select package, summary, tokens, operation_id from summaries").fetchall()
        seconds = {
            operation_of[index]: spent
            for (task_id, index), spent in airflow.seconds_deferred(DAG, run_id).items()
            if task_id == GENERATION_TASK
        }
        print(f"\n{table(rows, seconds)}\n")
        print(f"generation tasks {len(tasks)}, deferred {len(seconds)}, texts {len(rows)}")
        wrong = empty(rows)
        complete = len(rows) == len(tasks) == len(seconds) and len(tasks) >= 8
        if emulator:
            stats = emulator.stats()
            print(
                f"submissions {stats['submissions']}, reads of results {stats['requests']['operations.get']} "
                f"(at most {stats['peak_requests_per_second']['operations.get']} in a second)"
            )
            expected = answers(airflow, run_id, emulator)
            tries = {f"{task['task_id']}[{task['map_index']}]": task["try_number"] for task in instances}
            wrong += complaints(rows, expected, emulator.operations(), tries)
            complete = complete and stats["submissions"] == len(tasks)
            if not wrong:
                print("each text is what the emulator must answer, byte for byte, at the first attempt")
        print("\n".join(wrong), end="\n" if wrong else "")
        print(f"tokens {sum(row[2] for row in rows)}, seconds {time.monotonic() - progress.started:.0f}")
        if stay:
            print(f"\nAirflow is at {airflow.url} (no password). Ctrl-C stops everything.", flush=True)
            while True:
                airflow.check()
                time.sleep(1)
        return 0 if complete and not wrong else 1


def main() -> int:
    """Read the command line and run."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--stay", action="store_true", help="leave Airflow running, with its UI")
    parser.add_argument("--home", type=Path, default=ROOT / ".demo", help="where everything of the run lives")
    parser.add_argument("--port", type=int, default=0, help="of the UI; 0 picks a free one")
    options = parser.parse_args()
    try:
        return run(stay=options.stay, home=options.home, port=options.port)
    except KeyboardInterrupt:
        return 0


if __name__ == "__main__":
    raise SystemExit(main())
