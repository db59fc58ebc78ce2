"""What fails before a byte of a request was sent is no submission, whatever it is; and each failure says its cause."""

from __future__ import annotations

import asyncio.constants
import json
import re
import socket
import ssl
import struct
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
import requests
from yandex.cloud.operation import operation_pb2

from airflow_provider.yandex_ai_studio.api import completion
from airflow_provider.yandex_ai_studio.api.call import Call
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.client import sending, triggerer
from airflow_provider.yandex_ai_studio.client.body import MAX_BODY
from airflow_provider.yandex_ai_studio.client.credentials import ApiKey, IamToken
from airflow_provider.yandex_ai_studio.client.network import CA_VARIABLES
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.client.worker import Client
from airflow_provider.yandex_ai_studio.exceptions import BadRequest, RateLimited, RequestError, ServiceUnavailable
from wire import ROADS, Authority, GrpcServer, Proxy, Raw, Reply, Server, bomb, running, send

REQUEST = CompletionRequest.of(model="yandexgpt", folder_id="b1g", prompt="Ducks.")
SECRET = "AQVNcanary"


@pytest.fixture(autouse=True)
def direct(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Without the proxy of whoever runs this, and trusting nobody but those whom a test names."""
    for name in CA_VARIABLES:
        monkeypatch.delenv(name, raising=False)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setattr(asyncio.constants, "SSL_SHUTDOWN_TIMEOUT", 0.02)  # who hung up does not say good-bye
    yield
    triggerer._timeout.cache_clear()


@dataclass
class Scene:
    """What a failure is played with: servers that run meanwhile, variables, certificates."""

    stack: ExitStack
    monkeypatch: pytest.MonkeyPatch
    folder: Path

    def raw(self, meet: Callable[[socket.socket], None]) -> str:
        server = Raw(meet)
        self.stack.enter_context(running(server))
        return server.address

    def served(self, by: str, meet: Callable[[Any], None]) -> str:
        """Return the base URL of a server that is met in the clear, over TLS, or over TLS through a proxy's tunnel."""
        if by == "http":
            return f"http://{self.raw(meet)}"
        authority, host = Authority(self.folder), "localhost" if by == "https" else "llm.invalid"
        self.monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(*authority.certificate(host))

        def secured(connection: socket.socket) -> None:
            with context.wrap_socket(connection, server_side=True) as inner:
                meet(inner)

        address = self.raw(secured)
        if by == "https":
            return f"https://{host}:{address.rpartition(':')[2]}"
        proxy = Proxy(to=address)
        self.stack.enter_context(running(proxy))
        return f"https://{self.behind(proxy.url)}"

    def hurry(self) -> None:
        """Let whoever connects give up soon."""
        self.monkeypatch.setattr(sending, "CONNECT_TIMEOUT", 0.5)
        triggerer._timeout.cache_clear()

    def behind(self, proxy: str) -> str:
        """Return a host that the proxy alone can reach."""
        self.monkeypatch.setenv("HTTPS_PROXY", proxy)
        return "llm.invalid:443"


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Scene]:
    with ExitStack() as stack:
        yield Scene(stack, monkeypatch, tmp_path)


def submit(road: str, base_url: str, **fields: Any) -> Any:
    at = Endpoints.at(base_url)
    target = base_url.partition("://")[2]
    settings = Settings(ApiKey(SECRET), at, transport="grpc", grpc_target=target, **{"timeout": 4.0, **fields})
    return send(road, settings, completion.submit_completion(at, REQUEST))


def untrusted_certificate(scene: Scene) -> str:
    certificate = Authority(scene.folder).certificate("localhost")
    server = Server(lambda _: Reply({}), certificate)
    scene.stack.enter_context(running(server))
    return f"https://localhost:{server.server_address[1]}"


def certificate_of_another_host(scene: Scene) -> str:
    authority = Authority(scene.folder)
    scene.monkeypatch.setenv("SSL_CERT_FILE", str(authority.pem))
    server = Server(lambda _: Reply({}), authority.certificate("other.invalid"))
    scene.stack.enter_context(running(server))
    return f"https://localhost:{server.server_address[1]}"


def plain_port(scene: Scene) -> str:
    server = Server(lambda _: Reply({}))
    scene.stack.enter_context(running(server))
    return f"https://{server.address}"


def dead_proxy(scene: Scene) -> str:
    return f"https://{scene.behind('http://127.0.0.1:1')}"


def proxy_that_refuses(scene: Scene) -> str:
    proxy = Proxy(status=403)
    scene.stack.enter_context(running(proxy))
    return f"https://{scene.behind(proxy.url)}"


