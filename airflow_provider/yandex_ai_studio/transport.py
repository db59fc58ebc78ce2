"""
The two senders of a :class:`~airflow_provider.yandex_ai_studio.api.Call`: requests on a worker, aiohttp in
the triggerer. What to send, what an answer means and what may be repeated is decided elsewhere.
"""

from __future__ import annotations

import asyncio
import json
import logging
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import aiohttp
import requests
import requests.auth
import urllib3.exceptions

from airflow_provider.yandex_ai_studio import retry
from airflow_provider.yandex_ai_studio.call import Answer, Call, headers_for, no_answer, result_of
from airflow_provider.yandex_ai_studio.credentials import TokenCache
from airflow_provider.yandex_ai_studio.exceptions import RequestError
from airflow_provider.yandex_ai_studio.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")

CONNECT_TIMEOUT = 10.0
"""Seconds to reach the service."""

CONNECTIONS = 20
"""TCP connections that one asynchronous client holds at most."""


class Client:
    """
    Sends calls from a worker, and repeats those that failed where a repetition is safe.

    Use it as a context manager, or close it.

    :param sleep: Waits the given seconds between two attempts.
    """

    def __init__(self, settings: Settings, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._settings = settings
        self._sleep = sleep
        self._tokens = TokenCache(settings.credential, settings.endpoints)
        self._token_lock = threading.Lock()
        self._session = requests.Session()

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def send(self, call: Call[T]) -> T:
        """
        Send a call and return what it asked for.

        :raises RequestError: It failed, and a repetition was not safe or did not help.
        """
        attempt = 1
        while True:
            try:
                return self.send_once(call)
            except RequestError as error:
                delay = retry.next_delay(error, billed=call.billed, attempt=attempt, random=random.random())
                if delay is None:
                    raise
                log.warning("%s Attempt %s follows in %.1f s.", error, attempt + 1, delay)
                self._sleep(delay)
                attempt += 1

    def send_once(self, call: Call[T]) -> T:
        """
        Send a call without repeating it.

        :raises RequestError: It failed.
        """
        authorization = self._authorization() if call.authorized else None
        answer = self._exchange(call, authorization)
        if answer.status == 401 and authorization and self._tokens.refused(authorization):
            answer = self._exchange(call, self._authorization())
        return _result(call, answer, self._tokens)

    def _authorization(self) -> str:
        with self._token_lock:
            if exchange := self._tokens.due(time.time()):
                with _before_the_call():
                    token, expires_at = _result(exchange, self._exchange(exchange, None), self._tokens)
                self._tokens.accept(token, expires_at, time.time())
            return self._tokens.header()

    def _exchange(self, call: Call[Any], authorization: str | None) -> Answer:
        try:
            response = self._session.request(
                call.method,
                call.url,
                data=_encoded(call),
                headers=_headers(call, authorization, self._settings),
                auth=_KeepHeaders(),
                timeout=(CONNECT_TIMEOUT, self._settings.timeout or call.timeout),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            raise no_answer(call, _cause(error), arrived=_may_have_arrived(error)) from error
        return Answer(response.status_code, response.content, {k.lower(): v for k, v in response.headers.items()})


class AsyncClient:
    """
    Sends calls from the triggerer's event loop, each of them once.

    All waits on one connection share it: one session, one token, a bounded number of connections.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._tokens = TokenCache(settings.credential, settings.endpoints)
        self._token_lock = asyncio.Lock()
        self._session = aiohttp.ClientSession(
            connector=aiohttp.TCPConnector(limit=CONNECTIONS), trust_env=True, auto_decompress=True
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
        return _result(call, answer, self._tokens)

    async def _authorization(self) -> str:
        async with self._token_lock:
            if exchange := self._tokens.due(time.time()):
                with _before_the_call():
                    token, expires_at = _result(exchange, await self._exchange(exchange, None), self._tokens)
                self._tokens.accept(token, expires_at, time.time())
            return self._tokens.header()

    async def _exchange(self, call: Call[Any], authorization: str | None) -> Answer:
        try:
            async with self._session.request(
                call.method,
                call.url,
                data=_encoded(call),
                headers=_headers(call, authorization, self.settings),
                timeout=aiohttp.ClientTimeout(
                    total=self.settings.timeout or call.timeout, sock_connect=CONNECT_TIMEOUT
                ),
                allow_redirects=False,
            ) as response:
                body = await response.read()
                return Answer(response.status, body, {k.lower(): v for k, v in response.headers.items()})
        except (aiohttp.ClientError, TimeoutError, OSError) as error:
            arrived = not isinstance(error, aiohttp.ClientConnectorError | aiohttp.ConnectionTimeoutError)
            raise no_answer(call, _cause(error), arrived=arrived) from error


class _KeepHeaders(requests.auth.AuthBase):
    """Keeps requests from replacing our ``Authorization`` header with an entry of ``~/.netrc``."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


@contextmanager
def _before_the_call() -> Iterator[None]:
    """Mark that an exchange of tokens failed: the call that needed it was never sent."""
    try:
        yield
    except RequestError as error:
        error.arrived = False
        raise


def _encoded(call: Call[Any]) -> bytes | None:
    return None if call.body is None else json.dumps(call.body, ensure_ascii=False).encode()


def _headers(call: Call[Any], authorization: str | None, settings: Settings) -> dict[str, str]:
    return headers_for(
        call,
        authorization=authorization,
        folder_id=settings.folder_id,
        data_logging=settings.data_logging,
        client_request_id=str(uuid.uuid4()),
    )


def _result(call: Call[T], answer: Answer, tokens: TokenCache) -> T:
    try:
        return result_of(call, answer)
    except RequestError as error:
        error.args = (tokens.conceal(str(error)),)
        raise


def _cause(error: Exception) -> str:
    """Say what went wrong on the way, without the objects that the libraries put into their texts."""
    if isinstance(error, requests.Timeout | TimeoutError):
        return "the service did not answer in time"
    return f"the connection failed ({type(error).__name__})"


def _may_have_arrived(error: requests.RequestException) -> bool:
    if isinstance(error, requests.ConnectTimeout):
        return False
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", None)
    return not isinstance(reason, urllib3.exceptions.NewConnectionError)
