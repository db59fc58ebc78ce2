"""When the hourly quota lets more in. Pure."""

from __future__ import annotations

from collections.abc import Mapping

WINDOW = 3600.0
"""Seconds over which the service counts."""

SHORTEST_PAUSE, LONGEST_PAUSE = 60.0, 1200.0
"""Seconds until the next try: others share the quota, and nobody says when theirs runs out."""

PATIENCE = 15.0
"""Seconds of nothing but 429 after which it is not the quota of a second that is spent."""

NAME = "PerHour"
"""What the service calls the quota by, where it says so."""


class HourlyQuota:
    """
    What this run has submitted within the last hour, by the minute.

    :param minutes: As :meth:`value` gives it.
    """

    def __init__(self, minutes: Mapping[str, int] | None = None) -> None:
        self._minutes = {int(minute): count for minute, count in (minutes or {}).items()}

    def submitted(self, now: float, count: int) -> None:
        """Note submissions."""
        minute = int(now // 60)
        self._minutes[minute] = self._minutes.get(minute, 0) + count

    def value(self, now: float) -> dict[str, int]:
        """Return what the ledger keeps of it."""
        return {str(minute): count for minute, count in self._minutes.items() if minute * 60 + 60 > now - WINDOW}

    def opens_at(self, now: float) -> float:
        """
        Return when to try again after the quota was spent.

        The oldest submission leaves the window first; but what others have submitted may leave it sooner.
        """
        own = list(map(int, self.value(now)))
        opens = (min(own) + 1) * 60 + WINDOW if own else now
        return min(max(opens, now + SHORTEST_PAUSE), now + LONGEST_PAUSE)
