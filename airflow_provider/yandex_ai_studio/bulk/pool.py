"""Several requests of a worker at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor, wait
from threading import Event
from typing import TypeVar

from airflow_provider.yandex_ai_studio.api.models import Operation

T = TypeVar("T")

AT_ONCE = 8
"""Requests under way at a time: fewer than the connections that the worker's client keeps."""

Outcome = Operation | Exception


class Group:
    """Requests under way together."""

    def __init__(self, requests: Sequence[Future[Operation]]) -> None:
        self._requests = requests

    def outcomes(self) -> list[Outcome]:
        """Wait for all, and return what came back for each: one that fails takes no other along."""
        wait(self._requests)
        return [_outcome(request) for request in self._requests]

    def cut_short(self) -> list[Outcome]:
        """Begin no more, and return what came back for each: what is under way may be taken, and is waited for."""
        for request in self._requests:
            request.cancel()
        return self.outcomes()


class Pool:
    """Threads that send requests. All are begun at once: one that can't be, is told before anything is sent."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE)
        begun = Event()
        try:
            for _ in range(AT_ONCE):
                self._threads.submit(begun.wait)
        finally:
            begun.set()

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(cancel_futures=True)

    def start(self, one: Callable[[T], Operation], items: Sequence[T]) -> Group:
        """Begin to ask for each item."""
        return Group([self._threads.submit(one, item) for item in items])

    def ask(self, one: Callable[[T], Operation], items: Sequence[T]) -> list[Outcome]:
        """Ask for each item, and return what came back for each."""
        return self.start(one, items).outcomes()


def _outcome(request: Future[Operation]) -> Outcome:
    if request.cancelled():
        return CancelledError()
    error = request.exception()
    if isinstance(error, Exception):
        return error
    return request.result()
