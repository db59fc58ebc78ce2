"""The events of a changing world: credentials, gateways, secrets backends, a service that hangs, people who clear."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from packaging.version import Version

from tools.chaos import plan
from tools.chaos.agenda import CLEARED, Agenda, TaskIndex
from tools.chaos.gateway import Gateway
from tools.chaos.jobs import CONNECTIONS
from tools.chaos.lookups import Vault
from tools.chaos.plan import (
    AWAY_SECONDS,
    CLEAR_FINISHED,
    CLEAR_WAITING,
    DISCARD,
    GATEWAY,
    HANG,
    LOOKUPS,
    ROTATED,
)
from tools.chaos.secrets import Canaries
from tools.chaos.service import ChaosService
from tools.chaos.tables import TASKS
from tools.harness.airflow import LocalAirflow
from tools.harness.airflow_client import AirflowClientError

HANG_SECONDS = 20.0
"""Seconds that the service answers nothing."""

PATIENCE = 10.0
"""Seconds in which somebody must meet a revoked credential or a vault that is out of order, else it happens again."""

CHECK_INTERVAL = 0.5

KINDS = frozenset({*ROTATED, LOOKUPS, GATEWAY, HANG})
"""What this module can make happen, beside clears."""


@dataclass
class World:
    """
    Changes what a running Airflow depends on.

    :param run: The DAG and its run.
    :param conn_ids: The connection of each task.
    :param spared: The tasks that nobody clears: they die by plan.
    :param single: The tasks that own one operation: these can start over, and leave one behind.
    :param dice: Picks the tasks that are cleared.
    """

    airflow: LocalAirflow
    service: ChaosService
    canaries: Canaries
    gateway: Gateway
    vault: Vault
    run: tuple[str, str]
    conn_ids: Mapping[TaskIndex, str]
    spared: frozenset[TaskIndex]
    single: frozenset[TaskIndex]
    agenda: Agenda
    dice: random.Random
    say: Callable[[str], None]

    def happen(self, kind: str) -> bool:
        """Make an event happen; False where nobody is there whom it would hit."""
        if kind in ROTATED:
            return self._rotate(kind, ROTATED[kind])
        match kind:
            case plan.LOOKUPS:
                return self._fail_look_ups()
            case plan.GATEWAY:
                return self._kill_the_gateway()
            case plan.HANG:
                return self._hang()
        return self._clear(kind)

    def _rotate(self, kind: str, conn_ids: Sequence[str]) -> bool:
        if not self._tasks("deferred", conn_ids):
            return False
        self._announce(kind)
        before = self.service.refusals()
        self.canaries.revoke(conn_ids)
        self.say("       the service refuses the old credentials")

        def met() -> bool:
            return self.service.refusals() > before

        def renew() -> None:
            self.canaries.renew(conn_ids)
            for conn_id in conn_ids:
                self.airflow.add_connection(conn_id, self.canaries.connections[conn_id])
            self.say("       the connections hold the new credentials")

        self._once_met(kind, met, renew)
        return True

    def _fail_look_ups(self) -> bool:
        conn_ids = [conn_id for conn_id, way in CONNECTIONS.items() if way.through == "vault"]
        if not self._tasks("queued", conn_ids) + self._tasks("running", conn_ids):
            return False  # who waits already has been looked up for
        self._announce(LOOKUPS)
        self.vault.break_down()

        def met() -> bool:
            since = self.vault.broken_since
            return since is not None and time.time() - since >= AWAY_SECONDS

        def recover() -> None:
            self.vault.recover()
            self.say("       the vault answers again")

        self._once_met(LOOKUPS, met, recover)
        return True

    def _once_met(self, kind: str, met: Callable[[], bool], repair: Callable[[], None]) -> None:
        """Repair something after a while, once somebody has met it."""
        until = time.monotonic() + PATIENCE

        def look() -> None:
            if not met():
                if time.monotonic() < until:
                    self.agenda.later(CHECK_INTERVAL, look)
                    return
                self.say("       nobody met it")
                self.agenda.again.append(kind)
            repair()

        self.agenda.later(AWAY_SECONDS, look)

    def _kill_the_gateway(self) -> bool:
        tasks = [task for task, conn_id in self.conn_ids.items() if CONNECTIONS[conn_id].through == "gateway"]
        if not self._tasks("deferred", ["chaos_gateway"]) + self._tasks("running", ["chaos_gateway"]):
            return False
        self._announce(GATEWAY)
        self.gateway.kill()
        for task in tasks:
            self.agenda.hit(task, GATEWAY)

        def start() -> None:
            self.gateway.start()
            self.say("       the gateway is back")

        self.agenda.later(AWAY_SECONDS, start)
        return True

    def _hang(self) -> bool:
        if not self._tasks("deferred", list(CONNECTIONS)):
            return False
        self._announce(HANG)
        self.service.freeze()
        self.say(f"       nothing is answered for {HANG_SECONDS:g} s")

        def thaw() -> None:
            self.service.thaw()
            self.say("       the service answers again")

        self.agenda.later(HANG_SECONDS, thaw)
        return True

    def _clear(self, kind: str) -> bool:
        state = {CLEAR_WAITING: "deferred", CLEAR_FINISHED: "success"}[kind.removesuffix(DISCARD)]
        discard = kind.endswith(DISCARD)
        tasks = [task for task in self._tasks(state, list(CONNECTIONS)) if task not in self.spared]
        tasks = [task for task in tasks if task in self.single or not discard]
        if not tasks:
            return False
        self._announce(kind)
        task = self.dice.choice(tasks)
        dag_id, run_id = self.run
        body: dict[str, Any] = {"dry_run": False, "only_failed": False, "reset_dag_runs": False}
        body |= {"dag_run_id": run_id, "task_ids": [task if task[1] >= 0 else task[0]]}
        if clears_discard():
            body["keep_task_state"] = not discard
        asked = time.time()
        try:
            self.airflow.post(f"/api/v2/dags/{dag_id}/clearTaskInstances", json=body)
        except AirflowClientError as error:
            self.say(f"       Airflow does not clear it now: {error}")
            return False
        self.agenda.hit(task, CLEARED, at=asked, discards=discard)
        self.say(f"       cleared {task[0]}[{task[1]}], its state is {'discarded' if discard else 'kept'}")
        return True

    def _announce(self, kind: str) -> None:
        self.say(f"EVENT  {kind}")

    def _tasks(self, state: str, conn_ids: Sequence[str]) -> list[TaskIndex]:
        """Return the generation tasks in this state on one of these connections."""
        rows = self.airflow.sql(
            f"select task_id, map_index from {TASKS}"
            " where dag_id = :dag and run_id = :run and state = :state order by 1, 2",
            dag=self.run[0],
            run=self.run[1],
            state=state,
        )
        tasks = [(str(row["task_id"]), int(row["map_index"])) for row in rows]
        return [task for task in tasks if self.conn_ids.get(task) in conn_ids]


def clears_discard() -> bool:
    """Tell whether this Airflow's clear discards a task's state unless it is told to keep it: 3.4 and later."""
    return Version(version("apache-airflow-core")).release >= (3, 4)
