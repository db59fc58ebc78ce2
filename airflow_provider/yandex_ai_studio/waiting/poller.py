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
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from weakref import WeakKeyDictionary

from airflow_provider.yandex_ai_studio.api import operations
from airflow_provider.yandex_ai_studio.api.call import no_answer
from airflow_provider.yandex_ai_studio.api.endpoints import path_segment
from airflow_provider.yandex_ai_studio.api.models import Operation
from airflow_provider.yandex_ai_studio.api.words import within
from airflow_provider.yandex_ai_studio.client import sending
from airflow_provider.yandex_ai_studio.client.triggerer import CONNECTIONS, AsyncClient
from airflow_provider.yandex_ai_studio.exceptions import (
    ConfigurationError,
    RateLimited,
    RequestError,
)
from airflow_provider.yandex_ai_studio.telemetry import Metric, tags_of, tell
from airflow_provider.yandex_ai_studio.waiting import schedule
from airflow_provider.yandex_ai_studio.waiting.deadlines import Deadlines
from airflow_provider.yandex_ai_studio.waiting.decision import End, Wait, decide, is_doubtful
from airflow_provider.yandex_ai_studio.waiting.link import Connect, Link
from airflow_provider.yandex_ai_studio.waiting.listeners import STOPPED, Entry, Errand, News, Turn
from airflow_provider.yandex_ai_studio.waiting.listeners import PollerStopped as PollerStopped
from airflow_provider.yandex_ai_studio.waiting.listeners import Recovered as Recovered
from airflow_provider.yandex_ai_studio.waiting.listeners import StillRunning as StillRunning
from airflow_provider.yandex_ai_studio.waiting.listeners import Trouble as Trouble
from airflow_provider.yandex_ai_studio.waiting.turns import Lane, Turns

log = logging.getLogger(__name__)

LAST_QUESTION = 5.0
"""Seconds that a wait has for one question, when it begins at its deadline or after it."""

Seen = Operation | RequestError | ConfigurationError


