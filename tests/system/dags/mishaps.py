"""Tasks whose attempts fail in all sorts of ways."""

from __future__ import annotations

from datetime import timedelta

from airflow.sdk import dag
from airflow.sdk.exceptions import AirflowException, TaskDeferred

from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from airflow_provider.yandex_ai_studio.sensors.operation import YandexAIStudioOperationSensor

CONN_ID = "{{ dag_run.conf['conn_id'] }}"
PROMPT = "{{ dag_run.conf['prompt'] }}"
AGAIN = {"prompt": PROMPT, "conn_id": CONN_ID, "retry_delay": timedelta(0)}

SOON = 20
"""Seconds: late enough for the scheduler to have seen the worker of a deferred task go."""


class FailsBeforeItDefers(YandexAIStudioCompletionOperator):
    """Loses its first attempt between the submission and the deferral."""

    def execute(self, context):
        try:
            return super().execute(context)
        except TaskDeferred:
            if context["ti"].try_number == 1:
                raise AirflowException("the first attempt ends here") from None
            raise


@dag(schedule=None)
def system_fails_before_it_defers():
    FailsBeforeItDefers(task_id="generate", retries=1, **AGAIN)


@dag(schedule=None)
def system_execution_timeout():
    YandexAIStudioCompletionOperator(
        task_id="generate", deferrable=False, execution_timeout=timedelta(seconds=8), retries=4, **AGAIN
    )


@dag(schedule=None)
def system_last_execution_timeout():
    YandexAIStudioCompletionOperator(
        task_id="generate", deferrable=False, execution_timeout=timedelta(seconds=8), **AGAIN
    )


@dag(schedule=None)
def system_deferred_execution_timeout():
    YandexAIStudioCompletionOperator(task_id="generate", execution_timeout=timedelta(seconds=SOON), retries=4, **AGAIN)


@dag(schedule=None)
def system_timeout():
    YandexAIStudioCompletionOperator(task_id="generate", timeout=SOON, retries=1, **AGAIN)


@dag(schedule=None)
def system_lost_answer():
    YandexAIStudioCompletionOperator(task_id="generate", retries=2, **AGAIN)


@dag(schedule=None)
def system_lost_answer_is_final():
    YandexAIStudioCompletionOperator(task_id="generate", on_unknown_submission="fail", retries=2, **AGAIN)


@dag(schedule=None)
def system_sensor_timeout():
    submit = YandexAIStudioCompletionOperator(
        task_id="submit", prompt=PROMPT, conn_id=CONN_ID, wait_for_completion=False
    )

    def sense(task_id: str, **options):
        return YandexAIStudioOperationSensor(
            task_id=task_id, operation_id=submit.output, conn_id=CONN_ID, timeout=SOON, **options
        )

    sense("strict")
    sense("soft", soft_fail=True)
    sense("strict_poke", deferrable=False, poke_interval=1)
    sense("soft_poke", deferrable=False, poke_interval=1, soft_fail=True)


@dag(schedule=None)
def system_sense_failed():
    submit = YandexAIStudioCompletionOperator(
        task_id="submit", prompt=PROMPT, conn_id=CONN_ID, wait_for_completion=False
    )

    def sense(task_id: str, **options):
        return YandexAIStudioOperationSensor(task_id=task_id, operation_id=submit.output, conn_id=CONN_ID, **options)

    strict = sense("strict")
    sense("soft", soft_fail=True)
    sense("soft_poke", deferrable=False, poke_interval=1, soft_fail=True)
    strict >> sense("soft_late", soft_fail=True, trigger_rule="all_done")


system_fails_before_it_defers()
system_execution_timeout()
system_last_execution_timeout()
system_deferred_execution_timeout()
system_timeout()
system_lost_answer()
system_lost_answer_is_final()
system_sensor_timeout()
system_sense_failed()
