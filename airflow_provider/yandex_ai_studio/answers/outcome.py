"""What an operation that ended means for its task: an answer, with its XComs, or an error that says why not."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from airflow_provider.yandex_ai_studio.api.models import Api, Generation, Operation
from airflow_provider.yandex_ai_studio.exceptions import (
    ContentFiltered,
    InvalidOutput,
    NotFound,
    OperationCancelled,
    OperationExpired,
    OperationFailed,
    OperationTimeout,
)

CANCELLED = (1, "cancelled")
"""How the service says that an operation was cancelled: as a gRPC code, or in the word of the Responses API."""

KEPT = {"completion": "3 days", "responses": "30 days"}
"""How long the service keeps a result."""


def answer_of(operation: Operation) -> Generation:
    """
    Return the answer of an operation.

    :raises OperationCancelled: It was cancelled.
    :raises OperationFailed: The service reports an error, or neither an error nor an answer.
    :raises OperationTimeout: It still runs.
    """
    name = f"Operation {operation.id}"
    if operation.error:
        code, message = operation.error.code, operation.error.message or "no reason given"
        if code in CANCELLED:
            raise OperationCancelled(
                f"{name} was cancelled before it had an answer ({message}). There is nothing to wait for; "
                "clear the task to submit the request anew.",
                operation_id=operation.id,
                code=code,
            )
        raise OperationFailed(
            f"{name} failed: {message} (code {code}). It has no answer; another attempt submits the request anew.",
            operation_id=operation.id,
            code=code,
        )
    if not operation.done:
        raise OperationTimeout(
            f"{name} still runs after the deadline of its task. It was not cancelled: the service keeps its result for "
            f"{KEPT[operation.api]}, and YandexAIStudioOperationSensor(operation_id={operation.id!r}) can wait for it.",
            operation_id=operation.id,
        )
    if operation.generation is None:
        raise OperationFailed(
            f"{name} is done, but the service gives neither an answer nor an error. Another attempt submits "
            "the request anew; tell the vendor's support about the operation.",
            operation_id=operation.id,
        )
    return operation.generation


def expired(operation_id: str, api: Api, cause: NotFound) -> OperationExpired:
    """Return the error for an operation that the service does not know (any more)."""
    return OperationExpired(
        f"The service does not know operation {operation_id}. Results are kept for {KEPT[api]}: it is older than that, "
        f"or the id is from another cloud or API. Its answer is lost; submit the request anew. ({cause})",
        operation_id=operation_id,
    )


def invalid(operation_id: str | None, cause: InvalidOutput) -> InvalidOutput:
    """Return the error for an answer that does not keep to the form that was asked for."""
    return InvalidOutput(
        f"The answer of operation {operation_id or '(none)'} is not what was asked for: {cause}. It was billed; its "
        "text is in the XCom `text`. Another attempt generates anew."
    )


def story_of(generation: Generation, operation_id: str | None) -> str:
    """Return the line that the log of the task gets about an answer."""
    usage = generation.usage
    return (
        f"Operation {operation_id}: {generation.status} answer of {len(generation.text)} characters; "
        f"{usage.input_tokens} tokens in, {usage.completion_tokens} out (model version {generation.model_version})"
    )


def refuse_filtered(generation: Generation, operation_id: str | None) -> None:
    """
    Let no withheld answer pass for a text.

    :raises ContentFiltered: The content filter stopped the generation.
    """
    if generation.status == "content_filter":
        raise ContentFiltered(
            f"The service's content filter withheld the answer of operation {operation_id or '(none)'}; it "
            f"was billed ({generation.usage.total_tokens} tokens). Change the prompt: the same one will be "
            "withheld again."
        )


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
