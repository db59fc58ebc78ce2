"""
What an error tells its reader to do about a paid operation: it depends on what another attempt will find.

On Airflow 3.2 none finds anything. From 3.3 on, a retry does, and a clear; from 3.4 on, the UI's clear only where it is
to keep the state of the task.
"""

from __future__ import annotations

from airflow_provider.yandex_ai_studio.answers.outcome import OWNER, Advice
from airflow_provider.yandex_ai_studio.durability.kill import clear_may_discard
from airflow_provider.yandex_ai_studio.durability.policy import OnClear, OnTimeout

BY_SENSOR = "wait for the operation with YandexAIStudioOperationSensor"
PAYS_AGAIN = "on this Airflow, another attempt submits and pays again"


def to_clear(*, discards: bool | None = None) -> str:
    """
    Return how to clear a task so that it goes on with what it has paid for.

    :param discards: Whether a clear may discard the state of a task. Default: what this Airflow does.
    """
    discards = clear_may_discard() if discards is None else discards
    return "clear the task and keep its state" if discards else "clear the task"


def owner_advice(
    on_timeout: OnTimeout = "wait", on_clear: OnClear = "keep", *, lasting: bool, discards: bool | None = None
) -> Advice:
    """
    Return what the task that has submitted an operation tells.

    :param on_timeout: As for the operator, and so is ``on_clear``: a clear that is to resubmit keeps nothing.
    :param lasting: Whether there is a journal.
    :param discards: As for :func:`to_clear`.
    """
    if not lasting:
        return Advice(
            timeout=f"Wait for it with YandexAIStudioOperationSensor, or raise `timeout`: {PAYS_AGAIN}.",
            unreadable=f"Upgrade this package, then {BY_SENSOR}",
            price="Another attempt of this task submits and pays again",
            go_on=f"{BY_SENSOR}: {PAYS_AGAIN}",
            comes_back=False,
        )
    clear, price = to_clear(discards=discards), OWNER.price
    again, fail = "Retry or clear the task", f"C{clear[1:]}"
    if on_clear == "resubmit":
        clear, price = f"{BY_SENSOR} (with on_clear='resubmit', a clear pays anew)", "No retry pays for it again"
        again, fail = "Retry the task", f"Set on_clear='keep' and {to_clear(discards=discards)}"
    elif clear != "clear the task":
        again, price = (
            "Retry the task, or clear it and keep its state,",
            "No attempt that finds the state of the task pays for it again",
        )
    timeout = {
        "wait": f"{again} to wait as long again, for the same operation; or raise `timeout`.",
        "resubmit": f"{again} to cancel the operation, as far as the service does that, and submit the request anew.",
        "fail": f"{fail} to wait as long again, for the same operation; or raise `timeout`.",
    }
    return Advice(
        timeout=timeout[on_timeout],
        unreadable=f"Upgrade this package, then {clear}",
        price=price,
        go_on=clear,
    )
