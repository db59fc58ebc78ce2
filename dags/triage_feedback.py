"""
A task that is a function: it writes the prompt, and its annotation says what the model must answer with.

What a customer wrote is classified; what is urgent goes to a person, the rest is filed.
"""

from __future__ import annotations

from typing import Any, Literal

import pendulum
from airflow.sdk import CronDataIntervalTimetable, dag, task
from pydantic import BaseModel, Field


class Triage(BaseModel):
    """What is decided about a message."""

    topic: Literal["delivery", "payment", "service", "other"]
    urgency: int = Field(ge=1, le=5, description="1: no answer needed, 5: call at once")


@dag(
    schedule=CronDataIntervalTimetable("0 * * * *", timezone="Europe/Moscow"),
    start_date=pendulum.datetime(2026, 1, 5, tz="Europe/Moscow"),
    catchup=False,
    tags=["yandex-ai-studio", "example"],
)
def triage_feedback():
    @task
    def newest() -> str:
        """Take the newest message; a real DAG would read it from where customers write."""
        return "I was charged twice for the same order, and nobody answers the phone."

    @task.yandex_ai_studio(temperature=0, retries=2, instructions="You sort the messages of customers.")
    def classify(message: str) -> Triage:
        return f"What is this message about, and how urgent is it?\n\n{message}"

    @task.branch
    def route(triage: dict[str, Any]) -> str:
        return "ask_a_person" if triage["urgency"] >= 4 else "file"

    @task
    def ask_a_person(triage: dict[str, Any]) -> None:
        print(f"Somebody should look at this: {triage}")

    @task
    def file(triage: dict[str, Any]) -> None:
        print(f"Filed under {triage['topic']}")

    triage = classify(newest())
    route(triage) >> [ask_a_person(triage), file(triage)]


triage_feedback()
