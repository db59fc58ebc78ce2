"""
The decision after each question about an operation: is the wait over, or when to ask again. Pure.

The poller in the triggerer and the blocking wait on a worker share it, so they can't drift apart.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal

from airflow_provider.yandex_ai_studio.api.models import Api, Operation
from airflow_provider.yandex_ai_studio.api.operations import KEPT
from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    ConfigurationError,
    ConnectionNotFound,
    NotFound,
    RateLimited,
    RequestError,
    ServiceUnavailable,
)
from airflow_provider.yandex_ai_studio.waiting import schedule

REFUSALS = 5
REFUSAL_SECONDS = 300.0
"""So many refusals of one kind in a row, over so many seconds, end a wait: fewer may be a gateway's, or a late key."""

DOUBTFUL = 3
"""So many questions in a row without a good answer may have their cause in the connection: it is looked up anew."""

Failure = RequestError | ConfigurationError | ConnectionNotFound
"""What may come of a question in an operation's place."""

Outcome = Literal["ended", "timeout", "expired", "refused", "broken"]


@dataclass(frozen=True)
class Wait:
    """
    A wait for one operation.

    :param submitted_at: When the operation was submitted, in seconds since the epoch.
    :param deadline: When to stop waiting, in seconds since the epoch; None for never.
    :param troubles: How many questions in a row failed.
    :param refusals: How many of them, up to the last, met the same refusal.
    :param refusal: Its kind.
    :param refused_since: When it came first, in seconds since the epoch.
    :param returns: How often a trigger has sent the wait back to a worker, which let it go on.
    """

    operation_id: str
    submitted_at: float
    deadline: float | None = None
    troubles: int = 0
    refusals: int = 0
    refusal: str = ""
    refused_since: float = 0.0
    api: Api = "completion"
    returns: int = 0

    def begun(self, now: float) -> Wait:
        """Return the wait as it begins here, where the clock may be behind the submitter's: no age is below 0."""
        return replace(self, submitted_at=now) if self.submitted_at > now else self


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
        answer this account about it, or the connection is wrong. ``broken``: the wait ended before anybody knew;
        the trigger says so, no decision does.
    :param operation: What was last seen of it, for ``ended``.
    :param error: What came instead, where something did.
    """

    outcome: Outcome
    operation: Operation | None = None
    error: Failure | None = None


def decide(wait: Wait, seen: Operation | Failure, *, now: float, random: float) -> AskAgain | End:
    """
    Decide what follows an answer.

    :param seen: The operation as the service shows it, or the error that came instead.
    :param now: Seconds since the epoch.
    :param random: A number from 0 to 1.
    """
    if isinstance(seen, Operation):
        if seen.done or seen.error:
            return End("ended", operation=seen)
        if wait.troubles:
            wait = replace(wait, troubles=0, refusals=0, refusal="", refused_since=0.0)
        error = None
    else:
        error = seen
        wait = _after(wait, error, now)
        final = wait.refusals >= REFUSALS and now - wait.refused_since >= REFUSAL_SECONDS
        if isinstance(error, NotFound) and (final or is_past_retention(wait.api, now - wait.submitted_at)):
            return End("expired", error=error)
        if final:
            return End("refused", error=error)
    delay = (
        schedule.trouble_delay(wait.troubles, random=random)
        if error and not wait.refusals
        else schedule.next_delay(now - wait.submitted_at, random=random)  # a refusal is an answer
    )
    if isinstance(error, RequestError):
        delay = max(delay, error.retry_after)
    if wait.deadline is None:
        return AskAgain(wait, delay)
    if is_late(wait, now):
        return End("timeout", error=error)
    return AskAgain(wait, min(delay, wait.deadline - now))


def is_doubtful(seen: object, times: int) -> bool:
    """
    Tell whether what came of a question is a reason to look the Airflow connection up anew: it may have been edited.

    A credential that does not do is one at once; a host that is dead, or refuses, when it lasts. A spent quota has
    nothing to do with it.

    :param times: How many questions in a row failed, with this one.
    """
    match seen:
        case AuthenticationError() | ConfigurationError():
            return True
        case RequestError() if not isinstance(seen, RateLimited):
            return seen.lasting or times >= DOUBTFUL
    return False


def is_past_retention(api: Api, age: float) -> bool:
    """
    Tell whether a 404 about an operation is no wonder: the service keeps no result for so long.

    :param age: Seconds since it was submitted.
    """
    return age >= KEPT[api].total_seconds()


def is_late(wait: Wait, now: float) -> bool:
    """Tell whether the deadline of a wait has passed."""
    return wait.deadline is not None and now >= wait.deadline


def _after(wait: Wait, error: Failure, now: float) -> Wait:
    """Count an error. An outage is no refusal: those before it count no more."""
    wait = replace(wait, troubles=wait.troubles + 1)
    kind = "" if isinstance(error, RateLimited | ServiceUnavailable) else type(error).__name__
    if kind and kind == wait.refusal:
        return replace(wait, refusals=wait.refusals + 1)
    return replace(wait, refusals=1 if kind else 0, refusal=kind, refused_since=now if kind else 0.0)
