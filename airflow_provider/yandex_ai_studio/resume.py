"""What operator and sensor do alike once an operation ended, and where they may do it."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Any, get_args

from airflow.sdk import BaseOperator

from airflow_provider.yandex_ai_studio.exceptions import NotFound, TriggerEventError
from airflow_provider.yandex_ai_studio.outcome import answer_of, expired, refuse_filtered, story_of, xcoms_of
from airflow_provider.yandex_ai_studio.waiting import Outcome

if TYPE_CHECKING:
    from airflow.sdk.types import Logger, RuntimeTaskInstanceProtocol

    from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
    from airflow_provider.yandex_ai_studio.models import Operation

DEFERRAL_MARGIN = timedelta(minutes=15)
"""How long Airflow's own timeout of a deferral leaves the trigger to say first that the deadline passed."""


def operation_id_of(event: Any) -> str:
    """
    Return the operation that the trigger's event is about.

    :raises TriggerEventError: The event is not one of this package's trigger.
    """
    match event:
        case {"operation_id": str(operation_id), "outcome": outcome} if outcome in get_args(Outcome):
            return operation_id
    raise TriggerEventError(
        f"The triggerer sent {event!r}, which is not an event of YandexAIStudioOperationTrigger. The operation is "
        "not touched: its id is in the XCom `operation_id` and in the log of this task. Are triggerer and workers "
        "on the same release of this package?"
    )


def finish(hook: YandexAIStudioHook, ti: RuntimeTaskInstanceProtocol, operation_id: str, log: Logger) -> str:
    """
    Read an operation whose wait is over, and take its answer.

    Whatever ended the wait, the last word is the service's: an answer that came meanwhile is taken.

    :raises OperationError: It has no answer.
    :raises ContentFiltered: Its answer was withheld.
    """
    try:
        operation = hook.get_operation(operation_id)
    except NotFound as error:
        raise expired(operation_id, error) from error
    return take_answer(ti, operation, log)


def take_answer(ti: RuntimeTaskInstanceProtocol, operation: Operation, log: Logger) -> str:
    """
    Push what an operation says about its answer to XCom, and return the text.

    :raises OperationError: It has no answer.
    :raises ContentFiltered: Its answer was withheld.
    """
    generation = answer_of(operation)
    for key, value in xcoms_of(generation, operation.id).items():
        ti.xcom_push(key, value)
    log.info(story_of(generation, operation.id))
    refuse_filtered(generation, operation.id)
    if generation.status == "truncated":
        log.warning("The answer is cut off at `max_tokens`. Allow more, or ask for less.")
    return generation.text


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
