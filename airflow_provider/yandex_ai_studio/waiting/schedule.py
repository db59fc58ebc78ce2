"""
When an operation is asked about next, and how many questions a second the service gets. Pure.

The clock and the random source come in as arguments.
"""

from __future__ import annotations

import math
from collections import deque

SHORTEST_DELAY = 1.0
LONGEST_DELAY = 60.0
"""Seconds between two questions about one operation."""

AGE_SHARE = 0.1
"""The delay between two questions, as a share of the operation's age."""

FIRST_PATIENCE = 5.0
"""Seconds that a question may take before it is given up for the first time."""

ROUNDS = 2
"""Into how many rounds the requests of a second are gathered: to wake up for each alone costs twice the CPU."""

SLOWEST_SHARE = 1 / 32
"""The share of the budget that is left after many answers with 429."""

RECOVERY_SECONDS = 20.0
"""Seconds in which a rate that was cut would regain the whole budget. It stops short of where it was refused."""

CAUTION = 0.9
"""Where it stops: at this share of the rate that was refused. The quota is a cloud's, and others use it too."""

KEPT_SHARE = 0.5
"""The share of the rate that a 429 leaves."""

PROBE_SECONDS = 120.0
"""Seconds in which, from there, a rate would regain the whole budget: slowly at first, then faster."""

FIRST_REPORT = 60.0
LONGEST_SILENCE = 3600.0
"""Seconds until the log of a task hears of a wait that goes on, for the first time and at the latest."""

LOOK_UP_SHARE = 0.05
"""The time between two look-ups of a connection that gives trouble, as a share of the time that it has done so."""

SHORTEST_LOOK_UP, LONGEST_LOOK_UP = 1.0, 30.0
"""Seconds between two look-ups."""

QUIET = 120.0
"""Seconds without trouble after which the next one is a new one."""


def first_delay(age: float) -> float:
    """
    Return the seconds until an operation is asked about for the first time.

    :param age: Seconds since it was submitted. One that is older than a moment may well be done: ask at once.
    """
    return max(0.0, SHORTEST_DELAY - max(0.0, age))


def next_delay(age: float, *, random: float) -> float:
    """
    Return the seconds until a running operation is asked about again.

    That an operation ended is seen within a tenth of the time it took; one of an hour costs tens of
    questions, not thousands.

    :param age: Seconds since it was submitted.
    :param random: A number from 0 to 1. It only shortens the delay, by up to a fifth.
    """
    delay = min(LONGEST_DELAY, max(SHORTEST_DELAY, age * AGE_SHARE))
    return delay * (0.8 + 0.2 * random)


def trouble_delay(troubles: int, *, random: float) -> float:
    """
    Return the seconds until an operation is asked about again after questions that failed.

    :param troubles: How many failed in a row, from 1.
    """
    return min(LONGEST_DELAY, 2.0 ** min(troubles - 1, 16)) * (0.5 + 0.5 * random)


def patience(unanswered: int) -> float:
    """
    Return the seconds that a question may take.

    One that hangs holds a place that others could use, so it is given up soon; a service that is slow gets more time
    with each question, up to the time that any request may take.

    :param unanswered: How many questions about the operation got no answer in a row, from 0.
    """
    return FIRST_PATIENCE * 2.0 ** min(unanswered, 16)


def next_report(waited: float) -> float:
    """
    Return the seconds until the log of a task hears again that its wait goes on: as long as it has waited.

    :param waited: Seconds.
    """
    return min(LONGEST_SILENCE, max(FIRST_REPORT, waited))


