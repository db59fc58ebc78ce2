"""The emulator's time, which can be moved forward."""

from __future__ import annotations

import time
from collections.abc import Callable

#: Return the time in seconds since the epoch.
Now = Callable[[], float]


class Clock:
    """Tell the time of an underlying clock, plus what the clock was advanced by."""

    def __init__(self, wall: Now = time.time) -> None:
        self.wall = wall
        self._ahead = 0.0

    def now(self) -> float:
        """Return the emulator's time."""
        return self.wall() + self._ahead

    def advance(self, seconds: float) -> None:
        """Move the time forward.

        :raises ValueError: when it would go back.
        """
        if seconds < 0:
            raise ValueError("the clock only goes forward")
        self._ahead += seconds


def timestamp(moment: float) -> str:
    """Write a time as the vendor does in operations: whole seconds, UTC."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(moment))


def precise_timestamp(moment: float) -> str:
    """Write a time with its microseconds, for those who measure."""
    whole, micros = divmod(round(moment * 1_000_000), 1_000_000)
    return f"{timestamp(whole)[:-1]}.{micros:06d}Z"
