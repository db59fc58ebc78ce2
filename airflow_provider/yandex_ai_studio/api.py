"""
The endpoints of the service, without I/O: what to send to each, and how to read its good answers.

Each is a function that returns a :class:`~.call.Call`. The names of the wire appear here, those of its errors and
headers in :mod:`~.call`, and nowhere else.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import pendulum

from airflow_provider.yandex_ai_studio.call import Call, clean
from airflow_provider.yandex_ai_studio.exceptions import BadRequest
from airflow_provider.yandex_ai_studio.models import (
    CompletionRequest,
    Failure,
    Generation,
    Message,
    Operation,
    Usage,
)

COMPLETION_TIMEOUT = 180.0
"""Seconds that a synchronous completion may take: the model writes the whole answer meanwhile."""

JWT_AUDIENCE = "https://iam.api.cloud.yandex.net/iam/v1/tokens"
"""What a JWT must be made out to, through whatever gateway it goes there."""


@dataclass(frozen=True)
class Endpoints:
    """The base URLs of the vendor's services. The defaults are its public ones."""

    llm: str = "https://llm.api.cloud.yandex.net"
    operation: str = "https://operation.api.cloud.yandex.net"
    ai: str = "https://ai.api.cloud.yandex.net"
    iam: str = "https://iam.api.cloud.yandex.net"

    @classmethod
    def at(cls, base_url: str) -> Endpoints:
        """Return all services at one base URL: the emulator, or a gateway."""
        base_url = base_url.rstrip("/")
        return cls(llm=base_url, operation=base_url, ai=base_url, iam=base_url)


def submit_completion(endpoints: Endpoints, request: CompletionRequest) -> Call[Operation]:
    """
    Start an asynchronous completion.

    .. seealso:: https://yandex.cloud/en/docs/foundation-models/text-generation/api-ref/TextGenerationAsync/completion
    """
    return Call(
        aim="submit the completion",
        method="POST",
        url=f"{endpoints.llm}/foundationModels/v1/completionAsync",
        body=_completion_body(request),
        parse=_operation,
        billed=True,
    )


def complete(endpoints: Endpoints, request: CompletionRequest) -> Call[Generation]:
    """
    Generate a text while the caller waits.

    .. seealso:: https://yandex.cloud/en/docs/foundation-models/text-generation/api-ref/TextGeneration/completion
    """
    return Call(
        aim="complete the prompt",
        method="POST",
        url=f"{endpoints.llm}/foundationModels/v1/completion",
        body=_completion_body(request),
        parse=_completed,
        billed=True,
        timeout=COMPLETION_TIMEOUT,
    )


def get_operation(endpoints: Endpoints, operation_id: str) -> Call[Operation]:
    """Ask how far an operation is, and for its answer."""
    return Call(
        aim=f"read operation {operation_id}",
        method="GET",
        url=f"{endpoints.operation}/operations/{_path_segment(operation_id)}",
        parse=_operation,
    )


CANCEL_METHODS = ("GET", "POST")
"""How a cancellation is sent: the protos say GET, the vendor's design guide says POST. Not confirmed: try both."""


def cancel_operation(endpoints: Endpoints, operation_id: str, *, method: str = CANCEL_METHODS[0]) -> Call[Operation]:
    """Cancel an operation. That the service does so for text generation is not confirmed: treat it as an attempt."""
    return Call(
        aim=f"cancel operation {operation_id}",
        method=method,
        url=f"{endpoints.operation}/operations/{_path_segment(operation_id)}:cancel",
        parse=_operation,
    )


def count_tokens(endpoints: Endpoints, request: CompletionRequest) -> Call[int]:
    """Count the input tokens of a request, as the model sees them. Free of charge."""
    return Call(
        aim="count the tokens of the request",
        method="POST",
        url=f"{endpoints.llm}/foundationModels/v1/tokenizeCompletion",
        body=_completion_body(request),
        parse=lambda data: len(_list(data["tokens"])),
    )


