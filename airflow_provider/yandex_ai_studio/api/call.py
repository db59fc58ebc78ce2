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

from airflow_provider.yandex_ai_studio.api import values
from airflow_provider.yandex_ai_studio.api.words import ended, within
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
    :param timeout: Seconds that the request may take. The connection's own go before, but for a call that is to be
        short: of less than :data:`REQUEST_TIMEOUT`.
    :param credential: What to check where a call for a token is refused. A refusal is one of the credential then, and
        no answer about what the token is for.
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
    credential: str = ""
    rpc: Rpc | None = None


@dataclass(frozen=True)
class Answer:
    """What came back for a call. Names of ``headers`` are looked up in lower case."""

    status: int
    body: bytes = field(repr=False)
    headers: Mapping[str, str] = field(repr=False)


def answer_of_grpc(code: int, message: str, headers: Mapping[str, str]) -> Answer:
    """Return the answer over HTTP that an error over gRPC stands for."""
    return Answer(STATUS_OF_GRPC.get(code, 500), json.dumps({"code": code, "message": message}).encode(), headers)


def result_of(call: Call[T], answer: Answer, *, conceal: Callable[[str], str] = str) -> T:
    """
    Return what the call asked for.

    :param conceal: Takes the secrets out of what the service says.
    :raises RequestError: The answer is an error, or makes no sense.
    """
    data = _discreet(values.decoded(answer.body), conceal)
    problem = data.get("error") if isinstance(data, Mapping) and _names_nothing(data) else None
    if not 200 <= answer.status < 300 or (problem and "result" not in data):
        raise _refusal(call, answer, data, conceal)
    try:
        return call.parse(data)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise ServiceUnavailable(
            _told(
                call,
                f"the service answered with HTTP {answer.status} and something that its documentation does not know "
                f"({answer.headers.get('content-type', 'no content type')}, {len(answer.body)} bytes)",
                advice="",
                arrived=True,
                request_id=answer.headers.get("x-request-id"),
            ),
            status=answer.status,
            request_id=answer.headers.get("x-request-id"),
        ) from error


_IN_WORDS = ("error", "incomplete_details")
"""The members in which the service says why there is no answer; what they say comes into errors and logs."""


def _discreet(data: Any, conceal: Callable[[str], str]) -> Any:
    """Take the secrets out of what an answer says in words, before any of it is cut."""
    said = [name for name in _IN_WORDS if data.get(name)] if isinstance(data, Mapping) else []
    return {**data, **{name: _concealed(data[name], conceal) for name in said}} if said else data


def _concealed(said: Any, conceal: Callable[[str], str]) -> Any:
    if isinstance(said, Mapping):
        return {name: conceal(member) if isinstance(member, str) else member for name, member in said.items()}
    return conceal(said) if isinstance(said, str) else said


def _names_nothing(data: Mapping[str, Any]) -> bool:
    """Tell whether an answer is about nothing that has an id or a state: an error in it is a refusal then."""
    return "id" not in data or (data["id"] is None and not {"done", "status"} & data.keys())


def no_answer(
    call: Call[Any], cause: str, *, arrived: bool, advice: str = "", lasting: bool = False
) -> ServiceUnavailable:
    """
    Return the error for a call that got no answer at all.

    :param lasting: Whether to wait won't help.
    """
    host = urlsplit(call.url).netloc
    told = _told(call, f"{within(cause)} (asked {host})", advice=advice, arrived=arrived, reached=False)
    return ServiceUnavailable(told, arrived=arrived, lasting=lasting)


def unsendable(call: Call[Any], cause: str) -> BadRequest:
    """Return the error for a call that can't be written down as a request."""
    return BadRequest(_told(call, cause, advice=_CORRECT_IT, arrived=False, reached=False), arrived=False)


def _told(
    call: Call[Any], what: str, *, advice: str, arrived: bool, reached: bool = True, request_id: str | None = None
) -> str:
    """Return the text of an error: what to do, if anything; what happened; and what became of what is paid for."""
    fate = ""
    if call.billed and arrived:
        fate = " It may have been taken all the same."
    elif call.billed:
        fate = " The service did not take it." if reached else " It did not reach the service."
    support = f" Request id for the vendor's support: {request_id}." if request_id else ""
    lead = f"{advice}\n" if advice else ""
    return f"{lead}Could not {call.aim}: {ended(what)}{fate}{support}"