class LookUps:
    """
    Says when an Airflow connection that gives trouble is looked up anew, because keys rotate.

    At once at first, then the later the longer it has lasted. With a twentieth of that time, what waits for the new key
    loses half of what it allows for the detection of an end.
    """

    def __init__(self) -> None:
        self._looked_up_at = -math.inf
        self._trouble_at = -math.inf
        self._trouble_since = -math.inf

    def looked_up(self, now: float) -> None:
        """Note a look-up, whatever came of it."""
        self._looked_up_at = now

    def is_recent(self, now: float) -> bool:
        """Tell whether what was looked up is as good as new."""
        return now - self._looked_up_at < LONGEST_LOOK_UP

    def trouble(self, now: float) -> bool:
        """
        Note that the connection can't be looked up, or that asking with what it holds fails.

        :return: Whether this is a new trouble.
        """
        if is_new := now - self._trouble_at > QUIET:
            self._trouble_since = now
        self._trouble_at = now
        return is_new

    @property
    def due(self) -> float:
        """When the connection may be looked up again, on the clock of the notes."""
        lasted = self._looked_up_at - self._trouble_since
        return self._looked_up_at + min(LONGEST_LOOK_UP, max(SHORTEST_LOOK_UP, LOOK_UP_SHARE * lasted))


class RateBudget:
    """
    Gives out requests in rounds, so that the service never sees more in a second than the budget.

    A request takes a place, and the place comes back a second after its answer. The service has seen a request before
    it answers it: whatever happens on the way, no second there can hold more requests than there are places. A 429
    cuts the rate for everyone. It recovers soon to just below where it was refused, and asks for more with growing
    courage: so that several pollers, which know nothing of each other, come to share one quota.

    :param per_second: Requests a second.
    :param probe_seconds: Seconds in which a rate that has recovered to just below would regain the whole budget.
    :param kept_share: The share of the rate that a 429 leaves.
    """

    def __init__(self, per_second: float, probe_seconds: float = PROBE_SECONDS, kept_share: float = KEPT_SHARE) -> None:
        self._full = per_second
        self._probe_seconds = probe_seconds
        self._kept_share = kept_share
        self._rate = self._ceiling = per_second
        self._cut_at = -math.inf
        self._round_at = -math.inf
        self._under_way = 0
        self._answered_at: deque[float] = deque()

    def allow(self, per_second: float) -> None:
        """Take another budget from now on: somebody edited the connection."""
        if per_second != self._full:
            self._full = self._rate = self._ceiling = per_second

    def next_round(self, now: float) -> tuple[float, int]:
        """
        Tell when and how many requests may be sent.

        :param now: Seconds on any clock that only goes forward.
        :return: No delay and a number of requests; or the seconds after which to ask again, and none.
        """
        rate = self.rate(now)
        rest = max(1.0, 1.0 / rate)
        while self._answered_at and self._answered_at[0] + rest <= now:
            self._answered_at.popleft()
        if (delay := self._round_at + 1.0 / ROUNDS - now) > 0:
            return delay, 0
        places = max(1, int(rate))
        if (within := places - self._under_way) <= 0:
            return 1.0 / ROUNDS, 0
        size = min(max(1, places // ROUNDS), within)
        if (lacking := size - (within - len(self._answered_at))) > 0:
            return self._answered_at[lacking - 1] + rest - now, 0
        return 0.0, size

    def sent(self, now: float, requests: int) -> None:
        """Note that a round was sent."""
        self._round_at = now
        self._under_way += requests

    def answered(self, now: float) -> None:
        """Note that a request was answered, or given up."""
        self._under_way -= 1
        self._answered_at.append(now)

    def rate(self, now: float) -> float:
        """Return the requests a second that are allowed now."""
        regained = (now - self._cut_at) / RECOVERY_SECONDS * self._full
        if (rate := self._rate + regained) <= self._ceiling:
            return rate
        held_at = self._cut_at + (self._ceiling - self._rate) / self._full * RECOVERY_SECONDS
        return min(self._full, self._ceiling + ((now - held_at) / self._probe_seconds) ** 2 * self._full)

    def slow_down(self, now: float) -> None:
        """
        Cut the rate, because the service said that it is too high.

        Requests that were under way together are refused together: they count once a second.
        """
        if now - self._cut_at < 1.0:
            return
        refused = self.rate(now)
        slowest = self._full * SLOWEST_SHARE
        self._rate, self._ceiling = max(slowest, refused * self._kept_share), max(slowest, refused * CAUTION)
        self._cut_at = now
