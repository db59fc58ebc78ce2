"""
Every wait of one triggerer process on one connection.

Triggers register an operation and listen. One poller asks for all of them: with one HTTP session, one look-up of
the Airflow connection, one token and one rate budget. The last one out closes it.
"""

from __future__ import annotations

import asyncio
import contextvars
import logging
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

from airflow_provider.yandex_ai_studio.api import operations
from airflow_provider.yandex_ai_studio.api.call import no_answer
from airflow_provider.yandex_ai_studio.api.models import Operation
from airflow_provider.yandex_ai_studio.client import sending
from airflow_provider.yandex_ai_studio.client.triggerer import CONNECTIONS, AsyncClient
from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    RateLimited,
    RequestError,
)
from airflow_provider.yandex_ai_studio.waiting import schedule
from airflow_provider.yandex_ai_studio.waiting.decision import AskAgain, End, Wait, decide
from airflow_provider.yandex_ai_studio.waiting.turns import Lane, Turns

log = logging.getLogger(__name__)

RECONNECT_SECONDS = 10.0
"""The least time between two look-ups of the Airflow connection after a 401."""

Connect = Callable[[], Awaitable[AsyncClient]]


@dataclass(frozen=True)
class Trouble:
    """The service did not answer well, and the wait goes on. Sent at the 1st, 2nd, 4th, 8th … time in a row."""

    error: RequestError
    times: int
    next_in: float


@dataclass(frozen=True)
class Recovered:
    """The service answers again after a trouble."""

    times: int


News = Trouble | Recovered | End | BaseException


@dataclass(eq=False)
class _Entry:
    wait: Wait
    news: asyncio.Queue[News] = field(default_factory=asyncio.Queue)
    listening: bool = True
    unanswered: bool = False

    @property
    def lane(self) -> Lane:
        return Lane(self.wait.api, self.unanswered)


