"""
The way to the service that all waits on a connection share: looked up once, and anew when it gives trouble or when
somebody joins after a while.

A client is replaced where the connection says something else by now. It is not closed then: those who still ask with it
get their answers first.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Awaitable, Callable

from airflow_provider.yandex_ai_studio.api.words import ended
from airflow_provider.yandex_ai_studio.client.triggerer import AsyncClient
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError, ServiceUnavailable
from airflow_provider.yandex_ai_studio.waiting.schedule import LookUps

log = logging.getLogger(__name__)

LOOK_UP_PATIENCE = 30.0
"""Seconds that a look-up of the Airflow connection may take."""

PROMPT = 0.2
"""Seconds that all wait for a look-up, though there is a client: most take less. Then the questions go on with it."""

Connect = Callable[[], Awaitable[AsyncClient]]


class Link:
    """
    Lends a client for each question.

    :param connect: Looks the Airflow connection up and returns a client for it.
    """

    def __init__(self, connect: Connect) -> None:
        self._connect = connect
        self._client: AsyncClient | None = None
        self._doubted = self._broken = False
        self._look_up: asyncio.Task[AsyncClient] | None = None
        self._look_ups = LookUps()
        self._told_of: AsyncClient | None = None
        self._lent: Counter[AsyncClient] = Counter()
        self._closing: set[asyncio.Task[None]] = set()

    @property
    def ready_at(self) -> float:
        """When there may be a client, on the clock of the event loop."""
        return self._look_ups.due if self._client is None else float("-inf")

    async def open(self) -> AsyncClient:
        """
        Return the client to ask with: a new one where there is none, or where the one at hand is in doubt.

        Only where there is none that can be asked with, a slow look-up is waited for: else it goes on behind the
        questions, and the new client is there for those after it.

        :raises ConfigurationError: There is none, and the connection is wrong.
        :raises ServiceUnavailable: There is none, and the connection can't be looked up for now.
        """
        now = asyncio.get_running_loop().time()
        usable = self._client is not None and not self._client.closed
        if self._look_up is None and (self._client is None or (self._doubted and self._look_ups.due <= now)):
            self._look_ups.looked_up(now)
            self._look_up = asyncio.create_task(self._looked_up())
            await asyncio.wait({self._look_up}, timeout=PROMPT)
        if self._look_up is not None and not usable:
            await asyncio.wait({self._look_up})
        if self._look_up is not None and self._look_up.done():
            look_up, self._look_up = self._look_up, None
            try:
                client = look_up.result()
            except Exception as error:
                self._look_ups.trouble(now)
                if self._client is None:
                    raise _as_ours(error) from error
                log.warning("%s", _as_ours(error))
            else:
                self._doubted = False
                self._take(client)
        assert self._client is not None
        return self._client

    def _take(self, client: AsyncClient) -> None:
        """Take a client into use, unless the one at hand is as good."""
        old = self._client
        if old is not None and not self._broken and not old.closed and client.is_like(old):
            self._close(client)
            return
        self._client, self._broken = client, False
        if old is not None:
            self._close_unless_lent(old)

    async def _looked_up(self) -> AsyncClient:
        async with asyncio.timeout(LOOK_UP_PATIENCE):
            return await self._connect()

    def lend(self, client: AsyncClient) -> None:
        """Note that somebody asks with a client. It is not closed before it was given back."""
        self._lent[client] += 1

    def give_back(self, client: AsyncClient) -> None:
        """Note that a question is over."""
        self._lent[client] -= 1
        if client is not self._client:
            self._close_unless_lent(client)

    def doubt(self, client: AsyncClient, reason: Exception, *, broken: bool = False) -> None:
        """
        Have the connection looked up before the next question, as soon as that may be: the client met a refusal.

        :param broken: It can't be asked with any more, whatever the connection says.
        """
        if client is not self._client:
            return
        is_new = self._look_ups.trouble(asyncio.get_running_loop().time())
        if is_new or client is not self._told_of:
            log.warning("%s The Airflow connection is looked up anew.", reason)
        self._told_of, self._doubted, self._broken = client, True, self._broken or broken

    def join(self) -> None:
        """Have the connection looked up before the next question, unless it just was: who joins sees its edits."""
        if self._client is not None and not self._look_ups.is_recent(asyncio.get_running_loop().time()):
            self._doubted = True

    async def close(self) -> None:
        """Close what is open, and stop what is under way."""
        if self._look_up is not None:
            self._look_up.cancel()
            (found,) = await asyncio.gather(self._look_up, return_exceptions=True)
            if isinstance(found, AsyncClient):
                self._close(found)
        clients, self._client = {self._client, *self._lent}, None
        for client in clients:
            if client is not None:
                self._close(client)
        if self._closing:
            await asyncio.wait(self._closing)

    def _close_unless_lent(self, client: AsyncClient) -> None:
        if not self._lent[client]:
            self._close(client)

    def _close(self, client: AsyncClient) -> None:
        self._lent.pop(client, None)
        task = asyncio.get_running_loop().create_task(client.close())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _as_ours(error: Exception) -> ConfigurationError | ServiceUnavailable:
    if isinstance(error, ConfigurationError):
        return error
    return ServiceUnavailable(f"The Airflow connection can't be looked up: {ended(error)}", arrived=False)