def _refusal(call: Call[Any], answer: Answer, data: Any, conceal: Callable[[str], str]) -> RequestError:
    """Map any answer that is not a good one to the error that says it."""
    whole, code, embedded_status = _reported(data)
    message = clean(conceal(whole))  # in this order: of a secret that is cut in two, half would be shown
    embedded = 200 <= answer.status < 300
    of_code = _status_of_word(code, message) if isinstance(code, str) else STATUS_OF_GRPC.get(code or 0, 500)
    status = (embedded_status or of_code) if embedded else answer.status
    kind, arrived, advice = _meaning(status)
    if call.credential and not issubclass(kind, RateLimited | ServiceUnavailable):
        kind, advice = AuthenticationError if status < 500 else ServiceUnavailable, call.credential
    said = f": {message}" if message else ", without a reason that can be read"
    request_id = answer.headers.get("x-request-id")
    return kind(
        _told(
            call,
            f"the service answered HTTP {status}{said}",
            advice=advice,
            arrived=arrived,
            request_id=request_id,
        ),
        status=status,
        grpc_code=code if isinstance(code, int) else None,
        request_id=request_id,
        arrived=arrived,
        lasting=300 <= status < 400 and status != 303,
        retry_after=values.pause_asked(answer.headers.get("retry-after"), answer.headers.get("date")),
    )


STATUS_OF_GRPC = {
    1: 499,
    2: 500,
    3: 400,
    4: 504,
    5: 404,
    6: 409,
    7: 403,
    8: 429,
    9: 400,
    10: 409,
    11: 400,
    12: 501,
    13: 500,
    14: 503,
    15: 500,
    16: 401,
}
"""The HTTP status that a ``google.rpc.Code`` stands for. Any other stands for 500."""

_STATUS_OF_WORD = {
    "invalid_prompt": 400,
    "rate_limit_exceeded": 429,
    "server_error": 500,
    "vector_store_timeout": 504,
}
"""The status of an error that comes with HTTP 200, by the code of the Responses API. Any other is about the request."""


def _status_of_word(code: str, message: str) -> int:
    """Return it; what failed in calling the model is the request's own fault only where a bound is named."""
    if code == "model_call_error" and not re.search(r"token|must|invalid|too (?:long|many)", message, re.IGNORECASE):
        return 500
    return _STATUS_OF_WORD.get(code, 400)


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
        str(message),
        code if isinstance(code, int | str) else None,
        status if isinstance(status, int) and 400 <= status < 600 else None,
    )


Meaning = tuple[type[RequestError], bool, str]
"""The error, whether the service may have taken the request, and what to do."""

_CORRECT_IT = "Correct the request; to repeat it as it is will not help."
_MEANINGS: dict[int, Meaning] = {
    303: (ServiceUnavailable, True, ""),  # how a server shows the way to what a POST has made
    401: (
        AuthenticationError,
        False,
        "Check the credential in the Airflow connection (Admin > Connections): is it whole, and valid today?",
    ),
    403: (
        PermissionDenied,
        False,
        "Check that the account has the role ai.languageModels.user on the folder, that the model is open to it, and "
        "that the billing account is active.",
    ),
    404: (NotFound, False, "Check the id and the folder: the service does not know it, or no longer."),
    407: (ServiceUnavailable, False, "Check the proxy that HTTP_PROXY names: it asks for a login."),
    408: (ServiceUnavailable, False, ""),
    425: (ServiceUnavailable, False, ""),
    429: (RateLimited, False, "Wait, or ask the vendor's support for more: a quota of the cloud is used up."),
    499: (ServiceUnavailable, True, ""),  # the request went on its way before somebody hung up
    501: (BadRequest, False, "Check the base URL of the Airflow connection: what is there does not offer this."),
    503: (ServiceUnavailable, False, ""),
    511: (ServiceUnavailable, False, "Check the network of this machine: it asks for a login."),
}


def _meaning(status: int) -> Meaning:
    """Return what a status means that is not 2xx."""
    if status in _MEANINGS:
        return _MEANINGS[status]
    if 300 <= status < 400:
        return (
            ServiceUnavailable,
            False,
            "Check the base URL of the Airflow connection: it redirects, and redirects are not followed.",
        )
    if 400 <= status < 500:
        return BadRequest, False, _CORRECT_IT
    return ServiceUnavailable, True, ""


def clean(message: str) -> str:
    """Take away the session prefix that the service puts before many of its messages."""
    return re.sub(r"^Error in session [^:]*:\s*", "", message)[:1000]
