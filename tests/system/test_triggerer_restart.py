"""A triggerer that dies takes nothing with it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from system.plans import PLANS
from system.scene import Run, Service, eventually
from system.search import pattern_of, tables_with
from tools.harness.airflow import LocalAirflow

pytestmark = pytest.mark.system

BEGIN = ("triggerer_restart",)


@pytest.fixture(scope="module")
def waiting(runs: dict[str, Run]) -> Run:
    runs["triggerer_restart"].until_settled("generate")
    return runs["triggerer_restart"]


def trigger_of(run: Run) -> dict[str, Any]:
    """Return the row of the trigger that a task waits for. Airflow does not encrypt what a worker defers with."""
    trigger_id = run.task("generate")["trigger"]["id"]
    (row,) = run.airflow.sql("select * from trigger where id = :id", id=trigger_id)
    return {**row, "kwargs": json.loads(row["kwargs"])}


def test_the_row_of_a_trigger_tells_neither_prompt_nor_key(waiting: Run, services: dict[str, Service]) -> None:
    row = str(trigger_of(waiting))
    assert services["triggerer_restart"].emulator.operations()[0]["id"] in row
    assert not pattern_of([services["triggerer_restart"].api_key, PLANS["triggerer_restart"].prompt]).search(row)


def test_no_table_holds_the_key_while_a_task_waits(
    waiting: Run, services: dict[str, Service], airflow: LocalAirflow
) -> None:
    assert tables_with(airflow, pattern_of([services["triggerer_restart"].api_key])) == []


def test_waits_outlive_a_triggerer(waiting: Run, services: dict[str, Service], airflow: LocalAirflow) -> None:
    service = services["triggerer_restart"]
    before = trigger_of(waiting)
    reads = service.reads.total()
    airflow.kill("triggerer", whole_session=True)
    airflow.restart("triggerer")
    eventually(
        lambda: trigger_of(waiting)["triggerer_id"] not in (None, before["triggerer_id"]),
        "another triggerer for the trigger",
        airflow.check,
    )
    eventually(lambda: service.reads.total() > reads, "another question", airflow.check)
    assert trigger_of(waiting)["kwargs"] == before["kwargs"]  # the deadline among them
    assert service.states == ["running"]
    service.finish()
    assert waiting.wait() == "success"
    assert waiting.tries("generate") == 1
    assert (service.submissions, service.cancellations) == (1, 0)
    assert bytes.fromhex(waiting.xcom("exactly")).decode() == service.text(waiting.xcom("generate", "operation_id"))
