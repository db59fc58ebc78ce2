"""What the two senders do alike: a call as an HTTP request, and an answer without secrets in its error."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from airflow_provider.yandex_ai_studio.api.call import Answer, Call, result_of
from airflow_provider.yandex_ai_studio.client.credentials import TokenCache
from airflow_provider.yandex_ai_studio.client.headers import headers_for
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.exceptions import RequestError

T = TypeVar("T")

CONNECT_TIMEOUT = 10.0
"""Seconds to reach the service."""

NO_ANSWER_IN_TIME = "the service did not answer in time"


@dataclass(frozen=True)
class HttpRequest:
    """A call as it goes over the wire, with the seconds that it may take."""

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | None
    timeout: float


def http_request(call: Call[Any], authorization: str | None, settings: Settings) -> HttpRequest:
    """Return what to send for a call."""
    headers = headers_for(
        call,
        authorization=authorization,
        folder_id=settings.folder_id,
        data_logging=settings.data_logging,
        client_request_id=str(uuid.uuid4()),
    )
    body = None if call.body is None else json.dumps(call.body, ensure_ascii=False).encode()
    return HttpRequest(call.method, call.url, headers, body, settings.timeout or call.timeout)


def read(call: Call[T], answer: Answer, tokens: TokenCache) -> T:
    """
    Return what the call asked for.

    :raises RequestError: The answer is an error, or makes no sense. No secret is in its text.
    """
    try:
        return result_of(call, answer)
    except RequestError as error:
        error.args = (tokens.conceal(str(error)),)
        raise


@contextmanager
def before_the_call() -> Iterator[None]:
    """Mark that an exchange of tokens failed: the call that needed it was never sent."""
    try:
        yield
    except RequestError as error:
        error.arrived = False
        raise
