"""The triggerer's sender: aiohttp, each call once. A module of its own, because a worker never needs the library."""

from __future__ import annotations

import asyncio
import time
from copy import copy
from functools import cache
from typing import Any, TypeVar

import aiohttp
import aiohttp.connector

from airflow_provider.yandex_ai_studio.api.call import Answer, Call
from airflow_provider.yandex_ai_studio.client import sending
from airflow_provider.yandex_ai_studio.client.body import Body
from airflow_provider.yandex_ai_studio.client.credentials import TokenCache
from airflow_provider.yandex_ai_studio.client.network import Network
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.exceptions import RequestError

T = TypeVar("T")

EXCHANGE_PAUSE = 1.0
"""Seconds between two exchanges for a token that fail: all waits would ask for one, and its issuer has a quota too."""

MAX_HEADER = 65536
"""Bytes that one header of an answer may have: as on a worker."""

CONNECTIONS = 20
"""TCP connections to one endpoint that a client holds at most."""


class AsyncClient:
    """
    Sends calls from an event loop.

    All waits on one connection share it: one session, one token, a bounded number of connections.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._network = Network(settings.ca_bundle)
        self._tokens = TokenCache(settings.credential, settings.endpoints, self._network.conceal)
        self._token_lock = asyncio.Lock()
        self._no_token: RequestError | None = None
        self._exchange_at = float("-inf")
        sending.warn_of_exposure(settings)
        self._session = aiohttp.ClientSession(
            connector=_Connector(limit=2 * CONNECTIONS, ssl=self._network.tls_context()),  # the two APIs
            cookie_jar=aiohttp.DummyCookieJar(),
            skip_auto_headers=("Content-Type",),
            auto_decompress=False,  # Body does it, within a bound
            max_field_size=MAX_HEADER,
        )
        self._session._retry_connection = False  # what aiohttp asks again by itself is in nobody's budget

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    @property
    def closed(self) -> bool:
        """Whether it can't be asked with any more."""
        return self._session.closed

    def is_like(self, other: AsyncClient) -> bool:
        """Tell whether another client would ask the same, and trust the same."""
        return (self.settings, self._network.trusts) == (other.settings, other._network.trusts)

    async def close(self) -> None:
        """Close the connections."""
        await self._session.close()

    async def send(self, call: Call[T], *, repeat: bool = True) -> T:
        """
        Send a call and return what it asked for.

        :param repeat: Send it again where its token was refused and there is a newer one.
        :raises RequestError: It failed.
        """
        authorization = await self._authorization() if call.authorized else None
        answer = await self._exchange(call, authorization)
        refused = answer.status == 401 and authorization and self._tokens.refused(authorization, time.time())
        if refused and repeat:
            answer = await self._exchange(call, await self._authorization())
        return sending.read(call, answer, self._tokens, self.settings)

    async def _authorization(self) -> str:
        async with self._token_lock:
            if not self._tokens.is_good(time.time()):
                await self._renew_token()
            return self._tokens.header()

    async def _renew_token(self) -> None:
        """Exchange for a token, but not again right after that failed: then what was told is told again."""
        clock = asyncio.get_running_loop().time
        if self._no_token is not None and clock() < self._exchange_at:
            raise copy(self._no_token)
        due = await asyncio.to_thread(self._tokens.due, time.time())  # to sign keeps the event loop from all others
        if due is None:
            return
        try:
            with sending.before_the_call():
                token = sending.read(due, await self._exchange(due, None), self._tokens, self.settings)
            self._tokens.accept(token, time.time())
        except RequestError as error:
            self._no_token, self._exchange_at = copy(error), clock() + max(EXCHANGE_PAUSE, error.retry_after)
            raise

    async def _exchange(self, call: Call[Any], authorization: str | None) -> Answer:
        request = sending.http_request(call, authorization, self.settings)
        proxy = self._network.proxy(request.url)
        headers, proxy_headers = request.headers, None
        if proxy is not None and proxy.login:
            login = {"Proxy-Authorization": proxy.login}
            if request.url.startswith("https://"):
                proxy_headers = login
            else:
                headers = {**headers, **login}
        with sending.failures_of(call, proxied=proxy is not None, conceal=self._tokens.conceal):
            async with self._session.request(
                request.method,
                request.url,
                data=request.body,
                headers=headers,
                timeout=_timeout(request.timeout),
                proxy=proxy.url if proxy else None,
                proxy_headers=proxy_headers,
                allow_redirects=False,
            ) as response:
                body = Body(response.headers.get("content-encoding"), good=200 <= response.status < 300)
                with body.whatever_follows():
                    while (chunk := await response.content.readany()) and body.add(chunk):
                        pass
                return Answer(response.status, body.whole(), response.headers)


class _Connector(aiohttp.TCPConnector):
    """Tells when a connection is there: from then on a request may be under way."""

    async def connect(self, *args: Any, **kwargs: Any) -> aiohttp.connector.Connection:
        connection = await super().connect(*args, **kwargs)
        sending.under_way.set(True)
        return connection


@cache
def _timeout(seconds: float) -> aiohttp.ClientTimeout:
    return aiohttp.ClientTimeout(total=seconds, sock_connect=sending.CONNECT_TIMEOUT)
