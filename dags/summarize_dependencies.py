"""
What are all these packages for? Extract, summarize, load.

Every Python environment carries the README texts of what is installed in it. This DAG takes some of them, lets the
model summarize each with a prompt of its own, and loads the summaries with their token counts into a SQL table.
While the model writes, no worker is busy: all summaries wait together in the triggerer.
"""

from __future__ import annotations

import os
import sqlite3
from importlib import metadata

import pendulum
from airflow.sdk import CronDataIntervalTimetable, dag, get_current_context, task

from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator

PACKAGES = int(os.environ.get("SUMMARIZE_PACKAGES", "10"))
DATABASE = os.environ.get("SUMMARIZE_DATABASE", "summaries.db")
CHARACTERS = 6000
"""How much of a README is read."""


def prompt_for(readme: dict[str, str]) -> str:
    return f"What is the Python package {readme['package']} for? Its README says:\n\n{readme['text']}"


@dag(
    schedule=CronDataIntervalTimetable("0 6 * * MON", timezone="Europe/Moscow"),
    start_date=pendulum.datetime(2026, 1, 5, tz="Europe/Moscow"),
    catchup=False,
    tags=["yandex-ai-studio", "example"],
)
def summarize_dependencies():
    @task
    def extract() -> list[dict[str, str]]:
        """Take the READMEs of the first packages in the alphabet that have a real one."""
        readmes = {
            distribution.metadata["Name"].lower(): distribution.metadata["Description"]
            for distribution in metadata.distributions()
        }
        worth_reading = sorted((name, text) for name, text in readmes.items() if text and len(text) > 1000)
        return [{"package": name, "text": text[:CHARACTERS]} for name, text in worth_reading[:PACKAGES]]

    readmes = extract()

    summarize = YandexAIStudioCompletionOperator.partial(
        task_id="summarize",
        instructions="Answer in two sentences, for a data engineer. Today is {{ data_interval_end | ds }}.",
        temperature=0.2,
        max_tokens=200,
        retries=2,
    ).expand(prompt=readmes.map(prompt_for))

    @task
    def load(readmes: list[dict[str, str]], summaries: list[str]) -> int:
        ti = get_current_context()["ti"]
        usages = ti.xcom_pull(task_ids="summarize", key="usage", map_indexes=range(len(readmes)))
        operations = ti.xcom_pull(task_ids="summarize", key="operation_id", map_indexes=range(len(readmes)))
        rows = [
            (readme["package"], summary, usage["total_tokens"], operation)
            for readme, summary, usage, operation in zip(readmes, summaries, usages, operations, strict=True)
        ]
        with sqlite3.connect(DATABASE) as database:
            database.execute(
                "create table if not exists summaries"
                " (package text primary key, summary text, tokens integer, operation_id text)"
            )
            database.executemany("insert or replace into summaries values (?, ?, ?, ?)", rows)
        return len(rows)

    load(readmes, summarize.output)


summarize_dependencies()
