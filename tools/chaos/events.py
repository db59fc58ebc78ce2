"""The events of a chaos run: who is killed, frozen, restarted, and which outages the service has."""

from __future__ import annotations

import contextlib
import os
import random
import re
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field

import psutil
import requests

from tools.chaos.plan import RETRIES
from tools.harness.airflow import LocalAirflow
from tools.harness.emulator import LocalEmulator

API_TIMEOUT = 90.0
"""Seconds until a restarted API server must answer."""

VICTIM_TIMEOUT = 10.0
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
    {"route": "iam.tokens", "kind": "status", "status": 503, "times": 4},
]


@dataclass
class Mayhem:
    """
    Makes events happen to a running Airflow and its emulator.

    :param dice: Picks the victims.
    :param spared: The task and map index of jobs that are not killed from outside: they lose attempts by plan.
    """

    airflow: LocalAirflow
    emulator: LocalEmulator
    dice: random.Random
    say: Callable[[str], None]
    spared: frozenset[tuple[str, int]]
    _later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    def happen(self, kind: str) -> None:
        """Make an event happen; what follows it later is done by `attend`."""
        self.say(f"EVENT  {kind}")
        match kind:
            case "kill a task":
                self._kill_task(whole=False)
            case "kill a supervisor":
                self._kill_task(whole=True)
            case "kill a triggerer" | "kill a triggerer and its children":
                self._kill_component(self._triggerer(), whole=kind.endswith("children"))
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

    def attend(self, *, all_now: bool = False) -> None:
        """Do what is due: bring the killed and the frozen back, and those that ended by themselves."""
        due = [entry for entry in self._later if all_now or entry[0] <= time.monotonic()]
        for entry in due:
            self._later.remove(entry)
            entry[1]()
        for name in [name for name, process in self.airflow.processes.items() if process.poll() is not None]:
            self.say(f"       {name} ended by itself; starting it again")
            self.airflow.restart(name, ready=False)

    @property
    def quiet(self) -> bool:
        """Whether everybody is back."""
        return not self._later

    def _triggerer(self) -> str:
        return self.dice.choice(sorted(name for name in self.airflow.processes if name.startswith("triggerer")))

    def _kill_component(self, name: str, *, whole: bool) -> None:
        self.airflow.kill(name, signal.SIGKILL, whole_session=whole)
        self.say(f"       {name} is killed{' with its children' if whole else ''}")
        self._do_later(RESTART_AFTER, lambda: self._start_again(name))

    def _start_again(self, name: str) -> None:
        self.airflow.restart(name, ready=False)
        self.say(f"       {name} is started again")

    def _freeze(self, name: str) -> None:
        session = self.airflow.processes[name].pid
        _signal_session(session, signal.SIGSTOP)
        self.say(f"       {name} stands still for {FREEZE_SECONDS:g} s")

        def thaw() -> None:
            _signal_session(session, signal.SIGCONT)
            self.say(f"       {name} goes on")

        self._do_later(FREEZE_SECONDS, thaw)

    def _restart_all(self) -> None:
        self.attend(all_now=True)
        names = list(self.airflow.processes)
        for name in names:
            # All at once, as a deployment does: who is asked last must cope without the others.
            self.airflow.processes[name].send_signal(signal.SIGTERM)
        for name in names:
            self.airflow.kill(name, signal.SIGTERM)
        self.say("       all are down")
        for name in sorted(names, key=lambda name: name != "api-server"):
            self.airflow.restart(name, ready=False)
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

    def _kill_task(self, *, whole: bool) -> None:
        found = self._running_task()
        if found is None:
            self.say("       no task runs that could be killed")
            return
        process, ti_id = found
        parent = process.parent()
        if whole and parent is not None:
            parent.kill()
        else:
            process.kill()
        self.say(f"       killed the {'supervisor' if whole else 'process'} of task instance {ti_id}")

    def _running_task(self) -> tuple[psutil.Process, str] | None:
        """Find a generation task that runs, and has an attempt left after this one."""
        deadline = time.monotonic() + VICTIM_TIMEOUT
        while time.monotonic() < deadline:
            scheduler = self.airflow.processes.get("scheduler")
            children = psutil.Process(scheduler.pid).children(recursive=True) if scheduler else []
            self.dice.shuffle(children)
            for process in children:
                with contextlib.suppress(psutil.NoSuchProcess):
                    title = TASK_TITLE.match(" ".join(process.cmdline()))
                    if title and self._may_be_hit(title["id"]):
                        return process, title["id"]
            time.sleep(CHECK_INTERVAL)
        return None

    def _may_be_hit(self, ti_id: str) -> bool:
        rows = self.airflow.sql("select * from task_instance where id::text = :id and map_index >= 0", id=ti_id)
        return any(
            row["try_number"] <= RETRIES and (row["task_id"], row["map_index"]) not in self.spared for row in rows
        )

    def _do_later(self, seconds: float, action: Callable[[], None]) -> None:
        self._later.append((time.monotonic() + seconds, action))


def _signal_session(session: int, signum: signal.Signals) -> None:
    for pid in psutil.pids():
        with contextlib.suppress(ProcessLookupError, PermissionError):
            if os.getsid(pid) == session:
                os.kill(pid, signum)
