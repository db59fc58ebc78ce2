"""A run of a bulk task, of a submission and of its sensor must not hold out of order: each claim is broken here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tools.chaos.agenda import Hit
from tools.chaos.causes import Death
from tools.chaos.claims import account_of, common_claims
from tools.chaos.jobs import GROUP, Job
from tools.chaos.logs import Line
from tools.chaos.plan import Plan
from tools.chaos.run import Outcome

T = 1_000_000.0
PROMPTS = tuple(f"The job chaos-000.{row:02d} wants its own sentence back." for row in range(3))
BULK = Job("chaos-000", "bulk", PROMPTS, "chaos", 0, -1, "chaos_api_key", folder=True, die_at=("taken",))
SUBMIT = Job("chaos-001", "submit", ("The job chaos-001 wants its own.",), "chaos", 0, -1, "chaos_iam_token")
WATCH = Job("chaos-002", "watch", SUBMIT.prompts, "chaos", 0, -1, "chaos_gateway", from_trigger=True)
FAULTS = (
    {"route": "completionAsync", "kind": "operation_error", "match": "chaos-000.01 "},
    {"route": "completionAsync", "kind": "lost_answer", "match": "chaos-000.02 "},
)
PLAN = Plan(1, (BULK, SUBMIT, WATCH), 8, faults=FAULTS)
KNOWN = "no operation is paid for again that was known"
TIED = "each that got lost is tied to a death or a lost answer"
COUNTED = "each manifest counts what was paid for"
TEXTS = "every text is right, byte for byte"
SUSPECTED = "no submission is called unknown without a reason"
DIED = "every planned death took place"
ACCOUNTED = "every operation is accounted for"


def id_of(number: int) -> str:
    return f"d7q{number:017d}"


def operation(number: int, prompt: str, at: float = 0.0, state: str = "succeeded") -> dict[str, Any]:
    return {"id": id_of(number), "prompt_head": prompt, "state": state, "at": T + at}


@pytest.fixture
def outcome() -> Outcome:
    """A run in order: the bulk task died in its first group; later one row failed once, and an answer got lost."""
    return Outcome(
        dags={"chaos": "success after 9 s"},
        states={job.name: "success" for job in PLAN.jobs},
        texts={"chaos-000": list(PROMPTS), "chaos-001": id_of(9), "chaos-002": SUBMIT.prompts[0]},
        manifests={"chaos-000": {"submissions": 4, "repeated_rows": 1, "lost_submissions": 3}},
        used={"chaos-001": id_of(9), "chaos-002": id_of(9)},
        ledgers={"chaos-000": frozenset(map(id_of, (2, 3, 5, 6)))},
        expected={"chaos-000": list(PROMPTS), "chaos-001": SUBMIT.prompts[0], "chaos-002": SUBMIT.prompts[0]},
        operations=[
            operation(0, PROMPTS[0]),
            operation(1, PROMPTS[1]),
            operation(2, PROMPTS[0], 10),
            operation(3, PROMPTS[1], 10, "failed"),
            operation(4, PROMPTS[2], 11),
            operation(5, PROMPTS[2], 20),
            operation(6, PROMPTS[1], 21),
            operation(9, SUBMIT.prompts[0]),
        ],
        stats={"submissions": 8},
        faults=[{**fault, "times": 0, "hits": [T + 11]} for fault in FAULTS],
        failed_attempts={"chaos-000": {1: set()}},
        logs={
            BULK.key: [
                Line(2, "2 rows of chunk 0 may have been billed without a use: …", at=T + 9),
                Line(2, "The answer … 1 row of chunk 0 may have been billed without a use.", at=T + 12),
            ],
            SUBMIT.key: [Line(1, f"Submitted: operation {id_of(9)}", at=T)],
        },
        deaths={"chaos-000": {"taken": Death(1, T + 0.1, "died by plan: taken")}},
    )


def broken(outcome: Outcome, plan: Plan = PLAN) -> list[str]:
    claims = common_claims(plan, outcome, account_of(plan, outcome)).claims
    return [text for good, text, _ in claims if not good and text]


def test_a_run_in_order_holds(outcome: Outcome) -> None:
    assert broken(outcome) == []
    assert GROUP >= 2


def swap_two_rows(outcome: Outcome) -> None:
    outcome.texts["chaos-000"] = [PROMPTS[1], PROMPTS[0], PROMPTS[2]]


def drop_a_row(outcome: Outcome) -> None:
    outcome.texts["chaos-000"].pop()


def write_a_row_twice(outcome: Outcome) -> None:
    outcome.texts["chaos-000"].append(PROMPTS[2])


def forge_what_the_sensor_returns(outcome: Outcome) -> None:
    outcome.texts["chaos-002"] += " "


def return_another_id(outcome: Outcome) -> None:
    outcome.texts["chaos-001"] = id_of(2)


def forget_what_the_ledger_knew(outcome: Outcome) -> None:
    """The row was asked again although its operation was written down."""
    outcome.ledgers["chaos-000"] |= {id_of(0)}
    outcome.manifests["chaos-000"]["submissions"] = 5
    outcome.manifests["chaos-000"]["lost_submissions"] = 2


def lose_more_than_the_log_says(outcome: Outcome) -> None:
    outcome.logs[BULK.key][0] = Line(2, "1 row of chunk 0 may have been billed without a use: …", at=T + 9)
    outcome.manifests["chaos-000"]["lost_submissions"] = 2


def lose_without_a_death(outcome: Outcome) -> None:
    outcome.deaths["chaos-000"]["taken"] = Death(1, T - 60, "died by plan: taken")


def die_elsewhere(outcome: Outcome) -> None:
    outcome.deaths["chaos-000"] = {"before_defer": Death(1, T, "died by plan: before_defer")}


def lose_more_than_a_group(outcome: Outcome) -> None:
    """One death explains no more than what was under way together."""
    outcome.operations.insert(0, operation(7, PROMPTS[2]))
    outcome.stats["submissions"] = 9
    outcome.logs[BULK.key][0] = Line(2, "3 rows of chunk 0 may have been billed without a use: …", at=T + 9)
    outcome.manifests["chaos-000"]["lost_submissions"] = 4


def suspect_more_than_a_group(outcome: Outcome) -> None:
    outcome.logs[BULK.key].append(Line(3, "9 rows of chunk 0 may have been billed without a use: …", at=T + 9))


def count_too_few(outcome: Outcome) -> None:
    outcome.manifests["chaos-000"]["submissions"] = 3


def hide_a_loss(outcome: Outcome) -> None:
    outcome.manifests["chaos-000"]["lost_submissions"] = 2


def invent_a_loss(outcome: Outcome) -> None:
    outcome.manifests["chaos-000"]["lost_submissions"] = 4


def hide_a_failure(outcome: Outcome) -> None:
    outcome.manifests["chaos-000"]["repeated_rows"] = 0


def submit_twice_for_the_sensor(outcome: Outcome) -> None:
    outcome.operations.append(operation(8, SUBMIT.prompts[0]))
    outcome.stats["submissions"] = 9


def cancel_a_row(outcome: Outcome) -> None:
    outcome.operations[0]["state"] = "cancelled"


def kill_nobody(outcome: Outcome) -> None:
    outcome.deaths = {}
    outcome.hits = [Hit(BULK.index, T, "its process is killed", attempt=1)]


def fail_the_sensor(outcome: Outcome) -> None:
    outcome.states["chaos-002"] = "failed"


def test_a_text_of_an_operation_that_the_ledger_never_knew_is_nobody_s(outcome: Outcome) -> None:
    outcome.ledgers["chaos-000"] -= {id_of(2)}
    assert "every text is of an operation that was paid for it" in broken(outcome)


@pytest.mark.parametrize(
    ("break_it", "claims"),
    [
        (swap_two_rows, [TEXTS]),
        (drop_a_row, [TEXTS]),
        (write_a_row_twice, [TEXTS]),
        (forge_what_the_sensor_returns, [TEXTS]),
        (return_another_id, [TEXTS]),
        (forget_what_the_ledger_knew, [KNOWN]),
        (lose_more_than_the_log_says, [ACCOUNTED, COUNTED]),
        (lose_without_a_death, [TIED]),
        (die_elsewhere, [TIED, SUSPECTED, DIED]),
        (lose_more_than_a_group, [TIED, SUSPECTED]),
        (suspect_more_than_a_group, [SUSPECTED]),
        (count_too_few, [COUNTED]),
        (hide_a_loss, [COUNTED]),
        (invent_a_loss, [COUNTED]),
        (hide_a_failure, [COUNTED]),
        (submit_twice_for_the_sensor, [ACCOUNTED]),
        (cancel_a_row, ["no operation was cancelled although wanted"]),
        (kill_nobody, [DIED]),
        (fail_the_sensor, ["all tasks succeed"]),
    ],
)
def test_each_claim_can_fail(outcome: Outcome, break_it: Callable[[Outcome], None], claims: list[str]) -> None:
    break_it(outcome)
    assert broken(outcome) == claims
