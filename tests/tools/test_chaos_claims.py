"""A run that is not in order must not hold: each claim is broken here once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from tools.chaos.account import UNKNOWN
from tools.chaos.agenda import CLEARED, Hit
from tools.chaos.causes import Death
from tools.chaos.claims import RESET_SECONDS, account_of, common_claims, unforeseen
from tools.chaos.jobs import STAGES, Job
from tools.chaos.logs import Line
from tools.chaos.plan import GATEWAY, LOOKUPS, ROTATE_API_KEYS, ROTATE_IAM, Plan
from tools.chaos.report import Report
from tools.chaos.run import Outcome
from tools.chaos.secrets import spilled_in

T = 1_000_000.0
FIRST, SECOND, THIRD = "d7q00000000000000001", "d7q00000000000000002", "d7q00000000000000003"
PROMPT = "The job chaos-000 wants its own sentence back."
JOB = Job("chaos-000", "generate", (PROMPT,), "chaos", 0, 0, "chaos_api_key", die_at=("taken",))
FAULT = {"route": "completionAsync", "kind": "drop", "match": "chaos-000 "}
PLAN = Plan(1, (JOB,), 8, faults=(FAULT,), events=(("kill a task",),))
TIED = "each that got lost is tied to a death or a lost answer"


def operation(id_: str, **changes: Any) -> dict[str, Any]:
    return {"id": id_, "state": "succeeded", "prompt_head": PROMPT, "at": T, **changes}


@pytest.fixture
def outcome() -> Outcome:
    """A run in order: the first attempt died when its request was taken, the second one paid again and said so."""
    return Outcome(
        dags={"chaos": "success after 9 s"},
        states={JOB.name: "success"},
        texts={JOB.name: PROMPT},
        used={JOB.name: SECOND},
        expected={JOB.name: PROMPT},
        operations=[operation(FIRST), operation(SECOND, at=T + 10)],
        stats={"submissions": 2},
        faults=[{**FAULT, "times": 0, "hits": [T - 1]}],
        failed_attempts={JOB.name: {1: set()}},
        logs={JOB.key: [Line(1, "Submitting", at=T), Line(2, f"… {UNKNOWN} …", at=T + 9)]},
        deaths={JOB.name: {"taken": Death(1, T + 0.1, "died by plan: taken")}},
        events=["kill a task"],
    )


def claims(outcome: Outcome, plan: Plan = PLAN) -> Report:
    return common_claims(plan, outcome, account_of(plan, outcome))


def broken(outcome: Outcome, plan: Plan = PLAN) -> list[str]:
    return [text for good, text, _ in claims(outcome, plan).claims if not good and text]


def test_a_run_in_order_holds(outcome: Outcome) -> None:
    assert claims(outcome).holds


def fail(outcome: Outcome) -> None:
    outcome.states[JOB.name] = "failed"


def forge(outcome: Outcome) -> None:
    outcome.texts[JOB.name] = PROMPT + " "


def disagree(outcome: Outcome) -> None:
    outcome.dags["chaos"] = "failed after 9 s"


def keep_quiet(outcome: Outcome) -> None:
    outcome.logs[JOB.key].pop()


def name_it(outcome: Outcome) -> None:
    outcome.logs[JOB.key].append(Line(1, f"Submitted: operation {FIRST}", at=T))


def lose_without_a_death(outcome: Outcome) -> None:
    outcome.deaths[JOB.name]["taken"] = Death(1, T - 60, "died by plan: taken")


def cancel(outcome: Outcome) -> None:
    outcome.operations[0]["state"] = "cancelled"


def survive(outcome: Outcome) -> None:
    outcome.deaths = {}
    outcome.hits = [Hit((JOB.task_id, 0), T, "its process is killed", attempt=1)]


def spare(outcome: Outcome) -> None:
    outcome.faults[0] |= {"times": 1, "hits": []}


def miss(outcome: Outcome) -> None:
    outcome.missed.append("rotate the API keys: nobody met it")


def spill(outcome: Outcome) -> None:
    outcome.spilled.append("API key 1 of chaos_api_key in scheduler.log")


def drop_a_planned_fault(outcome: Outcome) -> None:
    outcome.faults = []


def plant_another_fault(outcome: Outcome) -> None:
    outcome.faults[0]["kind"] = "garbage"


def hide_operations(outcome: Outcome) -> None:
    outcome.stats["submissions"] = 99


def alarm_without_a_cause(outcome: Outcome) -> None:
    """The death and the dropped request are a reason each; a third line has none."""
    outcome.logs[JOB.key] += [Line(2, f"… {UNKNOWN} …", at=T + 9)] * 2


def start_over(outcome: Outcome, at: float = T + 5, *also: float) -> None:
    outcome.logs[JOB.key] = [Line(1, f"Submitted: operation {row['id']}", at=T) for row in outcome.operations]
    outcome.hits = [Hit((JOB.task_id, 0), each, CLEARED, discards=True) for each in (at, *also)]


def ignore_a_fresh_start(outcome: Outcome) -> None:
    outcome.operations.pop(0)
    outcome.stats["submissions"] = 1
    start_over(outcome, T + 11)


def leave_it_running(outcome: Outcome) -> None:
    start_over(outcome)
    outcome.operations[0]["state"] = "running"


def pay_twice_before_one_fresh_start(outcome: Outcome) -> None:
    outcome.operations.insert(1, operation(THIRD, at=T + 2))
    outcome.stats["submissions"] = 3
    start_over(outcome)


def skip_an_event(outcome: Outcome) -> None:
    outcome.events = []


def lose_a_dag(outcome: Outcome) -> None:
    outcome.dags = {}


def return_the_prompt(outcome: Outcome) -> None:
    outcome.used = {}
    outcome.operations.pop()
    outcome.stats["submissions"] = 1


def raise_something_raw(outcome: Outcome) -> None:
    outcome.logs[JOB.key].append(Line(2, "Task failed", ("KeyError",), T + 20))
    outcome.failed_attempts[JOB.name][2] = set()


@pytest.mark.parametrize(
    ("break_it", "claim"),
    [
        (fail, "all tasks succeed"),
        (forge, "every text is right, byte for byte"),
        (disagree, "the task that compares them downstream agrees"),
        (keep_quiet, "every operation is accounted for"),
        (name_it, "no operation is paid for again that was known"),
        (lose_without_a_death, TIED),
        (cancel, "no operation was cancelled although wanted"),
        (survive, "every planned death took place"),
        (spare, "every planned fault took place"),
        (miss, "every planned event took place, and met somebody"),
        (spill, "no secret is in a log, a table or an XCom"),
        (drop_a_planned_fault, "every planned fault took place"),
        (plant_another_fault, "every planned fault took place"),
        (hide_operations, "every operation is accounted for"),
        (alarm_without_a_cause, "no submission is called unknown without a reason"),
        (ignore_a_fresh_start, "who is cleared to start over does"),
        (leave_it_running, "who is cleared to start over does"),
        (pay_twice_before_one_fresh_start, "no operation is paid for again that was known"),
        (skip_an_event, "every planned event took place, and met somebody"),
        (lose_a_dag, "the task that compares them downstream agrees"),
        (return_the_prompt, "every text is of an operation that was paid for it"),
        (raise_something_raw, "no attempt raises what nothing explains"),
    ],
)
def test_each_claim_can_fail_alone(outcome: Outcome, break_it: Callable[[Outcome], None], claim: str) -> None:
    break_it(outcome)
    assert broken(outcome) == [claim]


def test_an_operation_that_runs_on_unmentioned_breaks_its_claim_too(outcome: Outcome) -> None:
    outcome.operations[0]["state"] = "running"
    keep_quiet(outcome)
    assert "no operation runs on that no log mentions" in broken(outcome)


@pytest.mark.parametrize(
    ("seconds", "holds"), [(0.0, True), (RESET_SECONDS, True), (RESET_SECONDS + 1, False), (-1.0, False)]
)
def test_an_attempt_without_a_word_died_only_where_a_scheduler_began(
    outcome: Outcome, seconds: float, holds: bool
) -> None:
    outcome.logs[JOB.key][0] = Line(2, "Submitting", at=T)
    outcome.deaths[JOB.name]["taken"] = Death(7, T - 99, "died by plan: taken")
    outcome.ended = {JOB.name: {1: T}}
    outcome.schedulers = [T - seconds]
    assert claims(outcome).holds is holds


def test_an_attempt_that_raised_was_not_killed(outcome: Outcome) -> None:
    outcome.logs[JOB.key].append(Line(1, "Task failed", ("KeyError",), T))
    outcome.deaths[JOB.name]["taken"] = Death(7, T - 99, "died by plan: taken")
    outcome.ended = {JOB.name: {1: T}}
    outcome.schedulers = [T]
    assert TIED in broken(outcome)


def test_the_gateway_s_death_explains_what_its_tasks_lost(outcome: Outcome) -> None:
    outcome.deaths[JOB.name]["taken"] = Death(7, T - 99, "died by plan: taken")
    assert not claims(outcome).holds
    outcome.hits = [Hit((JOB.task_id, 0), T, "the gateway dies")]
    assert claims(outcome).holds
    outcome.hits = [Hit((JOB.task_id, 1), T, "the gateway dies")]
    assert not claims(outcome).holds


@pytest.mark.parametrize("clears", [(T + 5,), (T + 5, T + 8)])
def test_who_starts_over_once_or_twice_leaves_one_operation_behind_each_time(
    outcome: Outcome, clears: tuple[float, ...]
) -> None:
    if len(clears) == 2:
        outcome.operations.insert(1, operation(THIRD, at=T + 6))
        outcome.stats["submissions"] = 3
    start_over(outcome, *clears)
    assert claims(outcome).holds


@pytest.mark.parametrize("stage", STAGES)
def test_an_id_gets_lost_by_a_death_between_request_and_answer_alone(outcome: Outcome, stage: str) -> None:
    """Else a task that neither writes its id down nor tells it would pass, wherever it dies."""
    outcome.deaths = {JOB.name: {stage: Death(1, T + 0.1, f"died by plan: {stage}")}}
    plan = replace(PLAN, jobs=(replace(JOB, die_at=(stage,)),))
    assert broken(outcome, plan) == ([] if stage == "taken" else [TIED])


@pytest.mark.parametrize("stage", STAGES)
def test_a_death_leaves_a_suspicion_between_intent_and_answer_alone(outcome: Outcome, stage: str) -> None:
    outcome.operations.pop(0)
    outcome.stats["submissions"] = 1
    outcome.faults[0] |= {"match": "chaos-001 "}
    outcome.deaths = {JOB.name: {stage: Death(1, T + 0.1, f"died by plan: {stage}")}}
    job, fault = replace(JOB, die_at=(stage,)), {**FAULT, "match": "chaos-001 "}
    alarm = ["no submission is called unknown without a reason"]
    found = broken(outcome, replace(PLAN, jobs=(job,), faults=(fault,)))
    assert found == ([] if stage in ("sending", "taken") else alarm)


@pytest.mark.parametrize(
    ("error", "conn_id", "event", "holds"),
    [
        ("AuthenticationError", "chaos_api_key", ROTATE_API_KEYS, True),
        ("AuthenticationError", "chaos_api_key", ROTATE_IAM, False),
        ("AuthenticationError", "chaos_api_key", "outage", False),
        ("ConnectionNotFound", "chaos_vault", LOOKUPS, True),
        ("ConnectionNotFound", "chaos_api_key", LOOKUPS, False),
        ("ServiceUnavailable", "chaos_gateway", GATEWAY, True),
        ("ServiceUnavailable", "chaos_api_key", GATEWAY, False),
        ("ServiceUnavailable", "chaos_api_key", "outage", True),
        ("AirflowRuntimeError", "chaos_api_key", "restart all", True),
        ("OperationFailed", "chaos_api_key", "restart all", False),
        ("TriggerEventError", "chaos_api_key", "restart all", False),
    ],
)
def test_an_attempt_raises_what_an_event_of_its_own_connection_explains(
    outcome: Outcome, error: str, conn_id: str, event: str, holds: bool
) -> None:
    raise_something_raw(outcome)
    outcome.logs[JOB.key][-1] = Line(2, "Task failed", (error,), T + 20)
    outcome.events.append(event)
    assert claims(outcome, replace(PLAN, jobs=(replace(JOB, conn_id=conn_id),))).holds is holds


def test_an_operation_fails_where_that_was_planned(outcome: Outcome) -> None:
    raise_something_raw(outcome)
    outcome.logs[JOB.key][-1] = Line(2, "Task failed", ("OperationFailed",), T + 20)
    fault = {**FAULT, "kind": "operation_error"}
    outcome.faults.append({**fault, "times": 0, "hits": [T]})
    assert claims(outcome, replace(PLAN, faults=(FAULT, fault))).holds


def test_a_way_to_the_service_that_costs_most_tasks_an_attempt_is_no_chance() -> None:
    jobs = tuple(
        replace(JOB, name=f"chaos-{n:03d}", prompts=(f"The job chaos-{n:03d} …",), map_index=n, die_at=())
        for n in range(4)
    )
    outcome = Outcome(events=[ROTATE_API_KEYS], stats={"submissions": 0})
    plan = Plan(1, jobs, 8)
    for job in jobs[:2]:
        outcome.failed_attempts[job.name] = {1: set()}
        outcome.logs[job.key] = [Line(1, "Task failed", ("AuthenticationError",), T)]
    assert list(unforeseen(plan, outcome)) == []
    outcome.failed_attempts[jobs[2].name] = {1: set()}
    outcome.logs[jobs[2].key] = [Line(1, "Task failed", ("AuthenticationError",), T)]
    assert list(unforeseen(plan, outcome)) == ["chaos_api_key: 3 of 4 tasks"]


def test_a_search_for_secrets_that_sees_nothing_is_told(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs" / "attempt=1.log").write_text(f"Submitted: operation {FIRST}")
    assert list(spilled_in(tmp_path, {"a key": "AQVN.*"}, [FIRST])) == []
    assert list(spilled_in(tmp_path, {"a key": "AQVN.*"}, [FIRST, SECOND]))
    assert list(spilled_in(tmp_path / "logs" / "nowhere", {"a key": "AQVN.*"}, []))
    (tmp_path / "scheduler.log").write_text("AQVNcanary")
    assert list(spilled_in(tmp_path, {"a key": "AQVN.*"}, [FIRST])) == [f"a key in {tmp_path / 'scheduler.log'}"]
