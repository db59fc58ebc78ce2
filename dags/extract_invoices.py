"""
From texts to columns: what suppliers write, as typed columns of a table.

The model is asked for values of a pydantic model. A text that does not fit is asked again, twice, and after that is in
the table with the error alone: the table never sees a date that is none. Only messages that are not there yet are paid
for (to have one asked again, delete it there), and a night that failed as a whole holds up the next one, which would
pay for the same messages again.

Needs `pip install apache-airflow-providers-postgres`, an Airflow connection `mail_db`, and in it a table `mail` with
the columns `id` (bigint, the primary key) and `body` (text).
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from datetime import date
from pathlib import Path
from typing import Any, Literal

import pendulum
from airflow.providers.common.sql.operators.sql import SQLExecuteQueryOperator
from airflow.sdk import BaseHook, CronTriggerTimetable, ObjectStoragePath, dag, task
from pydantic import BaseModel, Field

DATABASE = "mail_db"
FOLDER = os.environ.get("INVOICES_FOLDER", str(Path.cwd() / "invoices"))  # in production: s3://... or gs://...

NEW_MESSAGES = r"""
    select id, body from mail
    where not exists (select from invoices where invoices.id = mail.id)
    and body ~ '\S' -- neither null nor blank
    order by id limit 10000
"""


class Invoice(BaseModel):
    """The columns. What does not fit them fails its row here, and not all rows in the database."""

    supplier: str
    due: date
    amount: float = Field(ge=0, le=9_999_999_999.99)
    currency: Literal["RUB", "USD", "EUR"]


@dag(
    schedule=CronTriggerTimetable("0 4 * * *", timezone="Europe/Moscow"),
    start_date=pendulum.datetime(2026, 1, 5, tz="Europe/Moscow"),
    catchup=False,
    default_args={"retries": 3},
    tags=["yandex-ai-studio", "example"],
)
def extract_invoices():
    create_table = SQLExecuteQueryOperator(
        task_id="create_table",
        conn_id=DATABASE,
        sql="""
            create table if not exists invoices (
                id bigint primary key, supplier text, due date, amount numeric(12, 2), currency char(3), error text
            )
        """,
    )

    @task.yandex_ai_studio(
        bulk=True,
        id_field="id",
        instructions="Take out the invoice that a supplier writes about.",
        prompt="The message:\n\n{{ row.body }}",
        temperature=0,
        output_path=f"{FOLDER}/{{{{ run_id }}}}",
        on_row_error="keep",
        wait_for_downstream=True,  # the load of the night before must have succeeded
    )
    def extract() -> list[Invoice]:
        """Read the messages that have no invoice yet. A retry goes on with the same ones."""
        rows = BaseHook.get_connection(DATABASE).get_hook().get_records(NEW_MESSAGES)
        return [{"id": number, "body": body} for number, body in rows]

    @task
    def load(manifest: dict[str, Any]) -> None:
        """Write the values, and why there are none. To write them again changes nothing."""
        columns = list(Invoice.model_fields)
        BaseHook.get_connection(DATABASE).get_hook().insert_rows(
            "invoices",
            (
                (int(row["custom_id"]), *((row["output"] or {}).get(column) for column in columns), error_of(row))
                for row in answers(manifest)
            ),
            target_fields=["id", *columns, "error"],
            replace=True,
            replace_index="id",
        )

    invoices = extract()
    create_table >> invoices
    load(invoices)


def answers(manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Read the answers of a bulk task, part by part."""
    for part in manifest["parts"]:
        with (ObjectStoragePath(manifest["result_uri"]) / part).open() as lines:
            yield from map(json.loads, lines)


def error_of(row: dict[str, Any]) -> str | None:
    """Say why a row has no answer."""
    return f"{row['error']['type']}: {row['error']['message']}" if row["error"] else None


extract_invoices()
