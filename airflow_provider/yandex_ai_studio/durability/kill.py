"""
What a kill means for the operation of a task.

Airflow calls ``on_kill`` for a task that was marked or cleared, but also where a process is shut down or a triggerer
lost its heartbeat. An operation is cancelled only when nobody will come for it: a task that will run again finds it in
its journal, and takes the answer that is being paid for.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

OVER = frozenset({"success", "failed", "skipped", "upstream_failed", "removed"})
"""States from which a task does not come back by itself."""


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


def look_whether_abandoned(ti: TaskInstanceKey) -> bool:
    """Ask Airflow for the state of a task instance, and tell whether it is abandoned. Blocks."""
    from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance

    states = RuntimeTaskInstance.get_task_states(
        dag_id=ti.dag_id, task_ids=[ti.task_id], run_ids=[ti.run_id], map_index=ti.map_index
    )
    return is_abandoned(states, ti)


def is_last_attempt(ti: Any) -> bool:
    """Tell whether Airflow will not retry a task that fails now."""
    return bool(ti.max_tries == 0 or ti.try_number > ti.max_tries)
