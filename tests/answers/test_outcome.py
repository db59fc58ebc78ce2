"""An ended operation is an answer, or an error that says what became of it and what to do next."""

import json
import pickle

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider.yandex_ai_studio.answers.outcome import (
    answer_of,
    expired,
    final,
    invalid,
    refuse_withheld,
    story_of,
    unseen,
    xcoms_of,
)
from airflow_provider.yandex_ai_studio.api.models import Failure, Generation, Operation, ToolCall, Usage
from airflow_provider.yandex_ai_studio.exceptions import (
    AnswerRefused,
    AnswerUnreadable,
    ContentFiltered,
    InvalidOutput,
    NotFound,
    OperationCancelled,
    OperationError,
    OperationExpired,
    OperationFailed,
    OperationTimeout,
)

ID = "d7qqr3frkl81js0udlr9"
ANSWER = Generation("Hi", "final", Usage(30, 10, 40, 2), "09.02.2025")


def operation(**parts):
    return Operation(ID, "completion", **parts)


def test_the_answer_of_a_done_operation_is_given_as_it_is():
    assert answer_of(operation(done=True, generation=ANSWER)) is ANSWER


ENDS = [
    (operation(done=True, error=Failure(1, "by user")), OperationCancelled, 1, "Clear the task", "cancelled.*by user"),
    (operation(done=True, error=Failure(13, "boom")), OperationFailed, 13, "submits .*anew", r"boom \(code 13\)"),
    (operation(done=True, error=Failure(13, "")), OperationFailed, 13, "submits .*anew", r"failed: no reason given \("),
    (operation(error=Failure(8, "quota")), OperationFailed, 8, "submits .*anew", "failed: quota"),
    (
        operation(done=True, error=Failure("max_output_tokens", "incomplete")),
        OperationFailed,
        "max_output_tokens",
        "`max_tokens`",
        "incomplete",
    ),
    (operation(done=True), OperationFailed, None, "submits .*anew", "neither an answer nor an error"),
    (
        operation(),
        OperationTimeout,
        None,
        "as long again",
        f"still runs.*not cancelled.*3 days.*OperationSensor.*{ID}",
    ),
]


@pytest.mark.parametrize(
    ("seen", "kind", "code", "advice", "fate"),
    ENDS,
    ids=["cancelled", "failed", "without a reason", "failed early", "no room", "done with nothing", "still running"],
)
def test_an_operation_without_an_answer_says_first_what_to_do_and_then_what_became_of_it(
    seen, kind, code, advice, fate
):
    with pytest.raises(kind, match=f"(?s)^.*{advice}.*{ID}.*{fate}") as error:
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
    for part in (ID, "3 days", "answer is lost", "Submit the request anew", "HTTP 404: no such operation"):
        assert part in str(error)


def test_an_operation_that_is_not_seen_at_its_deadline_is_no_lost_one():
    error = unseen(ID, NotFound("HTTP 404: no such operation", status=404))
    assert type(error) is OperationTimeout
    assert error.operation_id == ID
    for part in (f"operation_id='{ID}'", "had no answer by the deadline", "not cancelled", "HTTP 404"):
        assert part in str(error)


def test_an_error_that_is_made_final_is_the_same_else_and_stays_final_in_another_process():
    error = OperationFailed("Clear it.", operation_id=ID, code=13)
    for twin in (final(error), pickle.loads(pickle.dumps(final(error)))):
        assert isinstance(twin, AirflowFailException)
        assert isinstance(twin, OperationFailed)
        assert (str(twin), twin.operation_id, twin.code) == ("Clear it.", ID, 13)
        assert (type(twin).__name__, type(twin).__module__) == ("OperationFailed", OperationFailed.__module__)


def test_an_error_that_is_final_by_its_type_stays_as_it_is():
    error = OperationCancelled("Clear it.", operation_id=ID, code=1)
    assert final(error) is error


WITHHELD = [
    ("content_filter", ContentFiltered, "Change the prompt"),
    ("refusal", AnswerRefused, "Change the prompt"),
    ("unreadable", AnswerUnreadable, "Upgrade this package"),
]


@pytest.mark.parametrize(("status", "kind", "advice"), WITHHELD)
@pytest.mark.parametrize(("operation_id", "named"), [(ID, f"operation {ID}"), (None, "the synchronous call")])
def test_what_is_no_answer_is_an_error_without_a_retry_that_says_what_it_cost(
    status, kind, advice, operation_id, named
):
    with pytest.raises(kind, match=f"(?s)^{advice}.*{named}.*billed .30 tokens") as error:
        refuse_withheld(Generation("", status, Usage(30, 0, 30)), operation_id)
    assert isinstance(error.value, AirflowFailException)


@pytest.mark.parametrize("status", ["final", "truncated", "tool_calls", "unspecified"])
def test_any_other_answer_passes(status):
    assert refuse_withheld(Generation("Hi", status, Usage()), ID) is None


def test_an_answer_that_was_cut_off_asks_for_more_tokens_instead_of_telling_where_the_json_ends():
    cut = Generation('{"title": "Du', "truncated", Usage())
    error = str(invalid(cut, ID, InvalidOutput("it is not JSON (at character 12)")))
    assert error.startswith("Allow more with `max_tokens`")
    assert "cut off" in error
    assert "character" not in error
    whole = str(invalid(Generation("[", "final", Usage()), ID, InvalidOutput("it is not JSON (at character 1)")))
    assert "character 1" in whole
    assert "max_tokens" not in whole


@pytest.mark.parametrize("operation_id", [None, ""])
def test_an_answer_without_an_operation_is_never_that_of_operation_none(operation_id):
    assert story_of(ANSWER, operation_id).startswith("The synchronous call: final answer of 2 characters")
    assert "None" not in str(invalid(ANSWER, operation_id, InvalidOutput("it is not JSON")))


def test_the_log_says_where_an_answer_holds_marks_for_what_cannot_be_stored():
    said = story_of(Generation("a\ufffdb\ufffd", "final", Usage()), ID)
    assert "4 characters; 2 of them U+FFFD, which also stands for what can't be stored; 0 tokens in" in said
    whole = f"Operation {ID}: final answer of 2 characters; 30 tokens in, 10 out (model version 09.02.2025)"
    assert story_of(ANSWER, ID) == whole


def everything_that_may_be_said():
    for seen, *_ in ENDS:
        with pytest.raises(OperationError) as ended:
            answer_of(seen)
        yield ended.value
    yield expired(ID, "responses", NotFound("HTTP 404", status=404))
    for status in ("final", "truncated"):
        yield invalid(Generation("[", status, Usage()), ID, InvalidOutput("it is not JSON"))
    for status, kind, _ in WITHHELD:
        with pytest.raises(kind) as withheld:
            refuse_withheld(Generation("", status, Usage()), ID)
        yield withheld.value


def test_the_first_line_of_each_error_says_what_to_do_and_fits_the_log_view():
    """The log view of Airflow's UI cuts a long line off at the right edge."""
    verbs = {"Allow", "Change", "Clear", "Look", "Retry", "Submit", "Upgrade", "Wait"}
    for error in everything_that_may_be_said():
        first, *others = str(error).splitlines()
        assert first.split()[0] in verbs
        assert len(first) <= 120
        assert others


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


def test_the_calls_that_a_model_asks_for_are_an_xcom():
    asked = Generation("", "tool_calls", Usage(), tool_calls=(ToolCall("weather", {"city": "Omsk"}),))
    assert xcoms_of(asked, None, 1)["tool_calls"] == [{"name": "weather", "arguments": {"city": "Omsk"}}]
