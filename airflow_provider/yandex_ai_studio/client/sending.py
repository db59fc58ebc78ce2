"""What the two senders do alike: a call as an HTTP request, and an answer without secrets in its error."""

from __future__ import annotations

import json
import logging
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass, field
from functools import cache
from typing import Any, TypeVar

from airflow_provider.yandex_ai_studio.api.call import REQUEST_TIMEOUT, Answer, Call, no_answer, result_of, unsendable
from airflow_provider.yandex_ai_studio.client.body import MAX_BODY, TooLong
from airflow_provider.yandex_ai_studio.client.causes import NO_ANSWER_IN_TIME as NO_ANSWER_IN_TIME
from airflow_provider.yandex_ai_studio.client.causes import cause_of, chain_of
from airflow_provider.yandex_ai_studio.client.credentials import TokenCache
from airflow_provider.yandex_ai_studio.client.headers import headers_for
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.exceptions import RateLimited, RequestError, YandexAIStudioError
from airflow_provider.yandex_ai_studio.telemetry import Metric, tags_of, tell

T = TypeVar("T")

CONNECT_TIMEOUT = 10.0
"""Seconds to reach the service."""

under_way: ContextVar[bool] = ContextVar("under_way", default=False)
"""Whether a byte of the request at hand was sent. What fails before that is no submission, whatever its type."""


log = logging.getLogger(__name__)


def warn_of_exposure(settings: Settings) -> None:
    """Say it where the credential goes through a network without encryption: once for each host."""
    if host := settings.exposed_to:
        _warn_of_exposure_to(host)


@cache
def _warn_of_exposure_to(host: str) -> None:
    log.warning(
        "Use https:// in the base URL of the Airflow connection: the credential and the prompts go to %s without "
        "encryption, and can be read on the way.",
        host,
    )


@dataclass(frozen=True)
class HttpRequest:
    """A call as it goes over the wire, with the seconds that it may take."""

    method: str
    url: str
    headers: Mapping[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)
    timeout: float


def http_request(call: Call[Any], authorization: str | None, settings: Settings) -> HttpRequest:
    """
    Return what to send for a call.

    :raises BadRequest: It can't be written down.
    """
    headers = headers_for(
        call,
        authorization=authorization,
        folder_id=settings.folder_id,
        data_logging=settings.data_logging,
        client_request_id=str(uuid.uuid4()),
    )
    for name, value in headers.items():
        if not (value.isascii() and value.isprintable()):
            raise unsendable(call, f"what is to go as the header {name} fits in none")
    try:
        body = None if call.body is None else json.dumps(call.body, ensure_ascii=False).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise unsendable(call, f"what it is to say can't be written as JSON ({type(error).__name__})") from None
    return HttpRequest(call.method, call.url, headers, body, _time_for(call, settings))


def _time_for(call: Call[Any], settings: Settings) -> float:
    """Return the seconds that a call may take: the connection's, unless the call is one that is to be short."""
    own = settings.timeout or call.timeout
    return own if call.timeout >= REQUEST_TIMEOUT else min(own, call.timeout)


@contextmanager
def failures_of(
    call: Call[Any], *, proxied: bool, conceal: Callable[[str], str], reading: bool = False
) -> Iterator[None]:
    """
    Turn whatever a library raises into the error for a call that got no answer.

    What was raised stays behind it for the log, unless it repeats a secret.

    :param proxied: Whether the call goes through a proxy.
    :param conceal: Takes the secrets out of a text.
    :param reading: The answer has begun to come.
    """
    under_way.set(reading)
    try:
        yield
    except YandexAIStudioError:
        raise
    except TooLong:
        raise no_answer(call, f"the answer is longer than {MAX_BODY // 2**20} MiB", arrived=True) from None
    except Exception as error:
        sent = reading or under_way.get()
        cause = cause_of(error, sent=sent, proxied=proxied)
        # A ValueError repeats what it was given, and another what was answered: that may be the credential.
        told = " ".join(f"{one} {one!r}" for one in chain_of(error))
        shown = None if isinstance(error, ValueError) or conceal(told) != told else error
        raise no_answer(call, conceal(cause.text), advice=cause.advice, arrived=sent, lasting=cause.lasting) from shown


def read(call: Call[T], answer: Answer, tokens: TokenCache, settings: Settings) -> T:
    """
    Return what the call asked for.

    :raises RequestError: The answer is an error, or makes no sense. No secret is in its text.
    """
    try:
        return result_of(call, answer, conceal=tokens.conceal)
    except RequestError as error:
        error.args = (tokens.conceal(str(error)),)
        if isinstance(error, RateLimited):
            tell(Metric("rate_limited"), tags=tags_of(settings.conn_id))
        raise


@contextmanager
def before_the_call() -> Iterator[None]:
    """Mark that an exchange of tokens failed: the call that needed it was never sent."""
    try:
        yield
    except RequestError as error:
        error.arrived = False
        raise
