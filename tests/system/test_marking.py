"""What a person does to a waiting task decides what becomes of its operation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from system.scene import Run, Service, eventually

pytestmark = pytest.mark.system

BEGIN = ("mark_failed", "mark_success", "mark_run_failed", "mark_on_worker")

CANCELLED = "The task is over: asked the service to cancel operation"


def until_cancelled(service: Service) -> None:
    eventually(lambda: service.states == ["cancelled"], lambda: f"one cancelled operation: {service.states}")


@pytest.mark.parametrize("state", ["failed", "success"])
def test_a_wait_that_is_marked_is_cancelled(runs: dict[str, Run], services: dict[str, Service], state: str) -> None:
    run, service = runs[f"mark_{state}"], services[f"mark_{state}"]
    service.until_watched()
    run.mark("generate", state)
    until_cancelled(service)
    assert run.state("generate") == state
    run.log_says("generate", CANCELLED)
    assert service.submissions == 1


def test_a_task_that_is_cleared_after_its_cancellation_submits_anew(
    runs: dict[str, Run], services: dict[str, Service]
) -> None:
    run, service = runs["mark_failed"], services["mark_failed"]
    assert service.states == ["cancelled"]
    run.clear("generate")
    run.until("generate", "deferred", tries=2)
    assert service.states == ["cancelled", "running"]
    service.finish()
    assert run.wait() == "success"
    assert run.xcom("generate", "operation_id") == service.emulator.operations()[1]["id"]


def test_a_run_that_is_marked_failed_cancels_its_waits(runs: dict[str, Run], services: dict[str, Service]) -> None:
    run, service = runs["mark_run_failed"], services["mark_run_failed"]
    service.until_watched()
    run.airflow.patch(run.path, json={"state": "failed"})
    until_cancelled(service)
    run.log_says("generate", CANCELLED)


def test_a_wait_on_the_worker_that_is_marked_is_cancelled(runs: dict[str, Run], services: dict[str, Service]) -> None:
    run, service = runs["mark_on_worker"], services["mark_on_worker"]
    service.until_watched()
    run.mark("generate", "failed")
    until_cancelled(service)
    assert run.state("generate") == "failed"
    run.log_says("generate", CANCELLED)


def test_a_sensor_cancels_nothing(begin: Callable[..., Run], services: dict[str, Service]) -> None:
    service = services["mark_sensor"]
    run = begin("mark_sensor", operation_id=service.submit("The operation belongs to nobody here."))
    run.until("sense", "deferred")
    run.log_says("sense", "starting")
    trigger_id = run.task("sense")["trigger"]["id"]
    run.mark("sense", "failed")
    eventually(
        lambda: not run.airflow.sql("select id from trigger where id = :id", id=trigger_id),
        "the end of the trigger",
        run.airflow.check,
    )
    run.log_says("sense", "Trigger cancelled by user action")
    assert service.states == ["running"]
    assert service.cancellations == 0
