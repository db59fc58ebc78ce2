"""The time of an answer as a worker reads it: all of it has the timeout of its socket, unless it is a stream."""

from __future__ import annotations

import contextvars
import socket
import time
from collections.abc import Iterator

import pytest

from airflow_provider.yandex_ai_studio.client.worker import _AnswerInTime, _opening

TIMEOUT = 0.3


@pytest.fixture
def pair() -> Iterator[tuple[socket.socket, socket.socket]]:
    """Both ends of a connection; the first one is the worker's."""
    near, far = socket.socketpair()
    near.settimeout(TIMEOUT)
    with near, far:
        yield near, far


def answer(pair: tuple[socket.socket, socket.socket], status: int, *, opening: bool) -> _AnswerInTime:
    """Return an answer whose headers were read, and whose body is to come."""

    def begun() -> _AnswerInTime:
        _opening.set(opening)
        begins = _AnswerInTime(pair[0], method="POST")
        begins.begin()
        return begins

    pair[1].sendall(b"HTTP/1.1 %d Said\r\nContent-Length: 4\r\n\r\n" % status)
    return contextvars.copy_context().run(begun)


def test_an_answer_in_time_is_read_and_leaves_the_connection_its_timeout(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    came = answer(pair, 200, opening=False)
    pair[1].sendall(b"body")
    assert came.read() == b"body"
    assert pair[0].gettimeout() == TIMEOUT


@pytest.mark.parametrize(("status", "opening"), [(200, False), (500, True), (500, False)])
def test_what_is_left_of_the_time_is_less_with_each_byte(
    pair: tuple[socket.socket, socket.socket], status: int, opening: bool
) -> None:
    came = answer(pair, status, opening=opening)
    pair[1].sendall(b"b")
    assert came.read1(1) == b"b"
    time.sleep(TIMEOUT)  # the clock is the socket's
    pair[1].sendall(b"ody")
    with pytest.raises(TimeoutError):
        came.read1(3)


def test_a_body_that_does_not_come_is_waited_for_no_longer_than_that(
    pair: tuple[socket.socket, socket.socket],
) -> None:
    came = answer(pair, 200, opening=False)
    began = time.monotonic()
    with pytest.raises(TimeoutError):
        came.read1(1)
    assert time.monotonic() - began < 100 * TIMEOUT


def test_a_stream_that_has_opened_has_no_end(pair: tuple[socket.socket, socket.socket]) -> None:
    came = answer(pair, 200, opening=True)
    time.sleep(TIMEOUT)
    pair[1].sendall(b"body")
    assert came.read() == b"body"


def test_a_socket_without_a_timeout_is_waited_for(pair: tuple[socket.socket, socket.socket]) -> None:
    pair[0].settimeout(None)
    came = answer(pair, 200, opening=False)
    pair[1].sendall(b"body")
    assert came.read() == b"body"
    assert pair[0].gettimeout() is None


def test_what_http_client_is_told_beside_reaches_it(pair: tuple[socket.socket, socket.socket]) -> None:
    """Its debug level comes by place, where somebody has set one."""
    assert _AnswerInTime(pair[0], 1, method="POST").debuglevel == 1
