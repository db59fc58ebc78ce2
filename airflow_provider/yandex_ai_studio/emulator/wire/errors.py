"""Refusals, and the five shapes in which the vendor's gateways write them.

The shape belongs to the route, the refusal does not: a route says which function renders its errors.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import IntEnum
from http import HTTPStatus
from typing import Any


class Code(IntEnum):
    """The gRPC status codes."""

    CANCELLED = 1
    UNKNOWN = 2
    INVALID_ARGUMENT = 3
    DEADLINE_EXCEEDED = 4
    NOT_FOUND = 5
    ALREADY_EXISTS = 6
    PERMISSION_DENIED = 7
    RESOURCE_EXHAUSTED = 8
    FAILED_PRECONDITION = 9
    ABORTED = 10
    OUT_OF_RANGE = 11
    UNIMPLEMENTED = 12
    INTERNAL = 13
    UNAVAILABLE = 14
    DATA_LOSS = 15
    UNAUTHENTICATED = 16


# Of the codes that share a status, the last is what the status stands for.
_HTTP_STATUS = {
    Code.CANCELLED: 499,
    Code.UNKNOWN: 500,
    Code.FAILED_PRECONDITION: 400,
    Code.OUT_OF_RANGE: 400,
    Code.ALREADY_EXISTS: 409,
    Code.DATA_LOSS: 500,
    Code.INVALID_ARGUMENT: 400,
    Code.DEADLINE_EXCEEDED: 504,
    Code.NOT_FOUND: 404,
    Code.PERMISSION_DENIED: 403,
    Code.RESOURCE_EXHAUSTED: 429,
    Code.ABORTED: 409,
    Code.UNIMPLEMENTED: 501,
    Code.INTERNAL: 500,
    Code.UNAVAILABLE: 503,
    Code.UNAUTHENTICATED: 401,
}
# What a balancer answers in the service's place is to a gRPC client as if the service were unavailable.
_CODE = {status: code for code, status in _HTTP_STATUS.items()} | {502: Code.UNAVAILABLE}


class ApiError(Exception):
    """The service refuses a request.

    :param code: the gRPC status code.
    :param message: the text for the caller.
    :param status: the HTTP status; the one that belongs to the code when ``None``.
    """

    def __init__(self, code: Code, message: str, status: int | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.status = _HTTP_STATUS[code] if status is None else status

    @classmethod
    def of_status(cls, status: int) -> ApiError:
        """Return the error that has this HTTP status."""
        return cls(_CODE.get(status, Code.UNKNOWN), reason(status), status)


class Undecodable(ApiError):
    """The gateway could not decode the body, so the service behind it never saw the request."""

    def __init__(self, message: str) -> None:
        super().__init__(Code.INVALID_ARGUMENT, message)


class ResponseNotFound(ApiError):
    """There is no response of this id.

    :param param: the parameter that names it; ``None`` when the path does.
    """

    def __init__(self, response_id: str, param: str | None = None) -> None:
        super().__init__(Code.NOT_FOUND, f"Response with id '{response_id}' not found.")
        self.param = param


#: Render an error for the request that has this id.
Shape = Callable[[ApiError, str], dict[str, Any]]


def gateway_error(error: ApiError, _request_id: str) -> dict[str, Any]:
    """Render as grpc-gateway v1 does for calls with one answer: ``error`` is a string."""
    return {"error": error.message, "code": int(error.code), "message": error.message, "details": []}


def stream_error(error: ApiError, request_id: str) -> dict[str, Any]:
    """Render as grpc-gateway v1 does for calls that answer with a stream: ``error`` is an object.

    A body that it can't decode fails before there is a stream, and so has the other shape on the same route.
    """
    if isinstance(error, Undecodable):
        return gateway_error(error, request_id)
    return {
        "error": {
            "grpcCode": int(error.code),
            "httpCode": error.status,
            "message": error.message,
            "httpStatus": reason(error.status),
            "details": [],
        }
    }


def rpc_status(error: ApiError, request_id: str) -> dict[str, Any]:
    """Render as google.rpc.Status, with the request id for the vendor's support."""
    info = {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": request_id}
    return {"code": int(error.code), "message": error.message, "details": [info]}


def openai_error(error: ApiError, _request_id: str) -> dict[str, Any]:
    """Render as the OpenAI-compatible API does."""
    kind = "invalid_request_error" if error.status < 500 else "server_error"
    return {"error": {"message": error.message, "type": kind}}


def response_error(error: ApiError, request_id: str) -> dict[str, Any]:
    """Render as the Responses API does, which documents another shape for what it can't find."""
    if error.code is not Code.NOT_FOUND:
        return openai_error(error, request_id)
    param = error.param if isinstance(error, ResponseNotFound) else None
    return {"code": None, "message": error.message, "param": param, "type": "invalid_request_error"}


def reason(status: int) -> str:
    """Return the reason phrase of an HTTP status."""
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Client Closed Request" if status == 499 else "Unknown"
