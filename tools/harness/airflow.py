"""A real Airflow on one machine: scheduler, triggerers, DAG processor, API server, each a process of its own.

    with LocalAirflow(home=Path("scratch"), dags_folder=Path("dags"), dags=["submit_and_wait"]) as airflow:
        run_id = airflow.trigger("submit_and_wait")
        assert airflow.wait("submit_and_wait", run_id) == "success"
        print(airflow.xcom("submit_and_wait", run_id, "use_the_text"))

It is configured by environment variables only, and nothing listens beyond 127.0.0.1.
"""

from __future__ import annotations

import contextlib
import json
import os
import random
import secrets
import signal
import socket
import subprocess
import sys
import time
from base64 import urlsafe_b64encode
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, Self

import requests
import sqlalchemy

from tools.harness.airflow_client import PAGE, POLL_INTERVAL, AirflowClient, AirflowClientError
from tools.harness.celery import celery_commands, celery_environment
from tools.harness.processes import LocalProcesses, exit_on_termination

MIGRATE_TIMEOUT = 120.0
"""Seconds until the metadata database must have its tables."""

READY_TIMEOUT = 120.0
"""Seconds until the components must be at work, and until the wanted DAGs must be parsed."""

CLI_TIMEOUT = 60.0
"""Seconds that a command of `LocalAirflow.cli` may take."""

SQLITE_PATIENCE = 60
"""Seconds that a component waits for a lock on the database file, where SQLite's own default is 5."""

PORTS = range(20_000, 30_000)
"""Where free ports are looked for: below the range from which the kernel serves outgoing connections."""

Executor = Literal["local", "celery"]

JOBS = {"scheduler": "SchedulerJob", "triggerer": "TriggererJob", "dag-processor": "DagProcessorJob"}
"""What each kind of component registers as in the database; the API server does not."""


