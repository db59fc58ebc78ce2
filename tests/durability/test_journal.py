"""What is written down, and what is decided from it."""

from __future__ import annotations

import json
from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider.yandex_ai_studio.api.models import Failure, Generation, Operation, Usage
from airflow_provider.yandex_ai_studio.durability.journal import (
    KEY,
    Fate,
    Journal,
    Record,
    Step,
    fate_of,
    fingerprint_of,
    first_step,
    request_fingerprint,
)
from airflow_provider.yandex_ai_studio.durability.policy import OnTimeout
from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    BadRequest,
    ConfigurationError,
    NotFound,
    PermissionDenied,
    RateLimited,
    RequestError,
    ServiceUnavailable,
)
from support import Store

ANSWER = Generation("text", "final", Usage())
RECORD = Record("this", 1.0, "d7q1")

records = st.none() | st.builds(
    Record,
    fingerprint=st.sampled_from(["this", "other"]),
    submitted_at=st.floats(0, 2e9),
    operation_id=st.none() | st.text(min_size=1),
)
seen = st.builds(
    Operation,
    id=st.just("d7q1"),
    api=st.just("completion"),
    done=st.booleans(),
    error=st.none() | st.just(Failure(13, "internal")),
    generation=st.none() | st.just(ANSWER),
) | st.sampled_from(
    [NotFound("x"), RateLimited("x"), ServiceUnavailable("x"), AuthenticationError("x"), BadRequest("x")]
)


@pytest.mark.parametrize(
    ("record", "step"),
    [
        (None, Step.SUBMIT),
        (Record("this", 1.0), Step.SETTLE_UNKNOWN),
        (Record("other", 1.0), Step.SETTLE_UNKNOWN),
        (Record("this", 1.0, "d7q1"), Step.LOOK),
        (Record("other", 1.0, "d7q1"), Step.REPLACE),
    ],
)
def test_the_first_step_follows_from_the_record(record: Record | None, step: Step) -> None:
    assert first_step(record, "this") is step


@pytest.mark.parametrize(
    ("operation", "fate"),
    [
        (Operation("d7q1", "completion"), Fate.WAIT),
        (Operation("d7q1", "completion", done=True, generation=ANSWER), Fate.TAKE),
        (Operation("d7q1", "completion", done=True, error=Failure(1, "cancelled")), Fate.TELL),
        (Operation("d7q1", "completion", error=Failure(13, "early")), Fate.SUBMIT_ANEW),
        (Operation("d7q1", "completion", done=True), Fate.SUBMIT_ANEW),
        (NotFound("a gateway's"), Fate.WAIT),
        (AuthenticationError("rotated"), Fate.WAIT),
        (PermissionDenied("a gateway's"), Fate.WAIT),
        (BadRequest("a gateway's"), Fate.WAIT),
        (RateLimited("busy"), Fate.WAIT),
        (ServiceUnavailable("down"), Fate.WAIT),
    ],
)
def test_the_fate_of_an_operation_follows_from_one_look(operation: Operation | RequestError, fate: Fate) -> None:
    assert fate_of(operation, api="completion", age=3600) is fate


def test_one_404_is_final_only_where_the_service_need_not_keep_the_result_any_longer() -> None:
    day = 86_400
    assert fate_of(NotFound("x"), api="completion", age=3 * day - 1) is Fate.WAIT
    assert fate_of(NotFound("x"), api="completion", age=3 * day) is Fate.SUBMIT_ANEW
    assert fate_of(NotFound("x"), api="responses", age=3 * day) is Fate.WAIT


def test_what_was_not_known_through_a_whole_wait_is_looked_for_once_more() -> None:
    assert fate_of(NotFound("x"), api="completion", age=3600, gone=True) is Fate.SUBMIT_ANEW
    assert fate_of(ServiceUnavailable("x"), api="completion", age=3600, gone=True) is Fate.WAIT
    assert fate_of(DONE, api="completion", age=3600, gone=True) is Fate.TAKE


