"""What operator and sensor do alike: defer, wake up, and look once more."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_args

from airflow.sdk import BaseOperator

from airflow_provider.yandex_ai_studio.answers.outcome import expired
from airflow_provider.yandex_ai_studio.exceptions import (
    NotFound,
    RateLimited,
    ServiceUnavailable,
    TriggerEventError,
)
from airflow_provider.yandex_ai_studio.waiting.decision import NOT_FOUND_GRACE, Outcome, Wait

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_provider.yandex_ai_studio.api.models import Operation
    from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook

DEFERRAL_MARGIN = timedelta(minutes=15)
"""How long Airflow's own timeout of a deferral leaves the trigger to say first that the deadline passed."""


@dataclass(frozen=True)
class Wakeup:
    """What the trigger's event says: which wait is over, and how it ended."""

    wait: Wait
    outcome: Outcome

    @classmethod
    def of(cls, event: Any) -> Wakeup:
        """
        Read the event of the trigger.

        :raises TriggerEventError: It is not one of this package's trigger.
        """
        match event:
            case {"operation_id": str(operation_id), "outcome": outcome} if outcome in get_args(Outcome):
                wait = Wait(
                    operation_id,
                    event.get("submitted_at") or 0.0,
                    event.get("deadline"),
                    api=event.get("api", "completion"),
                )
                return cls(wait, outcome)
        raise TriggerEventError(
            f"The triggerer sent {event!r}, which is not an event of YandexAIStudioOperationTrigger. The operation "
            "is not touched: its id is in the XCom `operation_id` and in the log of this task. Are triggerer and "
            "workers on the same release of this package?"
        )

    def event(self) -> dict[str, Any]:
        """Return what the trigger fires: that the wait is over, never what the model wrote."""
        return {
            "operation_id": self.wait.operation_id,
            "outcome": self.outcome,
            "submitted_at": self.wait.submitted_at,
            "deadline": self.wait.deadline,
            "api": self.wait.api,
        }


def last_look(hook: YandexAIStudioHook, wakeup: Wakeup, log: Logger) -> Operation | None:
    """
    Read an operation whose wait is over: the last word is the service's, whatever ended the wait.

    :return: The operation, ended or past its deadline; None where it is worth to go on waiting.
    :raises OperationExpired: The service does not know it (any more).
    :raises RequestError: The service refuses, or is out of order and the deadline has passed.
    """
    wait, now = wakeup.wait, hook.clock()
    try:
        operation = hook.get_operation(wait.operation_id, wait.api)
    except NotFound as error:
        if now - wait.submitted_at >= NOT_FOUND_GRACE:
            raise expired(wait.operation_id, wait.api, error) from error
        return None
    except (RateLimited, ServiceUnavailable) as error:
        if wait.deadline is not None and now >= wait.deadline:
            raise
        log.warning("%s The wait goes on.", error)
        return None
    if operation.done or operation.error or wakeup.outcome != "refused":
        return operation
    log.warning("The triggerer can't ask about operation %s: its log says why. Waiting on this worker.", operation.id)
    return hook.wait_for_operation(wait).operation or hook.get_operation(wait.operation_id, wait.api)


def deferral_timeout(wait: Wait, now: float) -> timedelta:
    """Return Airflow's own timeout of a deferral: it comes after the trigger's deadline."""
    left = 0.0 if wait.deadline is None else max(0.0, wait.deadline - now)
    return timedelta(seconds=left) + DEFERRAL_MARGIN


def may_end_in_triggerer(task: BaseOperator) -> bool:
    """Tell whether Airflow loses nothing when a task ends in the triggerer instead of on a worker."""
    from airflow.sdk.bases.xcom import BaseXCom
    from airflow.sdk.execution_time.xcom import XCom
    from airflow.sdk.listener import get_listener_manager

    return (
        task.do_xcom_push
        and not task.multiple_outputs
        and not task.outlets
        and not task.on_success_callback
        and not task.operator_extra_links
        and task._post_execute_hook is None
        and type(task).post_execute is BaseOperator.post_execute
        and not (task.has_dag() and next(iter(task.iter_mapped_dependants()), None))  # type: ignore[no-untyped-call]
        and XCom is BaseXCom
        and hasattr(XCom, "aset")
        and not get_listener_manager().has_listeners
    )
