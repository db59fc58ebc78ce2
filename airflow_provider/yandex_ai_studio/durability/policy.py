"""What a task wants to become of an operation where users differ."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import Literal, get_args

from airflow_provider.yandex_ai_studio.api.checks import choice, wrong

OnUnknownSubmission = Literal["resubmit", "fail"]
OnTimeout = Literal["wait", "resubmit", "fail"]
OnClear = Literal["keep", "resubmit"]

LONGEST = timedelta(days=3)
"""How long a wait may be: that long the service keeps a result."""


@dataclass(frozen=True)
class Policy:
    """
    The choices of a task. Build it with :meth:`of`.

    :param timeout: Seconds to wait.
    :param on_unknown_submission: Where a submission may have been taken under an id that nobody knows: ``resubmit``
        (and perhaps pay twice) or ``fail`` (and let a person decide).
    :param on_timeout: What another attempt does with an operation that outlived its deadline: ``wait`` as long again,
        or ``resubmit``; with ``fail`` there is none.
    :param on_clear: What a cleared task does with what it has paid for: ``keep`` it, or ``resubmit``.
    """

    timeout: float
    on_unknown_submission: OnUnknownSubmission = "resubmit"
    on_timeout: OnTimeout = "wait"
    on_clear: OnClear = "keep"

    @classmethod
    def of(cls, *, timeout: float | timedelta, **choices: str) -> Policy:
        """
        Check the parameters of a task.

        :raises ConfigurationError: It names the one that is wrong.
        """
        for name, allowed in _CHOICES.items():
            if name in choices:
                choice(str(choices[name]), name, allowed)
        return cls(timeout=seconds_of(timeout), **choices)  # type: ignore[arg-type] # checked just before


def seconds_of(timeout: float | timedelta) -> float:
    """
    Return a timeout in seconds.

    :raises ConfigurationError: It is none, or longer than the service keeps results.
    """
    try:
        seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)
    except (TypeError, ValueError, OverflowError):
        seconds = 0.0
    if not 0 < seconds <= LONGEST.total_seconds():
        raise wrong(
            f"Give `timeout` seconds above 0, up to 3 days (that long the service keeps results): it is {timeout!r}"
        )
    return seconds


_CHOICES = {
    "on_unknown_submission": get_args(OnUnknownSubmission),
    "on_timeout": get_args(OnTimeout),
    "on_clear": get_args(OnClear),
}
