"""Several requests of a worker at a time."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from airflow_provider.yandex_ai_studio.api.models import Operation
from airflow_provider.yandex_ai_studio.exceptions import RequestError

T = TypeVar("T")

AT_ONCE = 8
"""Requests under way at a time: fewer than the connections that the worker's client keeps."""


class Pool:
    """Threads that send requests."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(AT_ONCE)

    def close(self) -> None:
        """Let the threads go."""
        self._threads.shutdown(cancel_futures=True)

    def ask(self, one: Callable[[T], Operation], items: Sequence[T]) -> list[Operation | RequestError]:
        """Ask for each item, and return what came back for each."""

        def answer(item: T) -> Operation | RequestError:
            try:
                return one(item)
            except RequestError as error:
                return error

        return list(self._threads.map(answer, items))
