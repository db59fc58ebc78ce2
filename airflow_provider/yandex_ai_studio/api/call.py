"""
One request as a value, and what its answer means. Without I/O.

Whatever comes back, :func:`result_of` gives a value or a :class:`~.exceptions.RequestError`: never something else.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar
from urllib.parse import urlsplit

from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    BadRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    RequestError,
    ServiceUnavailable,
)

T = TypeVar("T")

REQUEST_TIMEOUT = 60.0
"""Seconds that one request may take."""


@dataclass(frozen=True)
class Rpc:
    """
    The same call over gRPC.

    :param service: Its full name.
    :param message: The request as proto3 JSON.
    :param streams: The service answers with a stream of messages.
    """

    service: str
    method: str
    message: Mapping[str, Any] = field(repr=False)
    streams: bool = False


@dataclass(frozen=True)
class Call(Generic[T]):
    """
    One request, and how to read its answer.

    :param aim: What the request is for, as it reads in "could not …".
    :param parse: Turns the decoded JSON of a good answer into a value.
    :param billed: A repeat of the request is a second, billed generation.
    :param headers: What the endpoint asks for beside the usual headers.
    :param authorized: The request carries the credential.
    :param project: The folder goes along as OpenAI's project.
    :param timeout: Seconds that the request may take.
    :param rpc: The same call over gRPC, where there is one.
    """

    aim: str
    method: str
    url: str
    parse: Callable[[Any], T]
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    billed: bool = False
    headers: Mapping[str, str] = field(default_factory=dict)
    authorized: bool = True
    project: bool = False
    timeout: float = REQUEST_TIMEOUT
    rpc: Rpc | None = None


@dataclass(frozen=True)
class Answer:
    """What came back for a call. Names of ``headers`` are looked up in lower case."""

    status: int
    body: bytes
    headers: Mapping[str, str]


def result_of(call: Call[T], answer: Answer) -> T:
    """
    Return what the call asked for.

    :raises RequestError: The answer is an error, or makes no sense.
    """
    data = _decoded(answer.body)
    problem = data.get("error") if isinstance(data, Mapping) and "id" not in data else None
    if answer.status != 200 or (problem and "result" not in data):
        raise _refusal(call, answer, data)
    try:
        return call.parse(data)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ServiceUnavailable(
            f"Could not {call.aim}: the service answered with HTTP 200 and something that its documentation does not "
            f"know ({answer.headers.get('content-type', 'no content type')}, {len(answer.body)} bytes).",
            status=200,
            request_id=answer.headers.get("x-request-id"),
        ) from error


def no_answer(call: Call[Any], cause: str, *, arrived: bool) -> ServiceUnavailable:
    """Return the error for a call that got no answer at all."""
    fate = ""
    if call.billed:
        fate = " It may have been taken all the same." if arrived else " It did not reach the service."
    host = urlsplit(call.url).netloc
    return ServiceUnavailable(f"Could not {call.aim}: {cause} (asked {host}).{fate}", arrived=arrived)


def _decoded(body: bytes) -> Any:
    try:
        return json.loads(body)
    except (ValueError, RecursionError):
        return None


def _refusal(call: Call[Any], answer: Answer, data: Any) -> RequestError:
    """Map any answer that is not a good one to the error that says it."""
    message, code, embedded_status = _reported(data)
    embedded = answer.status == 200
    unknown = 400 if isinstance(code, str) else 500  # a word is about the request; the known exceptions are listed
    status = (embedded_status or _STATUS_OF_CODE.get(code, unknown)) if embedded else answer.status
    kind, advice = _refusal_kind(status)
    said = f": {message}" if message else ", without a reason that can be read"
    request_id = answer.headers.get("x-request-id")
    return kind(
        f"Could not {call.aim}: the service answered HTTP {status}{said.rstrip('.')}. {advice}"
        + (f" Request id for the vendor's support: {request_id}." if request_id else ""),
        status=status,
        grpc_code=code if isinstance(code, int) else None,
        request_id=request_id,
        arrived=not (400 <= status < 500 or status == 503),
    )


_STATUS_OF_CODE: dict[int | str | None, int] = {
    3: 400,
    4: 504,
    5: 404,
    7: 403,
    8: 429,
    13: 500,
    14: 503,
    16: 401,
    "invalid_prompt": 400,
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "vector_store_timeout": 504,
}
"""The status of an error that comes with HTTP 200: by ``google.rpc.Code``, or by the code of the Responses API."""


def _reported(data: Any) -> tuple[str, int | str | None, int | None]:
    """Read message, code and HTTP status out of any of the vendor's error shapes."""
    if not isinstance(data, Mapping):
        return "", None, None
    inner = data.get("error")
    error = inner if isinstance(inner, Mapping) else data
    message = error.get("message") or (inner if isinstance(inner, str) else "")
    code = error.get("grpcCode", error.get("code"))
    status = error.get("httpCode")
    return (
        clean(str(message)),
        code if isinstance(code, int | str) else None,
        status if isinstance(status, int) and 400 <= status < 600 else None,
    )


def _refusal_kind(status: int) -> tuple[type[RequestError], str]:
    match status:
        case 401:
            return AuthenticationError, "Check the credential of the Airflow connection: is it valid and unexpired?"
        case 403:
            return PermissionDenied, (
                "Check that the account has the role ai.languageModels.user on the folder, that the model is "
                "open to it, and that the billing account is active."
            )
        case 404:
            return NotFound, "The service does not know it, or no longer."
        case 429:
            return RateLimited, "A quota of the cloud is used up; wait, or ask the vendor's support to raise it."
        case _ if 400 <= status < 500 and status not in (408, 425):
            return BadRequest, "Correct the request; to repeat it as it is will not help."
        case _:
            return ServiceUnavailable, "The service, or the way to it, is out of order for now."


def clean(message: str) -> str:
    """Take away the session prefix that the service puts before many of its messages."""
    return re.sub(r"^Error in session [^:]*:\s*", "", message)[:1000]
