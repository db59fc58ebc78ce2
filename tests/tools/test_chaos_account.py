"""The account of the chaos run must not find a run in order that is not: what it judges, judged here."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tools.chaos.account import UNKNOWN, Created, Told, Verdict, settle
from tools.chaos.logs import Line, reason_of
from tools.chaos.plan import CHAOS_DAG, STAGES, SUBMIT_FAULTS, chaos_plan, quiet_plan

FIRST, SECOND = "d7q00000000000000001", "d7q00000000000000002"
SUSPICION = f"The fate of a submission is unknown: …: {UNKNOWN} without a use. Submitting anew"


def verdicts(*operations: Created, lines: list[str], used: str | None = SECOND) -> list[Verdict]:
    return list(settle(operations, {"job": Told(used, lines)}).verdicts.values())


def done(id_: str) -> Created:
    return Created(id_, "succeeded", "job")


def test_an_operation_whose_text_is_used_is_accounted_for():
    assert verdicts(done(SECOND), lines=[]) == [Verdict.USED]


def test_an_operation_that_no_log_accounts_for_is_found():
    assert verdicts(done(FIRST), done(SECOND), lines=[]) == [Verdict.UNACCOUNTED, Verdict.USED]


def test_to_be_named_in_a_log_does_not_account_for_a_healthy_operation():
    lines = [f"Submitted: operation {FIRST}"]
    assert verdicts(done(FIRST), done(SECOND), lines=lines) == [Verdict.UNACCOUNTED, Verdict.USED]


def test_a_line_about_an_unknown_submission_accounts_for_one_operation():
    assert verdicts(done(FIRST), done(SECOND), lines=[SUSPICION]) == [Verdict.LOST, Verdict.USED]
    assert verdicts(done(FIRST), done(FIRST[:-1] + "3"), done(SECOND), lines=[SUSPICION]) == [
        Verdict.LOST,
        Verdict.UNACCOUNTED,
        Verdict.USED,
    ]


def test_an_operation_that_both_ways_know_is_superseded():
    lines = [f"Submitted: operation {FIRST}", SUSPICION]
    assert verdicts(done(FIRST), done(SECOND), lines=lines) == [Verdict.SUPERSEDED, Verdict.USED]


def test_a_failed_operation_must_be_named():
    failed = replace(done(FIRST), state="failed")
    assert verdicts(failed, done(SECOND), lines=[f"Operation {FIRST}: it ended"]) == [Verdict.FAILED, Verdict.USED]
    assert verdicts(failed, done(SECOND), lines=[]) == [Verdict.UNACCOUNTED, Verdict.USED]


def test_a_cancelled_operation_is_told_apart():
    cancelled = replace(done(FIRST), state="cancelled")
    assert verdicts(cancelled, done(SECOND), lines=[SUSPICION]) == [Verdict.CANCELLED, Verdict.USED]


def test_an_operation_that_runs_on_and_is_mentioned_nowhere_is_an_orphan():
    account = settle([replace(done(FIRST), state="running")], {"job": Told(None, [])})
    assert account.running_unmentioned == [FIRST]


def test_a_suspicion_that_came_to_nothing_is_counted():
    assert settle([done(SECOND)], {"job": Told(SECOND, [SUSPICION])}).suspected == 1


@pytest.mark.parametrize(
    ("line", "events", "reason"),
    [
        (Line(1, "Process terminated by signal. Likely …"), {"state mismatch"}, "killed, its supervisor saw it"),
        (Line(1, "Task failed", ("OperationFailed",)), set(), "raised OperationFailed"),
        (Line(1, "Pausing task as DEFERRED."), {"state mismatch"}, "Airflow's resume race"),
        (Line(2, "of another attempt"), {"heartbeat timeout"}, "killed with its supervisor"),
    ],
)
def test_why_an_attempt_failed_is_read_from_log_and_events(line, events, reason):
    assert reason_of([line], 1, events=events).startswith(reason)


def test_a_plan_follows_from_its_seed_alone():
    assert chaos_plan(40, 7) == chaos_plan(40, 7)
    assert chaos_plan(40, 7) != chaos_plan(40, 8)


@pytest.mark.parametrize("tasks", [40, 200])
def test_a_plan_has_every_death_and_every_fault(tasks):
    plan = chaos_plan(tasks, 1)
    assert {stage for job in plan.jobs for stage in job.die_at} == set(STAGES)
    submit = [fault for fault in plan.faults if fault["route"] == "completionAsync"]
    assert {(fault["kind"], fault.get("status")) for fault in submit} == {
        (fault["kind"], fault.get("status")) for fault in SUBMIT_FAULTS
    }


def test_no_prompt_is_used_twice():
    plan = quiet_plan(200, 1)
    assert len({job.prompt for job in plan.jobs}) == len(plan.jobs) == 400
    assert {job.dag_id for job in plan.jobs} == {"quiet_auto", "quiet_resume"}
    assert {job.dag_id for job in chaos_plan(10, 1).jobs} == {CHAOS_DAG}
