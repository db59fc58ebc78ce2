"""Many rows in one task."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag

from airflow_provider.yandex_ai_studio.operators.bulk import YandexAIStudioBulkCompletionOperator


@dag(schedule=None)
def system_bulk():
    YandexAIStudioBulkCompletionOperator(
        task_id="generate",
        inputs="{{ dag_run.conf['inputs'] }}",
        prompt="{{ row.text }}",
        output_path="{{ dag_run.conf['output_path'] }}",
        chunk_size=20,
        row_retries=0,
        retries=1,
        retry_delay=timedelta(0),
        conn_id="{{ dag_run.conf['conn_id'] }}",
    )


system_bulk()
