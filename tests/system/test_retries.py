"""Another attempt of a task pays again only where the first one came to nothing."""

from __future__ import annotations

import pytest

from system.plans import PLANS
from system.scene import CLEAR_DISCARDS, JOURNAL_LASTS, TRIGGERS_ARE_TOLD, Run, Service, eventually, needs_journal
from tools.harness.emulator import LocalEmulator

pytestmark = pytest.mark.system

BEGIN = (
    "execution_timeout",
    "deferred_execution_timeout",
    "failed_operation",
    "fails_before_it_defers",
    "lost_answer",
    "lost_answer_is_final",
    "clear_succeeded",
    "clear_deferred",
    "clear_kept",
    "clear_on_worker",
)


@needs_journal
def test_a_retry_finds_the_operation_of_an_attempt_that_ran_out_of_time(
    runs: dict[str, Run], services: dict[str, Service]
) -> None:
    run, service = runs["execution_timeout"], services["execution_timeout"]
    run.until("generate", "running", tries=2)
    service.finish()
    assert run.wait() == "success"
    assert run.tries("generate") >= 2
    assert service.submissions == 1
    assert service.cancellations == 0
    operation_id = run.xcom("generate", "operation_id")
    run.log_says("generate", f"Submitted: operation {operation_id}", "AirflowTaskTimeout")
    run.log_says("generate", f"Found an earlier submission of this task: {operation_id}", tries=run.tries("generate"))


@needs_journal
def test_a_retry_finds_the_operation_of_an_attempt_that_ran_out_of_time_while_it_was_deferred(
    runs: dict[str, Run], services: dict[str, Service]
) -> None:
    run, service = runs["deferred_execution_timeout"], services["deferred_execution_timeout"]
    run.until("generate", "deferred", tries=2)
    service.finish()
    assert run.wait() == "success"
    assert (service.submissions, service.cancellations) == (1, 0)
    operation_id = run.xcom("generate", "operation_id")
    run.log_says("generate", "AirflowTaskTimeout", f"operation {operation_id} has no answer")
    run.log_says("generate", f"Found an earlier submission of this task: {operation_id}", tries=2)


def test_a_retry_submits_anew_what_failed(runs: dict[str, Run], services: dict[str, Service]) -> None:
    run, service = runs["failed_operation"], services["failed_operation"]
    run.until_settled("generate")
    service.finish()
    run.until_settled("generate", tries=2)
    assert service.states == ["failed", "running"]
    service.finish()
    assert run.wait() == "success"
    assert run.tries("generate") == 2
    failed, succeeded = (operation["id"] for operation in service.emulator.operations())
    assert run.xcom("generate", "operation_id") == succeeded
    run.log_says("generate", "OperationFailed", f"Operation {failed} failed: doomed (code 13)")
    run.log_says("generate", f"Submitted: operation {succeeded}", tries=2)


@needs_journal
def test_a_retry_finds_what_was_submitted_before_the_task_could_defer(
    runs: dict[str, Run], services: dict[str, Service]
) -> None:
    run, service = runs["fails_before_it_defers"], services["fails_before_it_defers"]
    run.until("generate", "deferred", tries=2)
    service.finish()
    assert run.wait() == "success"
    assert run.tries("generate") == 2
    assert service.submissions == 1
    operation_id = run.xcom("generate", "operation_id")
    run.log_says("generate", f"Submitted: operation {operation_id}", "the first attempt ends here")
    run.log_says("generate", f"Found an earlier submission of this task: {operation_id}", tries=2)
    assert run.xcom("generate") == service.text(operation_id)


@needs_journal
def test_a_cleared_success_takes_the_answer_that_is_paid_for(runs: dict[str, Run], service: LocalEmulator) -> None:
    run = runs["clear_succeeded"]
    assert run.wait() == "success"
    text, operation_id = run.xcom("generate"), run.xcom("generate", "operation_id")
    run.clear("generate", keep_state=True)
    run.until("generate", "success", tries=2)
    assert run.wait() == "success"
    assert (run.xcom("generate"), run.xcom("generate", "operation_id")) == (text, operation_id)
    submitted = [op["id"] for op in service.operations() if op["prompt_head"] == PLANS["clear_succeeded"].prompt]
    assert submitted == [operation_id]
    assert run.deferrals("generate") == 1  # the second attempt had nothing to wait for


@needs_journal
def test_a_cleared_wait_whose_state_is_kept_is_taken_up_again(
    runs: dict[str, Run], services: dict[str, Service]
) -> None:
    run, service = runs["clear_kept"], services["clear_kept"]
    service.until_watched()
    run.clear("generate", keep_state=True)
    run.until("generate", "deferred", tries=2)
    run.log_says("generate", "goes on")  # at once, or for now: Airflow 3.4 ends the log a second later
    assert service.states == ["running"]
    service.finish()
    assert run.wait() == "success"
    assert run.tries("generate") == 2
    assert (service.submissions, service.cancellations) == (1, 0)
    assert run.xcom("generate") == service.text(run.xcom("generate", "operation_id"))


@pytest.mark.parametrize(("plan", "told"), [("clear_deferred", TRIGGERS_ARE_TOLD), ("clear_on_worker", True)])
def test_a_cleared_wait_goes_on_or_starts_over_as_this_airflow_means_it(
    runs: dict[str, Run], services: dict[str, Service], plan: str, told: bool
) -> None:
    run, service = runs[plan], services[plan]
    waiting = "running" if plan == "clear_on_worker" else "deferred"
    service.until_watched()
    run.clear("generate")
    run.until("generate", waiting, tries=2)
    if JOURNAL_LASTS and not CLEAR_DISCARDS:
        run.log_says("generate", "Found an earlier submission", tries=2)
        run.log_says("generate", "goes on: its task will run again")
        assert service.states == ["running"]
    else:
        run.log_says("generate", "Submitted: operation", tries=2)
        states = ["cancelled" if told else "running", "running"]
        eventually(lambda: service.states == states, lambda: f"{states}: {service.states}")
    service.finish()
    assert run.wait() == "success"
    assert run.xcom("generate") == service.text(run.xcom("generate", "operation_id"))


@pytest.mark.skipif(JOURNAL_LASTS, reason="what Airflow 3.2 does instead of the tests that need a journal")
def test_without_a_journal_another_attempt_pays_again_and_says_so(
    runs: dict[str, Run], services: dict[str, Service]
) -> None:
    run, service = runs["fails_before_it_defers"], services["fails_before_it_defers"]
    run.until("generate", "deferred", tries=2)
    run.log_says("generate", "has no task_state_store", tries=2)
    assert service.states == ["running", "running"]
    service.finish()
    assert run.wait() == "success"


def test_a_lost_answer_is_submitted_anew_and_accounted_for(runs: dict[str, Run], services: dict[str, Service]) -> None:
    run, service = runs["lost_answer"], services["lost_answer"]
    run.until("generate", "deferred")
    service.finish()
    assert run.wait() == "success"
    assert run.tries("generate") == 1
    assert service.states == ["succeeded", "succeeded"]
    assert run.xcom("generate", "operation_id") == service.emulator.operations()[1]["id"]
    run.log_says("generate", "up to one generation may have been billed without a use", "Submitting anew")


def test_a_lost_answer_ends_a_task_that_must_not_pay_twice(runs: dict[str, Run], services: dict[str, Service]) -> None:
    run = runs["lost_answer_is_final"]
    assert run.wait() == "failed"
    assert run.tries("generate") == 1
    assert services["lost_answer_is_final"].submissions == 1
    run.log_says("generate", "SubmissionUnknown", "It was not submitted again")
