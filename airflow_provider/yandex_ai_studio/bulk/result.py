"""What an operation that ended means for its row. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import reduce
from typing import Any

from airflow_provider.yandex_ai_studio.answers.outcome import answer_of, refuse_withheld
from airflow_provider.yandex_ai_studio.api.models import Operation, Usage
from airflow_provider.yandex_ai_studio.api.output import Output
from airflow_provider.yandex_ai_studio.bulk.money import Price, plus
from airflow_provider.yandex_ai_studio.exceptions import (
    AnswerRefused,
    AnswerUnreadable,
    ContentFiltered,
    InvalidOutput,
    OperationCancelled,
    OperationFailed,
)

STATUSES = ("success", "error", "invalid_output", "expired", "cancelled", "missing")

NOTHING_USED = Usage()


@dataclass(frozen=True)
class Result:
    """
    What became of a row.

    :param status: One of :data:`STATUSES`.
    :param output: The text, or the value in it.
    :param raw_output: The text that is no such value.
    :param error: ``type`` and ``message``, with the ``operation_id`` where there is one.
    :param model: The version of the model that answered.
    :param usage: What is billed for it.
    :param finish_reason: How the service says that the answer ended.
    :param worth_repeating: Whether another generation may go better.
    :param keep_operation: Whether another attempt reads the operation again, and pays for no other.
    """

    status: str
    output: Any = None
    raw_output: str | None = None
    error: dict[str, Any] | None = None
    model: str | None = None
    usage: Usage | None = None
    finish_reason: str | None = None
    worth_repeating: bool = False
    keep_operation: bool = False

    @property
    def used(self) -> Usage:
        """What is billed for it, nothing included."""
        return self.usage or NOTHING_USED

    def row(self, index: int, custom_id: str, price: Price | None) -> dict[str, Any]:
        """Return the row of the output."""
        return {
            "custom_id": custom_id,
            "index": index,
            "status": self.status,
            "output": self.output,
            "raw_output": self.raw_output,
            "error": self.error,
            "model": self.model,
            "usage": self.usage.as_dict() if self.usage else None,
            "finish_reason": self.finish_reason,
            "cost": price.of(self.usage) if price and self.usage else None,
        }


MISSING = Result("missing")


def failed(type: str, message: str, operation_id: str | None = None, *, worth_repeating: bool = False) -> Result:
    """Return the result of a row that has no answer."""
    return Result("error", error=_error(type, message, operation_id), worth_repeating=worth_repeating)


def result_of(operation: Operation, output: Output) -> Result:
    """
    Return what an operation that ended means for its row.

    :param output: The form that the answer must have.
    """
    try:
        generation = answer_of(operation)
    except OperationCancelled as error:
        return Result("cancelled", error=_error("cancelled", str(error), operation.id), worth_repeating=True)
    except OperationFailed as error:
        return failed("operation_failed", str(error), operation.id, worth_repeating=True)
    about: dict[str, Any] = {
        "model": generation.model_version,
        "usage": generation.usage,
        "finish_reason": generation.status,
    }
    try:
        refuse_withheld(generation, operation.id)
        return Result("success", output.value_of(generation.text), **about)
    except ContentFiltered as error:
        return Result("error", error=_error("content_filter", str(error), operation.id), **about)
    except AnswerRefused as error:
        refusal = _error("refusal", str(error), operation.id)
        return Result("error", raw_output=generation.text, error=refusal, **about)
    except AnswerUnreadable as error:
        return Result("error", error=_error("unreadable", str(error), operation.id), keep_operation=True, **about)
    except InvalidOutput as error:
        return Result(
            "invalid_output",
            raw_output=generation.text,
            error=_error("output_validation_error", str(error), operation.id),
            worth_repeating=True,
            **about,
        )


def gone(operation_id: str) -> Result:
    """Return the result of a row whose operation the service does not know any more."""
    message = f"The service does not know operation {operation_id} any more: its answer is lost."
    return Result("expired", error=_error("expired", message, operation_id), worth_repeating=True)


def unknown(times: int, cause: Exception) -> Result:
    """
    Return the result of a row of which nobody knows whether the service took it.

    :param times: How often it was submitted in this attempt.
    """
    lost = "Its answer got lost on the way"
    story = f"{lost} {times} times: up to {times} generations may have been billed without a use"
    if times <= 1:
        story = f"{lost}: 1 generation may have been billed without a use" if times else f"{lost} in an earlier attempt"
    return failed("unknown_submission", f"{story}. Another attempt submits it again. {_happened(str(cause))}")


def late(operation_id: str, trouble: Exception | None = None) -> Result:
    """
    Return the result of a row whose operation takes longer than it may.

    :param trouble: What came instead of an answer, where nobody could see whether it runs on.
    """
    seen = "could not be read until `timeout` had passed" if trouble else "runs on after `timeout`"
    story = f"Operation {operation_id} {seen}; another attempt takes its answer."
    return failed("timeout", f"{story} {_happened(str(trouble))}" if trouble else story, operation_id)


def used_by(results: Iterable[Result]) -> Usage:
    """Return what is billed for them together."""
    return reduce(plus, (result.used for result in results), NOTHING_USED)


def _error(type: str, message: str, operation_id: str | None) -> dict[str, Any]:
    return {
        "type": type,
        "message": _happened(message),
        **({"operation_id": operation_id} if operation_id else {}),
    }


def _happened(message: str) -> str:
    """Return what happened, without the advice for the task as a whole."""
    return (message.partition("\n")[2] or message).replace("\n", " ")