def proxy_that_wants_a_login(scene: Scene) -> str:
    proxy = Proxy(status=407)
    scene.stack.enter_context(running(proxy))
    return f"https://{scene.behind(proxy.url.replace('//', '//user:hunter2@'))}"


def proxy_that_hangs(scene: Scene) -> str:
    scene.hurry()
    return f"https://{scene.behind('http://' + scene.raw(lambda _: time.sleep(6)))}"


def proxy_that_drips(scene: Scene) -> str:
    scene.hurry()
    return f"https://{scene.behind('http://' + scene.raw(DRIPS['headers']))}"


def unknown_name(_: Scene) -> str:
    return "https://nosuch.invalid"


def nobody_there(_: Scene) -> str:
    return "http://127.0.0.1:1"


def nobody_answers(scene: Scene) -> str:
    """A full backlog: the kernel lets further connections wait."""
    scene.hurry()
    listening = scene.stack.enter_context(socket.create_server(("127.0.0.1", 0), backlog=0))
    address = listening.getsockname()
    for _ in range(2):
        waiting = scene.stack.enter_context(socket.socket())
        waiting.setblocking(False)
        waiting.connect_ex(address)
    return f"http://127.0.0.1:{address[1]}"


def handshake_hangs(scene: Scene) -> str:
    scene.hurry()
    return f"https://{scene.raw(lambda _: time.sleep(6))}"


def handshake_breaks(scene: Scene) -> str:
    return f"https://{scene.raw(lambda connection: connection.close())}"


NOT_TRUSTED = ("the certificate of the host is not trusted", "`ca_bundle`")
UNREACHED = ("the host was not reached in time|the TLS handshake failed", "firewall")

BEFORE = [
    (untrusted_certificate, *NOT_TRUSTED),
    (certificate_of_another_host, *NOT_TRUSTED),
    (plain_port, "the port does not speak TLS", "should it begin with http://"),
    (dead_proxy, "the proxy can't be reached: connection refused", "HTTPS_PROXY"),
    (proxy_that_refuses, "the proxy refused the connection .HTTP 403.", "HTTPS_PROXY"),
    (proxy_that_wants_a_login, "the proxy refused the connection .HTTP 407.", "HTTPS_PROXY"),
    (proxy_that_hangs, "the proxy can't be reached", "HTTPS_PROXY"),
    (proxy_that_drips, "the proxy can't be reached", "HTTPS_PROXY"),
    (unknown_name, "the name of the host is not known .DNS.", "DNS"),
    (nobody_there, "connection refused", "Check that the service runs there"),
    (nobody_answers, *UNREACHED),
    (handshake_hangs, *UNREACHED),
    (handshake_breaks, "", ""),
]


@pytest.mark.parametrize(("fails", "cause", "advice"), BEFORE, ids=[row[0].__name__ for row in BEFORE])
@pytest.mark.parametrize("road", ROADS)
def test_what_fails_before_a_byte_was_sent_is_no_submission(
    road: str, fails: Callable[[Scene], str], cause: str, advice: str, scene: Scene
) -> None:
    with pytest.raises(ServiceUnavailable, match="It did not reach the service") as caught:
        submit(road, fails(scene))
    said = str(caught.value)
    assert not caught.value.arrived
    assert caught.value.lasting is (fails in (untrusted_certificate, certificate_of_another_host, plain_port))
    assert re.search(cause, said.rpartition("\n")[2])
    assert advice in said.rpartition("\n")[0]
    assert "hunter2" not in said
    assert SECRET not in said


def handshake_hangs_for_a_minute(scene: Scene) -> str:
    scene.hurry()
    return f"https://{scene.raw(lambda _: time.sleep(60))}"


@pytest.mark.parametrize("fails", [nobody_answers, handshake_hangs_for_a_minute])
@pytest.mark.parametrize("road", ROADS[:2])
def test_the_time_to_connect_is_its_own_however_long_a_request_may_take(
    road: str, fails: Callable[[Scene], str], scene: Scene
) -> None:
    base_url = fails(scene)
    started = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="It did not reach the service"):
        submit(road, base_url, timeout=60.0)
    assert time.monotonic() - started < 30


WAYS = [*((road, by) for by in ("http", "https") for road in ROADS[:2]), ("worker", "tunnel")]


def after_the_request(connection: socket.socket, *, then: bytes = b"", reset: bool = False) -> None:
    connection.recv(65536)
    connection.sendall(then)
    if reset:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        connection.close()


