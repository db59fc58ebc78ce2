"""What an operation that ended means for its task: an answer, with its XComs, or an error that says why not."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any, TypeVar

from airflow.sdk.exceptions import AirflowFailException

from airflow_provider.yandex_ai_studio.api.models import Api, Failure, Generation, Operation
from airflow_provider.yandex_ai_studio.api.operations import KEPT
from airflow_provider.yandex_ai_studio.api.words import within
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

E = TypeVar("E", bound=OperationError)

CANCELLED = (1, "cancelled")
"""How the service says that an operation was cancelled: as a gRPC code, or in the word of the Responses API."""

TOO_SHORT = ("max_output_tokens",)
"""How the Responses API says that the limit was reached before there was an answer."""


@dataclass(frozen=True)
class Advice:
    """
    What an error tells its reader to do next: that depends on whose task it is, and what its author chose.

    :param failed: Where the operation has no answer.
    :param cancelled: Where somebody cancelled it.
    :param timeout: Where it still runs.
    :param unreadable: Where this release can't read its answer; a sentence without its end.
    :param price: What another attempt pays then; likewise.
    :param go_on: How to have the task go on with it, in the middle of a sentence.
    :param comes_back: Whether another attempt finds it.
    """

    failed: str = "Retry or clear the task: another attempt submits the request anew."
    cancelled: str = (
        "Clear the task to submit the request anew: somebody cancelled its operation, and no retry undoes that."
    )
    timeout: str = "Retry or clear the task to wait as long again, for the same operation; or raise `timeout`."
    unreadable: str = "Upgrade this package, then clear the task"
    price: str = "No attempt pays for it again"
    go_on: str = "clear the task"
    comes_back: bool = True


OWNER = Advice()
"""To the task that submitted the operation; :mod:`~...durability.advice` says where that is not so simple."""

OBSERVER = Advice(
    failed="Clear the task that submitted it, and this one: to wait for it again will not help.",
    cancelled="Clear the task that submitted it, and this one: to wait for it again will not help.",
    timeout="Clear this task to wait again, or raise `timeout`.",
    unreadable="Upgrade this package, then clear this task",
    price="This task pays for nothing",
)
"""To a task that waits for what another one submitted."""


def answer_of(operation: Operation, advice: Advice = OWNER) -> Generation:
    """
    Return the answer of an operation.

    :raises OperationCancelled: It was cancelled.
    :raises OperationFailed: The service reports an error, or neither an error nor an answer.
    :raises OperationTimeout: It still runs.
    """
    name = _sentence(_named(operation.id))
    if operation.error:
        raise _failed(operation, operation.error, advice)
    if not operation.done:
        raise OperationTimeout(
            f"{advice.timeout}\n{name} still runs after the deadline of its task.\n"
            f"It was not cancelled: the service keeps its result for {KEPT[operation.api].days} days, and "
            f"YandexAIStudioOperationSensor(operation_id={operation.id!r}) can wait for it.",
            operation_id=operation.id,
        )
    if operation.generation is None:
        raise OperationFailed(
            f"{advice.failed} Tell the vendor's support.\n"
            f"{name} is done, but the service gives neither an answer nor an error.",
            operation_id=operation.id,
        )
    return operation.generation


def _failed(operation: Operation, failure: Failure, advice: Advice) -> OperationError:
    name, code, message = _sentence(_named(operation.id)), failure.code, within(failure.message or "no reason given")
    if code in CANCELLED:
        return OperationCancelled(
            f"{advice.cancelled}\n{name} was cancelled before it had an answer ({message}).",
            operation_id=operation.id,
            code=code,
        )
    to_do = "Allow more with `max_tokens`: there was no room for an answer." if code in TOO_SHORT else advice.failed
    return OperationFailed(
        f"{to_do}\n{name} failed: {message} (code {code}).\nIt has no answer.",
        operation_id=operation.id,
        code=code,
    )


def final(error: E) -> E:
    """
    Return an error as one that Airflow does not retry, and that is the same else.

    Some errors are worth a retry in the task that can submit anew, and futile in one that can't.
    """
    if isinstance(error, AirflowFailException):
        return error
    kind = type(error)
    members = {
        "__module__": kind.__module__,
        "__reduce__": lambda self: (final, (error,)),
    }
    twin: E = type(kind.__name__, (kind, AirflowFailException), members)(*error.args)
    twin.__dict__.update(error.__dict__)
    return twin


def expired(operation_id: str, api: Api, cause: NotFound) -> OperationExpired:
    """Return the error for an operation that the service does not know (any more)."""
    return OperationExpired(
        "Submit the request anew, unless the id is from another cloud or API: its answer is lost.\n"
        f"The service does not know operation {operation_id}, or no longer: "
        f"results are kept for {KEPT[api].days} days.\n{cause}",
        operation_id=operation_id,
    )


def unseen(operation_id: str, cause: NotFound) -> OperationTimeout:
    """Return the error for an operation that the service does not know just now, when its deadline has passed."""
    return OperationTimeout(
        f"Look for it with YandexAIStudioOperationSensor(operation_id={operation_id!r}), or raise `timeout`.\n"
        f"Operation {operation_id} had no answer by the deadline, and the service did not know it at the last look.\n"
        f"One such answer does not mean that it is gone: it was not cancelled.\n{cause}",
        operation_id=operation_id,
    )


def say_untouched(error: Exception, operation_id: str, api: Api) -> None:
    """Have an error that is not about an operation say what becomes of it: it is paid for."""
    error.args = (
        f"{error}\nOperation {operation_id} was submitted before that, and is not cancelled: the service keeps its "
        f"result for {KEPT[api].days} days.",
    )


def invalid(generation: Generation, operation_id: str | None, cause: InvalidOutput) -> InvalidOutput:
    """Return the error for an answer that does not keep to the form that was asked for."""
    advice, what = "Look at the XCom `text`; a retry generates anew.", f"is not what was asked for: {within(cause)}"
    if generation.status == "truncated":
        advice, what = (
            "Allow more with `max_tokens`, or ask for less.",
            "was cut off at `max_tokens`, so that it is no JSON",
        )
    return InvalidOutput(
        f"{advice}\nThe answer of {_named(operation_id)} {what}.\n"
        "It was billed, and its text is in the XCom `text`. Another attempt generates anew, and pays again."
    )


def story_of(generation: Generation, operation_id: str | None) -> str:
    """Return the line that the log of the task gets about an answer."""
    usage = generation.usage
    marks = generation.text.count("\ufffd")
    replaced = f"; {marks} of them U+FFFD, which also stands for what can't be stored" if marks else ""
    return (
        f"{_sentence(_named(operation_id))}: "
        f"{generation.status} answer of {len(generation.text)} characters{replaced}; "
        f"{usage.input_tokens} tokens in, {usage.completion_tokens} out (model version {generation.model_version})"
    )


def refuse_withheld(generation: Generation, operation_id: str | None, advice: Advice = OWNER) -> None:
    """
    Let nothing pass for a text that is none.

    :raises ContentFiltered: The content filter stopped the generation.
    :raises AnswerRefused: The model declined to answer.
    :raises AnswerUnreadable: This release can't read the answer.
    """
    name, billed = _named(operation_id), f"It was billed ({generation.usage.total_tokens} tokens)"
    match generation.status:
        case "content_filter":
            raise ContentFiltered(
                "Change the prompt: the same one will be withheld again.\n"
                f"The service's content filter withheld the answer of {name}.\n{billed}."
            )
        case "refusal":
            raise AnswerRefused(
                "Change the prompt: the model declined to answer it. Its words are in the XCom `text`.\n"
                f"The answer of {name} is a refusal.\n{billed}."
            )
        case "unreadable":
            raise AnswerUnreadable(
                f"{advice.unreadable}: this release can't read the answer.\n"
                f"The service says that {name} is done, and its answer has no text where one is known to be.\n"
                f"{billed}. {advice.price if operation_id else 'Another attempt pays again'}."
            )


def _named(operation_id: str | None) -> str:
    return f"operation {operation_id}" if operation_id else "the synchronous call"


def _sentence(text: str) -> str:
    return text[0].upper() + text[1:]


def xcoms_of(generation: Generation, operation_id: str | None, try_number: int) -> dict[str, Any]:
    """Return the XComs that go beside the text."""
    values = {
        "operation_id": operation_id,
        "usage": {**generation.usage.as_dict(), "try_number": try_number},
        "model_version": generation.model_version,
        "status": generation.status,
        "tool_calls": [asdict(call) for call in generation.tool_calls] or None,
    }
    return {key: value for key, value in values.items() if value is not None}
