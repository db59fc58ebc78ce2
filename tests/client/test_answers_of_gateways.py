"""What comes between the service and us may spoil an answer: what can be read of it is read, and no id is lost."""

from __future__ import annotations

import gzip
import json
import socket
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api import completion, responses
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.response_request import ResponseRequest
from airflow_provider.yandex_ai_studio.client.credentials import ApiKey
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import BadRequest, RateLimited, RequestError, ServiceUnavailable
from wire import ROADS, Raw, running, send

ANSWER: dict[str, Any] = {
    "id": "d7q1",
    "done": True,
    "response": {"alternatives": [{"message": {"text": "«Кряк» 🦆"}, "status": "ALTERNATIVE_STATUS_FINAL"}]},
}
BODY = json.dumps(ANSWER, ensure_ascii=False).encode()
JSON = b"Content-Type: application/json\r\n"


def http(body: bytes = BODY, *, headers: bytes = JSON, length: int = 0, status: bytes = b"HTTP/1.1 200 OK") -> bytes:
    """Return an answer as it goes over the wire; ``length`` is by how much it announces more than it has."""
    return b"%s\r\nContent-Length: %d\r\n%s\r\n%s" % (status, len(body) + length, headers, body)


def chunked(body: bytes, *, size: int | None = None, ends: bool = True) -> bytes:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    return head + b"%x\r\n%s\r\n" % (len(body) if size is None else size, body) + b"0\r\n\r\n" * ends


UTF_16 = JSON.replace(b"json", b"json; charset=utf-16le")
GZIP = b"Content-Encoding: gzip\r\n"

READABLE = {
    "a byte order mark": http(b"\xef\xbb\xbf" + BODY),
    "another charset is declared": http(headers=JSON.replace(b"json", b"json; charset=iso-8859-1")),
    "UTF-16": http(BODY.decode().encode("utf-16-le"), headers=UTF_16),
    "UTF-16 with a mark": http(BODY.decode().encode("utf-16")),
    "escaped": http(json.dumps(ANSWER).encode()),
    "HTTP 201": http(status=b"HTTP/1.1 201 Created"),
    "HTTP 206": http(status=b"HTTP/1.1 206 Partial Content"),
    "HTTP/1.0 that just ends": b"HTTP/1.0 200 OK\r\n\r\n" + BODY,
    "no reason": http(status=b"HTTP/1.1 200"),
    "HTTP 100 before it": b"HTTP/1.1 100 Continue\r\n\r\n" + http(),
    "HTTP 103 before it": b"HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + http(),
    "HTTP 102 before it, twice": b"HTTP/1.1 102 Processing\r\n\r\n" * 2 + http(),
    "headers twice": http(headers=b"Content-Type: text/html\r\nX-Request-Id: a\r\nX-Request-Id: b\r\n" + JSON),
    "a header that is not ASCII": http(headers="X-Request-Id: кряк\r\n".encode()),
    "a long header": http(headers=b"X-Policy: " + b"a" * 20_000 + b"\r\n"),
    "white space around it": http(b"\r\n " + BODY + b"\n\n"),
    "a chunk that ends, in a body that does not": chunked(BODY, ends=False),
    "a chunk that ends too soon": chunked(BODY, size=0xFFFF, ends=False),
    "a longer body was announced": http(length=10),
    "unpacked, and declared as packed": http(headers=GZIP),
    "packed, without the checksum": http(gzip.compress(BODY)[:-8], headers=GZIP),
}

CALLS: dict[str, Callable[[Endpoints], Any]] = {
    "submission": lambda at: completion.submit_completion(
        at, CompletionRequest.of(model="yandexgpt", folder_id="b1g", prompt="Ducks.")
    ),
    "read": lambda at: completion.get_operation(at, "d7q1"),
    "response": lambda at: responses.create_response(
        at, ResponseRequest.of(model="yandexgpt", folder_id="b1g", prompt="Ducks.", background=True)
    ),
}


