"""What a benchmark or a test wants to know about the traffic."""

from __future__ import annotations

import time
from collections import Counter, deque
from collections.abc import Callable
from typing import Any

from airflow_provider.yandex_ai_studio.emulator import names

#: The name under which all routes are counted together.
EVERYTHING = "all"

#: Counted in place of a status when the connection was closed without an answer.
DROPPED = "dropped"


class Peak:
    """Find the most events in any window of one second, at a constant cost per event."""

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._recent: deque[float] = deque()
        self.highest = 0

    def hit(self) -> None:
        """Count an event."""
        now = self._monotonic()
        self._recent.append(now)
        while self._recent[0] <= now - 1:
            self._recent.popleft()
        self.highest = max(self.highest, len(self._recent))


class Stats:
    """Count requests, answers and connections.

    :param monotonic: a real clock, also where the emulator's is advanced: rates are about real traffic.
    """

    def __init__(self, monotonic: Callable[[], float] = time.monotonic) -> None:
        counted = (*sorted(names.ALL), names.UNKNOWN)
        self._requests = dict.fromkeys(counted, 0)
        self._responses: dict[str, Counter[str]] = {route: Counter() for route in counted}
        self._peaks = {route: Peak(monotonic) for route in (*counted, EVERYTHING)}
        self._open = 0
        self._total = 0
        self._most_open = 0
        self.direct_generations = 0

    def request(self, route: str) -> None:
        """Count a request that has arrived."""
        self._requests[route] += 1
        self._peaks[route].hit()
        self._peaks[EVERYTHING].hit()

    def response(self, route: str, status: int | None) -> None:
        """Count an answer by its status; ``None`` when none was given."""
        self._responses[route][DROPPED if status is None else str(status)] += 1

    def connection_opened(self) -> None:
        """Count a TCP connection."""
        self._open += 1
        self._total += 1
        self._most_open = max(self._most_open, self._open)

    def connection_closed(self) -> None:
        """Count a TCP connection out."""
        self._open -= 1

    def traffic(self) -> dict[str, Any]:
        """Return what was counted, ready for JSON."""
        return {
            "requests": dict(self._requests),
            "responses": {route: dict(statuses) for route, statuses in self._responses.items()},
            "peak_requests_per_second": {route: peak.highest for route, peak in self._peaks.items()},
            "connections": {"open": self._open, "total": self._total, "peak": self._most_open},
        }
