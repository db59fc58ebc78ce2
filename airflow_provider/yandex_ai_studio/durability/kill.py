"""
What a kill means for the operation of a task.

Airflow calls ``on_kill`` for a task that was marked or cleared, but also where a process is shut down or a triggerer
lost its heartbeat. An operation is cancelled only when nobody will come for it: a task that will run again finds it in
its journal, and takes the answer that is being paid for.

Unless the journal is gone: from Airflow 3.4 on, a clear discards it, or keeps it if asked to. A worker sees which: it
reads the journal. The triggerer can't read it, so it waits for the next attempt to say which operation is its own.
"""

from __future__ import annotations

import asyncio
import contextvars
import time
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from enum import Enum
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_provider.yandex_ai_studio.durability.journal import Journal

RESULT_KEPT = timedelta(days=3).total_seconds()
"""Seconds for which the service keeps a result: nobody can come for it later."""

FIRST_DELAY, MAX_DELAY = 5.0, 60.0
"""Seconds between two looks at a task whose next attempt has not begun; each delay is twice as long as the last one."""

OVER = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
"""States from which a task does not come back by itself."""


class Claim(Enum):
    """Who comes for the operation of a task that is killed."""

    OVER = "The task is over"
    FORGOTTEN = "The task starts over without it"
    TASK = "its task will run again, and find it"
    OPEN = "its task will run again; if that attempt submits another one, as its state was discarded, it is cancelled"

    @property
    def nobody(self) -> bool:
        """Whether the operation is to be cancelled."""
        return self in (Claim.OVER, Claim.FORGOTTEN)


class TaskInstanceKey(Protocol):
    """What identifies a task instance."""

    dag_id: str
    task_id: str
    run_id: str
    map_index: int | None


def is_abandoned(states: Mapping[str, Mapping[str, Any]], ti: TaskInstanceKey) -> bool:
    """
    Tell whether nobody will come for the operation of a task instance.

    :param states: The states by run and task, as Airflow gives them. One that was deleted is not among them.
    """
    mapped = ti.map_index is not None and ti.map_index >= 0
    name = f"{ti.task_id}_{ti.map_index}" if mapped else ti.task_id
    tasks = states.get(ti.run_id, {})
    return name not in tasks or tasks[name] in OVER


def claim_of(own: str, found: str | None) -> Claim:
    """
    Tell who comes for an operation whose task runs again, where a clear may have discarded the journal.

    :param own: The operation.
    :param found: The operation that the attempt under way has found or submitted; None while it has not come to that.
    """
    if found is None:
        return Claim.OPEN
    return Claim.TASK if found == own else Claim.FORGOTTEN


def look_whether_abandoned(ti: TaskInstanceKey) -> bool:
    """Ask Airflow for the state of a task instance, and tell whether it is abandoned. Blocks."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    return is_abandoned(states, ti)


def look_who_claims(ti: TaskInstanceKey, operation_id: str) -> Claim:
    """Ask Airflow, from the triggerer, who comes for the operation of a wait that was killed. Blocks."""
    if look_whether_abandoned(ti):
        return Claim.OVER
    return claim_of(operation_id, _operation_of(ti)) if clear_may_discard() else Claim.TASK


def look_who_claims_on_worker(ti: Any, journal: Journal, *, timed_out: bool) -> Claim:
    """
    Ask Airflow, from the worker, who comes for the operation of a task that is killed. Blocks.

    :param timed_out: Whether it is killed because its ``execution_timeout`` has passed.
    """
    if look_whether_abandoned(ti) or (timed_out and is_last_attempt(ti)):
        return Claim.OVER
    return Claim.FORGOTTEN if is_forgotten(journal) else Claim.TASK


async def settle(
    look: Callable[[], Claim],
    until: float,
    log: Logger,
    *,
    clock: Callable[[], float] = time.time,
    sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
) -> Claim:
    """
    Look until it is to be seen who comes for an operation.

    :param look: Blocks; where it fails, it is asked again.
    :param until: When to stop, in seconds since the epoch.
    :return: Never ``OPEN``, but where time was up.
    """
    delay, claim = FIRST_DELAY, Claim.OPEN
    while True:
        try:
            claim = await asyncio.to_thread(look)
        except Exception as error:
            log.warning("Airflow doesn't say who comes for the operation: %s", error)
        if claim is not Claim.OPEN or clock() >= until:
            return claim
        if delay == FIRST_DELAY:
            log.info("The operation goes on for now: %s", claim.value)
        await sleep(delay)
        delay = min(2 * delay, MAX_DELAY)


def clear_may_discard() -> bool:
    """Tell whether this Airflow has a clear that discards the journal: from 3.4 on, that is what the UI does."""
    from airflow import __version__

    major, minor = __version__.split(".")[:2]
    return (int(major), int(minor)) >= (3, 4)


def is_forgotten(journal: Journal) -> bool:
    """
    Tell whether no other attempt will find the operation under way.

    On Airflow 3.2 none does; from 3.4 on, none where a clear discarded the record. On 3.3, a task that is cleared as it
    runs can't read what the next attempt will find: to it, all records are gone.
    """
    if not journal.lasting:
        return True
    try:
        return clear_may_discard() and journal.read() is None
    except Exception:
        return False  # who can't tell cancels nothing


def _operation_of(ti: TaskInstanceKey) -> str | None:
    """Return the operation that the attempt under way has written into XCom."""
    from airflow.sdk.execution_time.xcom import XCom

    # In a trigger's own context, Airflow 3.4 takes it for the attempt that was cleared, and refuses.
    operation_id: str | None = contextvars.Context().run(
        XCom.get_one,
        key="operation_id",
        dag_id=ti.dag_id,
        task_id=ti.task_id,
        run_id=ti.run_id,
        map_index=-1 if ti.map_index is None else ti.map_index,
    )
    return operation_id


def is_last_attempt(ti: Any) -> bool:
    """Tell whether Airflow will not retry a task that fails now."""
    return bool(ti.max_tries == 0 or ti.try_number > ti.max_tries)
