"""The worker's sender: requests, with repetition where it is safe."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar

import requests
import requests.auth
import urllib3.exceptions

from airflow_provider.yandex_ai_studio.api.call import Answer, Call, no_answer
from airflow_provider.yandex_ai_studio.client import retry, sending
from airflow_provider.yandex_ai_studio.client.credentials import TokenCache
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.exceptions import RequestError

log = logging.getLogger(__name__)

T = TypeVar("T")
R = TypeVar("R")


class Client:
    """
    Sends calls from a worker.

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
        if answer.status == 401 and authorization and self._tokens.refused(authorization):
            answer = self._exchange(call, self._authorization())
        return sending.read(call, answer, self._tokens)

    def stream(self, call: Call[T]) -> Iterator[T]:
        """
        Send a call whose answer comes line by line, and yield what each says. Only the opening is repeated.

        :raises RequestError: It failed, or the stream broke.
        """
        with self._repeat(call, lambda: self._open(call)) as response, _failures_of(call):
            for line in response.iter_lines(chunk_size=None):
                if line:
                    yield sending.read(call, Answer(200, line, response.headers), self._tokens)

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
        response = self._request(call, authorization, stream=True)
        if response.status_code == 401 and self._tokens.refused(authorization):
            response.close()
            response = self._request(call, self._authorization(), stream=True)
        if response.status_code != 200:
            with response, _failures_of(call):
                sending.read(call, _answer(response), self._tokens)
        return response

    def _exchange(self, call: Call[Any], authorization: str | None) -> Answer:
        return _answer(self._request(call, authorization))

    def _authorization(self) -> str:
        with self._token_lock:
            if due := self._tokens.due(time.time()):
                with sending.before_the_call():
                    token = sending.read(due, self._exchange(due, None), self._tokens)
                self._tokens.accept(token, time.time())
            return self._tokens.header()

    def _request(self, call: Call[Any], authorization: str | None, *, stream: bool = False) -> requests.Response:
        request = sending.http_request(call, authorization, self._settings)
        with _failures_of(call):
            return self._session.request(
                request.method,
                request.url,
                data=request.body,
                headers=request.headers,
                auth=_KeepHeaders(),
                timeout=(sending.CONNECT_TIMEOUT, request.timeout),
                allow_redirects=False,
                stream=stream,
            )


class _KeepHeaders(requests.auth.AuthBase):
    """Keeps requests from replacing our ``Authorization`` header with an entry of ``~/.netrc``."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def _answer(response: requests.Response) -> Answer:
    return Answer(response.status_code, response.content, response.headers)


@contextmanager
def _failures_of(call: Call[Any]) -> Iterator[None]:
    """Turn what requests raises into the error for a call that got no answer."""
    try:
        yield
    except requests.RequestException as error:
        late = isinstance(error, requests.Timeout)
        cause = sending.NO_ANSWER_IN_TIME if late else f"the connection failed ({type(error).__name__})"
        raise no_answer(call, cause, arrived=_may_have_arrived(error)) from error


def _may_have_arrived(error: requests.RequestException) -> bool:
    if isinstance(error, requests.ConnectTimeout):
        return False
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", None)
    return not isinstance(reason, urllib3.exceptions.NewConnectionError)
