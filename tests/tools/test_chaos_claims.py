"""A run that is not in order must not hold: each claim is broken here once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tools.chaos.account import UNKNOWN
from tools.chaos.agenda import Hit
from tools.chaos.causes import Death
from tools.chaos.claims import RESET_SECONDS, account_of, common_claims
from tools.chaos.logs import Line
from tools.chaos.plan import Job, Plan
from tools.chaos.report import Report
from tools.chaos.run import Outcome

T = 1_000_000.0
FIRST, SECOND = "d7q00000000000000001", "d7q00000000000000002"
PROMPT = "The job chaos-000 wants its own sentence back."
JOB = Job("chaos-000", PROMPT, "chaos", 0, 0, "chaos_api_key", die_at=("taken",))
PLAN = Plan(1, (JOB,), 8, faults=({"route": "completionAsync", "kind": "drop", "match": "chaos-000 "},))


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
        faults=[{"route": "completionAsync", "kind": "drop", "match": "chaos-000 ", "times": 0, "hits": [T - 1]}],
        failed_attempts={JOB.name: {1: set()}},
        logs={JOB.key: [Line(1, "Submitting", at=T), Line(2, f"… {UNKNOWN} …", at=T + 9)]},
        deaths={JOB.name: {"taken": Death(1, T + 0.1, "died by plan: taken")}},
    )


def claims(outcome: Outcome) -> Report:
    return common_claims(PLAN, outcome, account_of(PLAN, outcome))


def broken(outcome: Outcome) -> list[str]:
    return [text for good, text, _ in claims(outcome).claims if not good and text]


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


@pytest.mark.parametrize(
    ("break_it", "claim"),
    [
        (fail, "all tasks succeed"),
        (forge, "every text is right, byte for byte"),
        (disagree, "the task that compares them downstream agrees"),
        (keep_quiet, "every operation is accounted for"),
        (name_it, "no operation is paid for again that was known"),
        (lose_without_a_death, "each that got lost is tied to a death or a lost answer"),
        (cancel, "no operation was cancelled although wanted"),
        (survive, "every planned death took place"),
        (spare, "every planned fault took place"),
        (miss, "every planned event took place, and met somebody"),
        (spill, "no secret is in a log, a table or an XCom"),
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
    assert broken(outcome) == ["each that got lost is tied to a death or a lost answer"]


def test_the_gateway_s_death_explains_what_its_tasks_lost(outcome: Outcome) -> None:
    outcome.deaths[JOB.name]["taken"] = Death(7, T - 99, "died by plan: taken")
    assert not claims(outcome).holds
    outcome.hits = [Hit((JOB.task_id, 0), T, "the gateway dies")]
    assert claims(outcome).holds
    outcome.hits = [Hit((JOB.task_id, 1), T, "the gateway dies")]
    assert not claims(outcome).holds
