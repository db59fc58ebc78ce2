"""A bulk task updates an asset, and the event tells the DAG that is scheduled on it what it needs."""

from __future__ import annotations

from pathlib import Path

import pytest

from bulk_task import rows_of
from system.plans import BY_ASSET
from system.scene import JOURNAL_LASTS, Run, eventually
from tools.harness.airflow import LocalAirflow

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not JOURNAL_LASTS, reason="Airflow 3.2 keeps no state, and the operator says so"),
]


def run_of(airflow: LocalAirflow, dag_id: str) -> Run:
    """Return the run of a DAG that the scheduler has created."""
    runs: list[str] = []

    def created() -> bool:
        runs[:] = [run["dag_run_id"] for run in airflow.get(f"/api/v2/dags/{dag_id}/dagRuns")["dag_runs"]]
        return bool(runs)

    eventually(created, f"a run of {dag_id}", airflow.check)
    return Run(airflow, dag_id, runs[0])


def test_the_event_of_an_asset_leads_the_next_dag_to_the_answers(airflow: LocalAirflow) -> None:
    summarize, digest = (run_of(airflow, dag_id) for dag_id in BY_ASSET)
    assert summarize.wait() == "success"
    manifest = summarize.xcom("summarize")
    events = airflow.get("/api/v2/assets/events", source_run_id=summarize.run_id)["asset_events"]
    assert [event["source_task_id"] for event in events] == ["summarize"]
    told = events[0]["extra"]
    assert told == {name: manifest[name] for name in told}
    assert (told["counts"]["succeeded"], told["request_count"], told["cost"]) == (3, 3, None)
    assert told["usage"]["total_tokens"] > 0

    assert digest.wait() == "success"
    digest.log_says("digest", f"3 summaries for {told['usage']['total_tokens']} tokens")
    answers = rows_of(Path(told["result_uri"]))
    assert [answer["custom_id"] for answer in answers] == ["r-17", "r-18", "r-19"]
    assert digest.xcom("digest")
