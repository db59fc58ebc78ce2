"""Do nothing: what Airflow itself takes for a task."""

from __future__ import annotations

import os
from datetime import timedelta
from typing import Any

from airflow.sdk import DAG, BaseOperator


class NothingOperator(BaseOperator):
    """Runs on a worker, unlike Airflow's EmptyOperator, and does nothing there."""

    def execute(self, context: Any) -> None:
        """Do nothing."""


with DAG("bench_empty", schedule=None, max_active_runs=100, max_active_tasks=100):
    for number in range(int(os.environ["BENCH_TASKS"])):
        NothingOperator(task_id=f"nothing_{number}", retries=3, retry_delay=timedelta(seconds=1))
