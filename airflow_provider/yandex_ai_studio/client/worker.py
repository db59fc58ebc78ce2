"""The worker's sender: requests, with repetition where it is safe."""

from __future__ import annotations

import http.client
import io
import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from http.cookiejar import DefaultCookiePolicy
from typing import Any, TypeVar
from urllib.parse import urlsplit

import requests
import requests.adapters
import urllib3.connection

from airflow_provider.yandex_ai_studio.api.call import Answer, Call
from airflow_provider.yandex_ai_studio.client import retry, sending
from airflow_provider.yandex_ai_studio.client.body import CHUNK, Body, lines_of
from airflow_provider.yandex_ai_studio.client.credentials import TokenCache
from airflow_provider.yandex_ai_studio.client.network import Network
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.exceptions import RequestError

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")

_opening: ContextVar[bool] = ContextVar("_opening", default=False)
"""Whether the answer to the request at hand is a stream: in time is then its opening, else all of it."""


class Client:
    """
    Sends calls from a worker.

    Use it as a context manager, or close it.

    :param sleep: Waits the given seconds between two attempts.
    """

    def __init__(self, settings: Settings, *, sleep: Callable[[float], None] = time.sleep) -> None:
        self._settings = settings
        self._sleep = sleep
        self._network = Network(settings.ca_bundle)
        self._tokens = TokenCache(settings.credential, settings.endpoints, self._network.conceal)
        self._token_lock = threading.Lock()
        sending.warn_of_exposure(settings)
        self._session = requests.Session()
        self._session.cookies.set_policy(DefaultCookiePolicy(allowed_domains=()))  # as in the triggerer: none is kept
        self._session.trust_env = False  # proxies and trust are the network's, and ~/.netrc is nobody's
        for scheme in ("http://", "https://"):
            self._session.mount(scheme, _Connections())

    def __enter__(self) -> Client:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def is_like(self, other: Client) -> bool:
        """Tell whether another client would ask the same, and trust the same."""
        return (self._settings, self._network.trusts) == (other._settings, other._network.trusts)

    def close(self) -> None:
        """Close the connections."""
        self._session.close()

    def send(self, call: Call[T], *, repeat: bool = True) -> T:
        """
        Send a call and return what it asked for.

        :param repeat: Send it again where it failed and that is safe.
        :raises RequestError: It failed, and a repetition was not safe or did not help.
        """
        return self._repeat(call, lambda: self._send(call)) if repeat else self._send(call)

    def _send(self, call: Call[T]) -> T:
        authorization = self._authorization() if call.authorized else None
        answer = self._exchange(call, authorization)
        if answer.status == 401 and authorization and self._tokens.refused(authorization, time.time()):
            answer = self._exchange(call, self._authorization())
        return sending.read(call, answer, self._tokens, self._settings)

    def stream(self, call: Call[T]) -> Iterator[T]:
        """
        Send a call whose answer comes line by line, and yield what each says. Only the opening is repeated.

        :raises RequestError: It failed, or the stream broke.
        """
        with self._repeat(call, lambda: self._open(call)) as response:
            lines = lines_of(_chunks(response), response.headers.get("content-encoding"))
            while True:
                with self._failures_of(call, reading=True):
                    line = next(lines, None)
                if line is None:
                    return
                yield sending.read(call, Answer(200, line, response.headers), self._tokens, self._settings)

    def _repeat(self, call: Call[Any], once: Callable[[], R]) -> R:
        attempt = 1
        while True:
            try:
                return once()
            except RequestError as error:
                delay = retry.next_delay(error, billed=call.billed, attempt=attempt, random=random.random())
                if delay is None:
                    raise
                log.warning("%s Attempt %s follows in %.1f s.", error, attempt + 1, delay)
                self._sleep(delay)
                attempt += 1

    def _open(self, call: Call[Any]) -> requests.Response:
        """Open a stream, with a new token if the one at hand is refused."""
        authorization = self._authorization()
        response = self._request(call, authorization, opening=True)
        if response.status_code == 401 and self._tokens.refused(authorization, time.time()):
            response.close()
            response = self._request(call, self._authorization(), opening=True)
        if response.status_code != 200:
            with response:
                sending.read(call, self._answer(call, response), self._tokens, self._settings)
        return response

    def _exchange(self, call: Call[Any], authorization: str | None) -> Answer:
        with self._request(call, authorization) as response:
            return self._answer(call, response)

    def _answer(self, call: Call[Any], response: requests.Response) -> Answer:
        body = Body(response.headers.get("content-encoding"), good=200 <= response.status_code < 300)
        with self._failures_of(call, reading=True), body.whatever_follows():
            for chunk in _chunks(response):
                if not body.add(chunk):
                    break
        return Answer(response.status_code, body.whole(), response.headers)

    def _authorization(self) -> str:
        with self._token_lock:
            if due := self._tokens.due(time.time()):
                with sending.before_the_call():
                    token = sending.read(due, self._exchange(due, None), self._tokens, self._settings)
                self._tokens.accept(token, time.time())
            return self._tokens.header()

    def _request(self, call: Call[Any], authorization: str | None, *, opening: bool = False) -> requests.Response:
        _opening.set(opening)
        request = sending.http_request(call, authorization, self._settings)
        proxy = self._network.proxy(request.url)
        with self._failures_of(call):
            return self._session.request(
                request.method,
                request.url,
                data=request.body,
                headers=request.headers,
                timeout=(sending.CONNECT_TIMEOUT, request.timeout),
                proxies={} if proxy is None else {urlsplit(request.url).scheme: proxy.full_url},
                verify=self._network.ca_path,
                allow_redirects=False,
                stream=True,
            )

    def _failures_of(self, call: Call[Any], *, reading: bool = False) -> AbstractContextManager[None]:
        proxied = self._network.proxy(call.url) is not None
        return sending.failures_of(call, proxied=proxied, conceal=self._tokens.conceal, reading=reading)


