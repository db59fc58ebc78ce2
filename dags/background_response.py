"""
The Responses API in the background, and a second response that goes on from the first.

The service keeps what was said, so the second task passes on no text at all: only the id of the first response, its
XCom ``operation_id``. Both wait without a worker.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import CronDataIntervalTimetable, dag, task

from airflow_provider.yandex_ai_studio.operators.responses import YandexAIStudioResponseOperator


@dag(
    schedule=CronDataIntervalTimetable("0 6 1 * *", timezone="Europe/Moscow"),
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Moscow"),
    catchup=False,
    tags=["yandex-ai-studio", "example"],
)
def background_response():
    plan = YandexAIStudioResponseOperator(
        task_id="plan",
        instructions="You plan the work of a small data team.",
        prompt="Name the three chores that a data platform needs in {{ data_interval_end | ds }}'s month, and why.",
        temperature=0.3,
        retries=2,
    )
    shorten = YandexAIStudioResponseOperator(
        task_id="shorten",
        previous_response_id=plan.output["operation_id"],
        prompt="Now as a checklist of three lines, without the reasons.",
        temperature=0,
        retries=2,
    )

    @task
    def use(checklist: str) -> int:
        print(checklist)
        return len(checklist.splitlines())

    use(shorten.output)


background_response()
