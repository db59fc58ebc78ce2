"""Answers that are late, drip or break, and connections that are not to be had: in little time, on each road."""

from __future__ import annotations

import base64
import json
import socket
import threading
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider.yandex_ai_studio.api import completion
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.client.causes import CHECK_PROXY
from airflow_provider.yandex_ai_studio.client.credentials import ApiKey
from airflow_provider.yandex_ai_studio.client.triggerer import AsyncClient
from airflow_provider.yandex_ai_studio.client.worker import Client
from airflow_provider.yandex_ai_studio.exceptions import (
    ServiceUnavailable,
)
from service import GOOD, QUACK, REQUEST, ROADS, Service, ask, settings
from wire import Asked, Authority, Raw, Reply, running

pytestmark = pytest.mark.usefixtures("direct")

OPENED = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n"


@pytest.mark.parametrize("road", ROADS)
def test_an_answer_is_waited_for_as_long_as_the_connection_says(road: str, meet: Callable[..., str]) -> None:
    where = meet(lambda connection: (connection.recv(65536), time.sleep(1.0))[0] and None)
    with pytest.raises(ServiceUnavailable, match="did not answer in time") as caught:
        ask(road, settings(where, credential=ApiKey("AQVN1"), timeout=0.2))
    assert caught.value.arrived


@pytest.mark.parametrize("road", ["worker", "triggerer"])
def test_an_answer_that_drips_has_no_more_time_than_one_that_comes_at_once(road: str, meet: Callable[..., str]) -> None:
    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\n")
        for _ in range(9):
            time.sleep(0.1)
            connection.sendall(b" ")

    with pytest.raises(ServiceUnavailable, match="did not answer in time"):
        ask(road, settings(meet(drip), credential=ApiKey("AQVN1"), timeout=0.3))


@pytest.mark.parametrize("began", [b"", b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"], ids=["before", "within"])
@pytest.mark.parametrize("road", ROADS)
def test_an_answer_that_breaks_was_to_a_call_that_may_have_been_taken(
    road: str, began: bytes, meet: Callable[..., str]
) -> None:
    where = meet(lambda connection: (connection.recv(65536), connection.sendall(began))[1])
    with pytest.raises(ServiceUnavailable) as caught:
        ask(road, settings(where, credential=ApiKey("AQVN1")))
    assert caught.value.arrived


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("refused", [False, True], ids=["at once", "with the next token"])
def test_a_stream_that_has_opened_may_go_on_for_longer_than_an_answer_may_take(refused: bool) -> None:
    line, go_on = json.dumps({"result": QUACK}).encode() + b"\n", threading.Event()

    def slow(connection: socket.socket) -> None:
        asked = connection.recv(65536)
        if b"computeMetadata" in asked:
            said = json.dumps({"access_token": f"t{len(met)}.x", "expires_in": 3600}).encode()
            connection.sendall(
                b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%s" % (len(said), said)
            )
            met.append(asked)
        elif refused and b"t0.x" in asked:
            connection.sendall(b"HTTP/1.1 401 No\r\nConnection: close\r\nContent-Length: 0\r\n\r\n")
        else:
            connection.sendall(OPENED + line)
            go_on.wait(5)
            connection.sendall(line)

    met: list[bytes] = []
    server = Raw(slow)
    with running(server), Client(settings(f"http://{server.address}", timeout=0.3)) as client:
        generations = client.stream(completion.stream_completion(Endpoints.at(f"http://{server.address}"), REQUEST))
        assert next(generations).text == "Quack."
        time.sleep(0.35)
        go_on.set()
        assert [told.text for told in generations] == ["Quack."]
    assert len(met) == 1 + refused


@pytest.mark.parametrize("road", ROADS)
def test_a_connection_that_breaks_behind_tls_may_have_been_heard(
    road: str, tmp_path: Path, serve: Callable[..., Service]
) -> None:
    def hang_up(_: Asked) -> Reply:
        raise ConnectionAbortedError

    authority = Authority(tmp_path)
    service = serve(GOOD, certificate=authority.certificate("localhost"))
    where = f"https://localhost:{service.server_address[1]}"
    trusting = settings(where, credential=ApiKey("AQVN1"), ca_bundle=str(authority.pem))
    assert ask(road, trusting).text == "Quack."
    service.reply = hang_up
    with pytest.raises(ServiceUnavailable) as caught:
        ask(road, trusting)
    assert caught.value.arrived
    with pytest.raises(ServiceUnavailable, match="not trusted") as refused:
        ask(road, settings(where, credential=ApiKey("AQVN1")))
    assert not refused.value.arrived


@pytest.mark.parametrize("road", ROADS)
def test_nobody_there_is_told_apart_from_a_proxy_that_is_not_there(road: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(ServiceUnavailable, match="connection refused") as caught:
        ask(road, settings("http://127.0.0.1:1", credential=ApiKey("AQVN1")))
    assert not caught.value.arrived
    assert "proxy" not in str(caught.value)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    with pytest.raises(ServiceUnavailable, match="the proxy can't be reached: connection refused") as behind:
        ask(road, settings("https://llm.invalid", credential=ApiKey("AQVN1")))
    assert CHECK_PROXY in str(behind.value)


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("road", ["worker", "triggerer"])
def test_a_proxy_that_repeats_its_login_is_told_without_it(
    road: str, scheme: str, meet: Callable[..., str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def repeat(connection: socket.socket) -> None:
        asked = connection.recv(65536)
        (login,) = (line for line in asked.split(b"\r\n") if line.lower().startswith(b"proxy-authorization"))
        told = login + b" for user:p%40ss and user:p@ss"
        body = json.dumps({"message": told.decode()}).encode()
        connection.sendall(b"HTTP/1.1 407 %s\r\nContent-Length: %d\r\n\r\n%s" % (told, len(body), body))

    proxy = meet(repeat).replace("//", "//user:p%40ss@")
    monkeypatch.setenv(f"{scheme.upper()}_PROXY", proxy)
    with pytest.raises(ServiceUnavailable) as caught:
        ask(road, settings(f"{scheme}://llm.invalid", credential=ApiKey("AQVN1")))
    told = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
    assert "407" in told
    for secret in ("p@ss", "p%40ss", base64.b64encode(b"user:p@ss").decode()):
        assert secret not in told


async def test_a_triggerer_holds_twenty_connections_to_each_of_the_two_apis() -> None:
    async with AsyncClient(settings("http://127.0.0.1:1")) as client:
        assert client._session.connector is not None
        assert client._session.connector.limit == 40
        assert client.settings.conn_id == "studio"


async def test_a_triggerer_asks_once_though_its_library_would_ask_again(meet: Callable[..., str]) -> None:
    asked: list[bytes] = []

    def answer_the_first(connection: socket.socket) -> None:
        while len(asked) < 3 and (request := connection.recv(65536)):
            asked.append(request)
            if len(asked) > 1:
                return
            connection.sendall(b'HTTP/1.1 200 OK\r\nContent-Length: 13\r\n\r\n{"id":"d7q1"}')

    where = settings(meet(answer_the_first), credential=ApiKey("AQVN1"))
    call = completion.get_operation(where.endpoints, "d7q1")
    async with AsyncClient(where) as client:
        await client.send(call)
        with pytest.raises(ServiceUnavailable):
            await client.send(call)
    assert len(asked) == 2