class LocalAirflow(AirflowClient):
    """Run Airflow for the duration of a ``with`` block, and leave no process behind.

    :param home: the Airflow home; an existing one is continued, database and keys included.
    :param dags_folder: the DAG files.
    :param port: of the API server and UI; 0 takes a free one.
    :param database: "sqlite" for a file in ``home``, good for a few tasks at a time, or a SQLAlchemy URL.
    :param env: further environment variables for all components; they win over the ones set here.
    :param connections: connections by their id, as `AirflowClient.add_connection` takes them.
    :param dags: the ids of the DAGs that must be parsed before the block starts.
    :param triggerers: how many triggerers run: "triggerer", "triggerer-2", ...
    :param parallelism: how many tasks run at a time.
    :param executor: "local", or "celery" on a PostgreSQL ``database``: then two workers run, "worker" and "worker-2",
        and a Redis "broker".
    :param paused: whether new DAGs wait to be switched on.
    :param progress: told what has been reached, as a line of text.
    """

    def __init__(
        self,
        home: Path,
        dags_folder: Path,
        *,
        port: int = 0,
        database: str = "sqlite",
        env: Mapping[str, str] | None = None,
        connections: Mapping[str, Mapping[str, Any]] | None = None,
        dags: Sequence[str] = (),
        triggerers: int = 1,
        parallelism: int = 4,
        executor: Executor = "local",
        paused: bool = False,
        progress: Callable[[str], None] | None = None,
    ) -> None:
        if port and not _is_free(port):
            raise AirflowClientError(f"port {port} is taken: choose another one, or 0 for any")
        port = port or free_port()
        super().__init__(f"http://127.0.0.1:{port}")
        self.home = home.resolve()
        self.home.mkdir(parents=True, exist_ok=True)
        self.logs = self.home / "logs"
        self.database = f"sqlite:///{self.home}/airflow.db" if database == "sqlite" else database
        broker = free_port() if executor == "celery" else 0
        self.env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("AIRFLOW")},
            **_environment(self.home, self.database, self.url, dags_folder.resolve(), parallelism, paused),
            **(celery_environment(broker, self.database, parallelism) if broker else {}),
            **(env or {}),
        }
        self._commands = {**(celery_commands(self.home, broker) if broker else {}), **_commands(port, triggerers)}
        self._connections = dict(connections or {})
        self._dags = tuple(dags)
        self._progress = progress or (lambda line: None)
        self._processes = LocalProcesses(self.home, self.env)
        self._engine = sqlalchemy.create_engine(self.database, poolclass=sqlalchemy.pool.NullPool)
        self._exit = contextlib.ExitStack()

    @property
    def processes(self) -> dict[str, subprocess.Popen[bytes]]:
        """The components that run, by name."""
        return self._processes.running

    def __enter__(self) -> Self:
        """Start everything, and wait until it works.

        :raises ProcessFailedError: when a component ends, with the tail of its output.
        :raises AirflowClientError: when something is not ready in time, or a DAG file is broken.
        """
        with contextlib.ExitStack() as undo:
            undo.enter_context(exit_on_termination())
            undo.callback(self._session.close)
            undo.callback(self._processes.stop)
            began = time.monotonic()
            self._processes.run("db-migrate", _airflow("db", "migrate"), MIGRATE_TIMEOUT)
            self._progress(f"database ready after {time.monotonic() - began:.1f} s")
            started = datetime.now(UTC)
            for name in self._commands:
                self._start(name)
            self._wait_until_api_answers()
            self._progress(f"API server ready after {time.monotonic() - began:.1f} s: {self.url}")
            for connection_id, connection in self._connections.items():
                self.add_connection(connection_id, connection)
            self._wait_until_at_work(self._commands, started)
            self._progress(f"all components ready after {time.monotonic() - began:.1f} s")
            self.wait_for_dags(*self._dags, since=started)
            self._progress(f"DAGs ready after {time.monotonic() - began:.1f} s")
            self._exit = undo.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop everything that was started."""
        self._exit.close()

    def check(self) -> None:
        """Raise with the tail of its output when a component ended by itself."""
        self._processes.check()

    def kill(
        self,
        name: str,
        signum: signal.Signals = signal.SIGKILL,
        *,
        whole_session: bool = False,
    ) -> None:
        """End one component, as a crash would.

        :param name: a key of ``processes``.
        :param whole_session: end its children with it. Without this, the task processes of a killed scheduler
            go on.
        """
        self._processes.kill(name, signum, whole_session=whole_session)

    def restart(self, name: str, *, ready: bool = True) -> None:
        """Start a component again, after ending it with SIGTERM in case it runs.

        :param ready: wait until it is at work.
        """
        if name in self.processes:
            self.kill(name, signal.SIGTERM)
        started = datetime.now(UTC)
        self._start(name)
        if ready:
            self._wait_until_api_answers()
            self._wait_until_at_work([name], started)

    def wait_for_dags(self, *dag_ids: str, since: datetime | None = None) -> None:
        """Wait until DAGs are parsed.

        :param since: a parse before this moment does not count.
        :raises AirflowClientError: as soon as a DAG file turns out to be broken, with its traceback.
        """

        def parsed(dag_id: str) -> bool:
            dags = self.get("/api/v2/dags", dag_id_pattern=dag_id, limit=PAGE)["dags"]
            for dag in dags:
                fresh = since is None or datetime.fromisoformat(dag["last_parsed_time"]) >= since
                if dag["dag_id"] == dag_id and fresh:
                    return True
            if broken := self.get("/api/v2/importErrors")["import_errors"]:
                raise AirflowClientError("\n".join(error["stack_trace"] for error in broken))
            return False

        for dag_id in dag_ids:
            self._wait_until(partial(parsed, dag_id), f"DAG {dag_id} was not parsed", "dag-processor")

    def sql(self, statement: str, **parameters: Any) -> list[dict[str, Any]]:
        """Run a statement on the metadata database and return its rows; ``:name`` stands for a parameter."""
        with self._engine.begin() as connection:
            result = connection.execute(sqlalchemy.text(statement), parameters)
            return [dict(row) for row in result.mappings()] if result.returns_rows else []

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run an ``airflow`` command on this Airflow and return its exit code and output."""
        return subprocess.run(
            _airflow(*arguments),
            env=self.env,
            timeout=CLI_TIMEOUT,
            capture_output=True,
            text=True,
            check=False,
        )

    def _start(self, name: str) -> None:
        self._processes.start(name, self._commands[name])

    def _wait_until_api_answers(self) -> None:
        def answers() -> bool:
            with contextlib.suppress(requests.RequestException):
                self.log_in()
                return True
            return False

        self._wait_until(answers, "the API server does not answer", "api-server")

    def _wait_until_at_work(self, names: Iterable[str], since: datetime) -> None:
        """Wait until the health check is content and each component has registered its own, new job."""

        def healthy() -> bool:
            health = self.get("/api/v2/monitor/health")
            return all(part["status"] == "healthy" for part in health.values())

        def registered(job_type: str, count: int) -> bool:
            jobs = self.get("/api/v2/jobs", job_type=job_type, start_date_gte=since.isoformat())
            return int(jobs["total_entries"]) >= count

        kinds = Counter(name.rstrip("-0123456789") for name in names)
        for kind in kinds.keys() & JOBS.keys():
            self._wait_until(partial(registered, JOBS[kind], kinds[kind]), f"{kind} did not start", kind)
        self._wait_until(healthy, "Airflow is not healthy", "scheduler")

    def _wait_until(self, condition: Callable[[], bool], complaint: str, component: str) -> None:
        deadline = time.monotonic() + READY_TIMEOUT
        while not condition():
            self.check()
            if time.monotonic() > deadline:
                tail = self._processes.tail(component)
                raise AirflowClientError(f"{complaint} within {READY_TIMEOUT:g} s{tail}")
            time.sleep(POLL_INTERVAL)


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens now."""
    for port in random.sample(PORTS, k=100):
        if _is_free(port):
            return port
    raise AirflowClientError(f"no free port found between {PORTS.start} and {PORTS.stop}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def _commands(port: int, triggerers: int) -> dict[str, list[str]]:
    # Log servers would listen on all interfaces; here everyone reads the same folder.
    names = ["triggerer", *(f"triggerer-{number}" for number in range(2, triggerers + 1))]
    return {
        "api-server": _airflow("api-server", "--host", "127.0.0.1", "--port", str(port)),
        "scheduler": _airflow("scheduler", "--skip-serve-logs"),
        "dag-processor": _airflow("dag-processor"),
        **{name: _airflow("triggerer", "--skip-serve-logs") for name in names},
    }


def _airflow(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "airflow", *arguments]


def _environment(
    home: Path, database: str, url: str, dags_folder: Path, parallelism: int, paused: bool
) -> dict[str, str]:
    keys = _keys(home / "keys.json")
    if database.startswith("sqlite") and "?" not in database:
        database += f"?timeout={SQLITE_PATIENCE}"
    sections: dict[str, dict[str, object]] = {
        "core": {
            "dags_folder": dags_folder,
            "dags_are_paused_at_creation": paused,
            "load_examples": False,
            "executor": "LocalExecutor",
            "parallelism": parallelism,
            "simple_auth_manager_all_admins": True,
            "test_connection": "Enabled",
            "fernet_key": keys["fernet"],
            # The name of this machine need not resolve anywhere.
            "hostname_callable": "urllib.request.localhost",
        },
        "database": {"sql_alchemy_conn": database, "check_migrations": False},
        "api": {"base_url": url, "secret_key": keys["api"]},
        "api_auth": {"jwt_secret": keys["jwt"]},
        "dag_processor": {"refresh_interval": 5, "min_file_process_interval": 10},
        # Where logs of unfinished tasks are asked for, besides the folder: a closed port, so refused at once.
        "logging": {"worker_log_server_port": 1, "trigger_log_server_port": 1},
    }
    variables = {
        f"AIRFLOW__{section}__{option}".upper(): str(value)
        for section, options in sections.items()
        for option, value in options.items()
    }
    return {**variables, "AIRFLOW_HOME": str(home), "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}


def _keys(path: Path) -> dict[str, str]:
    """Return the keys that all components share, and that make an existing database readable again."""
    if not path.exists():
        path.touch(mode=0o600)
        fernet = urlsafe_b64encode(secrets.token_bytes(32)).decode()
        api, jwt = secrets.token_hex(32), secrets.token_hex(32)
        path.write_text(json.dumps({"fernet": fernet, "api": api, "jwt": jwt}))
    keys: dict[str, str] = json.loads(path.read_text())
    return keys
