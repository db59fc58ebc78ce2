"""Streams that somebody else plays: the recorded one, and those that break in the middle."""

from __future__ import annotations

import json
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider.yandex_ai_studio.api import completion
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.models import Generation
from airflow_provider.yandex_ai_studio.client.credentials import MetadataService
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.client.worker import Client
from airflow_provider.yandex_ai_studio.exceptions import BadRequest, RateLimited, RequestError, ServiceUnavailable
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from support import API_KEY, FOLDER, Store, TaskInstance
from wire import Raw, running

PROMPT = "Could you please tell me about platypuses?"
STATUSES = {"ALTERNATIVE_STATUS_PARTIAL": "partial", "ALTERNATIVE_STATUS_FINAL": "final"}


class Player(ThreadingHTTPServer):
    """Plays one answer, chunk by chunk, to every request, and counts them. Without ``ends`` the connection breaks."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Playing)
        self.chunks: list[bytes] = []
        self.ends = True
        self.requests = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}"


class Playing(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Player

    def do_POST(self) -> None:
        self.server.requests += 1
        self.rfile.read(int(self.headers["Content-Length"]))
        self.send_response(200)
        self.send_header("Transfer-Encoding", "chunked")
        self.send_header("Connection", "close")
        self.end_headers()
        for chunk in self.server.chunks:
            self.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        if self.server.ends:
            self.wfile.write(b"0\r\n\r\n")
        self.close_connection = True

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@pytest.fixture
def player() -> Iterator[Player]:
    with Player() as playing:
        thread = threading.Thread(target=playing.serve_forever, args=(0.02,))
        thread.start()
        yield playing
        playing.shutdown()
        thread.join()


@pytest.fixture
def played(player: Player, connect: Callable[..., None]) -> Iterator[YandexAIStudioHook]:
    """A hook whose service is the player."""
    connect(host=player.url, password=API_KEY, extra={"folder_id": FOLDER})
    hook = YandexAIStudioHook(sleep=lambda seconds: None)
    yield hook
    hook.get_conn().close()


@pytest.fixture
def recorded(recordings: Path) -> list[dict[str, Any]]:
    (exchange,) = json.loads((recordings / "completion_run_stream.json").read_text("utf-8"))["interactions"]
    return [message["json"] for message in exchange["response_stream"]]


def run(hook: YandexAIStudioHook) -> Any:
    """Run one attempt of a task that reads a stream."""
    with DAG("dag"):
        operator = YandexAIStudioCompletionOperator(task_id="generate", prompt=PROMPT, mode="sync", stream=True)
    operator.hook = hook
    return operator.execute({"ti": TaskInstance(), "task_state_store": Store()})


def line(message: dict[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False).encode() + b"\n"


def result(completion: dict[str, Any]) -> bytes:
    return line({"result": completion})


def read(hook: YandexAIStudioHook) -> Iterator[Generation]:
    return hook.stream_completion(hook.completion_request(prompt=PROMPT))


@pytest.mark.parametrize("size", [None, 7, 100_000], ids=["by lines", "by scraps", "all at once"])
def test_the_recorded_stream_is_read_line_by_line_however_it_is_cut(
    player: Player, played: YandexAIStudioHook, recorded: list[dict[str, Any]], size: int | None
) -> None:
    lines = [*map(result, recorded)]
    whole = b"".join(lines)
    player.chunks = lines if size is None else [whole[at : at + size] for at in range(0, len(whole), size)]
    generations = [*read(played)]
    assert [(told.text, told.status) for told in generations] == [
        (alternative["message"]["text"], STATUSES[alternative["status"]])
        for completion in recorded
        for alternative in completion["alternatives"]
    ]
    assert [told.usage.total_tokens for told in generations] == [int(told["usage"]["totalTokens"]) for told in recorded]
    assert {told.model_version for told in generations} == {"07.03.2024"}


def error_line(grpc: int, http: int) -> bytes:
    return line({"error": {"grpcCode": grpc, "httpCode": http, "message": "no more", "httpStatus": "x", "details": []}})


@pytest.mark.parametrize(
    ("rest", "ends", "error", "said"),
    [
        ([], False, ServiceUnavailable, "connection broke"),
        ([b'{"result": {"alterna'], False, ServiceUnavailable, "connection broke"),
        ([b'{"result": {"alterna'], True, ServiceUnavailable, "does not know"),
        ([b"<html>502</html>\n"], True, ServiceUnavailable, "does not know"),
        ([error_line(13, 500)], True, ServiceUnavailable, "HTTP 500: no more"),
        ([error_line(14, 503)], True, ServiceUnavailable, "HTTP 503: no more"),
        ([error_line(8, 429)], True, RateLimited, "HTTP 429: no more"),
        ([error_line(3, 400)], True, BadRequest, "HTTP 400: no more"),
        ([line({"error": "no more", "code": 8, "message": "no more", "details": []})], True, RateLimited, "429"),
    ],
    ids=["drop", "drop in a line", "half a line", "garbage", "500", "503", "429", "400", "429 of another shape"],
)
def test_a_stream_that_breaks_is_a_typed_error_and_not_repeated(
    player: Player,
    played: YandexAIStudioHook,
    recorded: list[dict[str, Any]],
    rest: list[bytes],
    ends: bool,
    error: type[RequestError],
    said: str,
) -> None:
    player.chunks, player.ends = [*map(result, recorded[:2]), *rest], ends
    reading = read(played)
    assert [next(reading).status, next(reading).status] == ["partial", "partial"]
    with pytest.raises(error, match=said) as caught:
        next(reading)
    assert API_KEY not in str(caught.value)
    assert player.requests == 1


@pytest.mark.parametrize("end", [b"\n", b""], ids=["line", "no line"])
def test_what_comes_after_the_last_word_loses_no_answer(
    player: Player, played: YandexAIStudioHook, recorded: list[dict[str, Any]], end: bytes
) -> None:
    lines = [*map(result, recorded)]
    player.chunks, player.ends = [*lines[:-1], lines[-1].strip() + end], False
    assert [told.status for told in read(played)][-1] == "final"
    player.chunks, player.ends = [*lines, error_line(13, 500)], True
    assert [told.status for told in read(played)][-1] == "final"


def test_a_task_does_not_take_half_an_answer_for_the_whole(
    player: Player, played: YandexAIStudioHook, recorded: list[dict[str, Any]]
) -> None:
    player.chunks = [result(completion) for completion in recorded[:2]]
    with pytest.raises(ServiceUnavailable):
        run(played)
    player.chunks = []
    with pytest.raises(ServiceUnavailable):
        run(played)
    assert player.requests == 2


@pytest.mark.parametrize("status", [401, 503])
def test_a_stream_that_is_refused_keeps_no_connection(status: int) -> None:
    """Even where more of the refusal is to come than is read: a worker in trouble would run out of sockets."""
    left = threading.Event()

    def meet(connection: socket.socket) -> None:
        connection.settimeout(5)
        head = connection.recv(65536)
        if b"computeMetadata" in head:
            body = b'{"access_token": "t1.x", "expires_in": 3600}'
            connection.sendall(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
            return
        connection.sendall(b"HTTP/1.1 %d No\r\nContent-Length: 900000\r\n\r\n" % status + b"x" * 300_000)
        with suppress(ConnectionResetError):
            while connection.recv(65536):
                pass
        left.set()

    server = Raw(meet)
    with running(server):
        at = Endpoints.at(f"http://{server.address}")
        call = completion.stream_completion(at, CompletionRequest.of(model="yandexgpt", folder_id="b1g", prompt="Hi."))
        with Client(Settings(MetadataService(), at, timeout=5.0), sleep=lambda _: None) as client:
            with pytest.raises(RequestError) as caught:
                list(client.stream(replace(call, billed=True)))
            assert left.wait(10)
            assert caught.value.status == status
