"""What a person does to a waiting task decides what becomes of its operation."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from system.scene import TRIGGERS_ARE_TOLD, Run, Service, eventually

pytestmark = pytest.mark.system

BEGIN = ("mark_failed", "mark_success", "mark_run_failed", "mark_on_worker")

CANCELLED = "The task is over: asked the service to cancel operation"


def until_cancelled(service: Service) -> None:
    eventually(lambda: service.states == ["cancelled"], lambda: f"one cancelled operation: {service.states}")


def until_ended(run: Run, trigger_id: int) -> None:
    """Wait until a trigger was taken from its task."""
    gone = "select id from trigger where id = :id"
    eventually(lambda: not run.airflow.sql(gone, id=trigger_id), "the end of the trigger", run.airflow.check)


@pytest.mark.parametrize("plan", ["mark_failed", "mark_success", "mark_run_failed"])
def test_a_wait_that_is_marked_is_cancelled(runs: dict[str, Run], services: dict[str, Service], plan: str) -> None:
    run, service = runs[plan], services[plan]
    service.until_watched()
    trigger_id = run.task("generate")["trigger"]["id"]
    if plan == "mark_run_failed":
        run.airflow.patch(run.path, json={"state": "failed"})
    else:
        run.mark("generate", plan.removeprefix("mark_"))
        assert run.state("generate") == plan.removeprefix("mark_")
    if TRIGGERS_ARE_TOLD:
        until_cancelled(service)
        run.log_says("generate", CANCELLED)
    else:
        until_ended(run, trigger_id)
        assert service.states == ["running"]
    assert service.submissions == 1


def test_a_task_that_is_cleared_after_its_cancellation_submits_anew(
    runs: dict[str, Run], services: dict[str, Service]
) -> None:
    run, service = runs["mark_failed"], services["mark_failed"]
    former = service.states
    run.clear("generate")
    run.until("generate", "deferred", tries=2)
    assert service.states == [*former, "running"]
    service.finish()
    assert run.wait() == "success"
    assert run.xcom("generate", "operation_id") == service.emulator.operations()[1]["id"]


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
    until_ended(run, trigger_id)
    if TRIGGERS_ARE_TOLD:
        run.log_says("sense", "Trigger cancelled by user action")
    assert service.states == ["running"]
    assert service.cancellations == 0
