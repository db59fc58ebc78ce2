"""An ended operation is an answer, or an error that says what became of it and what to do next."""

import json

import pytest

from airflow_provider.yandex_ai_studio.answers.outcome import answer_of, expired, refuse_filtered, xcoms_of
from airflow_provider.yandex_ai_studio.api.models import Failure, Generation, Operation, Usage
from airflow_provider.yandex_ai_studio.exceptions import (
    ContentFiltered,
    NotFound,
    OperationCancelled,
    OperationExpired,
    OperationFailed,
    OperationTimeout,
)

ID = "d7qqr3frkl81js0udlr9"
ANSWER = Generation("Hi", "final", Usage(30, 10, 40, 2), "09.02.2025")
FILTERED = Generation("", "content_filter", Usage(30, 0, 30), "09.02.2025")


def operation(**parts):
    return Operation(ID, "completion", **parts)


def test_the_answer_of_a_done_operation_is_given_as_it_is():
    assert answer_of(operation(done=True, generation=ANSWER)) is ANSWER


@pytest.mark.parametrize(
    ("seen", "kind", "code", "fate", "advice"),
    [
        (
            operation(done=True, error=Failure(1, "by user")),
            OperationCancelled,
            1,
            "cancelled.*by user",
            "clear the task",
        ),
        (
            operation(done=True, error=Failure(13, "boom")),
            OperationFailed,
            13,
            r"failed: boom \(code 13\)",
            "submits .*anew",
        ),
        (operation(done=True, error=Failure(13, "")), OperationFailed, 13, "no reason given", "submits .*anew"),
        (operation(error=Failure(8, "quota")), OperationFailed, 8, "failed: quota", "submits .*anew"),
        (operation(done=True), OperationFailed, None, "neither an answer nor an error", "submits .*anew"),
        (operation(), OperationTimeout, None, "still runs.*not cancelled.*3 days", f"OperationSensor.*{ID}"),
    ],
    ids=["cancelled", "failed", "failed without a reason", "failed early", "done with nothing", "still running"],
)
def test_an_operation_without_an_answer_says_what_became_of_it_and_what_to_do(seen, kind, code, fate, advice):
    with pytest.raises(kind, match=f"{ID}.*{fate}.*{advice}") as error:
        answer_of(seen)
    assert type(error.value) is kind
    assert (error.value.operation_id, error.value.code) == (ID, code)


def test_an_error_outweighs_an_answer_that_came_with_it():
    with pytest.raises(OperationFailed, match="boom"):
        answer_of(operation(done=True, error=Failure(13, "boom"), generation=ANSWER))


def test_an_expired_operation_says_that_its_answer_is_lost_and_why():
    error = expired(ID, "completion", NotFound("HTTP 404: no such operation", status=404))
    assert type(error) is OperationExpired
    assert error.operation_id == ID
    for part in (ID, "3 days", "answer is lost", "submit the request anew", "HTTP 404: no such operation"):
        assert part in str(error)


def test_a_withheld_answer_is_an_error_that_says_what_it_cost():
    with pytest.raises(ContentFiltered, match=f"{ID}.*30 tokens.*Change the prompt"):
        refuse_filtered(FILTERED, ID)


def test_a_withheld_answer_of_a_direct_call_belongs_to_no_operation():
    with pytest.raises(ContentFiltered, match=r"\(none\)"):
        refuse_filtered(FILTERED, None)


@pytest.mark.parametrize("status", ["final", "truncated", "tool_calls", "unspecified"])
def test_any_other_answer_passes_the_filter(status):
    assert refuse_filtered(Generation("Hi", status, Usage()), ID) is None


def test_the_xcoms_are_plain_json_and_hold_no_text():
    xcoms = xcoms_of(ANSWER, ID, try_number=2)
    assert (
        json.loads(json.dumps(xcoms))
        == xcoms
        == {
            "operation_id": ID,
            "usage": {
                "input_tokens": 30,
                "completion_tokens": 10,
                "total_tokens": 40,
                "reasoning_tokens": 2,
                "try_number": 2,
            },
            "model_version": "09.02.2025",
            "status": "final",
        }
    )


def test_an_xcom_without_a_value_is_left_out():
    assert xcoms_of(Generation("Hi", "final", Usage()), None, 1).keys() == {"usage", "status"}
