"""The account of the chaos run must not find a run in order that is not: what it judges, judged here."""

from __future__ import annotations

from typing import Any

import pytest

from tools.chaos.account import AFTER, BEFORE, UNKNOWN, UNWRITTEN, WRONG, Cause, Created, Told, Verdict, settle
from tools.chaos.causes import Death, causes_of, faults_without_effect, lost_answers, not_met
from tools.chaos.logs import REPLACED, SIGNAL, Line, kills, reason_of

FIRST, SECOND, THIRD = "d7q00000000000000001", "d7q00000000000000002", "d7q00000000000000003"
SUSPICION = f"The fate of a submission is unknown: …: {UNKNOWN} without a use. Submitting anew"
T = 1_000_000.0
"""When the operations are created."""

DEATH = Cause(T + 1, "its process is killed")


def verdicts(*operations: Created, lines: list[str], used: str = SECOND, **more: Any) -> list[Verdict]:
    return list(settle(operations, {"job": Told({used}, lines, **more)}).verdicts.values())


def done(id_: str, state: str = "succeeded") -> Created:
    return Created(id_, state, "job", T)


def test_an_operation_whose_text_is_used_is_accounted_for() -> None:
    assert verdicts(done(SECOND), lines=[]) == [Verdict.USED]


def test_an_operation_that_no_log_accounts_for_is_found() -> None:
    assert verdicts(done(FIRST), done(SECOND), lines=[], causes=[DEATH]) == [Verdict.UNACCOUNTED, Verdict.USED]


def test_a_line_and_a_death_account_for_one_operation() -> None:
    assert verdicts(done(FIRST), done(SECOND), lines=[SUSPICION], causes=[DEATH]) == [Verdict.LOST, Verdict.USED]


def test_a_line_alone_accounts_for_nothing() -> None:
    """Else a client that forgets what it has paid for, and says so, would pass."""
    assert verdicts(done(FIRST), done(SECOND), lines=[SUSPICION]) == [Verdict.UNTIED, Verdict.USED]


def test_one_line_accounts_for_one_operation_whatever_happened() -> None:
    deaths = [DEATH, Cause(T + 2, "its answer got lost")]
    found = verdicts(done(FIRST), done(THIRD), done(SECOND), lines=[SUSPICION], causes=deaths)
    assert found == [Verdict.LOST, Verdict.UNACCOUNTED, Verdict.USED]


def test_one_death_accounts_for_one_operation_however_many_lines_there_are() -> None:
    found = verdicts(done(FIRST), done(THIRD), done(SECOND), lines=[SUSPICION] * 2, causes=[DEATH])
    assert found == [Verdict.LOST, Verdict.UNTIED, Verdict.USED]


@pytest.mark.parametrize(("seconds", "verdict"), [(BEFORE, Verdict.LOST), (-AFTER, Verdict.LOST)])
def test_a_death_explains_what_was_created_near_it(seconds: float, verdict: Verdict) -> None:
    near, far = Cause(T + seconds, "killed"), Cause(T + seconds * 1.01, "killed")
    assert verdicts(done(FIRST), lines=[SUSPICION], causes=[near]) == [verdict]
    assert verdicts(done(FIRST), lines=[SUSPICION], causes=[far]) == [Verdict.UNTIED]


def test_the_death_of_another_task_explains_nothing() -> None:
    told = {"job": Told({SECOND}, [SUSPICION]), "other": Told((), [], [DEATH])}
    assert settle([done(FIRST), done(SECOND)], told).of(Verdict.UNTIED) == [f"{FIRST} of job"]


@pytest.mark.parametrize("lines", [[f"Submitted: operation {FIRST}"], [f"Submitted: operation {FIRST}", SUSPICION]])
def test_what_a_log_names_was_known_and_must_not_be_paid_for_again(lines: list[str]) -> None:
    """Whether or not another attempt calls it unknown, and whatever happened to the task."""
    found = verdicts(done(FIRST), done(SECOND), lines=lines, causes=[DEATH])
    assert found == [Verdict.SUPERSEDED, Verdict.USED]
    assert Verdict.SUPERSEDED in WRONG


