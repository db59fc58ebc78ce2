"""What operator and sensor do alike: defer, wake up, and look once more."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any, get_args

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferralError, TaskDeferralTimeout

from airflow_provider.yandex_ai_studio.answers.outcome import OWNER, Advice, expired, say_untouched, unseen
from airflow_provider.yandex_ai_studio.api.models import Operation
from airflow_provider.yandex_ai_studio.api.words import ended, within
from airflow_provider.yandex_ai_studio.exceptions import (
    ConfigurationError,
    ConnectionNotFound,
    NotFound,
    RateLimited,
    RequestError,
    ServiceUnavailable,
    TriggerEventError,
)
from airflow_provider.yandex_ai_studio.links import YandexAIStudioFolderLink
from airflow_provider.yandex_ai_studio.waiting.decision import (
    REFUSAL_SECONDS,
    Failure,
    Outcome,
    Wait,
    is_late,
    is_past_retention,
)

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook

DEFERRAL_MARGIN = timedelta(minutes=15)
"""How long Airflow's own timeout of a deferral leaves the trigger to say first that the deadline passed."""


LEAST_MARGIN = 60.0
"""The same in seconds, where Airflow's limit leaves no room after the task's own timeout; a tenth of a short limit."""

LEAST_DEFERRAL = {"3.2": 20.0}
"""
Seconds that a task stays deferred at least, if it is to resume on a worker; by the release of Airflow, else 5.

The scheduler must see first that the worker is gone. Airflow 3.2 fails a task that is scheduled again before; later
ones only a task that is queued again, which is seconds later.
"""

LONGEST_STAY = 300.0
"""Seconds that a wait which comes back in vain again and again stays in the triggerer at most, before it does."""

FIRST_TURN, LONGEST_TURN = 30.0, 1200.0
"""Seconds, give or take a quarter, until a task that found the quota spent tries again: the first time, and at most."""

LAST_PAUSES = (2.0, 5.0, 10.0)
"""Seconds between the last looks at an operation, while the service refuses."""


def least_deferral(version: str) -> float:
    """Return the :data:`LEAST_DEFERRAL` for a version of Airflow."""
    return LEAST_DEFERRAL.get(".".join(version.split(".")[:2]), 5.0)


def stay(returns: int, least: float) -> float:
    """
    Return the seconds that a wait stays in the triggerer, which can do nothing more for it, before a worker starts.

    What sends a wait back in vain (a triggerer whose clock is ahead, or that can't ask) does so again. Each return
    costs the start of a worker: the next one comes after twice the time.

    :param returns: How often it came back in vain.
    :param least: What the first stay takes, see :data:`LEAST_DEFERRAL`.
    """
    return min(max(least, LONGEST_STAY), least * 2.0 ** min(returns, 16))


@dataclass(frozen=True)
class Wakeup:
    """What the trigger's event says: which wait is over, and how it ended."""

    wait: Wait
    outcome: Outcome

    @classmethod
    def of(cls, event: Any, refused_since: float = 0.0, advice: Advice = OWNER) -> Wakeup:
        """
        Read the event of the trigger. Whether its id is one is for who asks with it: a template may have made it.

        :param refused_since: Since when workers are refused, as the last one of them has left it in the deferral.
        :param advice: What the errors of the task tell.
        :raises TriggerEventError: It is not one of this package's trigger.
        """
        match event:
            case {"operation_id": operation_id, "outcome": outcome} if outcome in get_args(Outcome):
                wait = Wait(
                    operation_id,
                    event.get("submitted_at") or 0.0,
                    event.get("deadline"),
                    refused_since=refused_since,
                    api=event.get("api", "completion"),
                    returns=event.get("returns") or 0,
                )
                return cls(wait, outcome)
        raise TriggerEventError(
            f"Put triggerer and workers on the same release of this package, then {advice.go_on}.\n"
            f"The triggerer sent {event!r}, which is not an event of YandexAIStudioOperationTrigger.\n"
            "The operation is not touched: its id is in the XCom `operation_id` and in the log of this task."
        )

    def event(self) -> dict[str, Any]:
        """Return what the trigger fires: that the wait is over, never what the model wrote."""
        return {
            "operation_id": self.wait.operation_id,
            "outcome": self.outcome,
            "submitted_at": self.wait.submitted_at,
            "deadline": self.wait.deadline,
            "api": self.wait.api,
            "returns": self.wait.returns,
        }


LostDeferral = TaskDeferralError | TaskDeferralTimeout
"""How Airflow ends a deferral itself: the trigger could not run, or there was no triggerer until after its deadline."""


