"""The events of a chaos run that hit processes: who is killed, frozen, restarted, and which outages the service has."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import psutil
import requests

from tools.chaos.agenda import Agenda, TaskIndex
from tools.chaos.plan import CHECK, RETRIES
from tools.chaos.tables import TASKS
from tools.harness.airflow import LocalAirflow
from tools.harness.emulator import LocalEmulator

API_TIMEOUT = 90.0
"""Seconds until a restarted API server must answer."""

VICTIM_TIMEOUT = 3.0
"""Seconds until a task must run that can be killed."""

RESTART_AFTER = 4.0
"""Seconds that a killed component stays away."""

FREEZE_SECONDS = 20.0
"""Seconds that a frozen triggerer stands still: longer than Airflow takes it for alive."""

CHECK_INTERVAL = 0.1

TASK_TITLE = re.compile(r"airflow worker -- (?P<id>[0-9a-f]{8}-[0-9a-f-]{27})")
"""How the process of a task calls itself; the worker that supervises it is its parent."""

STORM = [{"route": "operations.get", "kind": "status", "status": 429, "times": 60}]
OUTAGE = [
    {"route": "operations.get", "kind": "status", "status": 503, "times": 60},
    {"route": "completionAsync", "kind": "status", "status": 503, "times": 8},
    {"route": "responses.get", "kind": "status", "status": 503, "times": 6},
    {"route": "iam.tokens", "kind": "status", "status": 503, "times": 4},
]


@dataclass
class Mayhem:
    """
    Makes events happen to a running Airflow and its emulator.

    :param dice: Picks the victims.
    :param spared: The jobs that are not killed from outside: they lose attempts by plan.
    """

    airflow: LocalAirflow
    emulator: LocalEmulator
    dice: random.Random
    say: Callable[[str], None]
    spared: frozenset[TaskIndex]
    agenda: Agenda

    def happen(self, kind: str) -> bool:
        """Make an event happen; what follows it later is on the agenda. False where there is nobody to be hit."""
        if kind in ("kill a task", "kill a supervisor"):
            return self._kill_task(kind)
        self.say(f"EVENT  {kind}")
        match kind:
            case "kill a triggerer" | "kill a triggerer and its children":
                self._kill_component(self._triggerer(), whole=kind.endswith("children"))
            case "kill the scheduler and its children" if "worker" in self.airflow.processes:
                self._kill_component("worker", whole=True)  # with Celery, the tasks are its children
            case "kill the scheduler" | "kill the scheduler and its children":
                self._kill_component("scheduler", whole=kind.endswith("children"))
            case "freeze a triggerer":
                self._freeze(self._triggerer())
            case "429 storm":
                self.emulator.fault(*STORM)
            case "outage":
                self.emulator.fault(*OUTAGE)
            case "restart all":
                self._restart_all()
            case _:
                raise ValueError(kind)
        return True

    def look_after(self) -> None:
        """Bring those back that ended by themselves."""
        for name in [name for name, process in self.airflow.processes.items() if process.poll() is not None]:
            self.say(f"       {name} ended by itself; starting it again")
            self._start(name)

    def _start(self, name: str) -> None:
        self.airflow.restart(name, ready=False)
        if name == "scheduler":
            self.agenda.schedulers.append(time.time())

    def _triggerer(self) -> str:
        return self.dice.choice(sorted(name for name in self.airflow.processes if name.startswith("triggerer")))

    def _kill_component(self, name: str, *, whole: bool) -> None:
        if whole:
            self._note_running("killed with the scheduler")
        self.airflow.kill(name, signal.SIGKILL, whole_session=whole)
        self.say(f"       {name} is killed{' with its children' if whole else ''}")
        self.agenda.later(RESTART_AFTER, lambda: self._start_again(name))

    def _start_again(self, name: str) -> None:
        self._start(name)
        self.say(f"       {name} is started again")

    def _freeze(self, name: str) -> None:
        session = self.airflow.processes[name].pid
        _signal_session(session, signal.SIGSTOP)
        self.say(f"       {name} stands still for {FREEZE_SECONDS:g} s")

        def thaw() -> None:
            _signal_session(session, signal.SIGCONT)
            self.say(f"       {name} goes on")

        self.agenda.later(FREEZE_SECONDS, thaw)

    def _restart_all(self) -> None:
        self._note_running("killed with everything")
        names = list(self.airflow.processes)
        for name in names:
            # All at once, as a deployment does: who is asked last must cope without the others.
            self.airflow.processes[name].send_signal(signal.SIGTERM)
        for name in names:
            self.airflow.kill(name, signal.SIGTERM)
        self.say("       all are down")
        for name in sorted(names, key=lambda name: name != "api-server"):
            self._start(name)
            if name == "api-server":
                # A task that starts without it loses an attempt before any code of ours runs.
                self._wait_for_the_api()
        self.say("       all are started again")

    def _wait_for_the_api(self) -> None:
        deadline = time.monotonic() + API_TIMEOUT
        while time.monotonic() < deadline:
            with contextlib.suppress(requests.RequestException):
                requests.get(f"{self.airflow.url}/api/v2/version", timeout=1).raise_for_status()
                return
            time.sleep(CHECK_INTERVAL)

    def _kill_task(self, kind: str) -> bool:
        found = self._victim()
        if found is None:
            return False
        self.say(f"EVENT  {kind}")
        process, task, attempt = found
        parent = process.parent() if kind == "kill a supervisor" else None
        who = "supervisor" if parent else "process"
        self.agenda.hit(task, f"its {who} is killed", attempt=attempt)
        (parent or process).kill()
        self.say(f"       killed the {who} of {task[0]}[{task[1]}]")
        return True

    def _victim(self) -> tuple[psutil.Process, TaskIndex, int] | None:
        """Find a generation task that runs, and has an attempt left after this one."""
        deadline = time.monotonic() + VICTIM_TIMEOUT
        while time.monotonic() < deadline:
            running = self._running()
            self.dice.shuffle(running)
            for process, ti_id in running:
                for row in self._rows_of([ti_id]):
                    task = (str(row["task_id"]), int(row["map_index"]))
                    if row["try_number"] <= RETRIES and task not in self.spared:
                        return process, task, int(row["try_number"])
            time.sleep(CHECK_INTERVAL)
        return None

    def _note_running(self, what: str) -> None:
        """Note what happens now to all generation tasks that run."""
        for row in self._rows_of([ti_id for _, ti_id in self._running()]):
            self.agenda.hit((str(row["task_id"]), int(row["map_index"])), what, attempt=int(row["try_number"]))

    def _running(self) -> list[tuple[psutil.Process, str]]:
        """Return the processes of tasks, each with the id of its task instance."""
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                title = TASK_TITLE.match(" ".join(process.cmdline()))
                if title:
                    found.append((process, title["id"]))
        return found

    def _rows_of(self, ti_ids: list[str]) -> list[dict[str, Any]]:
        statement = f"select * from {TASKS} where id = any(:ids) and task_id <> :check"
        return self.airflow.sql(statement, ids=ti_ids, check=CHECK) if ti_ids else []


def _signal_session(session: int, signum: signal.Signals) -> None:
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == session:
                os.kill(pid, signum)
