"""What errors tell their reader to do about a paid operation is true on each Airflow."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.answers.outcome import OBSERVER, OWNER, Advice, refuse_withheld
from airflow_provider.yandex_ai_studio.api.models import Generation, Usage
from airflow_provider.yandex_ai_studio.durability import advice
from airflow_provider.yandex_ai_studio.durability.advice import owner_advice, to_clear
from airflow_provider.yandex_ai_studio.durability.policy import OnTimeout
from airflow_provider.yandex_ai_studio.durability.resume import not_waited_for, out_of_time
from airflow_provider.yandex_ai_studio.exceptions import AnswerUnreadable
from airflow_provider.yandex_ai_studio.waiting.decision import Wait

WAIT = Wait("d7q1", 0.0)
KEPT = owner_advice(lasting=True, discards=False)
MAY_BE_DISCARDED = owner_advice(lasting=True, discards=True)
NOTHING_KEPT = owner_advice(lasting=False)


def test_a_clear_is_told_with_the_choice_that_this_airflow_gives(monkeypatch: pytest.MonkeyPatch) -> None:
    for discards, said in ((False, "clear the task"), (True, "clear the task and keep its state")):
        assert to_clear(discards=discards) == said
        monkeypatch.setattr(advice, "clear_may_discard", lambda discards=discards: discards)
        assert to_clear() == said
    assert owner_advice(lasting=True) == MAY_BE_DISCARDED


@pytest.mark.parametrize("on_timeout", ["wait", "resubmit", "fail"])
def test_a_clear_that_discards_is_nowhere_advised(on_timeout: OnTimeout) -> None:
    told = owner_advice(on_timeout, lasting=True, discards=True)
    for text in (told.timeout, told.unreadable, told.go_on):
        assert "clear" not in text.lower() or "keep its state" in text
    for text in vars(owner_advice(on_timeout, lasting=False)).values():
        assert "for the same operation" not in str(text)


def test_what_is_told_without_a_journal_is_the_default_where_a_clear_keeps_it() -> None:
    assert KEPT == OWNER
    assert owner_advice("resubmit", lasting=True, discards=False).timeout.endswith("submit the request anew.")


@pytest.mark.parametrize("on_timeout", ["wait", "resubmit", "fail"])
@pytest.mark.parametrize("discards", [False, True])
def test_where_a_clear_is_to_resubmit_none_is_advised_to_keep_what_was_paid_for(
    on_timeout: OnTimeout, discards: bool
) -> None:
    told = owner_advice(on_timeout, "resubmit", lasting=True, discards=discards)
    assert "clear" not in told.timeout.replace("Set on_clear='keep' and clear the task", "")
    assert "wait for the operation with YandexAIStudioOperationSensor" in told.go_on
    assert "wait for the operation with YandexAIStudioOperationSensor" in told.unreadable
    assert told.price == "No retry pays for it again"


def test_what_ended_an_attempt_out_of_time_is_told_without_its_advice() -> None:
    told = str(out_of_time(WAIT, Exception("Retry the task.\nIt still runs."), KEPT, last=True, cancels=True))
    assert told.endswith("would submit anew. (It still runs.)")


@pytest.mark.parametrize(
    ("told", "said"),
    [
        (KEPT, "^Upgrade this package, then clear the task: .*No attempt pays"),
        (MAY_BE_DISCARDED, "^Upgrade this package, then clear the task and keep its state: .*No attempt that finds"),
        (NOTHING_KEPT, "^Upgrade this package, then wait for .*Another attempt of this task submits and pays again"),
        (OBSERVER, "^Upgrade this package, then clear this task: .*This task pays for nothing"),
    ],
)
def test_an_answer_that_can_t_be_read_is_not_paid_for_again_by_who_does_as_told(told: Advice, said: str) -> None:
    with pytest.raises(AnswerUnreadable, match=f"(?s){said}"):
        refuse_withheld(Generation("", "unreadable", Usage()), "d7q1", told)


@pytest.mark.parametrize(
    ("told", "ends", "said"),
    [
        (KEPT, {}, "Another attempt finds it."),
        (KEPT, {"cancels": True}, "Another attempt finds it."),
        (KEPT, {"last": True, "cancels": True}, "It is cancelled, as far as the service does that"),
        (KEPT, {"last": True}, "It goes on; to have its answer, clear the task."),
        (MAY_BE_DISCARDED, {"last": True}, "It goes on; to have its answer, clear the task and keep its state."),
        (NOTHING_KEPT, {"cancels": True}, "It is cancelled, as far as the service does that"),
        (NOTHING_KEPT, {}, "It goes on; to have its answer, wait for the operation with"),
        (OBSERVER, {}, "Another attempt finds it."),
        (OBSERVER, {"last": True}, "It goes on; to have its answer, clear the task."),
    ],
)
def test_an_attempt_that_runs_out_of_time_says_what_becomes_of_the_operation(
    told: Advice, ends: dict[str, Any], said: str
) -> None:
    assert f"operation d7q1 has no answer. {said}" in str(out_of_time(WAIT, Exception("It runs."), told, **ends))


def test_a_trigger_that_can_t_run_is_told_with_what_goes_on() -> None:
    lost: Any = Exception("Trigger failure")
    assert "then clear the task and keep its state." in str(not_waited_for(lost, WAIT, MAY_BE_DISCARDED))
    assert "then clear the task." in str(not_waited_for(lost, None, MAY_BE_DISCARDED))  # nothing to be kept
