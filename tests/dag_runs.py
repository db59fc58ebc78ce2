"""DAG files run as they are, each run in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from airflow_provider.yandex_ai_studio.emulator import Emulator
from support import API_KEY, FOLDER

DAGS = Path(__file__).parent.parent / "dags"

RUN = """
import json, sys
from airflow.dag_processing.dagbag import DagBag
from airflow.models.dagrun import DagRun
from airflow.sdk import timezone
update = DagRun.update_state
def update_or_end(run, *args, **kwargs):
    '''End a run in which nothing is left to start: dag.test() would look at it for ever.'''
    found = update(run, *args, **kwargs)
    if run.state == "running" and not found[0] and "up_for_retry" not in {ti.state for ti in run.get_task_instances()}:
        run.set_state("failed")
    return found
DagRun.update_state = update_or_end
bag = DagBag(sys.argv[1])
assert not bag.import_errors, bag.import_errors
run = bag.dags[sys.argv[2]].test(logical_date=timezone.utcnow())
tasks = {f"{ti.task_id}{ti.map_index if ti.map_index >= 0 else ''}": ti.state for ti in run.get_task_instances()}
print("RESULT", json.dumps({"run": run.state, "tasks": tasks}))
"""


def run(*command: str, **environment: str) -> str:
    """Run a process of its own, and return its output."""
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def python(code: str, *arguments: str, **environment: str) -> str:
    """
    Run code, and return what it says after RESULT.

    What comes after that line is Airflow's: 3.4 logs an error when it closes its database as the process ends.
    """
    lines = run(sys.executable, "-c", code, *arguments, **environment).splitlines()
    return next(line.removeprefix("RESULT ") for line in lines if line.startswith("RESULT "))


@dataclass
class Home:
    """
    An Airflow of one folder, without a scheduler, whose default connection leads to an emulator.

    :param more: More environment.
    """

    path: Path
    emulator: Emulator
    more: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        run(sys.executable, "-m", "airflow", "db", "migrate", **self.environment)

    @property
    def environment(self) -> dict[str, str]:
        connection = {
            "conn_type": "yandex_ai_studio",
            "host": self.emulator.url,
            "password": API_KEY,
            "extra": {"folder_id": FOLDER},
        }
        return {
            "AIRFLOW_HOME": str(self.path),
            "AIRFLOW__CORE__DAGS_FOLDER": str(DAGS),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__DATABASE__SQL_ALCHEMY_CONN": f"sqlite:///{self.path}/airflow.db",
            "AIRFLOW_CONN_YANDEX_AI_STUDIO_DEFAULT": json.dumps(connection),
            **self.more,
        }

    def test(self, dag_id: str) -> dict[str, Any]:
        """Run an example DAG, and return the state of its run and of its tasks."""
        result: dict[str, Any] = json.loads(python(RUN, str(DAGS), dag_id, **self.environment))
        return result
