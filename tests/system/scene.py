"""What the system tests say about a run on a real Airflow, and about the emulator behind it."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

import pytest
import requests

from airflow_provider.yandex_ai_studio.emulator import Emulator
from tools.harness.airflow import LocalAirflow
from tools.harness.airflow_client import POLL_INTERVAL, AirflowClientError

AIRFLOW = tuple(int(part) for part in version("apache-airflow-core").split(".")[:2])
JOURNAL_LASTS = AIRFLOW >= (3, 3)
"""Whether this Airflow keeps the state of a task from attempt to attempt."""

needs_journal = pytest.mark.skipif(
    not JOURNAL_LASTS, reason="Airflow 3.2 keeps no state: see the test without a journal"
)

TRIGGERS_ARE_TOLD = AIRFLOW >= (3, 3)
"""Whether this Airflow tells a trigger that its task was taken from it."""

ENDS_IN_TRIGGERER = AIRFLOW >= (3, 3)
"""Whether this Airflow lets a task end in the triggerer, and start there."""

CLEAR_DISCARDS = AIRFLOW >= (3, 4)
"""Whether a plain clear of this Airflow discards the state of a task."""

PATIENCE = 90.0
"""Seconds that anything may take here; two cores run everything at once."""

FOLDER = "b1gsystemtests"
HOUR = 3600.0


@dataclass(frozen=True)
class Run:
    """A run of a DAG."""

    airflow: LocalAirflow
    dag_id: str
    run_id: str

    @property
    def path(self) -> str:
        return f"/api/v2/dags/{self.dag_id}/dagRuns/{self.run_id}"

    def wait(self) -> str:
        """Wait for the end of the run and return its state."""
        return self.airflow.wait(self.dag_id, self.run_id, timeout=PATIENCE)

    def task(self, task_id: str, map_index: int = -1) -> dict[str, Any]:
        """Return a task instance in its latest attempt."""
        return next(
            instance
            for instance in self.airflow.task_instances(self.dag_id, self.run_id)
            if (instance["task_id"], instance["map_index"]) == (task_id, map_index)
        )

    def state(self, task_id: str) -> str:
        return str(self.task(task_id)["state"])

    def tries(self, task_id: str) -> int:
        return int(self.task(task_id)["try_number"])

    def until(self, task_id: str, *states: str, tries: int = 1) -> None:
        """Wait until a task is in one of these states, in this attempt or a later one."""

        def there() -> bool:
            instance = self.task(task_id)
            return instance["state"] in states and instance["try_number"] >= tries

        eventually(there, f"{task_id} in {states}", self.airflow.check)

    def until_settled(self, task_id: str, tries: int = 1) -> None:
        """
        Wait until a task is deferred, and the scheduler has seen its worker go.

        A trigger that fires before that can fail its task: the scheduler then takes the exit of the first worker for
        one of the second ("finished with state success, but the task instance's state attribute is queued").
        """
        self.until(task_id, "deferred", tries=tries)
        key = (
            f"TaskInstanceKey(dag_id='{self.dag_id}', task_id='{task_id}', run_id='{self.run_id}', try_number={tries},"
        )
        seen = re.compile("Received executor event with state success .*" + re.escape(key))
        output = self.airflow.home / "scheduler.log"
        eventually(
            lambda: seen.search(output.read_text(errors="replace")) is not None, seen.pattern, self.airflow.check
        )

    def xcom(self, task_id: str, key: str = "return_value", map_index: int = -1) -> Any:
        return self.airflow.xcom(self.dag_id, self.run_id, task_id, key, map_index)

    def log(self, task_id: str, tries: int = 1) -> str:
        return self.airflow.log(self.dag_id, self.run_id, task_id, tries)

    def log_says(self, task_id: str, *phrases: str, tries: int = 1) -> None:
        """Wait until the log of an attempt holds all phrases: what a triggerer logs last comes late."""
        eventually(
            lambda: all(phrase in self.log(task_id, tries) for phrase in phrases),
            lambda: f"{phrases} in the log:\n{self.log(task_id, tries)}",
        )

    def links(self, task_id: str) -> dict[str, str | None]:
        """Return the extra links of a task, as the UI shows them: by name, with None for one that leads nowhere."""
        links: dict[str, str | None] = self.airflow.get(f"{self.path}/taskInstances/{task_id}/links")["extra_links"]
        return links

    def deferrals(self, task_id: str) -> int:
        """Return how often a task was deferred, mapped ones and all attempts together."""
        events = self.airflow.get(
            "/api/v2/eventLogs", dag_id=self.dag_id, run_id=self.run_id, task_id=task_id, event="deferred"
        )
        return int(events["total_entries"])

    def mark(self, task_id: str, state: str) -> None:
        """Mark a task, as a person does in the UI."""
        self.airflow.patch(f"{self.path}/taskInstances/{task_id}", json={"new_state": state})

    def clear(self, *task_ids: str, keep_state: bool = False) -> None:
        """Clear tasks, as a person does in the UI."""
        body = {"dry_run": False, "dag_run_id": self.run_id, "task_ids": task_ids, "only_failed": False}
        if keep_state and CLEAR_DISCARDS:
            body["keep_task_state"] = True
        self.airflow.post(f"/api/v2/dags/{self.dag_id}/clearTaskInstances", json=body)


@dataclass(frozen=True)
class Service:
    """An emulator of which a test alone decides when operations end, with a connection of its own."""

    emulator: Emulator
    conn_id: str
    api_key: str

    @property
    def submissions(self) -> int:
        return int(self.emulator.stats()["submissions"])

    @property
    def states(self) -> list[str]:
        """The states of all operations, in the order of their submission."""
        return [operation["state"] for operation in self.emulator.operations()]

    @property
    def reads(self) -> Counter[str]:
        """How often somebody asked for the state of an operation, by the status of the answer."""
        return Counter(self.emulator.stats()["responses"].get("operations.get", {}))

    @property
    def cancellations(self) -> int:
        """How often somebody asked for one."""
        return int(self.emulator.stats()["requests"].get("operations.cancel", 0))

    def finish(self) -> None:
        """Let all operations come to their end."""
        if "running" in self.states:
            self.emulator.advance(HOUR)

    def until_watched(self) -> None:
        """Wait until a trigger asks for an operation; one that is killed before it began is never told so."""
        eventually(lambda: self.reads.total() > 0, "a question about an operation")

    def submit(self, prompt: str) -> str:
        """Submit an operation that belongs to no task, and return its id."""
        body = {"modelUri": f"gpt://{FOLDER}/yandexgpt", "messages": [{"role": "user", "text": prompt}]}
        answer = requests.post(
            f"{self.emulator.url}/foundationModels/v1/completionAsync",
            json=body,
            headers={"Authorization": f"Api-Key {self.api_key}"},
            timeout=30,
        )
        return str(answer.json()["id"])

    def text(self, operation_id: str) -> str:
        """Return what the model wrote, as the service says it, past all of the package."""
        return text_of(self.emulator.url, self.api_key, operation_id)


def text_of(url: str, api_key: str, operation_id: str) -> str:
    """Ask an emulator for the text of an operation."""
    answer = requests.get(
        f"{url}/operations/{operation_id}", headers={"Authorization": f"Api-Key {api_key}"}, timeout=30
    ).json()
    return str(answer["response"]["alternatives"][0]["message"]["text"])


@contextmanager
def long_service(airflow: LocalAirflow, name: str) -> Iterator[Service]:
    """Run an emulator whose operations take an hour, and add a connection to it."""
    api_key = f"AQVNcanary-of-{name}"
    with Emulator(api_key=api_key, folder_id=FOLDER, seconds=HOUR) as emulator:
        service = Service(emulator, f"long_{name}", api_key)
        airflow.add_connection(service.conn_id, connection_to(emulator.url, password=api_key))
        yield service


def connection_to(url: str, *, password: str = "", folder_id: str = FOLDER, **extra: Any) -> dict[str, Any]:
    """Return the Airflow connection to an emulator."""
    return {
        "conn_type": "yandex_ai_studio",
        "host": url,
        "password": password,
        "extra": {"folder_id": folder_id, **extra},
    }


def eventually(
    condition: Callable[[], bool], complaint: str | Callable[[], str], check: Callable[[], None] = lambda: None
) -> None:
    """Wait until a condition holds, for a bounded time."""
    deadline = time.monotonic() + PATIENCE
    while not condition():
        check()
        if time.monotonic() > deadline:
            raise AirflowClientError(
                f"not within {PATIENCE:g} s: {complaint if isinstance(complaint, str) else complaint()}"
            )
        time.sleep(POLL_INTERVAL)
