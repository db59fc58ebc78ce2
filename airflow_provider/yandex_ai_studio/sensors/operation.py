"""The sensor that waits for an operation which something else submitted."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn, get_args

from airflow.sdk import BaseOperator, BaseSensorOperator, PokeReturnValue
from airflow.sdk.exceptions import (
    AirflowSensorTimeout,
    AirflowSkipException,
    AirflowTaskTimeout,
    TaskDeferralError,
    TaskDeferralTimeout,
)

from airflow_provider.yandex_ai_studio.answers.delivery import deliver, tell_success
from airflow_provider.yandex_ai_studio.answers.outcome import OBSERVER, answer_of, expired, final
from airflow_provider.yandex_ai_studio.api.checks import choice, wrong
from airflow_provider.yandex_ai_studio.api.endpoints import is_id
from airflow_provider.yandex_ai_studio.api.models import Api, Operation
from airflow_provider.yandex_ai_studio.durability.kill import is_last_attempt
from airflow_provider.yandex_ai_studio.durability.resume import (
    DEFERRAL_MARGIN,
    LostDeferral,
    Wakeup,
    deferral_timeout,
    ends_in_triggerer,
    find_connection,
    last_look,
    limit_of,
    margin_before,
    not_waited_for,
    out_of_time,
    why_on_worker,
)
from airflow_provider.yandex_ai_studio.exceptions import (
    AnswerRefused,
    ConfigurationError,
    ConnectionNotFound,
    ContentFiltered,
    NotFound,
    OperationError,
    OperationTimeout,
    RateLimited,
    RequestError,
    ServiceUnavailable,
    YandexAIStudioError,
)
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.links import YandexAIStudioFolderLink
from airflow_provider.yandex_ai_studio.sensors.start import template_for_the_triggerer
from airflow_provider.yandex_ai_studio.telemetry import Tags, tags_of, telling_failures
from airflow_provider.yandex_ai_studio.waiting.decision import AskAgain, Failure, Wait, decide

if TYPE_CHECKING:
    from airflow.sdk import Context


TRIGGER = "airflow_provider.yandex_ai_studio.triggers.operation.YandexAIStudioOperationTrigger"


class YandexAIStudioOperationSensor(BaseSensorOperator):
    """
    Wait for an operation that was submitted elsewhere, and return its text.

    Beside the text go the XComs ``operation_id``, ``usage``, ``model_version`` and ``status``; without the first of
    them where no worker is started. The sensor does not own the operation: it never cancels it, and it is not retried
    where that can't help: once the operation ended without an answer, is gone, or outlived ``timeout``.

    ``soft_fail`` skips the sensor where the wait ends without an answer, and never where the task or its connection is
    wrong. ``never_fail`` skips it wherever it would fail, but for a :class:`ConfigurationError`.

    :param operation_id: The operation, e.g. ``submit.output`` of an operator with ``wait_for_completion=False``.
    :param conn_id: The Airflow connection.
    :param api: What submitted it: ``completion`` (text generation in asynchronous mode) or ``responses`` (the Responses
        API in background mode).
    :param deferrable: Wait in the triggerer. If False, the sensor pokes from a worker, in the ``mode`` and at the
        ``poke_interval`` of any other sensor. In ``mode="reschedule"`` no poke knows of those before it, so that an
        id that the service does not know, a key that it refuses, or a connection that is wrong or not there, is told
        no sooner than at ``timeout``; the log of each poke says it.
    :param end_from_trigger: Finish the task in the triggerer, without another start of a worker. None: wherever
        Airflow loses nothing by it; see
        :class:`~airflow_provider.yandex_ai_studio.operators.completion.YandexAIStudioCompletionOperator`.
    :param start_from_trigger: Begin in the triggerer, so that no worker is started at all. Not for mapped tasks. The
        ``operation_id`` is rendered there: give a constant, ``submit.output``, or a template.
    :raises AirflowSensorTimeout: The operation has no answer after ``timeout``.
    :raises AirflowTaskTimeout: It has none after ``execution_timeout``, which also holds while the task is deferred.
    :raises OperationError: The operation ended without an answer.
    :raises ContentFiltered: The service withheld the answer.
    :raises AnswerRefused: The model declined to answer.
    :raises AnswerUnreadable: This release can't read the answer.

    .. seealso:: https://aistudio.yandex.ru/docs/en/ai-studio/operations/generation/async-request
    """

    template_fields: Sequence[str] = ("operation_id", "conn_id")
    ui_color = "#f3e9ff"
    operator_extra_links = (YandexAIStudioFolderLink(),)

    def __init__(
        self,
        *,
        operation_id: str,
        conn_id: str = YandexAIStudioHook.default_conn_name,
        api: Api = "completion",
        deferrable: bool = True,
        end_from_trigger: bool | None = None,
        start_from_trigger: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        choice(str(api), "api", get_args(Api))
        self.operation_id = operation_id
        self.conn_id = conn_id
        self.api = api
        self.deferrable = deferrable
        self.end_from_trigger = end_from_trigger
        self._wait: Wait | None = None
        if start_from_trigger:
            self._start_from_trigger()

    def _start_from_trigger(self) -> None:
        from airflow.triggers.base import StartTriggerArgs

        longest = timedelta(seconds=self.timeout) + DEFERRAL_MARGIN
        chosen = self.end_from_trigger
        self.start_trigger_args = StartTriggerArgs(
            trigger_cls=TRIGGER,
            trigger_kwargs={
                "operation_id": template_for_the_triggerer(self.operation_id),
                "conn_id": self.conn_id,
                "api": self.api,
                "end_from_trigger": why_on_worker(self) is None if chosen is None else chosen,
                "margin": margin_before(min(longest, self.execution_timeout or longest), self.timeout),
            },
            next_method="execute_complete",
            timeout=longest,
        )
        self.start_from_trigger = True

    @cached_property
    def hook(self) -> YandexAIStudioHook:
        """The hook on ``conn_id``."""
        return YandexAIStudioHook(self.conn_id)

    def execute(self, context: Context) -> Any:
        """Take the answer if it is there; else defer, or poke."""
        with telling_failures(self._tags), self._softened():
            _check(self.operation_id)
            if not self.deferrable:
                return super().execute(context)
            return self._execute_deferrable(context)

    def _execute_deferrable(self, context: Context) -> str:
        find_connection(self.hook, self.log)
        seen = self._look()
        if isinstance(seen, ConnectionNotFound):
            raise seen
        operation = seen if isinstance(seen, Operation) else None
        if operation and (operation.done or operation.error):
            return self._text(context, operation)
        if not isinstance(seen, Operation):
            self.log.warning("%s The wait goes on.", seen)
        now = self.hook.clock()
        created_at = operation.created_at if operation else None
        submitted_at = created_at.timestamp() if created_at else now
        context["ti"].xcom_push("operation_id", self.operation_id)
        deadline = now + self.timeout
        limit = limit_of(self, context["ti"].start_date)
        return self._defer(Wait(self.operation_id, submitted_at, min(deadline, limit or deadline), api=self.api))

    def poke(self, context: Context) -> bool | PokeReturnValue:
        """Look once, from a worker."""
        seen, now = self._look(), self.hook.clock()
        wait = self._wait or Wait(self.operation_id, now, api=self.api)
        decision = decide(wait, seen, now=now, random=1.0)
        if isinstance(decision, AskAgain):
            self._wait = decision.wait
            if not isinstance(seen, Operation):
                self.log.warning("%s The wait goes on.", seen)
                self.hook.pause(0, after=seen, times=self._wait.troubles)
            return False
        if isinstance(seen, Operation):
            return PokeReturnValue(is_done=True, xcom_value=self._text(context, seen))
        raise final(expired(self.operation_id, self.api, seen)) if isinstance(seen, NotFound) else seen

    def execute_complete(self, context: Context, event: dict[str, Any], *, refused_since: float = 0.0) -> str:
        """Take the answer, once the trigger has said that the operation ended."""
        with self._softened():
            return self._take(context, Wakeup.of(event, refused_since, OBSERVER))

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """
        Resume, and skip on no more than :meth:`execute` does: a sensor of Airflow's would skip on any error.

        Where Airflow has ended the deferral itself, the answer may be there all the same.
        """
        with telling_failures(self._tags), self._softened():
            try:
                return BaseOperator.resume_execution(self, next_method, next_kwargs, context)
            except (TaskDeferralError, TaskDeferralTimeout) as lost:
                now = self.hook.clock()
                timed_out = isinstance(lost, TaskDeferralTimeout)
                wait = Wait(self.operation_id, now, now if timed_out else None, api=self.api)
                return self._take(context, Wakeup(wait, "timeout" if timed_out else "broken"), lost)

    def _take(self, context: Context, wakeup: Wakeup, lost: LostDeferral | None = None) -> str:
        """
        Take the answer of an operation whose wait is over, or wait on.

        :param lost: How Airflow has ended the deferral, where it did.
        """
        _check(wakeup.wait.operation_id)
        try:
            seen = last_look(self.hook, wakeup, self.log)
            if isinstance(seen, Operation):
                return self._text(context, seen)
        except (OperationTimeout, RateLimited, ServiceUnavailable) as error:  # the last two: at the deadline
            limit = self.execution_timeout
            if limit is not None and limit.total_seconds() < self.timeout:
                raise out_of_time(wakeup.wait, error, OBSERVER, last=is_last_attempt(context["ti"])) from error
            raise AirflowSensorTimeout(str(error)) from error
        except OperationError as error:
            raise final(error) from error
        if lost is not None:
            raise not_waited_for(lost, seen, OBSERVER) from lost
        return self._defer(seen)

    def _text(self, context: Context, operation: Operation) -> str:
        try:
            generation = answer_of(operation, OBSERVER)
        except OperationError as error:
            raise final(error) from error
        tags, created_at = self._tags(), operation.created_at
        deliver(context["ti"], generation, operation.id, self.log, tags=tags, advice=OBSERVER)
        tell_success(created_at.timestamp() if created_at else None, self.hook.clock(), tags)
        return generation.text

    def _tags(self) -> Tags:
        return tags_of(self.conn_id)

    @contextmanager
    def _softened(self) -> Iterator[None]:
        """Skip instead of failing where that is asked for, on whatever way the failure comes; and say why."""
        try:
            yield
        except AirflowSkipException as skip:  # Airflow's own: it does not say why, nor tell errors apart
            self._skip_or_raise(skip.__cause__ or skip)
        except (YandexAIStudioError, AirflowSensorTimeout, AirflowTaskTimeout, TaskDeferralError) as error:
            self._skip_or_raise(error)

    def _skip_or_raise(self, error: BaseException) -> NoReturn:
        if not self._may_skip(error):
            raise error
        self.log.warning("%s", error)
        raise AirflowSkipException(f"Skipping, because of soft_fail or never_fail: {error}") from error

    def _may_skip(self, error: BaseException) -> bool:
        """Tell whether a failure is one that soft_fail or never_fail means: not a mistake in the task itself."""
        ended = isinstance(
            error, AirflowSensorTimeout | AirflowTaskTimeout | OperationError | ContentFiltered | AnswerRefused
        )
        wrong = isinstance(error, ConfigurationError | AirflowSkipException)
        return (self.soft_fail and ended) or (self.never_fail and not wrong)

    def _look(self) -> Operation | Failure:
        """Read the operation. One look that fails decides nothing."""
        try:
            return self.hook.get_operation(self.operation_id, self.api, repeat=False)
        except (RequestError, ConfigurationError, ConnectionNotFound) as error:
            return error

    def _defer(self, wait: Wait) -> NoReturn:
        from airflow_provider.yandex_ai_studio.triggers.operation import YandexAIStudioOperationTrigger

        self.log.info("Waiting for operation %s in the triggerer", wait.operation_id)
        self.defer(
            trigger=YandexAIStudioOperationTrigger(
                operation_id=wait.operation_id,
                conn_id=self.conn_id,
                submitted_at=wait.submitted_at,
                deadline=wait.deadline,
                end_from_trigger=ends_in_triggerer(self, self.end_from_trigger, self.log),
                api=wait.api,
                returns=wait.returns,
            ),
            method_name="execute_complete",
            kwargs={"refused_since": wait.refused_since},
            timeout=deferral_timeout(wait, self.hook.clock()),
        )


def _check(operation_id: Any) -> str:
    """Refuse what is no id."""
    if not is_id(operation_id):
        raise wrong(
            f"Give `operation_id` the id of an operation: it is {repr(operation_id)[:80]}. "
            "Did the task that submits it return one?"
        )
    return str(operation_id)
