"""What a script or a test asks of a running Airflow: the REST API v2, with every wait bounded."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import quote

import requests

REQUEST_TIMEOUT = 30.0
"""Seconds that one request to the API server may take."""

RUN_TIMEOUT = 120.0
"""Seconds that a DAG run may take, unless the caller says otherwise."""

POLL_INTERVAL = 0.25
"""Seconds between two looks at the state of something that is waited for."""

PAGE = 100
"""The most rows that the API returns at once."""

NEVER = "0001-01-01T00:00:00+00:00"
"""Stands for a date that is not set."""

FINISHED = frozenset({"success", "failed"})
"""States in which a DAG run ends."""


class AirflowClientError(RuntimeError):
    """Airflow refused a request, failed to load a DAG, or did not get somewhere in time."""


class AirflowClient:
    """Talk to the API server of an Airflow whose simple auth manager takes everyone for an admin.

    :param url: of the API server, without a slash at the end.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False

    def log_in(self) -> None:
        """Fetch the token that all further requests carry; it is valid for a day."""
        token = self.get("/auth/token")["access_token"]
        self._session.headers["Authorization"] = f"Bearer {token}"

    def get(self, path: str, **params: Any) -> Any:
        """GET a path of the REST API (``/api/v2/...``) or of the UI's own (``/ui/...``)."""
        return self.request("GET", path, params=params)

    def post(self, path: str, json: Any = None) -> Any:
        """POST a JSON body."""
        return self.request("POST", path, json=json)

    def patch(self, path: str, json: Any = None) -> Any:
        """PATCH with a JSON body."""
        return self.request("PATCH", path, json=json)

    def delete(self, path: str) -> Any:
        """DELETE a resource."""
        return self.request("DELETE", path)

    def request(self, method: str, path: str, **options: Any) -> Any:
        """Send a request and return the decoded body, None for an empty one.

        :param options: as `requests.Session.request` takes them.
        :raises AirflowClientError: for any status but 2xx, with what Airflow said.
        """
        response = self._session.request(method, self.url + path, timeout=REQUEST_TIMEOUT, **options)
        if not response.ok:
            raise AirflowClientError(f"{method} {path}: {response.status_code} {response.text[:2000]}")
        return response.json() if response.content else None

    def check(self) -> None:
        """Raise when there is no point in waiting any longer; called in every wait."""

    def add_connection(self, connection_id: str, body: Mapping[str, Any]) -> None:
        """Create a connection, or replace the one that has this id.

        :param body: as the API takes it (``conn_type``, ``host``, ``password``, ...), but with ``extra`` as a
            dict.
        """
        entity = {**body, "connection_id": connection_id, "extra": json.dumps(body.get("extra") or {})}
        # One by one, as the UI does: of a bulk request, Airflow 3.2 writes the secrets into its audit log.
        try:
            self.post("/api/v2/connections", json=entity)
        except AirflowClientError as error:
            if ": 409 " not in str(error):
                raise
            self.patch(f"/api/v2/connections/{connection_id}", json=entity)

    def trigger(
        self,
        dag_id: str,
        conf: Mapping[str, Any] | None = None,
        logical_date: datetime | None = None,
    ) -> str:
        """Start a run of a DAG and return its run id."""
        body = {"conf": dict(conf or {}), "logical_date": logical_date and logical_date.isoformat()}
        return str(self.post(f"/api/v2/dags/{dag_id}/dagRuns", json=body)["dag_run_id"])

    def wait(
        self,
        dag_id: str,
        run_id: str,
        timeout: float = RUN_TIMEOUT,
        on_change: Callable[[dict[str, Any]], None] | None = None,
    ) -> str:
        """Wait for a run to end and return its final state, "success" or "failed".

        :param timeout: seconds.
        :param on_change: called with a task instance each time it is seen in another state or attempt.
        :raises AirflowClientError: when the run has not ended in time; it says where its tasks stand.
        """
        seen: dict[tuple[str, int], tuple[int, str | None]] = {}
        deadline = time.monotonic() + timeout
        while True:
            self.check()
            state = str(self.get(_run(dag_id, run_id))["state"])
            for instance in self.task_instances(dag_id, run_id) if on_change else ():
                task, now = _task(instance), (instance["try_number"], instance["state"])
                if on_change and seen.get(task) != now:
                    seen[task] = now
                    on_change(instance)
            if state in FINISHED:
                return state
            if time.monotonic() > deadline:
                instances = self.task_instances(dag_id, run_id)
                states = {_task(instance): instance["state"] for instance in instances}
                raise AirflowClientError(f"{dag_id} {run_id} is {state} after {timeout:g} s: {states}")
            time.sleep(POLL_INTERVAL)

    def task_instances(self, dag_id: str, run_id: str) -> list[dict[str, Any]]:
        """Return the task instances of a run, each in its latest attempt, mapped ones one by one."""
        return list(self._pages(f"{_run(dag_id, run_id)}/taskInstances", "task_instances"))

    def xcom(
        self,
        dag_id: str,
        run_id: str,
        task_id: str,
        key: str = "return_value",
        map_index: int = -1,
    ) -> Any:
        """Return the value of an XCom, exactly as JSON carries it from task to task.

        On PostgreSQL the keys of an object come back in another order than they were pushed.
        """
        path = f"{_run(dag_id, run_id)}/taskInstances/{task_id}/xcomEntries/{quote(key)}"
        return self.get(path, map_index=map_index)["value"]

    def seconds_deferred(self, dag_id: str, run_id: str) -> dict[tuple[str, int], float]:
        """Return how long tasks waited when they were last deferred, by task id and map index.

        A task that is still deferred, and one that started from its trigger, is not among them.
        """
        events = self._pages(
            "/api/v2/eventLogs",
            "event_logs",
            dag_id=dag_id,
            run_id=run_id,
            event="deferred",
            order_by="event_log_id",
        )
        deferred = {_task(event): datetime.fromisoformat(event["when"]) for event in events}
        seconds = {}
        for instance in self.task_instances(dag_id, run_id):
            task = _task(instance)
            # A trigger that fires either schedules its task once more or ends it.
            ends = [datetime.fromisoformat(instance[key] or NEVER) for key in ("scheduled_when", "end_date")]
            if task in deferred and (later := [end for end in ends if end > deferred[task]]):
                seconds[task] = (min(later) - deferred[task]).total_seconds()
        return seconds

    def log(self, dag_id: str, run_id: str, task_id: str, try_number: int = 1, map_index: int = -1) -> str:
        """Return what an attempt of a task logged, on the worker and in the triggerer, as lines of text."""
        path = f"{_run(dag_id, run_id)}/taskInstances/{task_id}/logs/{try_number}"
        answer = self.get(path, map_index=map_index, full_content=True)
        return "\n".join(_line(entry) for entry in answer["content"])

    def _pages(self, path: str, key: str, **params: Any) -> Iterator[dict[str, Any]]:
        offset = 0
        while True:
            page = self.get(path, limit=PAGE, offset=offset, **params)
            yield from page[key]
            offset += PAGE
            if offset >= page["total_entries"]:
                return


def _run(dag_id: str, run_id: str) -> str:
    return f"/api/v2/dags/{dag_id}/dagRuns/{quote(run_id)}"


def _task(instance: Mapping[str, Any]) -> tuple[str, int]:
    return instance["task_id"], instance["map_index"]


def _line(entry: Mapping[str, Any] | str) -> str:
    if isinstance(entry, str):
        return entry
    rest = dict(entry)
    parts = [rest.pop("timestamp", None), rest.pop("level", None), rest.pop("event", None)]
    parts += [f"{key}={value!r}" for key, value in rest.items()]
    return " ".join(str(part) for part in parts if part)