GARBAGE: list[Any] = [
    "a text",
    [],
    {},
    7,
    {"submitted_at": 1.0},
    {"fingerprint": "this"},
    {"fingerprint": None, "submitted_at": 1.0},
    *(
        {**asdict(RECORD), **wrong}
        for wrong in (
            {"submitted_at": None},
            {"submitted_at": "then"},
            {"waited_from": "then"},
            {"max_tries": "2"},
            {"api": "another"},
            {"operation_id": "../x"},
            {"operation_id": 7},
        )
    ),
]


@pytest.mark.parametrize("value", GARBAGE, ids=repr)
def test_what_is_no_record_is_told_as_such_and_not_taken_for_nothing(value: Any) -> None:
    store = Store()
    store.values[KEY] = value
    with pytest.raises(ConfigurationError, match=f"^Delete '{KEY}' from the state of the task"):
        Journal(store).read()


def test_a_record_of_a_later_release_is_read_as_far_as_it_is_known() -> None:
    assert Record.of({**asdict(RECORD), "colour": "red"}) == RECORD
    assert Record.of({"fingerprint": "this", "submitted_at": 1, "operation_id": "d7q1"}) == RECORD


RUNS = Operation("d7q1", "completion")
CANCELLED = Operation("d7q1", "completion", done=True, error=Failure(1, "cancelled"))
DONE = Operation("d7q1", "completion", done=True, generation=ANSWER)


@pytest.mark.parametrize(
    ("operation", "on_timeout", "cleared", "fate"),
    [
        (RUNS, "wait", False, Fate.WAIT_AGAIN),
        (RUNS, "wait", True, Fate.WAIT_AGAIN),
        (RUNS, "fail", False, Fate.TELL),
        (RUNS, "fail", True, Fate.WAIT_AGAIN),
        (RUNS, "resubmit", False, Fate.REPLACE),
        (RUNS, "resubmit", True, Fate.REPLACE),
        (ServiceUnavailable("down"), "wait", False, Fate.WAIT_AGAIN),
        (ServiceUnavailable("down"), "fail", False, Fate.WAIT),
        (ServiceUnavailable("down"), "resubmit", False, Fate.WAIT),
        (NotFound("lost"), "resubmit", False, Fate.REPLACE),
        (NotFound("lost"), "wait", False, Fate.WAIT_AGAIN),
        (DONE, "resubmit", True, Fate.TAKE),
        (DONE, "fail", False, Fate.TAKE),
        (CANCELLED, "wait", False, Fate.TELL),
        (CANCELLED, "wait", True, Fate.SUBMIT_ANEW),
        (CANCELLED, "resubmit", False, Fate.SUBMIT_ANEW),  # by the attempt before, which died of it
    ],
)
def test_past_the_deadline_the_fate_follows_from_what_the_author_chose(
    operation: Operation | RequestError, on_timeout: OnTimeout, cleared: bool, fate: Fate
) -> None:
    assert fate_of(operation, api="completion", age=3600, late=True, cleared=cleared, on_timeout=on_timeout) is fate


def test_who_chose_nothing_waits_as_long_again() -> None:
    assert fate_of(RUNS, api="completion", age=3600, late=True) is Fate.WAIT_AGAIN


def test_a_cancelled_operation_is_submitted_anew_by_a_clear_alone() -> None:
    assert fate_of(CANCELLED, api="completion", age=3600) is Fate.TELL
    assert fate_of(CANCELLED, api="completion", age=3600, on_timeout="resubmit") is Fate.TELL
    assert fate_of(CANCELLED, api="completion", age=3600, cleared=True) is Fate.SUBMIT_ANEW


@pytest.mark.parametrize(
    ("allowed", "now", "cleared"), [(0, 0, False), (2, 2, False), (2, 3, True), (5, 1, True), (None, 3, False)]
)
def test_a_clear_is_known_by_the_tries_that_it_adds(allowed: int | None, now: int, cleared: bool) -> None:
    assert Record("this", 1.0, "d7q1", max_tries=allowed).cleared(now) is cleared


def test_the_deadline_counts_from_the_submission_or_from_the_wait_that_began_after_it() -> None:
    assert RECORD.deadline(60) == 61
    assert Record("this", 1.0, "d7q1", waited_from=100.0).deadline(60) == 160