def last_look(hook: YandexAIStudioHook, wakeup: Wakeup, log: Logger) -> Operation | Wait:
    """
    Read an operation whose wait is over: the last word is the service's, whatever ended the wait.

    A look that fails ends no more than a question of the trigger's: an outage, or a connection that is not found,
    nothing before the deadline; a refusal, once it has met the workers of this task for as long as it must a trigger.

    :return: The operation, ended or past its deadline; or the wait that is to go on, without a worker.
    :raises OperationExpired: The service does not know it (any more).
    :raises OperationTimeout: The deadline has passed, and the service does not know it just now.
    :raises RequestError: The service refuses, or is out of order and the deadline has passed.
    :raises ConfigurationError: The connection is wrong.
    :raises ConnectionNotFound: The deadline has passed, and Airflow does not find the connection.
    """
    wait, seen = wakeup.wait, _look(hook, wakeup, log)
    now = hook.clock()
    late = is_late(wait, now) or (wait.deadline is None and wakeup.outcome == "timeout")
    if isinstance(seen, Operation):
        if seen.done or seen.error or late:
            return seen
        log.info("Operation %s still runs: the wait goes on.", seen.id)
        return replace(wait, refused_since=0.0)
    if isinstance(seen, NotFound):
        if wakeup.outcome == "expired" or is_past_retention(wait.api, now - wait.submitted_at):
            raise expired(wait.operation_id, wait.api, seen) from seen
        if late:
            raise unseen(wait.operation_id, seen) from seen
    if isinstance(seen, RateLimited | ServiceUnavailable | ConnectionNotFound):
        since, final = 0.0, late
    else:
        since = wait.refused_since or now
        told = wakeup.outcome in ("expired", "refused") and not isinstance(seen, NotFound)
        final = late or told or now - since >= REFUSAL_SECONDS
    if final:
        say_untouched(seen, wait.operation_id, wait.api)
        raise seen
    log.warning("%s The wait goes on.", seen)
    return replace(wait, refused_since=since)


def _look(hook: YandexAIStudioHook, wakeup: Wakeup, log: Logger) -> Operation | Failure:
    """
    Read an operation: a refusal only counts when it is repeated, unless it is what ended the wait. Nor does an answer
    that is behind the trigger's, where the deadline has passed.
    """
    wait = wakeup.wait
    for pause in () if wakeup.outcome in ("expired", "refused") else LAST_PAUSES:
        try:
            seen = hook.get_operation(wait.operation_id, wait.api)
            if wakeup.outcome != "ended" or seen.done or seen.error or not is_late(wait, hook.clock()):
                return seen
            log.warning("Operation %s was seen at its end, and now runs. Asking again in %.0f s.", seen.id, pause)
            hook.pause(pause, after=seen)
        except (RateLimited, ServiceUnavailable) as error:
            return error
        except (RequestError, ConfigurationError, ConnectionNotFound) as error:
            log.warning("%s Asking again in %.0f s.", error, pause)
            hook.pause(pause, after=error)
    try:
        return hook.get_operation(wait.operation_id, wait.api)
    except (RequestError, ConfigurationError, ConnectionNotFound) as error:
        return error


def not_waited_for(lost: LostDeferral, wait: Wait | None, advice: Advice) -> TaskDeferralError:
    """
    Return what ends an attempt whose trigger can't run. To defer again would start workers for nothing.

    :param wait: What it waited for; None where the attempt has submitted nothing.
    """
    error = TaskDeferralError(
        "See that a triggerer runs, on the same release of this package as the workers; then "
        f"{'clear the task' if wait is None else advice.go_on}.\n"
        f"Airflow has ended the deferral ({within(lost)}); its log above may say why."
    )
    if wait is None:
        error.args = (f"{error}\nNothing is known to be submitted by this attempt.",)
    else:
        say_untouched(error, wait.operation_id, wait.api)
    return error


def find_connection(hook: YandexAIStudioHook, log: Logger) -> None:
    """
    Look the connection up before a task goes on that has paid already: a secrets backend may stumble.

    What is still wrong then is told by who uses it.
    """
    for pause in LAST_PAUSES:
        try:
            _ = hook.settings
        except ConnectionNotFound as error:
            log.warning("%s Looking again in %.0f s.", error, pause)
            hook.sleep(pause)
        except ConfigurationError:
            return
        else:
            return


