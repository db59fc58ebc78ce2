"""How far a bulk run is, and how long it will take. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from airflow_provider.yandex_ai_studio.api.models import Usage
from airflow_provider.yandex_ai_studio.bulk.money import Price
from airflow_provider.yandex_ai_studio.bulk.result import STATUSES
from airflow_provider.yandex_ai_studio.bulk.tally import Tally
from airflow_provider.yandex_ai_studio.telemetry import Metric, tokens


@dataclass(frozen=True)
class Progress:
    """
    A moment of a run.

    :param rows: How many there are.
    :param done: How many have their answer, or failed for good.
    :param again: How many of these are read again with their chunk: the task has deferred since they were read.
    :param running: How many operations are under way.
    :param failed: How many failed for good.
    :param spent: Tokens of all attempts, as far as they are known.
    :param restored: How many were done when this attempt began.
    :param seconds: Since this attempt began.
    """

    rows: int
    done: int
    again: int
    running: int
    failed: int
    spent: Usage
    restored: int
    seconds: float

    @property
    def rows_per_hour(self) -> float | None:
        """The pace of this attempt's own work; None before there is any."""
        own = self.done - self.restored
        return own / self.seconds * 3600 if own > 0 and self.seconds > 0 else None

    @property
    def seconds_left(self) -> float | None:
        """How long the rest takes at this pace; None where there is no pace yet."""
        pace = self.rows_per_hour
        return None if pace is None else (self.rows - self.done) / pace * 3600

    def line(self, price: Price | None) -> str:
        """Return what the log says of it."""
        again = f" ({self.again} to be read again with their chunk)" if self.again else ""
        parts = [f"{self.done} of {self.rows} rows done{again}, {self.running} running, {self.failed} failed"]
        parts.append(f"{self.spent.total_tokens} tokens")
        if price:
            parts.append(price.words(price.of(self.spent)))
        if self.restored:
            parts.append(f"{self.restored} rows done before this attempt")
        if self.rows_per_hour is not None and self.seconds_left is not None:
            parts.append(f"{self.rows_per_hour:.0f} rows an hour, {_duration(self.seconds_left)} left")
        return "; ".join(parts)


def metrics_between(before: Tally, after: Tally) -> tuple[Metric, ...]:
    """Return what monitoring is told of two moments of a run. A row that is asked again and fails again failed once."""
    more = {status: now - then for status, then, now in zip(STATUSES, before.counts, after.counts, strict=True)}
    succeeded = more.pop("success")
    del more["missing"]
    return (
        Metric("submitted", after.submissions - before.submissions),
        Metric("succeeded", succeeded),
        *(Metric("failed", number, reason=status) for status, number in more.items()),
        *tokens(
            after.spent.input_tokens - before.spent.input_tokens,
            after.spent.completion_tokens - before.spent.completion_tokens,
        ),
    )


def _duration(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 1:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes // 60} h {minutes % 60} min"
