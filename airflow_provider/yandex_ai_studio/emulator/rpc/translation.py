"""From the official messages to the values that routes work on, and back: the reverse of the vendor's gateway."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import grpc
from google.protobuf.any_pb2 import Any as AnyMessage
from google.protobuf.json_format import Error as JsonError
from google.protobuf.json_format import MessageToDict, ParseDict
from google.protobuf.wrappers_pb2 import StringValue
from google.rpc.status_pb2 import Status
from multidict import CIMultiDict

from airflow_provider.yandex_ai_studio.emulator.alteration import FOREIGN
from airflow_provider.yandex_ai_studio.emulator.request import Answer, Request
from airflow_provider.yandex_ai_studio.emulator.rpc.methods import Method
from airflow_provider.yandex_ai_studio.emulator.wire.errors import ApiError

#: Where the rich form of a refusal travels, as every gRPC library expects it.
STATUS_DETAILS = "grpc-status-details-bin"

_REQUEST_INFO = "type.googleapis.com/google.rpc.RequestInfo"

#: Field 15000, a varint, which no message of the vendor has.
_UNKNOWN_FIELD = b"\xc0\xa9\x07\x01"

_CODES = {code.value[0]: code for code in grpc.StatusCode if code is not grpc.StatusCode.OK}


def to_request(method: Method, message: Any, metadata: Iterable[tuple[str, str | bytes]], request_id: str) -> Request:
    """Return the request that this message would be over HTTP.

    :raises ValueError: when JSON has no way to write it, such as a NaN in a Struct.
    """
    headers = CIMultiDict((name, value) for name, value in metadata if isinstance(value, str))
    parameters = {name: getattr(message, name) for name in method.in_path}
    try:
        fields = MessageToDict(message)
    except JsonError as error:
        raise ValueError(str(error)) from None
    body = json.dumps(fields, ensure_ascii=False).encode() if method.has_body else b""
    return Request(headers, body, request_id, parameters)


def to_messages(method: Method, answer: Answer) -> list[Any]:
    """Return the messages of a successful answer.

    :raises ValueError: when it is something else than the method promises.
    """
    try:
        return [_to_message(method, json.loads(part)) for part in answer.parts]
    except JsonError as error:
        raise ValueError(str(error)) from None


def to_status(answer: Answer) -> Any:
    """Return the google.rpc.Status of a refusal, whichever shape of errors the route or a fault has given it."""
    said = _error(answer)
    code, message = said.get("grpcCode", said.get("code")), said.get("message")
    http = ApiError.of_status(answer.status)
    if not isinstance(code, int) or code not in _CODES:
        code = int(http.code)
    request_id = answer.headers.get("x-request-id")
    details = [_packed({"@type": _REQUEST_INFO, "requestId": request_id})] if request_id else []
    return Status(code=code, message=message if isinstance(message, str) else http.message, details=details)


def to_code(status: Any) -> Any:
    """Return the gRPC code of a status."""
    return _CODES[status.code]


def trailing_metadata(request: Request, answer: Answer) -> list[tuple[str, str | bytes]]:
    """Return what stands in the headers over HTTP, and the client's own id for the request."""
    metadata: list[tuple[str, str | bytes]] = [(name.lower(), value) for name, value in answer.headers.items()]
    if client_id := request.headers.get("x-client-request-id"):
        metadata.append(("x-client-request-id", client_id))
    return metadata


def _to_message(method: Method, payload: Any) -> Any:
    if method.streams and isinstance(payload, dict):
        payload = payload.get("result")
    if not isinstance(payload, dict):
        raise ValueError("a message is an object")
    payload, details = _without_details(payload)
    message = ParseDict(payload, method.response(), ignore_unknown_fields=FOREIGN in payload)
    if details:
        message.error.details.extend(map(_packed, details))
    if FOREIGN in payload:
        message.MergeFromString(_UNKNOWN_FIELD)
    return message


def _without_details(payload: dict[str, Any]) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    error = payload.get("error")
    if not isinstance(error, dict) or not isinstance(error.get("details"), list):
        return payload, []
    return {**payload, "error": {**error, "details": []}}, error["details"]


def _packed(detail: dict[str, Any]) -> Any:
    """Return an Any without knowing its type: a client in this process must not learn types from the emulator.

    The first field is a string: the request id of a RequestInfo, the JSON of everything else.
    """
    kind = str(detail.get("@type"))
    text = str(detail.get("requestId")) if kind == _REQUEST_INFO else json.dumps(detail)
    return AnyMessage(type_url=kind, value=StringValue(value=text).SerializeToString())


def _error(answer: Answer) -> dict[str, Any]:
    try:
        said = json.loads(answer.parts[0])
    except ValueError:
        return {}
    if not isinstance(said, dict):
        return {}
    nested = said.get("error")
    return nested if isinstance(nested, dict) else said