def turn_delay(refused: int, *, random: float) -> float:
    """
    Return the seconds until a task whose submission met a spent quota tries again.

    Tasks that start together must not come back together, and nobody says how many they are, or when the quota of an
    hour lets more in.

    :param refused: How often the task has waited for its turn already, from 0.
    :param random: A number from 0 to 1.
    """
    return min(LONGEST_TURN, FIRST_TURN * 2.0 ** min(refused, 16)) * (0.75 + 0.5 * random)


def limit_of(task: BaseOperator, started: datetime | None) -> float | None:
    """
    Return when ``execution_timeout`` ends an attempt, in seconds since the epoch; Airflow does not end a deferred one.

    :param started: When the attempt began, deferrals or not.
    """
    if task.execution_timeout is None or started is None:
        return None
    return float((started + task.execution_timeout).timestamp())


def out_of_time(
    wait: Wait, cause: Exception, advice: Advice, *, last: bool = False, cancels: bool = False
) -> AirflowTaskTimeout:
    """
    Return what ends an attempt at its ``execution_timeout``, as Airflow would.

    :param last: It is the last attempt.
    :param cancels: The operation is cancelled where no other attempt comes for it.
    """
    if advice.comes_back and not last:
        story = "Another attempt finds it."
    elif cancels:
        story = "It is cancelled, as far as the service does that: another attempt would submit anew."
    else:
        story = f"It goes on; to have its answer, {advice.go_on}."
    return AirflowTaskTimeout(
        f"The `execution_timeout` of this attempt has passed, and operation {wait.operation_id} has no answer. {story} "
        f"({ended(_happened(cause))})"
    )


def _happened(cause: Exception) -> str:
    """Return what an error tells of what happened: what its first line advises is another thing."""
    advice, _, story = str(cause).partition("\n")
    return story or advice


def deferral_timeout(wait: Wait, now: float) -> timedelta:
    """Return Airflow's own timeout of a deferral: it comes after the trigger's deadline."""
    left = 0.0 if wait.deadline is None else max(0.0, wait.deadline - now)
    return timedelta(seconds=left) + DEFERRAL_MARGIN


def margin_before(limit: timedelta, timeout: float) -> float:
    """
    Return the seconds by which a trigger stops before Airflow's own limit.

    Where the limit leaves room after the timeout, that room; else little enough not to eat the wait.

    :param timeout: Seconds that the task is to wait.
    """
    seconds = limit.total_seconds()
    return max(seconds - timeout, min(LEAST_MARGIN, seconds / 10))


def why_on_worker(task: BaseOperator) -> str | None:
    """
    Return the first thing that Airflow does for a task that succeeds on a worker, and for no other; None for nothing.

    A task without any of them loses nothing when it ends in the triggerer.
    """
    from airflow.sdk.bases.xcom import BaseXCom
    from airflow.sdk.configuration import conf
    from airflow.sdk.execution_time.xcom import XCom
    from airflow.sdk.listener import get_listener_manager

    own_post_execute = type(task).post_execute is not BaseOperator.post_execute
    mapped_over = task.has_dag() and next(iter(task.iter_mapped_dependants()), None)  # type: ignore[no-untyped-call]
    gates = (
        (not task.do_xcom_push, "`do_xcom_push` is off"),
        (task.multiple_outputs, "it has `multiple_outputs`"),
        (task.outlets, "it has `outlets`"),
        (task.on_success_callback, "it has an `on_success_callback`"),
        (_has_other_links(task), "it has extra links of its own"),
        (own_post_execute or task._post_execute_hook is not None, "it has a `post_execute`"),
        (mapped_over, "another task is mapped over what it returns"),
        (getattr(task, "returns_dag_result", False), "it returns the result of its DAG"),
        (XCom is not BaseXCom, "Airflow has a custom XCom backend"),
        (not hasattr(XCom, "aset"), "this Airflow's triggerer can't write XComs"),
        (get_listener_manager().has_listeners, "listeners are registered (those of a plugin, or OpenLineage)"),
        (conf.getboolean("state_store", "clear_on_success", fallback=False), "`[state_store] clear_on_success` is set"),
    )
    return next((reason for closed, reason in gates if closed), None)


def _has_other_links(task: BaseOperator) -> bool:
    """Tell whether a link may want what only the end of a task knows; this package's is there from the deferral on."""
    return any(type(link) is not YandexAIStudioFolderLink for link in task.operator_extra_links)


def ends_in_triggerer(task: BaseOperator, wish: bool | None, log: Logger) -> bool:
    """Tell whether a task that defers ends in the triggerer; where nobody chose, say why not."""
    if wish is not None:
        return wish
    if reason := why_on_worker(task):
        log.info("This task will end on a worker: %s. `end_from_trigger` overrides that.", reason)
    return reason is None
