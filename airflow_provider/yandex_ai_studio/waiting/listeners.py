"""Who comes to a poller, and what they are told."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError, RequestError
from airflow_provider.yandex_ai_studio.waiting.decision import End, Wait
from airflow_provider.yandex_ai_studio.waiting.turns import Lane

if TYPE_CHECKING:
    from airflow_provider.yandex_ai_studio.client.triggerer import AsyncClient

STOPPED = "The poller of this triggerer stopped before the wait ended."


class PollerStopped(Exception):
    """The poller came to its end before the wait did."""


@dataclass(frozen=True)
class Trouble:
    """There was no good answer, and the wait goes on. Sent at the 1st, 2nd, 4th, 8th … time in a row."""

    error: RequestError | ConfigurationError
    times: int


@dataclass(frozen=True)
class Recovered:
    """The service answers again after a trouble."""

    times: int


@dataclass(frozen=True)
class StillRunning:
    """The operation was seen running. Sent after a minute, and then each time that the wait has doubled."""


News = Trouble | Recovered | StillRunning | End
Turn = Callable[[], AbstractAsyncContextManager["AsyncClient"]]
"""Waits for a turn, and gives the client to send one request with."""


@dataclass(eq=False)
class Entry:
    """
    Somebody who waits for an operation.

    :param unanswered: How many questions in a row got no answer.
    :param report_at: When to say again that the operation runs, in seconds since the epoch.
    """

    wait: Wait
    began_at: float
    report_at: float
    news: asyncio.Queue[News | Exception] = field(default_factory=asyncio.Queue)
    listening: bool = True
    unanswered: int = 0

    @property
    def lane(self) -> Lane:
        """With whom it stands."""
        return Lane(self.wait.api, self.unanswered > 0)


ERRANDS = Lane("errands")


@dataclass(eq=False)
class Errand:
    """
    Somebody who wants a turn for something else than how an operation stands.

    :param turn: Gives the client to ask with.
    """

    turn: asyncio.Future[AsyncClient]
    lane = ERRANDS

    @property
    def listening(self) -> bool:
        """Whether somebody still wants the turn."""
        return not self.turn.done()
