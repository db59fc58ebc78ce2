"""
A value instead of a text: sort what customers wrote, and load it into a table.

The model is asked for JSON that fits a pydantic model. The task returns the validated value, so what comes after it can
rely on every field: a text that does not fit fails the task, and its retry generates anew.
"""

from __future__ import annotations

import os
import sqlite3
from typing import Any, Literal

import pendulum
from airflow.sdk import CronDataIntervalTimetable, dag, get_current_context, task
from pydantic import BaseModel, Field

from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator

DATABASE = os.environ.get("FEEDBACK_DATABASE", "feedback.db")
FEEDBACK = [
    "The courier came two hours late, and the soup was cold. Please call me back today.",
    "Кассир был очень любезен, спасибо! Пришёл бы снова ради одного только этого.",
    "I was charged twice for the same order, and nobody answers the phone.",
]


class Feedback(BaseModel):
    """What the table knows about a message."""

    topic: Literal["delivery", "payment", "service", "other"]
    urgency: int = Field(ge=1, le=5, description="1: no answer needed, 5: call at once")
    summary: str = Field(description="One sentence in English")


@dag(
    schedule=CronDataIntervalTimetable("0 7 * * *", timezone="Europe/Moscow"),
    start_date=pendulum.datetime(2026, 1, 5, tz="Europe/Moscow"),
    catchup=False,
    tags=["yandex-ai-studio", "example"],
)
def structured_output():
    @task
    def extract() -> list[str]:
        """Take the messages of the day; a real DAG would read them from where customers write."""
        return FEEDBACK

    sort = YandexAIStudioCompletionOperator.partial(
        task_id="sort",
        instructions="You sort the messages that customers wrote on {{ data_interval_start | ds }}.",
        json_schema=Feedback,
        temperature=0,
        retries=2,
    ).expand(prompt=extract())

    @task
    def load(values: list[dict[str, Any]]) -> int:
        """Write one row for each message; a second run of the same day writes the same rows."""
        day = get_current_context()["data_interval_start"].date().isoformat()
        rows = [
            (day, number, value["topic"], value["urgency"], value["summary"]) for number, value in enumerate(values)
        ]
        with sqlite3.connect(DATABASE) as database:
            database.execute(
                "create table if not exists feedback"
                " (day text, number integer, topic text, urgency integer, summary text, primary key (day, number))"
            )
            database.executemany("insert or replace into feedback values (?, ?, ?, ?, ?)", rows)
        return len(rows)

    load(sort.output)


structured_output()
