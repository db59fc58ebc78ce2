"""Each round of submissions by value: what is asked, what is written down before and after, and what follows."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_provider.yandex_ai_studio.api import completion
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.models import Message
from airflow_provider.yandex_ai_studio.bulk.ledger import KEY
from airflow_provider.yandex_ai_studio.bulk.pool import Group, Outcome
from airflow_provider.yandex_ai_studio.bulk.reception import LOSSES
from airflow_provider.yandex_ai_studio.bulk.submitting import REFUSED_ALIKE
from airflow_provider.yandex_ai_studio.exceptions import (
    BadRequest,
    ConfigurationError,
    ServiceUnavailable,
)
from bulk_scene import AWAY, DENIED, FULL, LOST, MODEL, NO_KEY, NOW, WRONG, InTurn, Scene, taken


def test_a_group_is_written_down_before_it_is_sent_and_its_operations_after() -> None:
    before = (Message("system", "Be brief."), Message("assistant", "I am."))
    scene = Scene(3, base=CompletionRequest(MODEL, (*before, Message("user", "-"))))
    submitting = scene.submitting()
    assert submitting.next() == 0
    assert scene.did == [("submit", row, False, [0, 1, 2]) for row in range(3)]
    assert scene.chunk_written()["ids"] == {str(row): [f"op{row}", NOW] for row in range(3)}
    assert "intent" not in scene.chunk_written()
    assert submitting.next() is None
    assert (submitting.pause, submitting.stopped, submitting.refused_alike) == (None, None, None)
    asked = replace(scene.base, messages=(*before, Message("user", "Row 2")))
    expected = completion.submit_completion(Endpoints(), asked)
    assert replace(scene.last_call, parse=expected.parse) == expected


def test_groups_keep_the_pace_of_the_connection() -> None:
    scene = Scene(25)
    pauses = scene.submit_all(scene.submitting())
    assert scene.submitted() == [*range(25)]
    assert pauses[0] == pytest.approx(0.5)
    assert sum(pauses) == pytest.approx(2.0)
    slow = Scene(3, per_second=1.0)
    assert sum(slow.submit_all(slow.submitting())) == pytest.approx(2.0)


def test_the_quota_of_an_hour_is_counted_from_what_was_taken_by_any_stretch() -> None:
    scene = Scene(6)
    scene.sends = {0: [AWAY], 1: [WRONG]}
    submitting = scene.submitting()
    submitting.next()
    assert scene.head.hour == {str(int(NOW // 60)): 3}
    scene.chunks().write_head()
    scene.head.hour = {str(int(NOW // 60)): 3}
    scene.ledger.write(scene.head)
    scene.sleep(1)
    scene.submit_all(scene.submitting())
    assert scene.head.hour == {str(int(NOW // 60)): 5}


def test_rows_of_which_an_answer_got_lost_wait_for_those_that_are_trusted() -> None:
    scene = Scene(6, chunk_size=2)
    chunks = scene.chunks()
    first, second = chunks.begin_next(), chunks.begin_next()
    for opened in (first, second):
        opened.chunk.intend([0])
        opened.chunk.lose_intent()
        opened.chunk.start_over()  # it was in an earlier attempt
    scene.submit_all(scene.submitting(chunks))
    assert scene.submitted() == [1, 3, 4, 5, 0, 2]


def test_a_chunk_whose_rows_are_all_the_same_as_others_is_closed_without_a_request(tmp_path: Any) -> None:
    scene = Scene(["Row 0", "Row 1", "Row 0", "Row 1", "Row 4"], chunk_size=2, output=tmp_path)
    chunks = scene.chunks()
    scene.submit_all(scene.submitting(chunks))
    assert scene.submitted() == [0, 1, 4]
    assert (list(chunks.open), list(scene.head.done)) == ([0, 2], [1])


def test_what_is_submitted_once_is_never_submitted_again() -> None:
    scene = Scene(4)
    scene.submit_all(scene.submitting())
    scene.submit_all(scene.submitting())
    assert scene.submitted() == [0, 1, 2, 3]


@pytest.mark.parametrize("error", [AWAY, NO_KEY, ConfigurationError("The key can't be read.")])
def test_what_surely_was_not_taken_waits_again_and_is_no_loss(error: Exception) -> None:
    scene = Scene(3)
    scene.sends = {1: [error]}
    chunks = scene.chunks()
    submitting = scene.submitting(chunks)
    submitting.next()
    assert (chunks.open[0].chunk.waiting, chunks.tally().lost) == ([1], 0)
    assert "intent" not in scene.chunk_written()
    assert scene.submit_all(submitting) == [pytest.approx(0.5)]  # the others were taken: nothing is wrong
    assert scene.submitted() == [0, 1, 2, 1]


def test_a_row_that_is_refused_fails_for_good_and_alone() -> None:
    scene = Scene(3)
    scene.sends = {1: [WRONG]}
    chunks = scene.chunks()
    submitting = scene.submitting(chunks)
    scene.submit_all(submitting)
    assert scene.submitted() == [0, 1, 2]
    assert scene.chunk_written()["verdicts"] == {"1": ["error", {"type": "refused", "message": "It is too long."}]}
    assert scene.lines == ["Row 1 failed (refused): It is too long."]
    assert submitting.refused_alike is None


def test_rows_that_are_all_refused_alike_are_told_once_whatever_their_request_is_called() -> None:
    scene = Scene(3)
    errors = [BadRequest(f"It is too long. Request id: r{row}.", request_id=f"r{row}") for row in range(3)]
    scene.sends = {row: [error] for row, error in enumerate(errors)}
    submitting = scene.submitting()
    scene.submit_all(submitting)
    assert submitting.refused_alike is errors[2]
    scene = Scene(3)
    scene.sends = {0: [WRONG], 1: [WRONG], 2: [BadRequest("It is too short.")]}
    submitting = scene.submitting()
    scene.submit_all(submitting)
    assert submitting.refused_alike is None


def test_fifty_rows_refused_with_none_ever_taken_end_the_attempt() -> None:
    scene = Scene(REFUSED_ALIKE + 10, per_second=2.0)  # one at a time
    scene.sends = {row: [BadRequest(f"No {row}.", arrived=False)] for row in range(REFUSED_ALIKE + 10)}
    with pytest.raises(BadRequest, match=f"No {REFUSED_ALIKE - 1}"):
        scene.submit_all(scene.submitting())
    assert len(scene.submitted()) == REFUSED_ALIKE
    scene = Scene(REFUSED_ALIKE + 10)
    scene.sends = {row: [WRONG] for row in range(1, REFUSED_ALIKE + 10)}
    scene.submit_all(scene.submitting())
    assert len(scene.submitted()) == REFUSED_ALIKE + 10
    scene.sends = {row: [WRONG] for row in range(REFUSED_ALIKE + 10)}
    again = scene.chunks()
    again.open[0].chunk.start_over()
    scene.submit_all(scene.submitting(again))  # an earlier stretch had one that was taken


# -- answers that get lost


def test_a_lost_answer_is_counted_told_and_tried_again_after_a_free_question() -> None:
    scene = Scene(2)
    scene.sends = {0: [LOST]}
    chunks = scene.chunks()
    submitting = scene.submitting(chunks)
    submitting.next()
    assert (chunks.open[0].chunk.losses, chunks.tally().lost, scene.head.reception["lost"]) == ({0: 1}, 1, 1)
    assert scene.lines == ["It broke off. 1 row of chunk 0 may have been billed without a use."]
    pauses = scene.submit_all(submitting)
    assert 1.0 <= sum(pauses) <= 2.0
    assert [deed[:2] for deed in scene.did[2:]] == [("question", "ping"), ("submit", 0)]


def test_the_free_question_counts_the_tokens_of_a_word_and_the_next_group_goes_at_once() -> None:
    scene = Scene(1)
    scene.sends, scene.questions = {0: [LOST]}, [AWAY]
    submitting = scene.submitting()
    submitting.next()
    scene.sleep(2)
    assert submitting.next() == 0
    asked = replace(scene.base, messages=(Message("user", "ping"),))
    expected = replace(completion.count_tokens(Endpoints(), asked), timeout=10.0)
    assert replace(scene.last_call, parse=expected.parse) == expected
    assert scene.did[1:] == [("question", "ping", False, 10.0)]
    assert (scene.head.reception["trouble"], scene.head.reception["lost"]) == ("unavailable", 1)
    scene.sleep(6)
    assert submitting.next() == 0
    assert [deed[0] for deed in scene.did[2:]] == ["question", "submit"]


def test_a_service_that_was_heard_is_not_asked_again_though_it_takes_nothing() -> None:
    scene = Scene(1)
    scene.sends = {0: [LOST, AWAY, AWAY]}
    scene.submit_all(scene.submitting())
    assert [deed[0] for deed in scene.did] == ["submit", "question", "submit", "submit", "submit"]


def test_a_row_whose_answers_get_lost_three_times_is_asked_no_more() -> None:
    scene = Scene(2)
    scene.sends = {0: [LOST, LOST, LOST]}
    chunks = scene.chunks()
    scene.submit_all(scene.submitting(chunks))
    assert scene.submitted() == [0, 1, 0, 0]
    status, error = chunks.open[0].chunk.verdicts[0]
    assert (status, error and error["type"]) == ("error", "unknown_submission")
    assert error
    assert error["message"].endswith("Another attempt submits it again. It broke off.")
    assert scene.lines[2].startswith("Row 0 failed (unknown_submission): Its answer got lost on the way 3 times")
    assert len(scene.lines) == 3


def test_a_service_that_was_heard_is_not_asked_again_before_the_next_group() -> None:
    scene = Scene(12)
    scene.sends = {0: [LOST]}
    scene.submit_all(scene.submitting())
    assert [deed[0] for deed in scene.did].count("question") == 1


@pytest.mark.parametrize("answer", [DENIED, NO_KEY, FULL, ConfigurationError("no"), 5])
def test_a_refusal_of_the_free_question_is_an_answer_too(answer: Any) -> None:
    scene = Scene(2)
    scene.sends, scene.questions = {0: [LOST]}, [answer]
    scene.submit_all(scene.submitting())
    assert scene.submitted() == [0, 1, 0]
    assert len(scene.did) == 4


def test_nothing_is_billed_while_the_free_question_is_not_answered() -> None:
    scene = Scene(2)
    scene.sends, scene.questions = {0: [LOST]}, [AWAY, AWAY, AWAY]
    submitting = scene.submitting()
    pauses = scene.submit_all(submitting)
    assert [deed[0] for deed in scene.did] == ["submit", "submit", *["question"] * 4, "submit"]
    assert sum(pauses) > 1.0 + 1.0 + 3.0 + 9.0
    assert submitting.pause is None


def test_what_nobody_foresaw_in_the_free_question_ends_the_attempt() -> None:
    scene = Scene(2)
    scene.sends, scene.questions = {0: [LOST]}, [ZeroDivisionError("a bug")]
    with pytest.raises(ZeroDivisionError):
        scene.submit_all(scene.submitting())


@pytest.mark.parametrize(
    ("reception", "asks"),
    [
        ({"lost": 1, "trouble": "lost", "tries": 1, "since": NOW, "began": NOW}, 1),
        ({"lost": 1, "taken": 5}, 0),
        ({"trouble": "unavailable", "tries": 1, "since": NOW, "began": NOW}, 0),
    ],
)
def test_a_stretch_goes_on_with_the_care_of_the_one_before(reception: dict[str, Any], asks: int) -> None:
    scene = Scene(2)
    scene.head.reception = reception
    scene.ledger.write(scene.head)
    scene.submit_all(scene.submitting())
    assert [deed[0] for deed in scene.did].count("question") == asks


def test_too_many_lost_answers_end_the_submissions_and_conclude_what_they_concern() -> None:
    scene = Scene(20, chunk_size=3)
    scene.sends = {row: [LOST] * 9 for row in range(20)}
    chunks = scene.chunks()
    submitting = scene.submitting(chunks)
    scene.submit_all(submitting)
    assert scene.submitted() == [0, 1, 2, 0, 1, 2, 3, 4, 5, 3, 4]
    assert chunks.tally().lost == LOSSES + 1
    assert isinstance(submitting.stopped, ServiceUnavailable)
    assert "11 of 11" in str(submitting.stopped)
    verdicts = [scene.chunk_written(number)["verdicts"] for number in range(2)]
    assert [sorted(each) for each in verdicts] == [["0", "1", "2"], ["0", "1", "2"]]
    assert {error["type"] for each in verdicts for _, error in each.values()} == {"unknown_submission"}
    assert "got lost on the way 2 times" in verdicts[0]["0"][1]["message"]
    assert verdicts[0]["0"][1]["message"].endswith("Another attempt submits it again. It broke off.")
    assert scene.lines[-1].startswith("Row 4 failed (unknown_submission)")
    assert submitting.must_stop()


def test_lost_answers_that_concern_the_last_rows_stop_nothing() -> None:
    scene = Scene(LOSSES + 1)
    scene.sends = {row: [LOST] for row in range(LOSSES + 1)}
    submitting = scene.submitting()
    scene.submit_all(submitting)
    assert len(scene.submitted()) == LOSSES + 1
    assert submitting.stopped is None
    assert submitting.must_stop()  # no row is asked again all the same


# -- what comes in between


class CutOff(InTurn):
    """An attempt that is ended while it waits for a group."""

    def start(self, one: Any, items: Any) -> Group:
        group = super().start(one, items)

        class Ended(Group):
            def outcomes(self) -> list[Outcome]:
                if not any(request.cancelled() for request in self._requests) and not hasattr(self, "cut"):
                    self.cut = True
                    raise AirflowTaskTimeout
                return super().outcomes()

        return Ended(group._requests)


def test_an_attempt_that_is_ended_inside_a_group_writes_down_what_was_taken_first() -> None:
    scene = Scene(3)
    scene.sends = {1: [AWAY]}
    with pytest.raises(AirflowTaskTimeout):
        scene.submitting(pool=CutOff()).next()
    assert scene.chunk_written()["ids"].keys() == {"0", "2"}
    assert "intent" not in scene.chunk_written()


class Ending:
    """A store in whose n-th write of a chunk something happens."""

    def __init__(self, scene: Scene, what: BaseException, *numbers: int) -> None:
        self.write, self.what, self.numbers, self.writes = scene.store.set, what, numbers, 0
        scene.store.set = self.set  # type: ignore[method-assign]

    def set(self, key: str, value: Any, **how: Any) -> None:
        if key.startswith(f"{KEY}_"):
            self.writes += 1
            if self.writes in self.numbers:
                raise self.what
        self.write(key, value, **how)


def test_an_attempt_that_is_ended_as_it_writes_an_intent_takes_it_back() -> None:
    scene = Scene(3)
    chunks = scene.chunks()
    chunks.begin_next()
    Ending(scene, AirflowTaskTimeout(), 1)
    with pytest.raises(AirflowTaskTimeout):
        scene.submitting(chunks).next()
    assert ("intent" not in scene.chunk_written(), scene.did) == (True, [])


def test_an_attempt_that_is_ended_as_it_writes_what_was_taken_writes_it_again() -> None:
    scene = Scene(3)
    chunks = scene.chunks()
    chunks.begin_next()
    Ending(scene, AirflowTaskTimeout(), 2)
    with pytest.raises(AirflowTaskTimeout):
        scene.submitting(chunks).next()
    assert scene.chunk_written()["ids"].keys() == {"0", "1", "2"}


@pytest.mark.parametrize(
    ("sends", "names"),
    [({11: [AWAY]}, "op10 (row 10), op12 (row 12)"), ({row: [AWAY] for row in range(10, 13)}, "none")],
)
def test_what_can_t_be_written_down_is_named_in_the_log(sends: dict[int, Any], names: str) -> None:
    scene = Scene(13, chunk_size=10)
    chunks = scene.chunks()
    submitting = scene.submitting(chunks)
    while len(scene.submitted()) < 10:
        scene.sleep(submitting.next() or 0)
    chunks.begin_next()
    scene.sends = {row: [*answers] for row, answers in sends.items()}
    Ending(scene, ConnectionError("the disk is full"), 2)
    with pytest.raises(ConnectionError):
        scene.submit_all(submitting)
    assert scene.lines[-1].endswith(f"no other attempt will find them: {names}")


def test_a_clock_that_is_set_back_holds_nothing_up() -> None:
    scene = Scene(12)
    submitting = scene.submitting()
    submitting.next()
    scene.now -= 600
    assert sum(scene.submit_all(submitting)) < 3
    assert len(scene.submitted()) == 12


def test_an_operation_is_dated_by_the_wall_clock() -> None:
    scene = Scene(1)
    submitting = scene.submitting()
    scene.now -= 600
    submitting.next()
    assert scene.chunk_written()["ids"] == {"0": ["op0", NOW - 600]}


def test_the_id_that_the_service_gave_is_the_one_that_is_kept() -> None:
    scene = Scene(1)
    scene.sends = {0: [taken("another")]}
    scene.submitting().next()
    assert scene.chunk_written()["ids"] == {"0": ["another", NOW]}
