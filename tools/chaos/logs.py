"""What the logs of a chaos run say: the lines of each task, by attempt, and why attempts failed."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

_FILE = re.compile(
    r"dag_id=(?P<dag_id>[^/]+)/run_id=[^/]+/task_id=(?P<task_id>[^/]+)(?:/map_index=(?P<map_index>\d+))?"
    r"/attempt=(?P<attempt>\d+)\.log"
)

TaskKey = tuple[str, str, int]
"""A task instance: DAG id, task id, map index, which is -1 for one that is not mapped."""


@dataclass(frozen=True)
class Line:
    """
    A line of a task's log, of its worker or its triggerer.

    :param errors: The exceptions that it carries, the outermost last.
    :param at: When it was written, in seconds since the epoch; None where that can't be read.
    """

    attempt: int
    event: str
    errors: tuple[str, ...] = ()
    at: float | None = None


def read_task_logs(folder: Path) -> dict[TaskKey, list[Line]]:
    """Return the lines of all tasks, in the order of their attempts."""
    lines: dict[TaskKey, list[Line]] = {}
    for path in sorted(folder.glob("dag_id=*/run_id=*/task_id=*/**/attempt=*.log*")):
        if match := _FILE.match(str(path.relative_to(folder))):
            key = match["dag_id"], match["task_id"], int(match["map_index"] or -1)
            lines.setdefault(key, []).extend(_read(path, int(match["attempt"])))
    return lines


def _read(path: Path, attempt: int) -> Iterator[Line]:
    for text in path.read_text(errors="replace").splitlines():
        try:
            entry: Mapping[str, Any] = json.loads(text)
            event = str(entry["event"])
        except (ValueError, KeyError, TypeError):
            yield Line(attempt, text)  # cut off in the middle, or not of the log's own
            continue
        errors = tuple(error["exc_type"] for error in entry.get("error_detail") or ())
        yield Line(attempt, event, errors, _seconds(entry.get("timestamp")))


def _seconds(timestamp: object) -> float | None:
    try:
        return datetime.fromisoformat(str(timestamp)).timestamp()
    except ValueError:
        return None


def kills(lines: Iterable[Line]) -> Iterator[tuple[int, float, str]]:
    """Return the attempts that were killed as the log itself says, with when and how."""
    for line in lines:
        if line.at is not None and (REPLACED in line.event or SIGNAL in line.event):
            yield line.attempt, line.at, "ended by Airflow" if REPLACED in line.event else "killed by a signal"


REPLACED = "Server indicated the task shouldn't be running anymore"
SIGNAL = "Process terminated by signal"


def reason_of(lines: list[Line], attempt: int, *, events: set[str]) -> str:
    """
    Say in a few words why an attempt failed.

    :param lines: All lines of the job.
    :param events: What Airflow's own event log says of this attempt.
    """
    mine = [line for line in lines if line.attempt == attempt]
    errors = [line.errors[0] for line in mine if line.errors]
    if any(REPLACED in line.event for line in mine):
        return "ended by Airflow: the scheduler had given the task to another attempt"
    if any(SIGNAL in line.event for line in mine):
        return "killed, its supervisor saw it"
    if errors:
        return f"raised {errors[-1]}"
    if "heartbeat timeout" in events:
        return "killed with its supervisor, found by its missing heartbeat"
    if "state mismatch" in events:
        return "Airflow's resume race: it ran again before the scheduler saw its first part end"
    return "reset by a new scheduler" if mine else "reset by a new scheduler, before it began"
