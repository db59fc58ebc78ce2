"""Submit, wait deferred, and resume on the worker."""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator

with DAG("bench_resume", schedule=None, max_active_runs=100, max_active_tasks=100):
    for number in range(int(os.environ["BENCH_TASKS"])):
        YandexAIStudioCompletionOperator(
            task_id=f"generate_{number}",
            prompt=f"Sum up in one sentence what {{{{ run_id }}}} says about item {number}.",
            end_from_trigger=False,
            retries=3,
            retry_delay=timedelta(seconds=1),
        )