AFTER: dict[str, Callable[[socket.socket], None]] = {
    "closed": after_the_request,
    "reset": lambda connection: after_the_request(connection, reset=True),
    "half": lambda connection: after_the_request(connection, then=b'HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n{"id'),
    "silence": lambda connection: (connection.recv(65536), time.sleep(2))[0] and None,
    "no HTTP": lambda connection: after_the_request(connection, then=b"220 smtp.example ESMTP\r\n"),
    "not gzip": lambda connection: after_the_request(
        connection, then=b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 2\r\n\r\n{}"
    ),
}


@pytest.mark.parametrize("meet", AFTER.values(), ids=AFTER)
@pytest.mark.parametrize(("road", "by"), WAYS)
def test_what_fails_after_a_byte_was_sent_may_have_been_taken(
    road: str, by: str, meet: Callable[[socket.socket], None], scene: Scene
) -> None:
    with pytest.raises(ServiceUnavailable, match="may have been taken") as caught:
        submit(road, scene.served(by, meet), timeout=1.0)
    assert caught.value.arrived
    assert "handshake" not in str(caught.value)


@pytest.mark.parametrize("by", ["http", "https", "tunnel"])
def test_a_submission_that_may_have_been_taken_is_sent_once(by: str, scene: Scene) -> None:
    taken = []

    def take_and_close(connection: socket.socket) -> None:
        taken.append(connection.recv(65536).partition(b" ")[0])

    at = Endpoints.at(scene.served(by, take_and_close))
    client = Client(Settings(ApiKey(SECRET), at, timeout=4.0), sleep=lambda _: None)
    with client, pytest.raises(ServiceUnavailable):
        client.send(completion.submit_completion(at, REQUEST))
    assert taken == [b"POST"]