def test_an_id_that_could_not_be_written_down_is_lost_with_its_attempt() -> None:
    lines = [f"Operation {FIRST} {UNWRITTEN} (404)", f"Submitted: operation {FIRST}", SUSPICION]
    assert verdicts(done(FIRST), done(SECOND), lines=lines, causes=[DEATH]) == [Verdict.UNWRITTEN, Verdict.USED]
    assert verdicts(done(FIRST), done(SECOND), lines=lines) == [Verdict.UNTIED, Verdict.USED]
    assert verdicts(done(FIRST), done(SECOND), lines=lines[:2], causes=[DEATH])[0] is Verdict.UNACCOUNTED


def test_a_failed_operation_must_be_named() -> None:
    failed = done(FIRST, "failed")
    assert verdicts(failed, done(SECOND), lines=[f"Operation {FIRST}: it ended"]) == [Verdict.FAILED, Verdict.USED]
    assert verdicts(failed, done(SECOND), lines=[]) == [Verdict.UNACCOUNTED, Verdict.USED]


def test_a_cancelled_operation_is_told_apart() -> None:
    found = verdicts(done(FIRST, "cancelled"), done(SECOND), lines=[SUSPICION], causes=[DEATH])
    assert found == [Verdict.CANCELLED, Verdict.USED]


RESPONSE = "0b5f6f3e-7f57-4f6e-9d0c-1a2b3c4d5e6f"


def test_a_response_is_known_by_its_name_in_the_log_like_an_operation() -> None:
    found = verdicts(done(RESPONSE), done(SECOND), lines=[f"Submitted: operation {RESPONSE}"])
    assert found == [Verdict.SUPERSEDED, Verdict.USED]


BILLED = "%s of chunk 0 may have been billed without a use"


@pytest.mark.parametrize(
    ("line", "verdict"), [(BILLED % "2 rows", Verdict.LOST), (BILLED % "1 row", Verdict.UNACCOUNTED)]
)
def test_a_line_of_a_bulk_task_accounts_for_as_many_operations_as_it_says(line: str, verdict: Verdict) -> None:
    found = verdicts(done(FIRST), done(THIRD), done(SECOND), lines=[line], causes=[DEATH, DEATH])
    assert found == [Verdict.LOST, verdict, Verdict.USED]


def test_what_a_ledger_knew_must_not_be_paid_for_again_though_no_log_names_it() -> None:
    more: dict[str, Any] = {"lines": [BILLED % "2 rows"], "causes": [DEATH]}
    found = verdicts(done(FIRST), done(SECOND), ledger=frozenset({FIRST, SECOND}), **more)
    assert found == [Verdict.SUPERSEDED, Verdict.USED]
    found = verdicts(done(FIRST, "failed"), done(SECOND), ledger=frozenset({FIRST, SECOND}), **more)
    assert found == [Verdict.FAILED, Verdict.USED]


def test_a_task_has_as_many_texts_of_its_own_as_it_has_rows() -> None:
    told = Told({FIRST, SECOND}, [], texts=2)
    assert settle([done(FIRST), done(SECOND)], {"job": told}).unused == []
    assert settle([done(FIRST)], {"job": told}).unused == ["job"]


@pytest.mark.parametrize("state", ["cancelled", "succeeded", "running"])
def test_who_starts_over_leaves_behind_what_was_there_and_nothing_else(state: str) -> None:
    lines = [f"Submitted: operation {FIRST}"]
    second = Created(SECOND, "succeeded", "job", T + 2)
    found = verdicts(done(FIRST, state), second, lines=lines, discarded=[T + 1])
    assert found == [Verdict.LEFT_RUNNING if state == "running" else Verdict.DISCARDED, Verdict.USED]
    found = verdicts(done(FIRST, state), second, lines=lines, discarded=[T - 1])
    assert found[0] in WRONG
    assert verdicts(done(FIRST, state), second, lines=lines, discarded=[T + 3])[1] is Verdict.KEPT
    assert {Verdict.KEPT, Verdict.LEFT_RUNNING} < {*WRONG}


def test_an_operation_that_runs_on_and_is_mentioned_nowhere_is_an_orphan() -> None:
    account = settle([done(FIRST, "running")], {"job": Told((), [])})
    assert account.running_unmentioned == [FIRST]