class OperationPoller:
    """
    Asks about many operations, within one budget.

    :param connect: Looks the Airflow connection up and returns a client for it.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._client: AsyncClient | None = None
        self._connected_at = float("-inf")
        self._budget: schedule.RateBudget | None = None
        self._turns = Turns[_Entry](CONNECTIONS, wanted=lambda entry: entry.listening)
        self._entries: set[_Entry] = set()
        self.closing = False
        self._wake = asyncio.Event()
        self._asking: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether nobody waits any more."""
        return not self._entries

    async def watch(self, wait: Wait) -> AsyncIterator[Trouble | Recovered | End]:
        """
        Wait for an operation.

        :return: What happens meanwhile; the last item is the :class:`~...waiting.End`.
        """
        entry = _Entry(wait)
        self._entries.add(entry)
        self._ask_later(entry, schedule.first_delay(time.time() - wait.submitted_at))
        if self._runner is None:
            # A context of its own: else all it logs would land in the log of the task that came first.
            self._runner = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())
        try:
            while True:
                news = await entry.news.get()
                if isinstance(news, BaseException):
                    raise news
                yield news
                if isinstance(news, End):
                    return
        finally:
            entry.listening = False
            self._entries.discard(entry)
            self._wake.set()
            if self.idle:
                self.closing = True  # from here on nobody may join: the runner is on its way out
                await asyncio.wait({self._runner})

    def _ask_later(self, entry: _Entry, delay: float) -> None:
        self._turns.put(entry, entry.lane, asyncio.get_running_loop().time() + delay)
        self._wake.set()

    async def _run(self) -> None:
        try:
            while await self._somebody_is_due():
                client = await self._connected()
                if client is None or self._budget is None:
                    continue
                size = await self._round(self._budget)
                now = asyncio.get_running_loop().time()
                if batch := self._turns.take(now, size):
                    self._budget.sent(now, len(batch))
                for entry in batch:
                    task = asyncio.create_task(self._ask(client, self._budget, entry))
                    self._asking.add(task)
                    task.add_done_callback(self._asking.discard)
        except Exception as error:
            for entry in self._entries:
                entry.news.put_nowait(error)
            raise
        finally:
            for task in self._asking:
                task.cancel()
            await asyncio.gather(*self._asking, return_exceptions=True)
            if self._client is not None:
                await self._client.close()

    async def _somebody_is_due(self) -> bool:
        """Wait until it is somebody's turn; False when nobody waits any more."""
        loop = asyncio.get_running_loop()
        while not self.idle:
            self._wake.clear()
            due = self._turns.next_due()
            if due <= loop.time():
                return True
            alarm = loop.call_at(due, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                alarm.cancel()
        return False

    async def _round(self, budget: schedule.RateBudget) -> int:
        """Wait for the next round, and return how many requests it may hold."""
        while True:
            delay, size = budget.next_round(asyncio.get_running_loop().time())
            if size:
                return size
            await asyncio.sleep(delay)

    async def _connected(self) -> AsyncClient | None:
        """Return the client; where there can be none, tell the wait whose turn it is."""
        now = asyncio.get_running_loop().time()
        if self._client is None:
            try:
                self._client = await self._connect()
            except Exception as error:
                for entry in self._turns.take(now, 1):
                    self._turns.give_back(entry.lane)
                    entry.news.put_nowait(error)
                return None
            self._connected_at = now
            rate = self._client.settings.polls_per_second
            self._budget = self._budget or schedule.RateBudget(rate)
            self._turns.places = min(CONNECTIONS, max(1, int(rate) // 2))  # the other half is for the other endpoint
        return self._client

    async def _ask(self, client: AsyncClient, budget: schedule.RateBudget, entry: _Entry) -> None:
        lane = entry.lane
        try:
            seen = await self._question(client, entry)
        except Exception as error:
            entry.news.put_nowait(error)
            return
        finally:
            budget.answered(asyncio.get_running_loop().time())
            self._turns.give_back(lane)
            self._wake.set()
        entry.unanswered = isinstance(seen, RequestError) and seen.status is None
        troubles = entry.wait.troubles
        decision = decide(entry.wait, seen, now=time.time(), random=random.random())
        if isinstance(decision, End):
            entry.news.put_nowait(decision)
            return
        if news := _worth_telling(troubles, seen, decision):
            entry.news.put_nowait(news)
        entry.wait = decision.wait
        self._ask_later(entry, decision.delay)

    async def _question(self, client: AsyncClient, entry: _Entry) -> Operation | RequestError:
        call = operations.read(client.settings.endpoints, entry.wait.api, entry.wait.operation_id)
        try:
            async with asyncio.timeout(schedule.patience(entry.wait.troubles)):
                return await client.send(call)
        except TimeoutError:
            return no_answer(call, sending.NO_ANSWER_IN_TIME, arrived=True)
        except RequestError as error:
            await self._adapt(client, error)
            return error

    async def _adapt(self, client: AsyncClient, error: RequestError) -> None:
        now = asyncio.get_running_loop().time()
        if isinstance(error, RateLimited) and self._budget is not None:
            self._budget.slow_down(now)
            log.warning("%s Asking %.1f times a second for now.", error, self._budget.rate(now))
        if (
            isinstance(error, AuthenticationError)
            and client is self._client
            and now - self._connected_at > RECONNECT_SECONDS
        ):
            # Keys rotate: the connection may hold another one by now.
            log.warning("%s Looking the Airflow connection up anew.", error)
            self._client = None
            await client.close()


def _worth_telling(troubles: int, seen: Operation | RequestError, decision: AskAgain) -> Trouble | Recovered | None:
    if isinstance(seen, Operation):
        return Recovered(troubles) if troubles else None
    times = decision.wait.troubles
    if times & (times - 1) == 0:
        return Trouble(seen, times, decision.delay)
    return None


_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, OperationPoller]] = WeakKeyDictionary()


async def watch(conn_id: str, wait: Wait, connect: Connect) -> AsyncIterator[Trouble | Recovered | End]:
    """
    Wait for an operation, together with all other waits of this event loop on the same connection.

    :param conn_id: The Airflow connection.
    :param connect: Looks it up; called once for all.
    """
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.get(conn_id)
    if poller is None or poller.closing:
        poller = pollers[conn_id] = OperationPoller(connect)
    try:
        async for news in poller.watch(wait):
            yield news
    finally:
        if poller.idle and pollers.get(conn_id) is poller:
            del pollers[conn_id]
