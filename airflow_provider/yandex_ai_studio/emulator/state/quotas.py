"""The vendor's default quotas: how many requests a second or an hour, and how many at a time."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from airflow_provider.yandex_ai_studio.emulator import names
from airflow_provider.yandex_ai_studio.emulator.state.clock import Now
from airflow_provider.yandex_ai_studio.emulator.wire.errors import ApiError, Code


@dataclass(frozen=True)
class Rate:
    """Allow so many requests in any window of so many seconds."""

    name: str
    limit: int
    seconds: float


@dataclass(frozen=True)
class Gauge:
    """Allow so many requests at the same time."""

    name: str
    limit: int


_TOKENIZATION = (Rate("ai.textGenerationTokenizeRequestsPerSecond.rate", 50, 1),)

QUOTAS: dict[str, tuple[Rate | Gauge, ...]] = {
    names.COMPLETION: (Gauge("ai.textGenerationCompletionSessionsCount.count", 10),),
    names.COMPLETION_ASYNC: (
        Rate("ai.textGenerationAsyncCompletionRequestsPerSecond.rate", 10, 1),
        Rate("ai.textGenerationAsyncCompletionRequestsPerHour.rate", 5_000, 3_600),
    ),
    names.OPERATIONS_GET: (Rate("ai.textGenerationAsyncResultRequestsPerSecond.rate", 50, 1),),
    names.TOKENIZE: _TOKENIZATION,
    names.TOKENIZE_COMPLETION: _TOKENIZATION,
}


class Quotas:
    """Admit requests within the quotas; what is refused does not count against them.

    :param now: the emulator's clock.
    :param enforced: admit everything when false.
    """

    def __init__(self, now: Now, enforced: bool) -> None:
        self._now = now
        self._enforced = enforced
        self._admitted: dict[Rate, deque[float]] = {}
        self._inside: Counter[Gauge] = Counter()

    @contextmanager
    def admit(self, route: str) -> Iterator[None]:
        """Let a request in and, at the end of the block, out.

        :raises ApiError: when a quota of its route is used up.
        """
        quotas = QUOTAS.get(route, ()) if self._enforced else ()
        for quota in quotas:
            if isinstance(quota, Gauge):
                self._check(quota.name, "gauge", self._inside[quota], quota.limit)
            else:
                self._check(quota.name, "rate", self._used(quota), quota.limit)
        gauges = [quota for quota in quotas if isinstance(quota, Gauge)]
        for quota in quotas:
            if isinstance(quota, Rate):
                self._admitted[quota].append(self._now())
        self._inside.update(gauges)
        try:
            yield
        finally:
            self._inside.subtract(gauges)

    def _used(self, rate: Rate) -> int:
        times = self._admitted.setdefault(rate, deque())
        start = self._now() - rate.seconds
        while times and times[0] <= start:
            times.popleft()
        return len(times)

    @staticmethod
    def _check(name: str, kind: str, used: int, limit: int) -> None:
        if used >= limit:
            message = f"{name} {kind} quota limit exceed: allowed {limit} requests"
            raise ApiError(Code.RESOURCE_EXHAUSTED, message)
