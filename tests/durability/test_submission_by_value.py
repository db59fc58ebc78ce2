"""What a submission asks, writes down, says and returns, by what the journal holds."""

from __future__ import annotations

from dataclasses import asdict, replace
from types import SimpleNamespace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_provider.yandex_ai_studio.api.models import Failure, Operation
from airflow_provider.yandex_ai_studio.durability import submission
from airflow_provider.yandex_ai_studio.durability.journal import Journal, Record, request_fingerprint
from airflow_provider.yandex_ai_studio.durability.submission import (
    PAUSES,
    QUESTION_TIMEOUT,
    SUBMISSIONS,
    Submitted,
)
from airflow_provider.yandex_ai_studio.exceptions import (
    ConfigurationError,
    NotFound,
    ServiceUnavailable,
    SubmissionUnknown,
)
from airflow_provider.yandex_ai_studio.telemetry import Metric
from submission_scene import (
    BODY,
    DONE,
    FAILED,
    KNOWN,
    LOST,
    MODEL,
    NEW,
    NO_QUESTION,
    NOT_TAKEN,
    NOW,
    OTHER,
    QUESTION,
    RUNNING,
    TIMEOUT,
    Scene,
)


@pytest.fixture(autouse=True)
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    told: list[Any] = []
    monkeypatch.setattr(submission, "tell", lambda *metrics, tags: told.append((*metrics, dict(tags))))
    return told


@pytest.fixture(autouse=True)
def chance(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, float]]:
    """The bounds between which chance decides; it decides for the lower one."""
    bounds: list[tuple[float, float]] = []

    def uniform(low: float, high: float) -> float:
        bounds.append((low, high))
        return low

    monkeypatch.setattr(submission, "random", SimpleNamespace(uniform=uniform))
    return bounds


DAY = 86_400.0
SUBMITTED = Submitted("new", NOW, NOW + TIMEOUT, NEW)
INTENT = Record(KNOWN.fingerprint, NOW, None, "responses", MODEL, None, 2)


def test_a_first_attempt_writes_its_intent_down_submits_and_writes_the_id_down(counted: list[Any]) -> None:
    scene = Scene()
    assert scene.run() == SUBMITTED
    assert scene.did == ["before", ("submit", asdict(INTENT))]
    assert scene.kept == replace(INTENT, operation_id="new")
    assert counted == [(Metric("submitted"), {"conn_id": "studio", "model": "yandexgpt"})]


def test_a_model_that_the_task_names_is_part_of_what_was_asked_for() -> None:
    scene = Scene()
    scene.run(asked_model=MODEL)
    assert scene.kept is not None
    assert scene.kept.fingerprint == request_fingerprint(BODY, MODEL) != KNOWN.fingerprint


@pytest.mark.parametrize("seen", [RUNNING, DONE], ids=["runs", "done"])
def test_a_known_operation_is_looked_at_once_and_gone_on_with(seen: Operation, counted: list[Any]) -> None:
    scene = Scene(KNOWN, looks=(seen,))
    assert scene.run() == Submitted("old", NOW - 60, NOW - 60 + TIMEOUT, seen)
    assert scene.did == [("look", "old", "responses", False)]
    assert scene.kept == KNOWN
    assert counted == [(Metric("found"), {"conn_id": "studio", "model": "yandexgpt"})]


def test_one_that_can_t_be_seen_for_now_is_gone_on_with_all_the_same() -> None:
    scene = Scene(KNOWN, looks=(NO_QUESTION,))
    assert scene.run() == Submitted("old", NOW - 60, NOW - 60 + TIMEOUT, None)


def test_an_attempt_writes_down_how_many_tries_it_had_so_that_a_clear_is_seen() -> None:
    scene = Scene(replace(KNOWN, max_tries=1), looks=(RUNNING,))
    assert scene.run().cleared
    assert scene.kept == KNOWN
    assert not scene.run().cleared


@pytest.mark.parametrize("late", [0.0, 1.0])
def test_a_known_operation_whose_time_is_up_is_waited_for_as_long_again(late: float) -> None:
    record = replace(KNOWN, submitted_at=NOW - TIMEOUT - late)
    scene = Scene(record, looks=(RUNNING,))
    assert scene.run() == Submitted("old", record.submitted_at, NOW + TIMEOUT, RUNNING)
    assert scene.kept == replace(record, waited_from=NOW)


def test_one_that_is_just_in_time_keeps_its_deadline() -> None:
    record = replace(KNOWN, submitted_at=NOW - TIMEOUT + 1)
    scene = Scene(record, looks=(RUNNING,))
    assert scene.run().deadline == NOW + 1
    assert scene.kept == record


@pytest.mark.parametrize(("age", "anew"), [(30 * DAY, True), (30 * DAY - 1, False)])
def test_one_that_the_service_need_not_keep_any_more_is_submitted_anew_where_it_is_gone(age: float, anew: bool) -> None:
    scene = Scene(replace(KNOWN, submitted_at=NOW - age), looks=(NotFound("Gone.", status=404),))
    assert (scene.run() == SUBMITTED) is anew


