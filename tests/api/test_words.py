"""What others say, in sentences of ours: with one full stop, wherever it stands."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.answers.outcome import answer_of
from airflow_provider.yandex_ai_studio.api import words
from airflow_provider.yandex_ai_studio.api.call import Call, no_answer
from airflow_provider.yandex_ai_studio.api.checks import wrong
from airflow_provider.yandex_ai_studio.api.models import Failure, Operation
from airflow_provider.yandex_ai_studio.exceptions import OperationFailed


@pytest.mark.parametrize(
    ("said", "within", "ended"),
    [
        ("it broke", "it broke", "it broke."),
        ("It broke.", "It broke", "It broke."),
        ("It broke...", "It broke", "It broke."),
        ("It broke. \n", "It broke", "It broke."),
        ("Did it break?", "Did it break?", "Did it break?"),
        ("It broke!", "It broke!", "It broke!"),
        ("It is X.", "It is X", "It is X."),
        ("a number, a list, …", "a number, a list, …", "a number, a list, …"),
        ("Mend it.\nIt broke.", "Mend it. It broke", "Mend it.\nIt broke."),
        ("it broke (of itself.)", "it broke (of itself.)", "it broke (of itself.)."),
        (OSError("It broke."), "It broke", "It broke."),
        (TimeoutError(), "TimeoutError", "TimeoutError."),
    ],
)
def test_a_stop_is_at_the_end_of_a_sentence_and_nowhere_else(said: Any, within: str, ended: str) -> None:
    assert (words.within(said), words.ended(said)) == (within, ended)


def test_errors_have_one_stop_whatever_they_are_told() -> None:
    call: Call[Any] = Call("submit", "POST", "https://ai.example/v1", lambda data: data)
    assert str(no_answer(call, "It broke.", arrived=True)) == "Could not submit: It broke (asked ai.example)."
    assert str(wrong("Give a text: did the task before return one?")).startswith(
        "Give a text: did the task before return one?\nNothing was sent"
    )
    with pytest.raises(OperationFailed, match=r"failed: It broke \(code 13\)\.\n"):
        answer_of(Operation("id-1", api="completion", done=True, error=Failure(13, "It broke.")))