def _chunks(response: requests.Response) -> Iterator[bytes]:
    """Yield the bytes of a body as they come: what waits for a full chunk lets a slow service stretch any timeout."""
    while chunk := response.raw.read1(CHUNK, decode_content=False):
        yield chunk


class _AnswerInTime(http.client.HTTPResponse):
    """An answer that has the timeout of its socket as a whole: bytes that drip renew nothing."""

    def __init__(self, sock: Any, *args: Any, **kwargs: Any) -> None:
        super().__init__(sock, *args, **kwargs)
        self._in_time = _InTime(self.fp.detach(), sock)
        self.fp = io.BufferedReader(self._in_time)

    def _read_status(self) -> tuple[str, int, str]:
        """Read over what comes before an answer (102, 103): http.client takes it for the answer."""
        while True:
            version, status, reason = super()._read_status()  # type: ignore[misc] # typeshed does not know it
            if status not in (102, 103):
                return version, status, reason
            http.client.parse_headers(self.fp)

    def begin(self) -> None:
        super().begin()
        if _opening.get() and self.status == 200:
            self._in_time.ends = None


class _InTime(io.RawIOBase):
    """
    Reads from a socket, until the seconds of its timeout have passed.

    :param raw: What reads from it.
    """

    def __init__(self, raw: io.RawIOBase, sock: Any) -> None:
        self._raw, self._sock = raw, sock
        self._timeout: float | None = sock.gettimeout()
        self.ends = None if self._timeout is None else time.monotonic() + self._timeout

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self.ends is None:
            return self._raw.readinto(buffer)
        left = self.ends - time.monotonic()
        if left <= 0:
            raise TimeoutError
        self._sock.settimeout(left)
        try:
            return self._raw.readinto(buffer)
        finally:
            self._sock.settimeout(self._timeout)  # the connection goes on to another request

    def close(self) -> None:
        self._raw.close()
        super().close()


class _Connections(requests.adapters.HTTPAdapter):
    """Makes connections that tell when the first byte of a request goes out."""

    def get_connection_with_tls_context(self, *args: Any, **kwargs: Any) -> Any:
        """Return the pool for a request."""
        pool: Any = super().get_connection_with_tls_context(*args, **kwargs)
        pool.ConnectionCls = _HttpsConnection if pool.scheme == "https" else _HttpConnection
        return pool


class _HttpConnection(urllib3.connection.HTTPConnection):
    response_class = _AnswerInTime

    def endheaders(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        sending.under_way.set(True)
        super().endheaders(*args, **kwargs)


class _HttpsConnection(urllib3.connection.HTTPSConnection):
    response_class = _AnswerInTime

    def endheaders(self, *args: Any, **kwargs: Any) -> None:
        if self.sock is None:
            self.connect()
        sending.under_way.set(True)
        super().endheaders(*args, **kwargs)