@pytest.mark.parametrize(("seen", "stays"), [(DONE, True), (RUNNING, False), (NO_QUESTION, False)], ids=str)
@pytest.mark.parametrize("refusal", [NOT_TAKEN, ConfigurationError("No extra.")], ids=repr)
def test_an_answer_that_another_request_was_to_replace_stays_where_that_one_is_refused(
    seen: Any, stays: bool, refusal: Exception
) -> None:
    record = replace(KNOWN, fingerprint="another")
    scene = Scene(record, looks=(seen,), sends=(refusal,))
    with pytest.raises(type(refusal)):
        scene.run()
    assert scene.kept == (record if stays else None)


def test_one_that_was_gone_stays_in_the_journal_until_another_takes_its_place() -> None:
    """The service may find it again before the next attempt."""
    record = replace(KNOWN, gone=True)
    scene = Scene(record, looks=(NotFound("Gone.", status=404),), sends=(NOT_TAKEN,))
    with pytest.raises(type(NOT_TAKEN)):
        scene.run()
    assert scene.kept == record


def test_an_operation_is_named_though_the_attempt_ends_while_it_is_written_down() -> None:
    scene = Scene()
    write = scene.store.set

    def cut_off(key: str, value: Any, **how: Any) -> None:
        if value["operation_id"]:
            raise AirflowTaskTimeout
        write(key, value, **how)

    scene.store.set = cut_off  # type: ignore[method-assign]
    with pytest.raises(AirflowTaskTimeout):
        scene.run()
    assert any("Operation new could not be written down" in line for line in scene.lines)


@pytest.mark.parametrize("cleared", [True, False])
def test_one_that_somebody_cancelled_is_submitted_anew_if_the_task_was_cleared_since(cleared: bool) -> None:
    cancelled = Operation("old", "responses", done=True, error=Failure("cancelled", "by you"))
    scene = Scene(replace(KNOWN, max_tries=1 if cleared else 2), looks=(cancelled,))
    assert (scene.run() == SUBMITTED) is cleared


@pytest.mark.parametrize(("model", "told"), [(OTHER, True), (MODEL, False), (None, False)], ids=str)
def test_that_the_default_model_has_changed_is_told(model: str | None, told: bool) -> None:
    scene = Scene(replace(KNOWN, model=model), looks=(RUNNING,))
    scene.run()
    assert any("It was asked of" in line for line in scene.lines) is told


@pytest.mark.parametrize(
    ("record", "looks", "policy", "deeds"),
    [
        (KNOWN, (FAILED,), {}, ["look", "before", "submit"]),
        (replace(KNOWN, fingerprint="another"), (RUNNING,), {}, ["before", "look", "cancel", "submit"]),
        (replace(KNOWN, fingerprint="another"), (DONE,), {}, ["before", "look", "submit"]),
        (replace(KNOWN, fingerprint="another"), (LOST,), {}, ["before", "look", "cancel", "submit"]),
        (
            replace(KNOWN, submitted_at=NOW - TIMEOUT),
            (RUNNING,),
            {"on_timeout": "resubmit"},
            ["look", "before", "look", "cancel", "submit"],
        ),
        (replace(KNOWN, max_tries=1), (RUNNING,), {"on_clear": "resubmit"}, ["before", "look", "cancel", "submit"]),
        (replace(KNOWN, max_tries=1), (RUNNING,), {"on_clear": "keep"}, ["look"]),
        (KNOWN, (RUNNING,), {"on_clear": "resubmit"}, ["look"]),
    ],
    ids=["failed", "another request", "it is done", "it can't be seen", "late", "cleared", "kept", "not cleared"],
)
def test_what_takes_the_place_of_a_known_operation_cancels_it_first(
    record: Record, looks: tuple[Any, ...], policy: dict[str, str], deeds: list[str]
) -> None:
    scene = Scene(record, looks=looks)
    submitted = scene.run(**policy)
    assert scene.deeds == deeds
    assert {deed[1:] for deed in scene.did if deed[0] == "look"} <= {("old", "responses", False)}
    assert {deed[1:] for deed in scene.did if deed[0] == "cancel"} <= {("old", "responses")}
    assert scene.slept == []
    if "submit" in deeds:
        assert submitted == SUBMITTED
        assert scene.kept == replace(INTENT, operation_id="new")


def test_a_cancellation_that_fails_costs_no_submission() -> None:
    scene = Scene(replace(KNOWN, fingerprint="another"), looks=(RUNNING,), cancels=NOT_TAKEN)
    assert scene.run() == SUBMITTED
    assert "It is wrong. It may run to its end, and be billed." in scene.lines


UNKNOWN = replace(KNOWN, operation_id=None, submitted_at=0.0)


def test_a_submission_of_an_earlier_attempt_that_nobody_knows_of_is_repeated_after_a_free_question() -> None:
    scene = Scene(UNKNOWN)
    assert scene.run() == SUBMITTED
    assert scene.deeds == ["before", "question", "submit"]
    assert scene.did[1] == ("question", replace(QUESTION, timeout=QUESTION_TIMEOUT), False)
    assert scene.slept == [0.0]
    assert any("began it at 1970-01-01 00:00:00 UTC" in line for line in scene.lines)