def list_models(endpoints: Endpoints) -> Call[list[str]]:
    """List the URIs of the models that the folder can use."""
    return Call(
        aim="list the models",
        method="GET",
        url=f"{endpoints.ai}/v1/models",
        parse=lambda data: [_text(model["id"]) for model in _list(data["data"])],
    )


def exchange_jwt(endpoints: Endpoints, jwt: str) -> Call[tuple[str, pendulum.DateTime]]:
    """Exchange a signed JWT for an IAM token and the time at which it expires."""
    return Call(
        aim="exchange the service-account key for an IAM token",
        method="POST",
        url=f"{endpoints.iam}/iam/v1/tokens",
        body={"jwt": jwt},
        parse=lambda data: (_text(data["iamToken"]), _time(data["expiresAt"]) or pendulum.now("UTC")),
        authorized=False,
    )


def _completion_body(request: CompletionRequest) -> dict[str, Any]:
    options: dict[str, Any] = {"stream": False}
    if request.temperature is not None:
        options["temperature"] = request.temperature
    if request.max_tokens is not None:
        options["maxTokens"] = str(request.max_tokens)
    return {
        "modelUri": request.model_uri,
        "completionOptions": options,
        "messages": [_message_body(message) for message in request.messages],
    }


def _message_body(message: Message) -> dict[str, Any]:
    return {"role": message.role, "text": message.text}


def _operation(data: Any) -> Operation:
    response = data.get("response")
    return Operation(
        id=_text(data["id"]),
        api="completion",
        done=bool(data.get("done")),
        error=_failure(data.get("error")),
        generation=_generation(response) if response else None,
        created_at=_time(data.get("createdAt")),
        modified_at=_time(data.get("modifiedAt")),
    )


def _failure(error: Any) -> Failure | None:
    """Read a ``google.rpc.Status``. One with neither a code nor a message says that all is well."""
    code, message = (int(error.get("code") or 0), str(error.get("message") or "")) if error else (0, "")
    return Failure(code, clean(message)) if code or message else None


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise ValueError("a text is missing")
    return value


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise ValueError("a list is missing")
    return value


def _completed(data: Any) -> Generation:
    generation = _generation(data.get("result") or data)
    if generation is None:
        raise ValueError("the answer has no alternatives")
    return generation


def _generation(data: Any) -> Generation | None:
    alternatives = data.get("alternatives")
    if not alternatives:
        return None
    first = alternatives[0]
    usage = data.get("usage") or {}
    details = usage.get("completionTokensDetails") or {}
    return Generation(
        text=_text(text) if (text := (first.get("message") or {}).get("text")) else "",
        status=_STATUSES.get(str(first.get("status")), "unspecified"),
        usage=Usage(
            input_tokens=int(usage.get("inputTextTokens") or 0),
            completion_tokens=int(usage.get("completionTokens") or 0),
            total_tokens=int(usage.get("totalTokens") or 0),
            reasoning_tokens=int(details.get("reasoningTokens") or 0),
        ),
        model_version=_text(version) if (version := data.get("modelVersion")) else None,
    )


_STATUSES = {
    "ALTERNATIVE_STATUS_PARTIAL": "partial",
    "ALTERNATIVE_STATUS_TRUNCATED_FINAL": "truncated",
    "ALTERNATIVE_STATUS_FINAL": "final",
    "ALTERNATIVE_STATUS_CONTENT_FILTER": "content_filter",
    "ALTERNATIVE_STATUS_TOOL_CALLS": "tool_calls",
}


def _time(value: Any) -> pendulum.DateTime | None:
    try:
        if value[10] != "T":
            return None
        return pendulum.from_timestamp(datetime.fromisoformat(value).timestamp())
    except (KeyError, IndexError, TypeError, ValueError, OverflowError):
        return None


def _path_segment(operation_id: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9_-]{1,200}", operation_id):
        raise BadRequest(
            f"{operation_id[:80]!r} is not an operation id. Nothing was sent to the service.", arrived=False
        )
    return operation_id
