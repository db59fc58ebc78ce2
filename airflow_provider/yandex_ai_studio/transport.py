"""The worker's sender: requests, with repetition where it is safe."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable
from typing import Any, TypeVar

import requests
import requests.auth
import urllib3.exceptions

from airflow_provider.yandex_ai_studio import retry, sending
from airflow_provider.yandex_ai_studio.call import Answer, Call, no_answer
from airflow_provider.yandex_ai_studio.credentials import TokenCache
from airflow_provider.yandex_ai_studio.exceptions import RequestError
from airflow_provider.yandex_ai_studio.settings import Settings

log = logging.getLogger(__name__)

T = TypeVar("T")


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

    def send(self, call: Call[T]) -> T:
        """
        Send a call and return what it asked for. Repeat it where that is safe.

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
        Send a call and return what it asked for, without repeating it.

        :raises RequestError: It failed.
        """
        authorization = self._authorization() if call.authorized else None
        answer = self._exchange(call, authorization)
        if answer.status == 401 and authorization and self._tokens.refused(authorization):
            answer = self._exchange(call, self._authorization())
        return sending.read(call, answer, self._tokens)

    def _authorization(self) -> str:
        with self._token_lock:
            if due := self._tokens.due(time.time()):
                with sending.before_the_call():
                    token, expires_at = sending.read(due, self._exchange(due, None), self._tokens)
                self._tokens.accept(token, expires_at, time.time())
            return self._tokens.header()

    def _exchange(self, call: Call[Any], authorization: str | None) -> Answer:
        request = sending.http_request(call, authorization, self._settings)
        try:
            response = self._session.request(
                request.method,
                request.url,
                data=request.body,
                headers=request.headers,
                auth=_KeepHeaders(),
                timeout=(sending.CONNECT_TIMEOUT, request.timeout),
                allow_redirects=False,
            )
        except requests.RequestException as error:
            late = isinstance(error, requests.Timeout)
            cause = sending.NO_ANSWER_IN_TIME if late else f"the connection failed ({type(error).__name__})"
            raise no_answer(call, cause, arrived=_may_have_arrived(error)) from error
        return sending.answer(response.status_code, response.content, response.headers)


class _KeepHeaders(requests.auth.AuthBase):
    """Keeps requests from replacing our ``Authorization`` header with an entry of ``~/.netrc``."""

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        return request


def _may_have_arrived(error: requests.RequestException) -> bool:
    if isinstance(error, requests.ConnectTimeout):
        return False
    cause = error.args[0] if error.args else None
    reason = getattr(cause, "reason", None)
    return not isinstance(reason, urllib3.exceptions.NewConnectionError)