class OperationPoller:
    """
    Asks about many operations, within one budget.

    :param conn_id: The Airflow connection.
    :param connect: Looks it up and returns a client for it.
    """

    def __init__(self, conn_id: str, connect: Connect) -> None:
        self._tags = tags_of(conn_id)
        self._link = Link(connect)
        self._budget: schedule.RateBudget | None = None
        self._turns = Turns[Entry | Errand](CONNECTIONS, wanted=lambda entry: entry.listening)
        self._entries: set[Entry] = set()
        self._visitors = 0
        self._errands: set[Errand] = set()
        self._deadlines = Deadlines[Entry](
            wanted=lambda entry: entry.listening,
            tell=lambda entry: entry.news.put_nowait(End("timeout")),  # whatever is under way: a worker looks once more
        )
        self.closing = False
        self._wake = asyncio.Event()
        self._asking: set[asyncio.Task[None]] = set()
        self._runner: asyncio.Task[None] | None = None

    @property
    def idle(self) -> bool:
        """Whether nobody waits any more, or comes for a turn."""
        return not self._entries and not self._visitors

    async def watch(self, wait: Wait) -> AsyncIterator[News]:
        """
        Wait for an operation.

        :return: What happens meanwhile; the last item is the :class:`~...waiting.End`.
        :raises PollerStopped: Something that nobody foresaw put an end to the poller.
        :raises Exception: Or to a question of this wait.
        """
        try:
            path_segment(wait.operation_id)
        except ConfigurationError as error:
            yield End("refused", error=error)
            return
        now = time.time()
        wait = wait.begun(now)
        entry = Entry(wait, now, now + schedule.FIRST_REPORT)
        self._entries.add(entry)
        self._begin()
        self._ask_later(entry, schedule.first_delay(now - wait.submitted_at))
        if wait.deadline is not None:
            self._deadlines.add(entry, max(wait.deadline - now, LAST_QUESTION), wanted=len(self._entries))
        try:
            while True:
                news = await entry.news.get()
                if isinstance(news, Exception):
                    raise news
                yield news
                if isinstance(news, End):
                    return
        finally:
            entry.listening = False
            self._entries.discard(entry)
            await self._end_if_idle()

    @asynccontextmanager
    async def visit(self) -> AsyncIterator[Turn]:
        """Come for turns to ask for something else than how an operation stands. See :func:`visit`."""
        since = asyncio.get_running_loop().time()
        self._visitors += 1
        self._begin()
        try:
            yield lambda: self._turn(since)
        finally:
            self._visitors -= 1
            await self._end_if_idle()

    @asynccontextmanager
    async def _turn(self, since: float) -> AsyncIterator[AsyncClient]:
        if self.closing:
            raise PollerStopped(STOPPED)
        errand = Errand(asyncio.get_running_loop().create_future())
        self._errands.add(errand)
        self._turns.put(errand, errand.lane, since)
        self._wake.set()
        try:
            client = await errand.turn
            try:
                yield client
            except (RequestError, ConfigurationError) as error:
                self._heed(client, error, times=1)
                raise
        finally:
            self._errands.discard(errand)
            if errand.turn.done() and not errand.turn.cancelled() and not errand.turn.exception():
                self._give_back(errand.turn.result(), errand.lane)

    def _begin(self) -> None:
        """Have somebody in."""
        self._link.join()
        if self._runner is None:
            # A context of its own: else all it logs would land in the log of the task that came first.
            self._runner = asyncio.get_running_loop().create_task(self._run(), context=contextvars.Context())

    async def _end_if_idle(self) -> None:
        assert self._runner is not None
        if self.idle:
            if not self.closing:
                self.closing = True  # from here on nobody may join: the runner is on its way out
                self._runner.cancel()
            await asyncio.wait({self._runner})

    def _ask_later(self, entry: Entry, delay: float) -> None:
        self._turns.put(entry, entry.lane, asyncio.get_running_loop().time() + delay)
        self._wake.set()

    async def _run(self) -> None:
        try:
            while True:
                await self._somebody_is_due()
                if (client := await self._connected()) is None:
                    continue
                assert self._budget is not None
                size = await self._round(self._budget)
                now = asyncio.get_running_loop().time()
                if batch := self._turns.take(now, size):
                    self._budget.sent(now, len(batch))
                if reads := sum(isinstance(entry, Entry) for entry in batch):
                    tell(Metric("reads", reads), tags=self._tags)
                for entry in batch:
                    self._link.lend(client)
                    if isinstance(entry, Errand):
                        entry.turn.set_result(client)
                        continue
                    task = asyncio.create_task(self._ask(client, entry))
                    self._asking.add(task)
                    task.add_done_callback(self._asking.discard)
        except Exception:
            log.exception("The poller stops. Its waits begin anew.")
        finally:
            self.closing = True
            self._deadlines.close()
            for entry in self._entries:
                entry.news.put_nowait(PollerStopped(STOPPED))
            self._turn_away(PollerStopped(STOPPED))
            for task in self._asking:
                task.cancel()
            await asyncio.gather(*self._asking, return_exceptions=True)
            await self._link.close()

    async def _somebody_is_due(self) -> None:
        """Wait until it is somebody's turn, and there may be a client."""
        loop = asyncio.get_running_loop()
        while True:
            self._wake.clear()
            due = max(self._turns.next_due(), self._link.ready_at)
            if due <= loop.time():
                return
            alarm = loop.call_at(due, self._wake.set)
            try:
                await self._wake.wait()
            finally:
                alarm.cancel()

    async def _round(self, budget: schedule.RateBudget) -> int:
        """Wait for the next round, and return how many requests it may hold."""
        while True:
            delay, size = budget.next_round(asyncio.get_running_loop().time())
            if size:
                return size
            await asyncio.sleep(delay)

    async def _connected(self) -> AsyncClient | None:
        """Return the client. Where there can be none, nobody's question is answered: that counts for all."""
        try:
            client = await self._link.open()
        except (RequestError, ConfigurationError) as error:
            for entry in self._entries:
                self._settle(entry, error)
            self._turn_away(error)
            return None
        rate = client.settings.polls_per_second
        if self._budget is None:
            self._budget = schedule.RateBudget(rate)
        self._budget.allow(rate)
        self._turns.places = min(CONNECTIONS, max(1, int(rate) // 2))  # the other half is for the other endpoint
        return client

    def _turn_away(self, error: Exception) -> None:
        for errand in self._errands:
            if errand.listening:
                errand.turn.set_exception(error)

    def _give_back(self, client: AsyncClient, lane: Lane) -> None:
        """Note that a question is over."""
        if self._budget is not None:
            self._budget.answered(asyncio.get_running_loop().time())
        self._turns.give_back(lane)
        self._link.give_back(client)
        self._wake.set()

    def _heed(self, client: AsyncClient, error: RequestError | ConfigurationError, *, times: int) -> None:
        """Draw from an error what it means for the questions to come."""
        if isinstance(error, RateLimited) and self._budget is not None:
            now = asyncio.get_running_loop().time()
            self._budget.slow_down(now)
            log.warning("%s Asking %.1f times a second for now.", error, self._budget.rate(now))
        if client.closed or is_doubtful(error, times):
            self._link.doubt(client, error, broken=client.closed)

    async def _ask(self, client: AsyncClient, entry: Entry) -> None:
        lane = entry.lane
        try:
            try:
                seen = await self._question(client, entry)
                if not isinstance(seen, Operation):
                    self._heed(client, seen, times=entry.wait.troubles + 1)
            finally:
                self._give_back(client, lane)
            self._follow_up(entry, seen)
        except Exception as error:  # a wait that nobody asks about any more would be silent until its deadline
            entry.news.put_nowait(error)

    def _follow_up(self, entry: Entry, seen: Seen) -> None:
        unanswered = isinstance(seen, RequestError) and seen.status is None
        entry.unanswered = entry.unanswered + 1 if unanswered else 0
        if (delay := self._settle(entry, seen)) is not None:
            self._ask_later(entry, delay)

    async def _question(self, client: AsyncClient, entry: Entry) -> Seen:
        call = operations.read(client.settings.endpoints, entry.wait.api, entry.wait.operation_id)
        try:
            async with asyncio.timeout(schedule.patience(entry.unanswered)):
                return await client.send(call, repeat=False)  # one question is one place of the budget
        except TimeoutError:
            return no_answer(call, sending.NO_ANSWER_IN_TIME, arrived=True)
        except (RequestError, ConfigurationError) as error:
            return error
        except (Exception, asyncio.CancelledError) as error:
            # A client that is closed cancels what is under way. Only a task that was told to end has to.
            if isinstance(error, asyncio.CancelledError) and _is_told_to_end():
                raise
            seen = no_answer(
                call, f"the question broke off ({type(error).__name__}: {within(str(error))})", arrived=True
            )
            self._link.doubt(client, seen, broken=True)
            return seen

    def _settle(self, entry: Entry, seen: Seen) -> float | None:
        """Note what came of a question, and tell what is news. Return when to ask again, unless the wait is over."""
        now, troubles = time.time(), entry.wait.troubles
        decision = decide(entry.wait, seen, now=now, random=random.random())
        if isinstance(decision, End):
            entry.news.put_nowait(decision)
            return None
        entry.wait = decision.wait
        times = decision.wait.troubles
        if not isinstance(seen, Operation):
            if times & (times - 1) == 0:
                entry.news.put_nowait(Trouble(seen, times))
        elif troubles:
            entry.news.put_nowait(Recovered(troubles))
        elif now >= entry.report_at:
            entry.report_at = now + schedule.next_report(now - entry.began_at)
            entry.news.put_nowait(StillRunning())
        return decision.delay


def _is_told_to_end() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


_pollers: WeakKeyDictionary[asyncio.AbstractEventLoop, dict[str, OperationPoller]] = WeakKeyDictionary()


async def watch(conn_id: str, wait: Wait, connect: Connect) -> AsyncIterator[News]:
    """
    Wait for an operation, together with all other waits of this event loop on the same connection.

    :param conn_id: The Airflow connection.
    :param connect: Looks it up; called once for all, and again when it gives trouble.
    :raises PollerStopped: As :meth:`OperationPoller.watch` does.
    """
    with _shared(conn_id, connect) as poller:
        async for news in poller.watch(wait):
            yield news


@asynccontextmanager
async def visit(conn_id: str, connect: Connect) -> AsyncIterator[Turn]:
    """
    Ask for something else than how an operation stands, in turn with all waits of this event loop on the connection.

    Who came first goes first, and before the waits that are due after that.

    :return: What gives a turn.
    :raises RequestError: From a turn: the connection can't be looked up for now.
    :raises ConfigurationError: From a turn: the connection is wrong.
    :raises PollerStopped: As :meth:`OperationPoller.watch` does.
    """
    with _shared(conn_id, connect) as poller:
        async with poller.visit() as turn:
            yield turn


@contextmanager
def _shared(conn_id: str, connect: Connect) -> Iterator[OperationPoller]:
    pollers = _pollers.setdefault(asyncio.get_running_loop(), {})
    poller = pollers.get(conn_id)
    if poller is None or poller.closing:
        poller = pollers[conn_id] = OperationPoller(conn_id, connect)
    try:
        yield poller
    finally:
        if poller.idle and pollers.get(conn_id) is poller:
            del pollers[conn_id]
