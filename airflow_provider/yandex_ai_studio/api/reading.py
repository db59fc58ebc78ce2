"""
What an answer about an operation says, where not all of it can be read. Both APIs go by these rules, and only by these.

- A submission is an answer with an id that can be asked for later, whatever stands beside it.
- An answer to a question is about the operation that was asked for, whatever id stands in it.
- An error with a code ends an operation, done or not: it *failed*, for good. Another attempt submits anew.
- An answer whose text can be read ends it as well, whatever is said about being done. Its numbers, times and names are
  extras: 0 or None where they can't be read. An error that is a mere text does not outweigh it; without an answer, it
  is a failure.
- "Done" with neither *failed* too: there is nothing to wait for.
- "Done" with an answer whose text can't be read is *unreadable*. It was paid for, and another release may read it: no
  attempt submits it anew by itself.
- What says none of this is no news: the operation runs. Without an id that can be read it is garbage, and raises: the
  service is out of order *for now*, and a wait goes on.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from airflow_provider.yandex_ai_studio.api import values
from airflow_provider.yandex_ai_studio.api.call import clean
from airflow_provider.yandex_ai_studio.api.endpoints import is_id
from airflow_provider.yandex_ai_studio.api.models import Api, Failure, Generation, Operation, ToolCall

UNREADABLE = "unreadable"
"""The status of an answer that is there, and can't be read."""


def operation_of(
    data: Any, asked: str | None, *, api: Api, done: bool, failure: Failure | None, generation: Generation | None
) -> Operation:
    """
    Put together what was read of an operation.

    :param data: The whole answer.
    :param asked: The operation that was asked for; None for a submission.
    :param done: The answer says that it is over.
    :raises ValueError: The answer says nothing about an operation.
    """
    told = values.members(data)
    readable = generation is not None and generation.status != UNREADABLE
    failure = failure if failure and (failure.code or not readable) else None
    named = _id_in(told.get("id"))
    if named is None and (asked is None or not (failure or readable)):
        raise ValueError("neither an id nor an outcome can be read")
    return Operation(
        id=named or str(asked),
        api=api,
        done=done or (generation is not None and generation.status not in (UNREADABLE, "partial")),
        error=failure,
        generation=generation if readable or done else None,
        created_at=values.moment(told.get("createdAt", told.get("created_at"))),
        modified_at=values.moment(told.get("modifiedAt")),
    )


def _id_in(value: Any) -> str | None:
    """Return what can be asked for as an id, be it written as a number or with white space around it."""
    if isinstance(value, int) and not isinstance(value, bool):
        value = str(value)
    if isinstance(value, str):
        value = value.strip()
    return value if is_id(value) else None


def calls_of(functions: Sequence[Any]) -> tuple[ToolCall, ...] | None:
    """
    Read the calls that a model asks for: all of them, for half of them would be another answer.

    None where one can't be read, or has arguments that can't be stored.
    """
    calls = []
    for function in functions:
        told = values.members(function)
        name, arguments = values.text_or_none(told.get("name")), told.get("arguments") or {}
        if isinstance(arguments, str):
            arguments = values.decoded(arguments)
        if name is None or not isinstance(arguments, Mapping) or values.unstorable(arguments):
            return None
        calls.append(ToolCall(name, dict(arguments)))
    return tuple(calls)


def failure_of(error: Any) -> Failure | None:
    """Read the error of an operation. One with neither a code nor a message says that all is well."""
    if not error:
        return None
    if isinstance(error, str):
        return Failure(0, clean(error)) if error.strip() else None
    told = values.members(error)
    code = values.count(told.get("code")) or values.text_or_none(told.get("code")) or 0
    message = clean(values.text_or_none(told.get("message")) or "")
    return Failure(code, message) if code or message else None
