"""One generation, or one wait, with what it is about in the conf of the run."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag, task

from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from airflow_provider.yandex_ai_studio.sensors.operation import YandexAIStudioOperationSensor

CONN_ID = "{{ dag_run.conf['conn_id'] }}"
PROMPT = "{{ dag_run.conf['prompt'] }}"
OPERATION_ID = "{{ dag_run.conf['operation_id'] }}"


@task
def exactly(text: str) -> str:
    """Return the text that came from XCom, byte for byte."""
    return text.encode().hex()


@dag(schedule=None, max_active_runs=50)
def system_generate():
    generate = YandexAIStudioCompletionOperator(task_id="generate", prompt=PROMPT, conn_id=CONN_ID)
    exactly(generate.output)


@dag(schedule=None, max_active_runs=50)
def system_generate_on_the_worker():
    YandexAIStudioCompletionOperator(task_id="generate", prompt=PROMPT, conn_id=CONN_ID, deferrable=False)


@dag(schedule=None, max_active_runs=50)
def system_generate_on_the_worker_again():
    YandexAIStudioCompletionOperator(
        task_id="generate", prompt=PROMPT, conn_id=CONN_ID, deferrable=False, retries=2, retry_delay=timedelta(0)
    )


@dag(schedule=None, max_active_runs=50)
def system_generate_again():
    YandexAIStudioCompletionOperator(
        task_id="generate", prompt=PROMPT, conn_id=CONN_ID, retries=2, retry_delay=timedelta(0)
    )


@dag(schedule=None, max_active_runs=50)
def system_sense():
    YandexAIStudioOperationSensor(task_id="sense", operation_id=OPERATION_ID, conn_id=CONN_ID)


system_generate()
system_generate_on_the_worker()
system_generate_on_the_worker_again()
system_generate_again()
system_sense()
