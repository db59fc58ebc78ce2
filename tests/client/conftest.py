"""What the tests of the senders share: servers that run meanwhile, and no proxy."""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.client import credentials
from service import Service
from wire import Raw, Reply, running


@pytest.fixture
def direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without the proxy of whoever runs this."""
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)


@pytest.fixture
def settled(monkeypatch: pytest.MonkeyPatch) -> None:
    """A token may be replaced as soon as it is refused."""
    monkeypatch.setattr(credentials, "SETTLING", 0.0)


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


@pytest.fixture
def serve(stack: ExitStack) -> Callable[..., Service]:
    """Start a service that answers by these replies."""

    def start(*replies: Reply, **how: Any) -> Service:
        service = Service(*replies, **how)
        stack.enter_context(running(service))
        return service

    return start


@pytest.fixture
def meet(stack: ExitStack) -> Callable[[Callable[[socket.socket], None]], str]:
    """Start a server that does this with each connection, and return its base URL."""

    def start(what: Callable[[socket.socket], None]) -> str:
        server = Raw(what)
        stack.enter_context(running(server))
        return f"http://{server.address}"

    return start