def test_a_clear_starts_over_where_that_is_asked_for() -> None:
    assert first_step(RECORD, "this", cleared=True, on_clear="resubmit") is Step.START_OVER
    assert first_step(RECORD, "this", on_clear="resubmit") is Step.LOOK
    assert first_step(RECORD, "this", cleared=True) is Step.LOOK
    assert first_step(Record("this", 1.0), "this", cleared=True, on_clear="resubmit") is Step.SETTLE_UNKNOWN


@pytest.mark.parametrize("name", ["modelUri", "model"])
def test_a_model_is_part_of_a_request_in_the_words_of_the_task_alone(name: str) -> None:
    one, other = {"text": "x", name: "gpt://f/m"}, {"text": "x", name: "gpt://g/n"}
    for words in (None, "m", "gpt://f/m"):
        assert request_fingerprint(one, words) == request_fingerprint(other, words)
    assert len({request_fingerprint(one, words) for words in (None, "m", "n")}) == 3
    assert request_fingerprint(one, "m") != request_fingerprint({**one, "text": "y"}, "m")


@given(record=records)
def test_the_table_of_steps_is_total_and_submits_only_where_nothing_runs(record: Record | None) -> None:
    step = first_step(record, "this")
    assert (step is Step.SUBMIT) == (record is None)


@given(what=seen)
def test_the_table_of_fates_is_total_and_never_drops_an_answer(what: Operation | RequestError) -> None:
    fate = fate_of(what, api="completion", age=3600)
    if isinstance(what, Operation) and what.done and what.generation and not what.error:
        assert fate is Fate.TAKE
    if fate is Fate.SUBMIT_ANEW:
        assert isinstance(what, Operation)
        assert what.done or what.error


def test_a_record_comes_back_as_it_was_written_and_is_plain_json(store: Store) -> None:
    Journal(store).write(RECORD)
    store.values = json.loads(json.dumps(store.values))
    assert Journal(store).read() == RECORD


def test_a_record_of_the_next_release_can_be_read(store: Store) -> None:
    store.values[KEY] = {"fingerprint": "this", "submitted_at": 1.0, "operation_id": "d7q1", "shape": "new"}
    assert Journal(store).read() == RECORD


def test_a_read_error_is_not_taken_for_nothing_submitted(store: Store) -> None:
    store.broken = {"get"}
    with pytest.raises(ConnectionError):
        Journal(store).read()


def test_a_record_outlives_the_result_that_it_leads_to(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    kept: list[timedelta] = []
    monkeypatch.setattr(store, "set", lambda key, value, *, retention: kept.append(retention))
    Journal(store).write(RECORD)
    assert kept == [timedelta(days=7)]


ANEW = Record("this", 2.0, "d8r2")


@pytest.mark.parametrize(
    ("written", "left"),
    [(RECORD, None), (ANEW, ANEW), (None, None)],
    ids=["that operation", "one that was paid for since", "nothing"],
)
def test_only_what_was_told_is_forgotten(store: Store, written: Record | None, left: Record | None) -> None:
    journal = Journal(store)
    for forget in (lambda: journal.strike_out("d7q1"), lambda: journal.withdraw(RECORD)):
        store.values["another's"] = "value"
        if written:
            journal.write(written)
        forget()
        assert journal.read() == left
        assert store.values.pop("another's") == "value"


def test_a_submission_is_withdrawn_only_as_it_was_begun(store: Store) -> None:
    """Another attempt of the same task may have begun one of the same request, a moment later."""
    journal = Journal(store)
    journal.write(Record("this", 2.0))
    journal.withdraw(Record("this", 1.0))
    assert journal.read() == Record("this", 2.0)


def test_without_a_store_nothing_is_remembered() -> None:
    journal = Journal(None)
    journal.write(RECORD)
    journal.strike_out("d7q1")
    journal.withdraw(RECORD)
    assert journal.read() is None
    assert not journal.lasting


def test_a_fingerprint_tells_requests_apart_and_reveals_nothing() -> None:
    body: dict[str, Any] = {"temperature": 0.3, "messages": [{"role": "user", "text": "secret plans"}]}
    reordered = dict(reversed(body.items()))
    assert fingerprint_of(body) == fingerprint_of(reordered)
    assert fingerprint_of(body) != fingerprint_of({**body, "temperature": 0.4})
    assert "secret" not in fingerprint_of(body)
