"""An event loop whose time passes only where everybody waits: an hour takes a moment, and the same one each time."""

from __future__ import annotations

import asyncio
import selectors
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")

ROUNDS_AT_ONCE = 10_000
"""So many rounds of the loop may pass within one moment: what takes more goes round in circles."""


class VirtualTime(asyncio.SelectorEventLoop):
    """
    Jumps to the next thing that is due. It is for what opens no sockets and starts no threads.

    :raises AssertionError: Everybody waits for what will never happen, or somebody goes round in circles.
    """

    def __init__(self) -> None:
        self.now = 0.0
        super().__init__(_Skipping(self))

    def time(self) -> float:
        return self.now


class _Skipping(selectors.SelectSelector):
    def __init__(self, loop: VirtualTime) -> None:
        super().__init__()
        self._loop = loop
        self._rounds = 0

    def select(self, timeout: float | None = None) -> Any:
        self._rounds = 0 if timeout else self._rounds + 1
        if timeout is None or self._rounds > ROUNDS_AT_ONCE:
            raise AssertionError("nothing will ever happen")
        self._loop.now += timeout
        return super().select(0)


def play(story: Coroutine[Any, Any, T]) -> T:
    """Run a story to its end in virtual time. What fails behind its back, in a timer say, fails the test as well."""
    failed: list[dict[str, Any]] = []
    with asyncio.Runner(loop_factory=VirtualTime) as runner:
        runner.get_loop().set_exception_handler(lambda _, context: failed.append(context))
        told = runner.run(story)
    assert failed == []
    return told
