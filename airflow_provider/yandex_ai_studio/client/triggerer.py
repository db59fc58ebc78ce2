"""The triggerer's sender: aiohttp, each call once. A module of its own, because a worker never needs the library."""

from __future__ import annotations

import asyncio
import time
import urllib.request
from functools import cache
from typing import Any, TypeVar
from urllib.parse import urlsplit

import aiohttp

from airflow_provider.yandex_ai_studio.api.call import Answer, Call, no_answer
from airflow_provider.yandex_ai_studio.client import sending
from airflow_provider.yandex_ai_studio.client.credentials import TokenCache
from airflow_provider.yandex_ai_studio.client.settings import Settings

T = TypeVar("T")

CONNECTIONS = 20
"""TCP connections to one endpoint that a client holds at most."""


class AsyncClient:
    """
    Sends calls from an event loop.

    All waits on one connection share it: one session, one token, a bounded number of connections.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._tokens = TokenCache(settings.credential, settings.endpoints)
        self._token_lock = asyncio.Lock()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=2 * CONNECTIONS),  # the two APIs
            cookie_jar=aiohttp.DummyCookieJar(),
        )

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def send(self, call: Call[T]) -> T:
        """
        Send a call and return what it asked for.

        :raises RequestError: It failed.
        """
        authorization = await self._authorization() if call.authorized else None
        answer = await self._exchange(call, authorization)
        if answer.status == 401 and authorization and self._tokens.refused(authorization):
            answer = await self._exchange(call, await self._authorization())
        return sending.read(call, answer, self._tokens)

    async def _authorization(self) -> str:
        async with self._token_lock:
            if due := self._tokens.due(time.time()):
                with sending.before_the_call():
                    token = sending.read(due, await self._exchange(due, None), self._tokens)
                self._tokens.accept(token, time.time())
            return self._tokens.header()

    async def _exchange(self, call: Call[Any], authorization: str | None) -> Answer:
        request = sending.http_request(call, authorization, self.settings)
        try:
            async with self._session.request(
                request.method,
                request.url,
                data=request.body,
                headers=request.headers,
                timeout=_timeout(request.timeout),
                proxy=_proxy_of(request.url),
                allow_redirects=False,
            ) as response:
                return Answer(response.status, await response.read(), response.headers)
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            late = isinstance(error, TimeoutError)
            cause = sending.NO_ANSWER_IN_TIME if late else f"the connection failed ({type(error).__name__})"
            arrived = not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
            raise no_answer(call, cause, arrived=arrived) from error


@cache
def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, sock_connect=sending.CONNECT_TIMEOUT)


def _proxy_of(url: str) -> str | None:
    origin_ends = url.find("/", len("https://"))
    return _proxy(url[:origin_ends])


@cache
def _proxy(origin: str) -> str | None:
    """Return the environment's proxy for a host. aiohttp would look it up in a thread, and for each request anew."""
    parts = urlsplit(origin)
    return None if urllib.request.proxy_bypass(parts.netloc) else urllib.request.getproxies().get(parts.scheme)
