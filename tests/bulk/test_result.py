"""What an operation means for its row, and how the row stands in the output."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api.models import Failure, Generation, Operation, Usage
from airflow_provider.yandex_ai_studio.api.output import Output
from airflow_provider.yandex_ai_studio.bulk.money import Price
from airflow_provider.yandex_ai_studio.bulk.result import MISSING, Result, failed, gone, late, result_of, unknown
from airflow_provider.yandex_ai_studio.exceptions import ServiceUnavailable

USED = Usage(1000, 500, 1500)
ABOUT: dict[str, Any] = {"model": "09.02.2025", "usage": USED}
JSON = Output.of(json_object=True, json_schema=None)


def result(status: str, text: str = "Hi", form: Output | None = None) -> Result:
    answer = Generation(text, status, USED, "09.02.2025")
    return result_of(Operation("d7q1", "completion", done=True, generation=answer), form or Output())


def told(result: Result) -> tuple[str, str, str]:
    assert result.error is not None
    assert result.error.keys() == {"type", "message", "operation_id"}
    return result.error["type"], result.error["operation_id"], result.error["message"]


@pytest.mark.parametrize("status", ["final", "truncated", "tool_calls", "unspecified"])
def test_an_answer_is_a_success_with_what_the_service_says_of_it(status: str) -> None:
    assert result(status) == Result("success", "Hi", finish_reason=status, **ABOUT)


def test_the_value_in_a_text_is_the_output() -> None:
    assert result("final", '{"a": 1}', JSON) == Result("success", {"a": 1}, finish_reason="final", **ABOUT)


def test_a_text_that_is_no_such_value_is_kept_and_may_go_better() -> None:
    seen = result("final", "[1]", JSON)
    assert seen == Result(
        "invalid_output", None, "[1]", seen.error, finish_reason="final", worth_repeating=True, **ABOUT
    )
    assert told(seen) == (
        "output_validation_error",
        "d7q1",
        "it is a JSON list, and an object was asked for",
    )


@pytest.mark.parametrize(
    ("status", "kind", "raw_output", "keep", "message"),
    [
        ("content_filter", "content_filter", None, False, "The service's content filter withheld the answer of"),
        ("refusal", "refusal", "Hi", False, "The answer of operation d7q1 is a refusal."),
        ("unreadable", "unreadable", None, True, "The service says that operation d7q1 is done, and its answer has no"),
    ],
)
def test_what_is_no_answer_is_an_error_that_is_paid_for_and_would_go_no_better(
    status: str, kind: str, raw_output: str | None, keep: bool, message: str
) -> None:
    seen = result(status)
    assert seen == Result("error", None, raw_output, seen.error, finish_reason=status, keep_operation=keep, **ABOUT)
    assert told(seen)[:2] == (kind, "d7q1")
    assert told(seen)[2].startswith(message)
    assert "\n" not in told(seen)[2]


@pytest.mark.parametrize(
    ("failure", "status", "kind", "message"),
    [
        (
            Failure(1, "by user"),
            "cancelled",
            "cancelled",
            "Operation d7q1 was cancelled before it had an answer (by user).",
        ),
        (Failure(13, "boom"), "error", "operation_failed", "Operation d7q1 failed: boom (code 13). It has no answer."),
    ],
)
def test_an_operation_without_an_answer_may_go_better_and_says_what_happened_not_what_to_do(
    failure: Failure, status: str, kind: str, message: str
) -> None:
    seen = result_of(Operation("d7q1", "completion", done=True, error=failure), Output())
    assert seen == Result(status, error=seen.error, worth_repeating=True)
    assert told(seen) == (kind, "d7q1", message)


def test_a_row_whose_operation_is_gone_is_asked_again_and_one_that_takes_too_long_is_not() -> None:
    assert gone("d7q1") == Result("expired", error=gone("d7q1").error, worth_repeating=True)
    assert told(gone("d7q1"))[:2] == ("expired", "d7q1")
    assert "does not know operation d7q1 any more" in told(gone("d7q1"))[2]
    assert late("d7q1") == Result("error", error=late("d7q1").error)
    assert told(late("d7q1"))[:2] == ("timeout", "d7q1")
    assert told(late("d7q1"))[2] == "Operation d7q1 runs on after `timeout`; another attempt takes its answer."
    assert told(late("d7q1", ServiceUnavailable("Do this.\nThe service answered HTTP 503.")))[2] == (
        "Operation d7q1 could not be read until `timeout` had passed; another attempt takes its answer. The service "
        "answered HTTP 503."
    )


def test_a_row_that_was_never_submitted_has_no_operation() -> None:
    assert failed("refused", "Do this.\nIt is\nwrong.") == Result(
        "error", error={"type": "refused", "message": "It is wrong."}
    )
    assert failed("refused", "It is wrong.", worth_repeating=True).worth_repeating


@pytest.mark.parametrize(("price", "cost"), [(Price(0.2, 0.4, "RUB"), 0.4), (None, None)])
def test_a_row_says_all_that_is_known_of_it(price: Price | None, cost: float | None) -> None:
    seen = Result("error", "out", "raw", {"type": "x"}, finish_reason="final", **ABOUT)
    assert seen.row(7, "row-7", price) == {
        "custom_id": "row-7",
        "index": 7,
        "status": "error",
        "output": "out",
        "raw_output": "raw",
        "error": {"type": "x"},
        "model": "09.02.2025",
        "usage": {"input_tokens": 1000, "completion_tokens": 500, "total_tokens": 1500, "reasoning_tokens": 0},
        "finish_reason": "final",
        "cost": cost,
    }


def test_a_row_without_a_usage_costs_nothing_and_says_nothing_of_it() -> None:
    row = MISSING.row(7, "row-7", Price(0.2, 0.4, "RUB"))
    assert (row["usage"], row["cost"], MISSING.used) == (None, None, Usage())
    assert Result("success", usage=USED).used == USED


@pytest.mark.parametrize(
    ("times", "story"),
    [
        (3, " 3 times: up to 3 generations may have been billed without a use."),
        (1, ": 1 generation may have been billed without a use."),
        (0, " in an earlier attempt."),
    ],
)
def test_a_row_of_which_nobody_knows_says_what_it_may_have_cost(times: int, story: str) -> None:
    lost = f"Its answer got lost on the way{story} Another attempt submits it again. HTTP 502."
    error = unknown(times, ServiceUnavailable("Do this.\nHTTP 502.")).error
    assert error == {"type": "unknown_submission", "message": lost}
