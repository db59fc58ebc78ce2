"""
Submit in one task, wait in another, use the text in a third.

The operator returns the operation id at once; the sensor waits for it without a worker. That is the shape for
work that is submitted long before it is needed, or by something that is not this DAG.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import CronDataIntervalTimetable, dag, task

from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from airflow_provider.yandex_ai_studio.sensors.operation import YandexAIStudioOperationSensor


@dag(
    schedule=CronDataIntervalTimetable("0 9 * * MON-FRI", timezone="Europe/Moscow"),
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Moscow"),
    catchup=False,
    tags=["yandex-ai-studio", "example"],
)
def submit_and_wait():
    submit = YandexAIStudioCompletionOperator(
        task_id="submit",
        instructions="You write for the team's morning meeting, in one short paragraph.",
        prompt="It is {{ data_interval_end | ds }}. Remind us why pipelines should be idempotent.",
        temperature=0.3,
        wait_for_completion=False,
    )
    wait = YandexAIStudioOperationSensor(task_id="wait", operation_id=submit.output, timeout=3600)

    @task
    def use(text: str) -> int:
        print(text)
        return len(text.split())

    use(wait.output)


submit_and_wait()
