"""Many rows in one task, which notes what its ledger takes; and mapped tasks, one for each text."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from airflow.sdk import DAG, task

from airflow_provider.yandex_ai_studio.operators.bulk import YandexAIStudioBulkCompletionOperator
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator

AGAIN: dict[str, Any] = {"retries": 3, "retry_delay": timedelta(seconds=1)}


class TimedStore:
    """A task_state_store that counts its writes, and the seconds that they take."""

    def __init__(self, store: Any) -> None:
        self._store = store
        self.writes, self.seconds = 0, 0.0

    def set(self, key: str, value: Any, **options: Any) -> None:
        """Write, and take the time."""
        began = time.perf_counter()
        self._store.set(key, value, **options)
        self.seconds += time.perf_counter() - began
        self.writes += 1

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


class NotedBulkOperator(YandexAIStudioBulkCompletionOperator):
    """Notes each of its stretches on a worker beside its output."""

    def execute(self, context: Any) -> Any:
        """Begin, and note what that took."""
        return self._noted(context, lambda: YandexAIStudioBulkCompletionOperator.execute(self, context))

    def execute_complete(self, context: Any, *arguments: Any, **more: Any) -> Any:
        """Go on, and note what that took."""
        work = YandexAIStudioBulkCompletionOperator.execute_complete
        return self._noted(context, lambda: work(self, context, *arguments, **more))

    def _noted(self, context: Any, work: Callable[[], Any]) -> Any:
        store = context["task_state_store"] = TimedStore(context["task_state_store"])
        start = time.perf_counter()
        try:
            return work()
        finally:
            took = {"seconds": time.perf_counter() - start, "writes": store.writes, "write_seconds": store.seconds}
            with Path(f"{self.output_path}.stretches").open("a") as file:
                file.write(json.dumps(took) + "\n")


@task
def prompts(tasks: int) -> list[str]:
    """Write the texts of the mapped tasks."""
    return [f"Sum up in one sentence what is said about item {item}." for item in range(tasks)]


with DAG("bench_bulk", schedule=None, max_active_runs=100, max_active_tasks=100):
    NotedBulkOperator(
        task_id="generate",
        inputs="{{ dag_run.conf['inputs'] }}",
        prompt="{{ row.text }}",
        output_path="{{ dag_run.conf['output_path'] }}",
        conn_id="{{ dag_run.conf['conn_id'] }}",
        **AGAIN,
    )

with DAG("bench_mapped", schedule=None, max_active_runs=100, max_active_tasks=100):
    YandexAIStudioCompletionOperator.partial(task_id="generate", **AGAIN).expand(
        prompt=prompts(int(os.environ["BENCH_TASKS"]))
    )
