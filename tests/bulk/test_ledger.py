"""Each move of a chunk by value, and the ledger as it is written down."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api.models import Usage
from airflow_provider.yandex_ai_studio.bulk.ledger import KEY, Chunk, Head, Ledger
from airflow_provider.yandex_ai_studio.bulk.plan import Plan
from airflow_provider.yandex_ai_studio.bulk.tally import Tally
from support import Store

COUNTS = (6, 5, 4, 3, 2, 1)
TALLY = Tally(COUNTS, Usage(1, 2, 3, 4), 7, 8, 9, 10)
FULL = Chunk(
    number=3,
    size=10,
    digest="d",
    twins={2: (0, "row-0")},
    ids={1: ("op1", 5.5), 4: ("op4", 6.5)},
    intent=(5, 6),
    failures={7: 2},
    losses={0: 1},
    verdicts={8: ("error", {"type": "refused"}), 9: ("missing", None)},
    redo=(1, 2, 4),
    tally=TALLY,
    done=True,
    run="r1",
)
WRITTEN = {
    "number": 3,
    "size": 10,
    "digest": "d",
    "twins": {"2": [0, "row-0"]},
    "ids": {"1": ["op1", 5.5], "4": ["op4", 6.5]},
    "intent": [5, 6],
    "failures": {"7": 2},
    "losses": {"0": 1},
    "verdicts": {"8": ["error", {"type": "refused"}], "9": ["missing", None]},
    "redo": [1, 2, 4],
    "tally": [[6, 5, 4, 3, 2, 1], [1, 2, 3, 4], 7, 8, 9, 10],
    "done": True,
    "run": "r1",
}
EMPTY = {"number": 0, "size": 2, "digest": "d", "tally": [[0] * 6, [0] * 4, 0, 0, 0, 0]}


def test_a_chunk_is_written_down_in_full_and_read_again() -> None:
    """Other attempts, and the next release, read what this one wrote."""
    assert json.loads(json.dumps(FULL.value())) == WRITTEN
    assert Chunk.of(WRITTEN) == FULL


def test_what_is_empty_is_not_written_down() -> None:
    assert Chunk(0, 2, "d").value() == {**EMPTY, "redo": None, "done": False}
    assert Chunk.of(EMPTY) == Chunk(0, 2, "d")
    nothing_again = Chunk(0, 2, "d", redo=())
    assert Chunk.of(nothing_again.value()).redo == ()


def test_tallies_add_up_in_each_of_their_numbers() -> None:
    one = Tally((1, 2, 3, 4, 5, 6), Usage(10, 20, 30, 40), 50, 60, 70, 80)
    assert TALLY.plus(one) == Tally((7, 7, 7, 7, 7, 7), Usage(11, 22, 33, 44), 57, 68, 79, 90)
    assert Tally.of(json.loads(json.dumps(one.value()))) == one
    assert TALLY.without_rows() == Tally(spent=Usage(1, 2, 3, 4), submissions=7, lost=8, repeated=9)
    with pytest.raises(ValueError, match="zip"):
        TALLY.plus(Tally((1,)))


def test_a_tally_of_another_release_is_read_as_far_as_it_is_known() -> None:
    short, long = TALLY.value()[:-1], [*TALLY.value(), "unknown"]
    assert (Tally.of(short), Tally.of(long)) == (Tally(COUNTS, Usage(1, 2, 3, 4), 7, 8, 9), TALLY)


def test_a_row_whose_answers_got_lost_twice_or_in_an_earlier_attempt_is_doubtful() -> None:
    chunk = Chunk(0, 3, "d")
    assert [chunk.lose(1), chunk.is_doubtful(0), chunk.is_doubtful(1)] == [1, False, False]
    assert [chunk.lose(1), chunk.is_doubtful(1)] == [2, True]
    chunk.lose(2)
    chunk.start_over()
    chunk = Chunk.of(json.loads(json.dumps(chunk.value())))
    assert (chunk.losses, [chunk.is_doubtful(row) for row in range(3)]) == ({1: 0, 2: 0}, [False, True, True])
    assert [chunk.lose(1), chunk.tally.lost] == [1, 4]


def test_an_operation_that_takes_too_long_may_be_billed_until_it_is_read() -> None:
    chunk = Chunk(0, 4, "d", ids={row: (f"op{row}", 1.0) for row in range(4)})
    chunk.conclude(0, "error", {"type": "timeout"}, Usage(), keep_operation=True)
    chunk.conclude(1, "error", {"type": "refused"}, Usage())
    assert chunk.late == 1
    chunk.complete((2, 2, 0, 0, 0, 0), Usage(), keep=[0, 1, 3])
    assert (chunk.late, chunk.tally.late, sorted(chunk.ids)) == (1, 1, [0, 3])
    chunk.reopen([0, 1])
    assert (chunk.late, chunk.tally.late, chunk.running) == (0, 0, [0, 3])
    chunk.tally = Tally(late=1)
    chunk.reopen(None)
    assert chunk.tally.late == 0


@pytest.mark.parametrize("rows", [None, [0]])
def test_what_is_read_again_is_counted_when_it_is(rows: list[int] | None) -> None:
    chunk = Chunk(0, 2, "d", ids={0: ("op0", 1.0)})
    chunk.complete((1, 1, 0, 0, 0, 0), Usage(11, 22, 33, 44), keep=[0])
    chunk.reopen(rows, Usage(1, 2, 3, 4))
    assert (chunk.tally.spent, list(chunk.ids)) == (Usage(10, 20, 30, 40), [0])


def test_rows_that_were_counted_are_counted_again_only_where_their_part_is_gone() -> None:
    """Monitoring is told of what comes on top."""
    chunk = Chunk(0, 21, "d", tally=TALLY)
    chunk.reopen([3])
    assert chunk.tally == replace(TALLY, late=0)
    chunk.reopen(None)
    assert chunk.tally == TALLY.without_rows()


def test_an_operation_that_is_struck_out_stays_paid_for() -> None:
    chunk = Chunk(0, 1, "d", ids={0: ("op0", 1.0)})
    chunk.strike_out(0, Usage(1, 2, 3))
    assert (chunk.waiting, chunk.tally) == ([0], Tally(spent=Usage(1, 2, 3)))


def test_a_tally_is_flawed_by_any_row_without_an_answer() -> None:
    assert not Tally((5, 0, 0, 0, 0, 0)).flawed
    assert all(Tally((5, *(int(place == status) for place in range(5)))).flawed for status in range(5))


def test_rows_run_in_the_order_of_their_submission() -> None:
    chunk = Chunk(0, 4, "d")
    chunk.intend([0, 3])
    chunk.intend([1])
    assert (chunk.waiting, chunk.intent) == ([2], (0, 3, 1))
    chunk.submitted(3, "op3", 1.0)
    chunk.submitted(0, "op0", 2.0)
    assert (chunk.running, chunk.ids, chunk.intent) == ([3, 0], {3: ("op3", 1.0), 0: ("op0", 2.0)}, (1,))
    chunk.refused(1)
    assert (chunk.waiting, chunk.tally) == ([1, 2], Tally(submissions=2))


def test_an_attempt_that_was_cut_off_leaves_each_row_of_its_intent_counted_and_waiting() -> None:
    chunk = Chunk(0, 3, "d", intent=(0, 2))
    assert chunk.lose_intent() == 2
    assert (chunk.waiting, chunk.tally) == ([1, 0, 2], Tally(lost=2))
    assert chunk.lose_intent() == 0


def test_a_row_whose_answer_got_lost_waits_behind_the_others_until_another_attempt() -> None:
    chunk = Chunk(0, 3, "d", intent=(0, 1))
    assert [chunk.lose(row) for row in (0, 1, 0)] == [1, 1, 2]
    assert (chunk.waiting, chunk.losses, chunk.tally.lost) == ([2, 1, 0], {0: 2, 1: 1}, 3)
    chunk.start_over()
    assert (chunk.waiting, chunk.losses, chunk.tally.lost) == ([0, 1, 2], {0: 0, 1: 0}, 3)


def test_a_generation_that_failed_is_paid_for_counted_and_waits_again() -> None:
    chunk = Chunk(0, 1, "d", ids={0: ("op0", 1.0)})
    chunk.repeat(0, Usage(1, 2, 3))
    assert (chunk.waiting, chunk.failures, chunk.tally) == ([0], {0: 1}, Tally(spent=Usage(1, 2, 3), repeated=1))
    chunk.submitted(0, "op1", 2.0)
    chunk.repeat(0, Usage(1, 2, 3))
    assert chunk.failures == {0: 2}


@pytest.mark.parametrize(("keep", "ids"), [(False, {}), (True, {0: ("op0", 1.0)})])
def test_a_row_that_failed_for_good_keeps_its_operation_only_where_that_is_read_again(keep: bool, ids: Any) -> None:
    chunk = Chunk(0, 2, "d", ids={0: ("op0", 1.0)}, intent=(0,))
    chunk.conclude(0, "error", {"type": "unreadable"}, Usage(1, 2, 3), keep_operation=keep)
    assert (chunk.ids, chunk.intent, chunk.waiting, chunk.running) == (ids, (), [1], [])
    assert chunk.verdicts == {0: ("error", {"type": "unreadable"})}
    assert chunk.tally == Tally(spent=Usage(1, 2, 3))


def test_a_row_that_was_never_taken_may_fail_for_good_as_well() -> None:
    chunk = Chunk(0, 1, "d", intent=(0,))
    chunk.conclude(0, "error", None, Usage())
    assert (chunk.waiting, chunk.running, chunk.verdicts) == ([], [], {0: ("error", None)})
    chunk = Chunk(0, 1, "d", ids={0: ("op0", 1.0)})
    chunk.conclude(0, "error", None, Usage())
    assert chunk.ids == {}


def test_a_chunk_that_is_complete_counts_its_rows_anew_and_its_tokens_on_top() -> None:
    chunk = Chunk(0, 21, "d", ids={0: ("op0", 1.0), 1: ("op1", 1.0)}, intent=(2,), redo=(3,), tally=TALLY)
    chunk.complete((21, 0, 0, 0, 0, 0), Usage(10, 10, 20), keep=[1, 5])
    assert chunk.tally == Tally((21, 0, 0, 0, 0, 0), Usage(11, 12, 23, 4), 7, 8, 9)
    assert (chunk.ids, chunk.intent, chunk.redo, chunk.done) == ({1: ("op1", 1.0)}, (), None, True)
    chunk.verdicts, chunk.failures = {0: ("error", None)}, {0: 1}
    chunk.reopen([3, 4])
    assert (chunk.done, chunk.redo, chunk.verdicts, chunk.failures) == (False, (3, 4), {}, {})


PLAN = Plan("f", 25, 100, 90, 9, (0, 10, 20), ("a", "b", "c"), {})


def test_a_run_begins_with_what_its_plan_says() -> None:
    head = Head.begin(PLAN, 10, 1.0, "s3://out", "jsonl")
    assert head == Head("f", 25, 10, 1.0, "s3://out", "jsonl", PLAN.longest, [0, 10, 20], ["a", "b", "c"])
    assert [head.size_of(number) for number in range(head.chunks)] == [10, 10, 5]
    about = {"run": "r1", "model": "m", "parameters": {"model": "x"}}
    assert Head.begin(PLAN, 10, 1.0, "s3://out", "jsonl", **about) == replace(head, **about)
    twins = {1: (0, "row-0")}
    assert replace(head, run="r1").chunk(2, twins=twins) == Chunk(2, 5, "c", twins=twins, run="r1")
    head.opened, head.done = 3, {0: TALLY, 2: Tally()}
    assert Head.of(json.loads(json.dumps(head.value()))) == head
    assert head.open == [1]


def test_a_head_of_another_release_is_read_as_far_as_it_is_known() -> None:
    head = Head.begin(PLAN, 10, 1.0, None, "jsonl")
    head.longest_answer, head.reception = 9000, {"lost": 1}
    assert Head.of({**json.loads(json.dumps(head.value())), "unknown": 1}) == head


def test_the_ledger_gives_back_what_was_written_under_a_key_for_each(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    kept: set[timedelta] = set()
    write = store.set
    monkeypatch.setattr(
        store, "set", lambda key, value, *, retention: (kept.add(retention), write(key, value, retention=retention))
    )
    ledger, head = Ledger(store), Head.begin(PLAN, 10, 1.0, None, "jsonl", run="r1")
    chunk = head.chunk(2, ids={0: ("op0", 1.0)})
    assert (ledger.head(), ledger.chunk(head, 2), ledger.writes) == (None, None, 0)
    ledger.write(head)
    ledger.write(chunk)
    assert (ledger.head(), ledger.chunk(head, 2), ledger.chunk(head, 0), ledger.writes) == (head, chunk, None, 2)
    assert store.values.keys() == {KEY, f"{KEY}_2"}
    assert kept == {timedelta(days=7)}
    ledger.forget_chunk(2)
    assert (ledger.head(), ledger.chunk(head, 2)) == (head, None)


@pytest.mark.parametrize("other", [{"run": "r2"}, {"digests": ["a", "b", "x"]}])
def test_a_chunk_of_another_run_or_of_other_rows_is_none_of_this(store: Store, other: dict[str, Any]) -> None:
    head = Head.begin(PLAN, 10, 1.0, None, "jsonl", run="r1")
    ledger = Ledger(store)
    ledger.write(head.chunk(2, ids={0: ("op0", 1.0)}))
    assert ledger.chunk(head, 2)
    assert ledger.chunk(replace(head, **other), 2) is None
