"""
Many texts in one task: a file of rows in, a folder of answers out.

The task submits at the quota's pace and waits without a worker. A row that fails is asked again alone, and another
attempt pays only for rows that have no answer. The manifest that the task returns says where the answers are.
"""

from __future__ import annotations

import json
import os
from importlib import metadata
from pathlib import Path
from typing import Any

import pendulum
from airflow.sdk import CronDataIntervalTimetable, dag, task

from airflow_provider.yandex_ai_studio.operators.bulk import YandexAIStudioBulkCompletionOperator

FOLDER = os.environ.get("BULK_FOLDER", str(Path.cwd() / "bulk_summaries"))  # in production: s3://... or gs://...
ROWS = int(os.environ.get("BULK_ROWS", "100"))


@dag(
    schedule=CronDataIntervalTimetable("0 3 * * *", timezone="Europe/Moscow"),
    start_date=pendulum.datetime(2026, 1, 1, tz="Europe/Moscow"),
    catchup=False,
    tags=["yandex-ai-studio", "example"],
)
def bulk_summaries():
    @task
    def extract(ds: str) -> str:
        """Write one row for each package that is installed here, and return the path."""
        path = Path(FOLDER) / f"{ds}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        packages = {found.metadata["Name"].lower(): found.metadata.get("Summary") for found in metadata.distributions()}
        rows = [{"package": name, "summary": text} for name, text in sorted(packages.items()) if text]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows[:ROWS]))
        return str(path)

    summarize = YandexAIStudioBulkCompletionOperator(
        task_id="summarize",
        inputs=extract(),
        id_field="package",
        prompt="What is the Python package {{ row.package }} good for? It says of itself: {{ row.summary }}",
        instructions="Answer in one sentence, for a data engineer.",
        max_tokens=100,
        output_path=f"{FOLDER}/{{{{ run_id }}}}",
        on_row_error="keep",
        max_failed_rows=10,
        max_total_tokens=100_000,
        retries=2,
    )

    @task
    def load(manifest: dict[str, Any]) -> int:
        parts = [Path(manifest["result_uri"]) / part for part in manifest["parts"]]
        rows = [json.loads(line) for part in parts for line in part.read_text().split("\n") if line]
        texts = {row["custom_id"]: row["output"] for row in rows if row["status"] == "success"}
        print(f"{len(texts)} of {manifest['request_count']} texts, for {manifest['usage']['total_tokens']} tokens")
        return len(texts)

    load(summarize.output)


bulk_summaries()