def test_who_wants_to_decide_himself_is_asked_and_the_suspicion_is_gone() -> None:
    scene = Scene(UNKNOWN)
    with pytest.raises(
        SubmissionUnknown, match=r"^Clear the task(.|\n)*began it at 1970-01-01 00:00:00 UTC and was cut"
    ):
        scene.run(on_unknown_submission="fail")
    assert scene.deeds == ["before"]
    assert scene.kept is None


def test_who_has_cleared_the_task_has_decided() -> None:
    scene = Scene(replace(UNKNOWN, max_tries=2))
    assert scene.run(on_unknown_submission="fail", max_tries=3) == SUBMITTED
    assert scene.deeds == ["before", "question", "submit"]
    assert any("Submitting anew, because the task was cleared." in line for line in scene.lines)
    with pytest.raises(SubmissionUnknown):
        Scene(replace(UNKNOWN, max_tries=3)).run(on_unknown_submission="fail", max_tries=3)  # a retry decides nothing


def test_a_service_that_answers_no_question_gets_no_request_again(chance: list[tuple[float, float]]) -> None:
    scene = Scene(UNKNOWN, questions=(NO_QUESTION,))
    with pytest.raises(ServiceUnavailable, match=r"^Retry the task(.|\n)*free question either: It is down") as caught:
        scene.run()
    assert "began it at" in str(caught.value)
    assert caught.value.__cause__ is NO_QUESTION
    assert scene.slept == [0.0, *(pause / 2 for pause in PAUSES)]
    assert chance == [(0.5, 1.0)] * 4
    assert scene.kept == UNKNOWN


@pytest.mark.parametrize("answer", [{}, NOT_TAKEN], ids=["an answer", "a refusal"])
def test_an_answer_that_got_lost_is_submitted_for_again_after_pauses(answer: Any) -> None:
    scene = Scene(sends=(LOST, LOST, NEW), questions=(answer,))
    assert scene.run() == SUBMITTED
    assert scene.deeds == ["before", *["submit", "question"] * 2, "submit"]
    assert scene.slept == [pause / 2 for pause in PAUSES[:2]]
    assert sum("The fate of a submission is unknown: It broke off." in line for line in scene.lines) == 2


def test_an_attempt_submits_so_often_and_leaves_the_rest_to_another() -> None:
    scene = Scene(sends=(LOST,))
    with pytest.raises(ServiceUnavailable) as caught:
        scene.run()
    assert caught.value is LOST
    assert scene.deeds.count("submit") == SUBMISSIONS
    assert scene.kept == INTENT


def test_who_wants_to_decide_himself_is_asked_of_an_answer_that_got_lost() -> None:
    scene = Scene(sends=(LOST,))
    with pytest.raises(SubmissionUnknown, match="It broke off"):
        scene.run(on_unknown_submission="fail")
    assert scene.kept is None


@pytest.mark.parametrize("error", [NOT_TAKEN, ConfigurationError("No key.")], ids=["refused", "never sent"])
def test_what_was_not_taken_leaves_no_suspicion(error: Exception) -> None:
    scene = Scene(sends=(error,))
    with pytest.raises(type(error)) as caught:
        scene.run()
    assert caught.value is error
    assert scene.kept is None
    assert scene.deeds == ["before", "submit"]


class Breaking(Journal):
    """A journal whose store breaks once an id is to be written down, or an intent to be struck out."""

    def write(self, record: Record) -> None:
        if record.operation_id:
            raise ConnectionError("no store")
        super().write(record)

    def withdraw(self, record: Record) -> None:
        raise ConnectionError("no store")


def test_an_id_that_can_t_be_written_down_is_gone_on_with() -> None:
    scene = Scene()
    assert scene.run(journal=Breaking(scene.store)) == SUBMITTED
    assert any("Operation new could not be written down (no store)" in line for line in scene.lines)


@pytest.mark.parametrize("error", [NOT_TAKEN, ConfigurationError("No key.")], ids=["refused", "never sent"])
def test_an_intent_that_can_t_be_struck_out_does_not_hide_why_nothing_was_submitted(error: Exception) -> None:
    scene = Scene(sends=(error,))
    with pytest.raises(type(error)) as caught:
        scene.run(journal=Breaking(scene.store))
    assert caught.value is error


@pytest.mark.parametrize("lasting", [True, False])
def test_a_journal_that_does_not_last_is_told(lasting: bool) -> None:
    scene = Scene()
    assert scene.run(journal=Journal(scene.store if lasting else None)) == SUBMITTED
    assert any("no task_state_store" in line for line in scene.lines) is not lasting


@pytest.mark.parametrize(
    ("record", "said"), [(None, False), (KNOWN, True), (UNKNOWN, True)], ids=["none", "known", "unknown"]
)
def test_what_an_earlier_attempt_left_is_told(record: Record | None, said: bool) -> None:
    scene = Scene(record, looks=(RUNNING,))
    scene.run()
    assert any("Found an earlier submission" in line for line in scene.lines) is said
