"""Wait, from the triggerer, for what was submitted before: the ids come with the run."""

from __future__ import annotations

import os
from datetime import timedelta

from airflow.sdk import DAG

from airflow_provider.yandex_ai_studio.sensors.operation import YandexAIStudioOperationSensor

with DAG("bench_sensor", schedule=None, max_active_runs=100, max_active_tasks=100):
    for number in range(int(os.environ["BENCH_TASKS"])):
        YandexAIStudioOperationSensor(
            task_id=f"wait_{number}",
            operation_id=f"{{{{ dag_run.conf['ids'][{number}] }}}}",
            conn_id="sensed",
            start_from_trigger=True,
            retries=3,
            retry_delay=timedelta(seconds=1),
        )
