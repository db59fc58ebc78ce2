"""
The decision after each question about an operation: is the wait over, or when to ask again. Pure.

The poller in the triggerer and the blocking wait on a worker share it, so they can't drift apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from airflow_provider.yandex_ai_studio.api.models import Api, Operation
from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    NotFound,
    RateLimited,
    RequestError,
    ServiceUnavailable,
)
from airflow_provider.yandex_ai_studio.waiting import schedule

NOT_FOUND_GRACE = 60.0
"""Seconds in which a fresh operation may be unknown to the service's reading side."""

REFUSALS = 8
"""How many 401 in a row end a wait. With the delays between them, that gives a rotated key some minutes."""

Outcome = Literal["ended", "timeout", "expired", "refused"]


@dataclass(frozen=True)
class Wait:
    """
    A wait for one operation.

    :param submitted_at: When the operation was submitted, in seconds since the epoch.
    :param deadline: When to stop waiting, in seconds since the epoch; None for never.
    :param troubles: How many questions in a row failed.
    :param refusals: How many of them, in a row, with a 401.
    """

    operation_id: str
    submitted_at: float
    deadline: float | None = None
    troubles: int = 0
    refusals: int = 0
    api: Api = "completion"


@dataclass(frozen=True)
class AskAgain:
    """The wait goes on: ask again after ``delay`` seconds."""

    wait: Wait
    delay: float


@dataclass(frozen=True)
class End:
    """
    The wait is over.

    :param outcome: ``ended``: the operation has an answer or an error. ``timeout``: the deadline passed.
        ``expired``: the service does not know the operation (any more). ``refused``: the service does not
        answer this account about it.
    :param operation: What was last seen of it, for ``ended``.
    :param error: What the service said instead, where it did.
    """

    outcome: Outcome
    operation: Operation | None = None
    error: RequestError | None = None


def decide(wait: Wait, seen: Operation | RequestError, *, now: float, random: float) -> AskAgain | End:
    """
    Decide what follows an answer.

    :param seen: The operation as the service shows it, or the error that came instead.
    :param now: Seconds since the epoch.
    :param random: A number from 0 to 1.
    """
    if isinstance(seen, Operation):
        if seen.done or seen.error:
            return End("ended", operation=seen)
        wait = replace(wait, troubles=0, refusals=0)
        delay = schedule.next_delay(now - wait.submitted_at, random=random)
    else:
        refusals = wait.refusals + 1 if isinstance(seen, AuthenticationError) else 0
        wait = replace(wait, troubles=wait.troubles + 1, refusals=refusals)
        if end := _end_of_trouble(wait, seen, now):
            return end
        delay = schedule.trouble_delay(wait.troubles, random=random)
    if wait.deadline is None:
        return AskAgain(wait, delay)
    if now >= wait.deadline:
        return End("timeout", error=seen if isinstance(seen, RequestError) else None)
    return AskAgain(wait, min(delay, wait.deadline - now))


def _end_of_trouble(wait: Wait, error: RequestError, now: float) -> End | None:
    match error:
        case RateLimited() | ServiceUnavailable():
            return None
        case AuthenticationError():
            return End("refused", error=error) if wait.refusals >= REFUSALS else None
        case NotFound():
            return End("expired", error=error) if now - wait.submitted_at >= NOT_FOUND_GRACE else None
        case _:
            return End("refused", error=error)
