"""Many deadlines and one timer: a timer for each would cost the event loop more than the waits do."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Deadlines(Generic[T]):
    """
    Tells when the time of an item has come.

    :param wanted: Whether somebody still waits for it; else it is dropped.
    :param tell: Is called with each item whose time has come.
    """

    def __init__(self, wanted: Callable[[T], bool], tell: Callable[[T], None]) -> None:
        self._wanted = wanted
        self._tell = tell
        self._queue: list[tuple[float, int, T]] = []
        self._number = itertools.count()
        self._alarm: asyncio.TimerHandle | None = None

    def __len__(self) -> int:
        return len(self._queue)

    def add(self, item: T, delay: float, *, wanted: int) -> None:
        """
        Tell of an item after so many seconds.

        :param wanted: How many are wanted in all: what ended long before its deadline is not kept until then.
        """
        if len(self._queue) > 2 * wanted + 100:
            self._queue = [each for each in self._queue if self._wanted(each[2])]
            heapq.heapify(self._queue)
        due = asyncio.get_running_loop().time() + delay
        heapq.heappush(self._queue, (due, next(self._number), item))
        if self._queue[0][2] is item:
            self._set_alarm()

    def close(self) -> None:
        """Tell of nothing more."""
        if self._alarm is not None:
            self._alarm.cancel()

    def _set_alarm(self) -> None:
        self.close()
        while self._queue and not self._wanted(self._queue[0][2]):
            heapq.heappop(self._queue)
        due = self._queue[0][0] if self._queue else None
        self._alarm = None if due is None else asyncio.get_running_loop().call_at(due, self._tell_those_due)

    def _tell_those_due(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._queue and self._queue[0][0] <= now:
            self._tell(heapq.heappop(self._queue)[2])
        self._set_alarm()
