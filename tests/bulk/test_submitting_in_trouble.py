"""Rounds of submissions that meet a service in trouble, a quota or a bound, by value."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api.models import Usage
from airflow_provider.yandex_ai_studio.bulk.money import Bounds, Excess
from airflow_provider.yandex_ai_studio.bulk.reception import AWAY as AWAY_SECONDS
from airflow_provider.yandex_ai_studio.bulk.reception import TRIES
from airflow_provider.yandex_ai_studio.bulk.submitting import LAST_TRY_AFTER
from airflow_provider.yandex_ai_studio.exceptions import (
    ConfigurationError,
    PermissionDenied,
    RateLimited,
    ServiceUnavailable,
)
from bulk_scene import AWAY, DENIED, FULL, FULL_HOUR, LOST, NO_KEY, NOW, TIMEOUT, WRONG, Scene


def test_a_service_in_trouble_is_asked_with_one_row_at_a_time_ever_less_and_then_without_a_worker() -> None:
    scene = Scene(20)
    scene.sends = {row: [AWAY] * 99 for row in range(20)}
    submitting = scene.submitting()
    submitting.next()
    assert scene.lines == ["It is down. It is tried again with one row."]
    pauses = scene.submit_all(submitting)
    assert scene.submitted() == [*range(5), *[0] * (TRIES - 1)]
    assert 1 + 3 + 9 + 9 <= sum(pauses) <= 2 + 6 + 18 + 18
    assert submitting.pause == (scene.now + AWAY_SECONDS, "The service takes no submissions")
    began = scene.head.reception["since"]
    assert len(scene.lines) == 2
    assert scene.lines[1].startswith("It is down.\nThe task tries again every 2 minutes, until ")
    assert began + TIMEOUT == NOW + TIMEOUT
    assert "until 2027-01-15 08:10:00 UTC; then this attempt fails." in scene.lines[1]
    assert submitting.next() is None


def test_a_service_that_is_in_trouble_for_as_long_as_an_operation_may_take_ends_the_attempt() -> None:
    scene = Scene(2)
    scene.sends = {0: [AWAY]}
    scene.head.reception = {"trouble": "unavailable", "tries": 9, "since": NOW - TIMEOUT - 1, "began": NOW - 700}
    scene.ledger.write(scene.head)
    with pytest.raises(ServiceUnavailable, match="It is down"):
        scene.submit_all(scene.submitting())
    assert scene.submitted() == [0]


def test_what_is_taken_ends_the_trouble_and_rows_go_in_groups_again() -> None:
    scene = Scene(20)
    scene.sends = {row: [AWAY] for row in range(5)}
    submitting = scene.submitting()
    scene.submit_all(submitting)
    assert sorted(scene.submitted()[5:]) == [*range(20)]
    assert scene.submitted()[5] == 0
    assert (scene.head.reception["trouble"], scene.head.reception["taken"]) == ("", 20)


def test_a_refused_account_that_was_never_right_ends_the_attempt_and_one_that_was_is_borne() -> None:
    scene = Scene(20)
    scene.sends = {row: [DENIED] * 99 for row in range(20)}
    with pytest.raises(PermissionDenied):
        scene.submit_all(scene.submitting())
    assert len(scene.submitted()) == 5 + 3
    scene = Scene(20)
    scene.sends = {row: [DENIED] * 99 for row in range(1, 20)}
    submitting = scene.submitting()
    scene.submit_all(submitting)
    assert submitting.pause
    again = scene.submitting(scene.chunks(scene.head))  # another stretch, to which the account is as well known
    again.next()
    assert again.pause


@pytest.mark.parametrize("error", [NO_KEY, ConfigurationError("The key can't be read.")])
def test_a_credential_that_does_not_do_is_looked_up_anew_once_a_group(error: Exception) -> None:
    scene = Scene(3)
    scene.sends = {0: [AWAY], 1: [error], 2: [error]}
    scene.submitting().next()
    assert scene.paused == [(0.0, error)]
    scene = Scene(3)
    scene.sends = {0: [DENIED], 1: [AWAY]}
    scene.submitting().next()
    assert scene.paused == []


def test_a_credential_that_does_not_do_is_a_trouble_like_another() -> None:
    scene = Scene(3)
    scene.sends = {row: [NO_KEY] * 9 for row in range(3)}
    scene.submitting().next()
    assert (scene.head.reception["trouble"], scene.head.reception["refusals"]) == ("refused", 1)


def test_what_nobody_foresaw_ends_the_attempt_when_all_else_is_written_down() -> None:
    scene = Scene(3)
    bug: Any = ZeroDivisionError("a bug")
    scene.sends = {1: [bug]}
    with pytest.raises(ZeroDivisionError):
        scene.submitting().next()
    assert scene.chunk_written()["ids"].keys() == {"0", "2"}
    assert scene.chunk_written()["losses"] == {"1": 1}


# -- quotas


def test_a_429_slows_the_pace_and_costs_nothing() -> None:
    scene = Scene(40)
    scene.sends = {7: [FULL]}
    chunks = scene.chunks()
    submitting = scene.submitting(chunks)
    pauses = scene.submit_all(submitting)
    assert sorted(scene.submitted()) == sorted([*range(40), 7])
    assert 3.6 < sum(pauses) < 6
    assert (submitting.pause, scene.head.reception["trouble"], scene.lines) == (None, "", [])


def test_a_quota_of_an_hour_that_is_named_is_waited_for_without_a_worker() -> None:
    scene = Scene(40)
    scene.sends = {7: [FULL_HOUR]}
    submitting = scene.submitting()
    scene.submit_all(submitting)
    opens = (int(NOW // 60) + 1) * 60 + 3600.0
    assert submitting.pause == (min(opens, scene.now + 1200), "The quota of submissions an hour is spent")
    assert len(scene.submitted()) == 10
    assert submitting.next() is None


def test_seconds_of_nothing_but_429_are_taken_for_the_quota_of_an_hour_and_told_with_what_the_service_says() -> None:
    scene = Scene(40)
    scene.sends = {row: [FULL] * 99 for row in range(40)}
    submitting = scene.submitting()
    pauses = scene.submit_all(submitting)
    assert 15 < sum(pauses) < 20
    assert submitting.pause == (scene.now + 60, "The service takes no more for now. Too many requests")


def test_a_quota_of_an_hour_is_not_spent_where_some_of_a_group_are_taken() -> None:
    scene = Scene(60)
    submitting = scene.submitting()
    submitting.next()
    scene.sleep(60)
    scene.sends = {6: [FULL]}
    submitting.next()
    assert submitting.pause is None


def test_a_stretch_has_the_patience_of_its_own_beginning_with_429() -> None:
    scene = Scene(60)
    submitting = scene.submitting()
    scene.sleep(14)
    scene.sends = {row: [FULL] * 99 for row in range(60)}
    submitting.next()
    assert submitting.pause is None
    scene.sleep(2)
    submitting.next()
    assert submitting.pause


def test_the_patience_with_429_begins_anew_with_what_is_taken() -> None:
    scene = Scene(60)
    submitting = scene.submitting()
    scene.sleep(14)
    submitting.next()
    scene.sends = {row: [FULL] * 99 for row in range(60)}
    scene.sleep(2)
    submitting.next()
    assert submitting.pause is None


# -- bounds


def test_a_bound_that_is_reached_stops_the_run() -> None:
    scene = Scene(5)
    submitting = scene.submitting(bounds=Bounds(tokens=1))
    assert submitting.next() is None
    assert isinstance(submitting.stopped, Excess)
    assert submitting.must_stop()
    assert (submitting.next(), scene.did) == (None, [])


def test_rows_that_may_be_affordable_once_others_have_ended_wait_for_them() -> None:
    scene = Scene(5)
    submitting = scene.submitting(bounds=Bounds(tokens=400, longest_answer=50))
    scene.submit_all(submitting)
    assert 0 < len(scene.submitted()) < 5
    assert submitting.stopped is None


@pytest.mark.parametrize(("most", "stops"), [(0, True), (1, True), (2, False), (None, False)])
def test_as_many_rows_may_fail_as_the_task_allows(most: int | None, stops: bool) -> None:
    scene = Scene(20)
    scene.sends = {0: [WRONG], 1: [WRONG]}
    submitting = scene.submitting(max_failed_rows=most)
    scene.submit_all(submitting)
    assert submitting.stopped == ("max_failed_rows" if stops else None)
    assert len(scene.submitted()) == (5 if stops else 20)


def test_a_run_that_is_stopped_waits_for_no_quota_any_more() -> None:
    scene = Scene(20)
    scene.sends = {0: [WRONG], 4: [FULL_HOUR]}
    chunks = scene.chunks()
    submitting = scene.submitting(chunks, max_failed_rows=1)
    scene.submit_all(submitting)
    assert submitting.pause
    chunks.open[0].chunk.conclude(9, "error", None, Usage())
    assert (submitting.next(), submitting.pause, submitting.stopped) == (None, None, "max_failed_rows")


# -- what the service asks for


def test_no_group_is_sent_before_the_service_wants_it() -> None:
    scene = Scene(20)
    asks = [RateLimited("Wait.", arrived=False, retry_after=seconds) for seconds in (30.0, 40.0, 20.0)]
    scene.sends = {0: [asks[0]], 1: [asks[1]], 2: [WRONG], 3: [asks[2]]}
    submitting = scene.submitting()
    assert [submitting.next(), submitting.next()] == [0, pytest.approx(40.0)]
    scene.sleep(39.9)
    assert submitting.next() == pytest.approx(0.1)
    scene.sleep(0.2)
    assert (submitting.next(), len(scene.submitted())) == (0, 10)


def test_a_pause_is_no_shorter_because_the_service_asks_for_less() -> None:
    scene = Scene(1)
    scene.sends = {0: [ServiceUnavailable("It is down.", arrived=False, retry_after=0.5)]}
    submitting = scene.submitting()
    submitting.next()
    assert 1.0 <= (submitting.next() or 0) <= 2.0


# -- the last try of a row, and questions without an answer


def test_a_row_waits_for_its_last_try_longer_than_a_moment_s_trouble_lasts() -> None:
    scene = Scene(1)
    scene.sends = {0: [LOST, LOST]}
    submitting = scene.submitting()
    submitting.next()
    scene.sleep(2)
    assert (submitting.next(), len(scene.submitted())) == (0, 2)
    assert submitting.next() == pytest.approx(LAST_TRY_AFTER)
    scene.sleep(LAST_TRY_AFTER - 0.1)
    assert submitting.next() == pytest.approx(0.1)
    scene.sleep(0.2)
    assert (submitting.next(), len(scene.submitted())) == (0, 3)


def test_a_group_waits_for_the_last_try_of_the_row_that_was_lost_last_and_for_no_other() -> None:
    scene = Scene(4, chunk_size=2)
    scene.sends = {0: [LOST, LOST], 1: [LOST, LOST]}
    chunks = scene.chunks()
    submitting = scene.submitting(chunks)
    lost_at = []
    while len(chunks.open) < 2 or chunks.open[1].chunk.waiting or chunks.open[0].chunk.losses != {0: 2, 1: 2}:
        before = chunks.tally().lost
        delay = submitting.next() or 0.0
        if chunks.tally().lost > before:
            lost_at.append(scene.now)
        assert delay < 30
        scene.sleep(delay)
    scene.submit_all(submitting)
    assert scene.did[-2:] == [("submit", row, False, [0, 1]) for row in (0, 1)]
    assert scene.now - lost_at[-1] == pytest.approx(LAST_TRY_AFTER)


def test_a_row_whose_answers_were_lost_by_an_earlier_stretch_waits_for_nothing() -> None:
    scene = Scene(1)
    chunks = scene.chunks()
    chunk = chunks.begin_next().chunk
    for _ in range(2):
        chunk.intend([0])
        chunk.lose(0)
    assert scene.submitting(chunks).next() == 0
    assert scene.submitted() == [0]


def test_questions_without_an_answer_are_told_as_what_they_are() -> None:
    scene = Scene(2)
    scene.sends, scene.questions = {0: [LOST]}, [AWAY] * 9
    submitting = scene.submitting()
    scene.submit_all(submitting)
    assert submitting.pause
    assert submitting.pause[1] == "A question that is free gets no answer, and nothing is submitted before one does"
    assert not any("It is tried again with one row" in line for line in scene.lines)
    assert scene.submitted() == [0, 1]
