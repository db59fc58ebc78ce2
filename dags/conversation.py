"""
A conversation of two turns: a draft, then what its critic makes of it.

Each turn is a task of its own: it is paid for once, and retried alone. An operator that is given ``messages`` returns
its text, and pushes the conversation with the answer as the XCom ``messages``: the next task takes that in.
"""

from __future__ import annotations

import pendulum
from airflow.sdk import CronDataIntervalTimetable, dag, task

from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator


@dag(
    schedule=CronDataIntervalTimetable("0 8 * * MON", timezone="Europe/Moscow"),
    start_date=pendulum.datetime(2026, 1, 5, tz="Europe/Moscow"),
    catchup=False,
    tags=["yandex-ai-studio", "example"],
)
def conversation():
    draft = YandexAIStudioCompletionOperator(
        task_id="draft",
        messages=[
            {"role": "system", "text": "You are the editor of a newsletter for data engineers."},
            {"role": "user", "text": "Draft the opening of the issue for the week of {{ data_interval_start | ds }}."},
        ],
        temperature=0.6,
        retries=2,
    )
    revise = YandexAIStudioCompletionOperator(
        task_id="revise",
        messages=draft.output["messages"],
        prompt="Your readers are in a hurry. Make it half as long, and keep the date.",
        temperature=0.2,
        retries=2,
    )

    @task
    def publish(messages: list[dict[str, str]]) -> str:
        """Print both turns, and return the last word."""
        for message in messages:
            print(f"{message['role']}: {message['text']}\n")
        return messages[-1]["text"]

    publish(revise.output["messages"])


conversation()