def answered(road: str, call: str, raw: bytes) -> Any:
    """Send a call to whoever answers all with these bytes, and then hangs up."""

    def meet(connection: socket.socket) -> None:
        come = b""
        while b"\r\n\r\n" not in come:
            come += connection.recv(65536)
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)

    server = Raw(meet)
    with running(server):
        at = Endpoints.at(f"http://{server.address}")
        return send(road, Settings(ApiKey("AQVN1"), at, timeout=5.0, folder_id="b1g"), CALLS[call](at))


@pytest.mark.parametrize("raw", READABLE.values(), ids=READABLE)
@pytest.mark.parametrize("road", ["worker", "triggerer"])
def test_what_a_gateway_spoils_is_read_all_the_same(road: str, raw: bytes) -> None:
    for call in CALLS:
        read = answered(road, call, raw)
        assert read.id == "d7q1"
        assert call == "response" or read.generation.text == "«Кряк» 🦆"


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize("road", ROADS)
def test_what_a_refusal_asks_to_wait_is_known_on_every_road(road: str, status: int) -> None:
    with Emulator(folder_id="b1g", grpc=True) as emulator:
        emulator.fault("completionAsync", "status", status=status, headers={"Retry-After": "7"})
        at = Endpoints.at(emulator.url)
        settings = Settings(ApiKey("AQVN1"), at, transport="grpc", grpc_target=emulator.grpc_target)
        with pytest.raises(RequestError) as caught:
            send(road, settings, CALLS["submission"](at))
    assert (caught.value.retry_after, caught.value.arrived) == (7.0, False)


@pytest.mark.parametrize("road", ["worker", "triggerer"])
def test_a_point_in_time_is_read_by_the_clock_of_the_service(road: str) -> None:
    then = b"Date: Sat, 01 Jan 2000 00:00:00 GMT\r\nRetry-After: Sat, 01 Jan 2000 00:00:30 GMT\r\n"
    with pytest.raises(RequestError) as caught:
        answered(road, "read", http(b"", headers=then, status=b"HTTP/1.1 503 Busy"))
    assert caught.value.retry_after == 30.0


REFUSALS = {
    "half a body": lambda status: b"HTTP/1.1 %d No\r\nContent-Length: 200\r\n\r\n{" % status,
    "half a chunk": lambda status: b"HTTP/1.1 %d No\r\nTransfer-Encoding: chunked\r\n\r\nff\r\n{" % status,
    "no body": lambda status: b"HTTP/1.1 %d No\r\nContent-Length: 200\r\n\r\n" % status,
    "not packed as it says": lambda status: http(b"PK no", headers=GZIP, status=b"HTTP/1.1 %d No" % status),
}


@pytest.mark.parametrize("refuse", REFUSALS.values(), ids=REFUSALS)
@pytest.mark.parametrize(("status", "error"), [(400, BadRequest), (429, RateLimited), (503, ServiceUnavailable)])
@pytest.mark.parametrize("road", ["worker", "triggerer"])
def test_a_refusal_whose_body_breaks_off_is_one(
    road: str, status: int, error: type[RequestError], refuse: Callable[[int], bytes]
) -> None:
    with pytest.raises(error) as caught:
        answered(road, "submission", refuse(status))
    assert (caught.value.status, caught.value.arrived) == (status, False)


GARBAGE = {
    "a page": http(b"<html>Bad Gateway</html>", headers=b"Content-Type: text/html\r\n"),
    "a page that is not packed": http(b"<html>Bad Gateway</html>", headers=GZIP),
    "nothing": http(b""),
    "HTTP 204": b"HTTP/1.1 204 No Content\r\n\r\n",
    "half a body": chunked(BODY[:40], ends=False),
    "half a body, of a length": http(BODY[:40], length=200),
    "a list": http(b"[]"),
    "two lengths": http(headers=b"Content-Length: 3\r\n"),
}


@pytest.mark.parametrize("raw", GARBAGE.values(), ids=GARBAGE)
@pytest.mark.parametrize("road", ["worker", "triggerer"])
def test_what_says_nothing_may_have_been_taken(road: str, raw: bytes) -> None:
    for call in CALLS:
        with pytest.raises(RequestError) as caught:
            answered(road, call, raw)
        assert isinstance(caught.value, ServiceUnavailable)
        assert caught.value.arrived