def drips(begin: bytes, drop: bytes = b"a") -> Callable[[socket.socket], None]:
    def drip(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(begin)
        for _ in range(600):  # a minute
            connection.sendall(drop)
            time.sleep(0.1)

    return drip


DRIPS = {
    "status": drips(b"HTTP/1.1 200 "),
    "headers": drips(b"HTTP/1.1 200 OK\r\nX-A: "),
    "interim answers": drips(b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
    "body": drips(b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n"),
    "length of a chunk": drips(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5;"),
}


@pytest.mark.parametrize("dripping", DRIPS.values(), ids=DRIPS)
@pytest.mark.parametrize(("road", "by"), WAYS)
def test_an_answer_that_comes_drop_by_drop_ends_in_time(
    road: str, by: str, dripping: Callable[[socket.socket], None], scene: Scene
) -> None:
    base_url = scene.served(by, dripping)
    started = time.monotonic()
    with pytest.raises(ServiceUnavailable, match="did not answer in time") as caught:
        submit(road, base_url, timeout=1.0)
    assert caught.value.arrived
    assert time.monotonic() - started < 30


def test_a_stream_that_opens_drop_by_drop_ends_in_time(scene: Scene) -> None:
    at = Endpoints.at(f"http://{scene.raw(DRIPS['headers'])}")
    started = time.monotonic()
    client = Client(Settings(ApiKey(SECRET), at, timeout=1.0))
    with client, pytest.raises(ServiceUnavailable, match="did not answer in time") as caught:
        list(client.stream(completion.stream_completion(at, REQUEST)))
    assert caught.value.arrived
    assert time.monotonic() - started < 30


def test_a_stream_that_has_opened_has_its_timeout_for_each_line(scene: Scene) -> None:
    alternative = {"message": {"role": "assistant", "text": "Quack"}, "status": "ALTERNATIVE_STATUS_PARTIAL"}
    line = json.dumps({"result": {"alternatives": [alternative]}}).encode() + b"\n"

    def slow(connection: socket.socket) -> None:
        connection.recv(65536)
        for part in (b"HTTP/1.1 200 OK\r\n", b"Connection: close\r\n\r\n"):
            time.sleep(0.45)
            connection.sendall(part)
        for _ in range(3):
            time.sleep(0.9)
            connection.sendall(line)

    at = Endpoints.at(f"http://{scene.raw(slow)}")
    with Client(Settings(ApiKey(SECRET), at, timeout=1.2)) as client:
        assert len(list(client.stream(completion.stream_completion(at, REQUEST)))) == 3


@pytest.mark.parametrize(
    "reply",
    [
        Reply(bomb(MAX_BODY // 2**20 + 1), headers={"Content-Encoding": "gzip"}),
        Reply(b" " * (MAX_BODY + 1)),
    ],
    ids=["a bomb", "plain"],
)
@pytest.mark.parametrize("road", ["worker", "triggerer"])
def test_an_answer_that_is_too_long_was_taken(road: str, reply: Reply) -> None:
    server = Server(lambda _: reply)
    with running(server), pytest.raises(ServiceUnavailable, match=r"longer than 8 MiB.*may have been taken") as caught:
        submit(road, f"http://{server.address}", timeout=30.0)
    assert caught.value.arrived


@pytest.mark.parametrize("body", [bomb(MAX_BODY // 2**20 + 1), b" " * (MAX_BODY + 1)], ids=["a bomb", "plain"])
@pytest.mark.parametrize(("status", "error"), [(429, RateLimited), (400, BadRequest), (500, ServiceUnavailable)])
@pytest.mark.parametrize("road", ["worker", "triggerer"])
def test_an_error_that_is_too_long_means_what_its_status_says(
    road: str, status: int, error: type[RequestError], body: bytes
) -> None:
    headers = {"Content-Encoding": "gzip"} if body[0] == 31 else {}
    server = Server(lambda _: Reply(body, status, headers))
    with running(server), pytest.raises(error, match=f"HTTP {status}, without a reason that can be read") as caught:
        submit(road, f"http://{server.address}", timeout=30.0)
    assert caught.value.arrived is (status == 500)


@pytest.mark.parametrize("road", ROADS)
def test_an_answer_of_five_mebibytes_is_read_on_every_road(road: str) -> None:
    long = "Утка" * (5 * 2**17)
    operation = operation_pb2.Operation(id="d7q1", description=long)
    over_grpc = GrpcServer(lambda *_: operation.SerializeToString())
    over_http = json.dumps({"id": "d7q1", "description": long}, ensure_ascii=False).encode()
    server = Server(lambda _: Reply(over_http))
    with over_grpc.running(), running(server):
        at = Endpoints.at(f"http://{server.address}")
        settings = Settings(ApiKey(SECRET), at, timeout=30.0, transport="grpc", grpc_target=over_grpc.address)
        assert send(road, settings, completion.submit_completion(at, REQUEST)).id == "d7q1"


def test_a_line_of_a_stream_that_is_too_long_ends_it() -> None:
    server = Server(lambda _: Reply(bomb(MAX_BODY // 2**20 + 1), headers={"Content-Encoding": "gzip"}))
    with running(server):
        at = Endpoints.at(f"http://{server.address}")
        with (
            Client(Settings(ApiKey(SECRET), at)) as client,
            pytest.raises(ServiceUnavailable, match="longer than 8 MiB"),
        ):
            list(client.stream(completion.stream_completion(at, REQUEST)))


@pytest.mark.parametrize("error", [TypeError, ValueError, UnicodeError, OverflowError, RuntimeError, KeyError])
@pytest.mark.parametrize("begun", [True, False])
def test_whatever_a_library_raises_is_an_error_of_the_request(
    error: type[Exception], begun: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    def raise_it(*_: Any, **__: Any) -> None:
        sending.under_way.set(begun)
        raise error(f"Authorization: Api-Key {SECRET}")

    monkeypatch.setattr(requests.Session, "request", raise_it)
    with pytest.raises(ServiceUnavailable) as caught:
        submit("worker", "http://127.0.0.1:1")
    assert caught.value.arrived is begun
    assert SECRET not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("road", ROADS)
def test_a_token_that_fits_in_no_header_is_not_shown(road: str, scene: Scene) -> None:
    at = Endpoints.at("http://127.0.0.1:1")
    settings = Settings(IamToken("t1.canary\nX: y"), at, transport="grpc", grpc_target="127.0.0.1:1")
    with pytest.raises(RequestError) as caught:
        send(road, settings, completion.submit_completion(at, REQUEST))
    shown = [caught.value, caught.value.__cause__]
    assert not caught.value.arrived
    assert not re.search("canary", " ".join(map(str, shown)))


@pytest.mark.parametrize("road", ROADS)
def test_a_request_that_can_t_be_written_down_is_wrong_and_was_not_sent(road: str) -> None:
    at = Endpoints.at("http://127.0.0.1:1")
    broken: Call[Any] = completion.submit_completion(
        at, CompletionRequest.of(model="yandexgpt", folder_id="b1g", prompt="x", tools=[{"name": "\ud83e"}])
    )
    with pytest.raises(BadRequest, match="can't be written") as caught:
        send(road, Settings(ApiKey(SECRET), at, transport="grpc", grpc_target="127.0.0.1:1"), broken)
    assert not caught.value.arrived


@pytest.mark.parametrize("road", ROADS[2:])
def test_a_grpc_service_that_never_answers_may_have_taken_it(road: str) -> None:
    def hang(_: str, context: grpc.ServicerContext) -> bytes:
        time.sleep(1.5)
        return b""

    with GrpcServer(hang).running() as server, pytest.raises(ServiceUnavailable, match=r"in time.*taken") as caught:
        submit(road, f"http://{server.address}", timeout=1.0)
    assert caught.value.arrived
