"""
A digest by asset: one DAG summarizes each review, another one writes a digest whenever there are new summaries.

The bulk task updates the asset `review_summaries`. The event says where the summaries are, how many came of how many
rows, and what they took: the second DAG is scheduled on the asset, and knows nothing else of the first.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pendulum
from airflow.sdk import Asset, CronDataIntervalTimetable, ObjectStoragePath, dag, task
from airflow.sdk.exceptions import AirflowSkipException

SUMMARIES = Asset("review_summaries")
FOLDER = os.environ.get("REVIEWS_FOLDER", str(Path.cwd() / "reviews"))  # in production: s3://... or gs://...
REVIEWS = {
    "r-17": "The courier was two hours late, and the soup was cold. I had to call three times to find out why.",
    "r-18": "Кассир был очень любезен. Пришёл бы снова ради одного только этого, спасибо!",
    "r-19": "I was charged twice for the same order, and nobody answers the phone.",
}


@dag(
    schedule=CronDataIntervalTimetable("0 5 * * *", timezone="Europe/Moscow"),
    start_date=pendulum.datetime(2026, 1, 5, tz="Europe/Moscow"),
    catchup=False,
    tags=["yandex-ai-studio", "example"],
)
def summarize_reviews():
    @task.yandex_ai_studio(
        bulk=True,
        id_field="id",
        prompt="Summarize this review in one sentence: {{ row.text }}",
        output_path=f"{FOLDER}/{{{{ run_id }}}}",
        outlets=[SUMMARIES],
        retries=2,
    )
    def summarize() -> list[dict[str, str]]:
        """Take the reviews of the day; a real DAG would read them from where customers write."""
        return [{"id": name, "text": text} for name, text in REVIEWS.items()]

    summarize()


@dag(schedule=[SUMMARIES], tags=["yandex-ai-studio", "example"])
def review_digest():
    @task.yandex_ai_studio(instructions="You write for the manager of a restaurant, in five lines at most.", retries=2)
    def digest(triggering_asset_events: Any = None) -> str:
        """Put all new summaries into one prompt."""
        lines = []
        for event in triggering_asset_events[SUMMARIES]:
            told = event.extra
            print(f"{told['counts']['succeeded']} summaries for {told['usage']['total_tokens']} tokens")
            lines += [f"- {answer['output']}" for answer in answers(told["result_uri"])]
        if not lines:
            raise AirflowSkipException("There is nothing new to digest: was the DAG triggered by hand?")
        return "What do our guests say, and what should we do about it?\n\n" + "\n".join(lines)

    @task
    def publish(text: str) -> None:
        print(text)

    publish(digest())


def answers(folder: str) -> Iterator[dict[str, Any]]:
    """Read the answers of a bulk task, part by part."""
    path = ObjectStoragePath(folder)
    for part in json.loads((path / "manifest.json").read_text())["parts"]:
        with (path / part).open() as lines:
            yield from map(json.loads, lines)


summarize_reviews()
review_digest()
