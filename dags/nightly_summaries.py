"""
Every night: summaries of new rows, from one table of PostgreSQL into another.

New is what is not in the second table yet. So a second run pays for nothing. A row that failed is asked three times in
its night; then it is in the table with its error, and no night pays for it again: delete it there, and the next one
asks. A night that failed as a whole holds up the next one, which would pay for the same rows again. Each answer carries
the id of its row, and is written by it: none can land at another one.

Needs `pip install apache-airflow-providers-postgres`, an Airflow connection `feedback_db`, and in it a table
`feedback` with the columns `id` (bigint, the primary key) and `message` (text).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pendulum
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import BaseHook, CronTriggerTimetable, ObjectStoragePath, dag, task

DATABASE = "feedback_db"
FOLDER = os.environ.get("SUMMARIES_FOLDER", str(Path.cwd() / "summaries"))  # in production: s3://... or gs://...

NEW_ROWS = r"""
    select id, message from feedback
    where not exists (select from feedback_summaries where feedback_summaries.id = feedback.id)
    and message ~ '\S' -- neither null nor blank
    order by id limit 10000
"""


@dag(
    schedule=CronTriggerTimetable("0 2 * * *", timezone="Europe/Moscow"),
    start_date=pendulum.datetime(2026, 1, 5, tz="Europe/Moscow"),
    catchup=False,
    default_args={"retries": 3},
    tags=["yandex-ai-studio", "example"],
)
def nightly_summaries():
    create_table = SQLExecuteQueryOperator(
        task_id="create_table",
        conn_id=DATABASE,
        sql="""
            create table if not exists feedback_summaries (
                id bigint primary key, summary text, error text, model text, tokens integer
            )
        """,
    )

    @task.yandex_ai_studio(
        bulk=True,
        id_field="id",
        prompt="Summarize in one sentence: {{ row.message }}",
        max_tokens=100,
        output_path=f"{FOLDER}/{{{{ run_id }}}}",
        on_row_error="keep",
        wait_for_downstream=True,  # the load of the night before must have succeeded
    )
    def summarize() -> list[dict[str, Any]]:
        """Read what is new. A retry goes on with the same rows."""
        rows = BaseHook.get_connection(DATABASE).get_hook().get_records(NEW_ROWS)
        return [{"id": number, "message": message} for number, message in rows]

    @task
    def load(manifest: dict[str, Any]) -> None:
        """Write the answers, and why there is none. To write them again changes nothing."""
        BaseHook.get_connection(DATABASE).get_hook().insert_rows(
            "feedback_summaries",
            (
                (
                    int(row["custom_id"]),
                    row["output"],
                    error_of(row),
                    row["model"],
                    (row["usage"] or {}).get("total_tokens"),
                )
                for row in answers(manifest)
            ),
            target_fields=["id", "summary", "error", "model", "tokens"],
            replace=True,
            replace_index="id",
        )

    summaries = summarize()
    create_table >> summaries
    load(summaries)


def answers(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Read the answers of a bulk task, part by part."""
    for part in manifest["parts"]:
        with (ObjectStoragePath(manifest["result_uri"]) / part).open() as lines:
            yield from map(json.loads, lines)


def error_of(row: dict[str, Any]) -> str | None:
    """Say why a row has no answer."""
    return f"{row['error']['type']}: {row['error']['message']}" if row["error"] else None


nightly_summaries()
