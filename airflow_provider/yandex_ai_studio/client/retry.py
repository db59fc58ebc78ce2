"""
Which failed request may be repeated, and after how long. Pure.

This is about a single request. To ask again because an operation is not done yet is not a repetition: see
:mod:`~airflow_provider.yandex_ai_studio.waiting.schedule`.
"""

from __future__ import annotations

from airflow_provider.yandex_ai_studio.exceptions import RateLimited, RequestError, ServiceUnavailable

ATTEMPTS = 6
"""How often one request is tried at most."""

FIRST_DELAY = 1.0
"""Seconds before the second attempt; it doubles with each further one."""

LONGEST_ASKED = 8.0
"""Seconds that are waited at most before an attempt because the service asks for it: a task is not to hang for it."""


def may_repeat(error: RequestError, *, billed: bool) -> bool:
    """
    Tell whether the request that failed may be sent again.

    The service knows no idempotency key. A billed request is repeated only where the service surely did not
    take it: it was not reached, or it refused because of a quota or of being unavailable.
    """
    if not isinstance(error, RateLimited | ServiceUnavailable):
        return False
    return not billed or not error.arrived


def delay_before(attempt: int, *, random: float) -> float:
    """
    Return the seconds to wait before an attempt.

    :param attempt: The number of the attempt to come; the first repetition is 2.
    :param random: A number from 0 to 1, so that the tasks that failed together don't come back together.
    """
    return FIRST_DELAY * 2.0 ** (attempt - 2) * (0.5 + random / 2)


def next_delay(error: RequestError, *, billed: bool, attempt: int, random: float) -> float | None:
    """
    Decide what follows a failed attempt.

    :param attempt: The number of the attempt that failed, from 1.
    :return: Seconds to wait before the next one, or None to give up.
    """
    if attempt >= ATTEMPTS or not may_repeat(error, billed=billed):
        return None
    return max(delay_before(attempt + 1, random=random), min(error.retry_after, LONGEST_ASKED))
