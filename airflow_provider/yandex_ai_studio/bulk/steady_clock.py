"""A clock that only goes forward, for what counts seconds: the wall clock of a machine is set back at times."""

from __future__ import annotations

from collections.abc import Callable


class SteadyClock:
    """
    A clock that stands still where another one is set back, and goes on with it.

    :param clock: Gives the time in seconds since the epoch.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._ahead = 0.0
        self._last = clock()

    def __call__(self) -> float:
        """Return the seconds."""
        now = self._clock()
        self._ahead = max(self._ahead, self._last - now)
        self._last = now + self._ahead
        return self._last
