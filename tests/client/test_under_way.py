"""A worker's connection notes when the first byte of a request goes out, and lets all of it pass."""

from __future__ import annotations

import contextvars
import socket

import pytest

from airflow_provider.yandex_ai_studio.client import sending
from airflow_provider.yandex_ai_studio.client.worker import _HttpConnection, _HttpsConnection


@pytest.mark.parametrize("kind", [_HttpConnection, _HttpsConnection])
def test_what_is_sent_with_the_headers_goes_out_as_it_is_and_is_under_way(
    kind: type[_HttpConnection | _HttpsConnection],
) -> None:
    near, far = socket.socketpair()
    connection = kind("service.invalid")
    connection.sock = near

    def send() -> bool:
        sending.under_way.set(False)
        connection.putrequest("POST", "/")
        connection.putheader("Transfer-Encoding", "chunked")
        assert not sending.under_way.get()
        connection.endheaders(iter([b"body"]), encode_chunked=True)
        return sending.under_way.get()

    with near, far:
        assert contextvars.copy_context().run(send)
        far.settimeout(1.0)
        sent = b""
        while not sent.endswith(b"0\r\n\r\n"):
            sent += far.recv(65536)
    assert sent.startswith(b"POST / HTTP/1.1\r\n")
    assert sent.endswith(b"\r\n\r\n4\r\nbody\r\n0\r\n\r\n")
