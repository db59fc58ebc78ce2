"""What is still to be done after an event, and what the events did to whom."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field

TaskIndex = tuple[str, int]
"""Task id and map index."""


CLEARED = "cleared by a person"


@dataclass(frozen=True)
class Hit:
    """
    Something that an event did to a task.

    :param at: When, in seconds since the epoch.
    :param attempt: The attempt that it killed, if any.
    :param discards: A person cleared the task and discarded its state, to have it start over.
    """

    task: TaskIndex
    at: float
    what: str
    attempt: int | None = None
    discards: bool = False


@dataclass
class Agenda:
    """
    Keeps what events leave to be done later, and remembers what they did.

    :param hits: What events did to tasks.
    :param again: Events that nobody met: they must happen again.
    :param schedulers: When a scheduler was started again, in seconds since the epoch.
    """

    hits: list[Hit] = field(default_factory=list)
    again: list[str] = field(default_factory=list)
    schedulers: list[float] = field(default_factory=list)
    _later: list[tuple[float, Callable[[], None]]] = field(default_factory=list)

    @property
    def quiet(self) -> bool:
        """Whether everything is done, and everybody back."""
        return not self._later

    def later(self, seconds: float, action: Callable[[], None]) -> None:
        """Do something once so many seconds have passed, when `attend` is called."""
        self._later.append((time.monotonic() + seconds, action))

    def attend(self, *, all_now: bool = False) -> None:
        """Do what is due, or all that is left."""
        for entry in [entry for entry in self._later if all_now or entry[0] <= time.monotonic()]:
            self._later.remove(entry)
            entry[1]()

    def hit(
        self,
        task: TaskIndex,
        what: str,
        *,
        at: float | None = None,
        attempt: int | None = None,
        discards: bool = False,
    ) -> None:
        """Note that something happens to a task, now unless another time is given."""
        self.hits.append(Hit(task, time.time() if at is None else at, what, attempt, discards))