def test_a_suspicion_that_came_to_nothing_is_counted() -> None:
    assert settle([done(SECOND)], {"job": Told({SECOND}, [SUSPICION])}).suspected == 1


def test_an_attempt_dies_once_however_often_that_is_heard_of() -> None:
    deaths = [Death(1, T, "died by plan: taken"), Death(1, T + 20, "killed, its supervisor saw it"), Death(2, T, "x")]
    answer = Cause(T, "its answer got lost")
    assert causes_of(deaths, [answer]) == [Cause(T, "died by plan: taken"), Cause(T, "x"), answer]


def test_a_group_dies_together_even_with_one_that_was_not_sent_yet() -> None:
    deaths = [Death(1, T, "died by plan: sending", "sending"), Death(2, T, "x", "before_defer")]
    sending, deferring = Cause(T, "died by plan: sending", "taken"), Cause(T, "x", "before_defer")
    assert causes_of(deaths, [], group=2) == [sending, sending, deferring, deferring]
    assert causes_of(deaths, [])[0].stage == "sending"


def test_an_answer_is_lost_by_the_fault_that_was_meant_for_the_job() -> None:
    fault = {"kind": "lost_answer", "route": "completionAsync", "match": "job ", "times": 0, "hits": [T]}
    faults = [fault, {**fault, "match": "job-2 "}, {**fault, "kind": "drop"}, {**fault, "match": None}]
    assert list(lost_answers(faults, "job")) == [Cause(T, "its answer got lost")]
    assert list(lost_answers([{**fault, "match": "job.07 "}], "job")) == [Cause(T, "its answer got lost")]


@pytest.mark.parametrize("route", ["completionAsync", "responses.create", "operations.get"])
def test_a_fault_of_a_submission_is_a_reason_to_call_it_unknown_on_either_api(route: str) -> None:
    fault = {"kind": "drop", "route": route, "match": "job ", "times": 0, "hits": [T]}
    faults = [fault, {**fault, "match": "job.07 "}, {**fault, "match": "job-2 "}, {**fault, "kind": "delay"}]
    assert faults_without_effect(faults, "job") == (0 if route == "operations.get" else 2)


def test_a_fault_that_hit_less_often_than_planned_did_not_take_place() -> None:
    fault: dict[str, Any] = {"kind": "drop", "route": "operations.get", "match": None, "times": 0, "hits": [T, T]}
    plan = [{name: fault[name] for name in ("kind", "route", "match")} | {"times": 2}]
    assert not_met([fault, {**fault, "times": 5}], plan) == []
    assert not_met([{**fault, "times": 1}], plan) == ["drop at operations.get: hit 2 time(s), 1 left"]
    assert not_met([{**fault, "hits": [T]}], plan) == ["drop at operations.get: hit 1 time(s), 0 left"]
    assert not_met([], plan) == ["drop at operations.get: the service never had it"]
    assert not_met([{**fault, "hits": []}], []) == ["drop at operations.get: hit 0 time(s), 0 left"]


def test_a_log_tells_when_its_attempt_was_killed() -> None:
    lines = [Line(1, "Submitting", (), T), Line(1, f"{SIGNAL} …", (), T + 1), Line(2, f"{REPLACED} …", (), T + 2)]
    assert list(kills([*lines, Line(3, f"{SIGNAL} …")])) == [
        (1, T + 1, "killed by a signal"),
        (2, T + 2, "ended by Airflow"),
    ]


@pytest.mark.parametrize(
    ("line", "events", "reason"),
    [
        (Line(1, "Process terminated by signal. Likely …"), {"state mismatch"}, "killed, its supervisor saw it"),
        (Line(1, "Task failed", ("OperationFailed",)), set(), "raised OperationFailed"),
        (Line(1, "Pausing task as DEFERRED."), {"state mismatch"}, "Airflow's resume race"),
        (Line(2, "of another attempt"), {"heartbeat timeout"}, "killed with its supervisor"),
    ],
)
def test_why_an_attempt_failed_is_read_from_log_and_events(line: Line, events: set[str], reason: str) -> None:
    assert reason_of([line], 1, events=events).startswith(reason)
