"""Whom the events of a chaos run hit, and what is read of them afterwards."""

from __future__ import annotations

import json
from pathlib import Path
from random import Random
from typing import Any

import pytest

from tools.chaos.agenda import Agenda
from tools.chaos.logs import Line, read_task_logs
from tools.chaos.plan import CLEAR_FINISHED, CLEAR_WAITING, DISCARD, chaos_plan
from tools.chaos.world import World


class Airflow:
    """Shows some tasks, all in the state that is asked for, and notes what is cleared."""

    def __init__(self, *tasks: tuple[str, int]) -> None:
        self.tasks = tasks
        self.cleared: list[Any] = []

    def sql(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        return [{"task_id": task_id, "map_index": map_index} for task_id, map_index in self.tasks]

    def post(self, path: str, json: dict[str, Any]) -> None:
        self.cleared += json["task_ids"]


def world(airflow: Airflow) -> World:
    jobs = chaos_plan(48, 1, short=True).jobs
    nothing: Any = None
    return World(
        airflow=airflow,  # type: ignore[arg-type] # a stand-in
        service=nothing,
        canaries=nothing,
        gateway=nothing,
        vault=nothing,
        run=("chaos", "run"),
        conn_ids={job.index: job.conn_id for job in jobs},
        spared=frozenset(),
        single=frozenset(job.index for job in jobs if job.kind not in ("watch", "bulk")),
        agenda=Agenda(),
        dice=Random(1),
        say=lambda line: None,
    )


@pytest.mark.parametrize("kind", [CLEAR_WAITING, CLEAR_FINISHED])
@pytest.mark.parametrize("task", [("bulk_00", -1), ("watch_00", 0), ("watch_01", -1)])
def test_only_who_owns_one_operation_starts_over(kind: str, task: tuple[str, int]) -> None:
    """A bulk task leaves many behind, and a sensor none: the account knows of one for each such clear."""
    airflow = Airflow(task)
    assert not world(airflow).happen(kind + DISCARD)
    assert world(airflow).happen(kind)
    assert airflow.cleared == [task if task[1] >= 0 else task[0]]


def test_the_log_of_a_task_is_read_whether_it_is_mapped_or_not(tmp_path: Path) -> None:
    run = tmp_path / "dag_id=chaos" / "run_id=manual"
    line = json.dumps({"event": "Submitting"}) + "\n"
    for folder, name in (
        ("task_id=generate_00/map_index=1", "attempt=1.log"),
        ("task_id=bulk_00", "attempt=2.log"),
        ("task_id=bulk_00", "attempt=2.log.trigger.7.log"),
    ):
        (run / folder).mkdir(parents=True, exist_ok=True)
        (run / folder / name).write_text(line)
    assert read_task_logs(tmp_path) == {
        ("chaos", "generate_00", 1): [Line(1, "Submitting")],
        ("chaos", "bulk_00", -1): [Line(2, "Submitting")] * 2,
    }
