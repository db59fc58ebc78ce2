"""How the service takes what a run submits, and what follows where it does not. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, fields, replace
from typing import Any, Literal

from airflow_provider.yandex_ai_studio.bulk.hourly_quota import LONGEST_PAUSE
from airflow_provider.yandex_ai_studio.exceptions import (
    ConfigurationError,
    RateLimited,
    RequestError,
    ServiceUnavailable,
)
from airflow_provider.yandex_ai_studio.waiting.decision import REFUSAL_SECONDS, REFUSALS

Trouble = Literal["", "lost", "refused", "lasting", "unavailable", "full"]
"""
Why a round of submissions was not taken: answers got lost on the way, the account was refused, no waiting mends it, the
service was out of order, a quota is spent.
"""

PAUSES = (2.0, 6.0, 18.0)
"""Seconds at most before the next try, by how many have failed in a row; the last one holds for all further ones."""

TRIES = 5
"""Tries after which the worker does not wait for the service any more."""

AWAY = 120.0
"""Seconds until a service that takes nothing is tried again, meanwhile without a worker."""

BLIND = 30
"""Tries, of which each last one risks a row though no free question was answered: about an hour."""

LASTING = 300.0
"""Seconds after which a fault ends the attempt that no waiting mends: no TLS on the port, a refused certificate."""

LOSSES = 10
LOST_SHARE = 0.1
"""Lost answers that an attempt bears, and more of them as a share of what was taken: each may have been billed."""

STRANGER_REFUSALS = 4
"""Refusals that end a run of which nothing was ever taken: its account was never right."""

DAY = 86400.0
"""Seconds without anything taken that end an attempt, whatever the reasons: a quota of an hour is back by then."""


@dataclass(frozen=True)
class Reception:
    """
    How an attempt fares, over all its stretches on a worker.

    :param taken: Submissions that the service took.
    :param lost: Submissions whose answer got lost.
    :param trouble: What the last round met; empty where something was taken.
    :param since: When it began, in seconds since the epoch.
    :param began: Since when nothing is taken, whatever the troubles were.
    :param tries: How many rounds since then met a trouble other than a spent quota.
    :param refusals: How many of them were refused.
    """

    taken: int = 0
    lost: int = 0
    trouble: Trouble = ""
    since: float = 0.0
    began: float = 0.0
    tries: int = 0
    refusals: int = 0

    def after(self, taken: int, lost: int, trouble: Trouble, now: float) -> Reception:
        """Return how it stands after a round. One that was refused row by row says nothing of the service."""
        counted = replace(self, taken=self.taken + taken, lost=self.lost + lost)
        if taken:
            return Reception(counted.taken, counted.lost)
        if not trouble:
            return counted
        return replace(
            counted,
            trouble=trouble,
            since=self.since if trouble == self.trouble else now,
            began=self.began if self.trouble else now,
            tries=self.tries + (trouble != "full"),
            refusals=self.refusals + (trouble == "refused"),
        )

    @property
    def loses_too_much(self) -> bool:
        """Whether so many answers got lost that nothing more is submitted in this attempt; what runs is read."""
        return self.lost > LOSSES + LOST_SHARE * self.taken

    def too_many_lost(self) -> ServiceUnavailable:
        """Return what is said of that."""
        return ServiceUnavailable(
            "Retry the task once the service works again. Another attempt asks for what is missing.\n"
            f"The answers to {self.lost} of {self.taken + self.lost} submissions of this attempt got lost on the way: "
            f"up to {self.lost} generations may have been billed without a use. No more were submitted; the answers to "
            "the others are kept."
        )

    @property
    def probes(self) -> bool:
        """Whether one row is enough to find out whether the service works again."""
        return self.trouble not in ("", "full")

    @property
    def risks_a_row(self) -> bool:
        """Whether to submit one without an answer to a free question: it may be only the questions that fail."""
        return self.tries > 0 and self.tries % BLIND == 0

    def pause(self, random: float) -> float:
        """
        Return the seconds until the next try.

        :param random: A number from 0 to 1: those who failed together don't come back together.
        """
        return PAUSES[min(max(self.tries, 1), len(PAUSES)) - 1] * (0.5 + random / 2)

    @property
    def keeps_no_worker(self) -> bool:
        """Whether it has lasted longer than a worker waits for: a service may say another thing each time."""
        return self.probes and self.trouble != "lost" and self.tries >= TRIES

    def quota_opens_at(self, opens_at: float, now: float) -> float:
        """
        Return when to try again after a quota was spent: the later, the longer nothing was taken.

        :param opens_at: When it may be open at the soonest, in seconds since the epoch.
        """
        waited = now - self.began if self.trouble else 0.0
        return max(opens_at, now + min(waited, LONGEST_PAUSE))

    def gives_up_at(self, timeout: float) -> float:
        """
        Return when the attempt ends if the trouble lasts until then, in seconds since the epoch.

        :param timeout: Seconds that an operation may take.
        """
        patience = {"refused": REFUSAL_SECONDS, "lasting": min(timeout, LASTING), "unavailable": timeout}
        return min(self.since + patience.get(self.trouble, DAY), self.began + max(DAY, timeout))

    def is_over(self, now: float, timeout: float, *, known: bool) -> bool:
        """
        Tell whether the attempt ends because of its trouble.

        :param known: The service has taken something of this run before.
        """
        if self.trouble == "refused" and not known:
            return self.refusals >= STRANGER_REFUSALS
        if self.trouble == "refused" and self.refusals < REFUSALS:
            return False
        return bool(self.trouble) and now > self.gives_up_at(timeout)

    def value(self) -> dict[str, Any]:
        """Return plain JSON."""
        return dict(vars(self))

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Reception:
        """Read what :meth:`value` gave, of this release or another."""
        return cls(**{each.name: value[each.name] for each in fields(cls) if each.name in value})


def may_have_arrived(error: Exception) -> bool:
    """Tell whether the service may have taken the submission that ended so."""
    if isinstance(error, RequestError):
        return error.arrived
    return not isinstance(error, ConfigurationError | CancelledError)


def trouble_of(errors: Sequence[Exception]) -> tuple[Trouble, Exception | None]:
    """Return what the submissions of a round met that were not taken, the worst of it, and an error that says so."""
    lost = [error for error in errors if may_have_arrived(error)]
    refused = [error for error in errors if not isinstance(error, RateLimited | ServiceUnavailable | CancelledError)]
    away = [error for error in errors if isinstance(error, ServiceUnavailable)]
    full = [error for error in errors if isinstance(error, RateLimited)]
    if lost:
        unforeseen = [error for error in lost if not isinstance(error, RequestError)]
        return "lost", (unforeseen or lost)[0]
    if refused:
        return "refused", refused[0]
    if away:
        return ("lasting" if all(error.lasting for error in away) else "unavailable"), away[0]
    return ("full", full[0]) if full else ("", None)
