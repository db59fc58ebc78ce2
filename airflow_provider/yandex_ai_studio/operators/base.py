"""What all operators do that submit an operation: pay once, wait without a worker, take the answer."""

from __future__ import annotations

import sys
from abc import abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_provider.yandex_ai_studio.answers.delivery import deliver, tell_success
from airflow_provider.yandex_ai_studio.answers.outcome import OWNER, answer_of, final, invalid
from airflow_provider.yandex_ai_studio.api.checks import wrong
from airflow_provider.yandex_ai_studio.api.output import JsonSchema, Output
from airflow_provider.yandex_ai_studio.durability.journal import Journal
from airflow_provider.yandex_ai_studio.durability.kill import TaskInstanceKey, look_who_claims_on_worker
from airflow_provider.yandex_ai_studio.durability.policy import OnClear, OnTimeout, OnUnknownSubmission, Policy
from airflow_provider.yandex_ai_studio.durability.resume import (
    Wakeup,
    deferral_timeout,
    ends_in_triggerer,
    last_look,
    limit_of,
    out_of_time,
)
from airflow_provider.yandex_ai_studio.durability.submission import Submission
from airflow_provider.yandex_ai_studio.exceptions import (
    InvalidOutput,
    OperationCancelled,
    OperationExpired,
    OperationFailed,
    OperationTimeout,
    RateLimited,
    ServiceUnavailable,
    YandexAIStudioError,
)
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.links import YandexAIStudioFolderLink
from airflow_provider.yandex_ai_studio.operators.constants import constants_of, is_constant, marks_of
from airflow_provider.yandex_ai_studio.telemetry import (
    Metric,
    Tags,
    describe,
    request_attributes,
    tags_of,
    tell,
    telling_failures,
)
from airflow_provider.yandex_ai_studio.waiting.decision import Wait

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider.yandex_ai_studio.api.call import Call
    from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
    from airflow_provider.yandex_ai_studio.api.models import Api, Generation, Operation
    from airflow_provider.yandex_ai_studio.api.response_request import ResponseRequest


class OperationOperator(BaseOperator):
    """
    Submit an operation, and wait for its answer.

    :param conn_id: The Airflow connection.
    :param wait_for_completion: Wait for the answer. If False, return the operation id at once; a
        :class:`~airflow_provider.yandex_ai_studio.sensors.operation.YandexAIStudioOperationSensor` can wait.
    :param deferrable: Wait in the triggerer instead of on the worker. True by default: to wait without a
        worker is what this operator is for.
    :param timeout: How long to wait, counted from the submission; neither a restart nor a retry extends it before it
        has passed. Seconds, or a timedelta; at most 3 days.
    :param on_timeout: What another attempt does, once ``timeout`` has passed: ``wait`` as long again for the same
        operation, or ``resubmit``: cancel it as far as the service does that, and pay for another. With ``fail``, the
        task fails without a retry, until a person clears it. Whatever is chosen, an answer that is there is taken.
    :param on_clear: What a cleared task does with an operation that it has paid for: ``keep`` it, so that a clear takes
        its answer, or ``resubmit``: cancel it if it runs, and generate anew. Without a journal (Airflow 3.2), or where
        Airflow 3.4 has discarded it with the clear, a task always submits anew. A clear while a worker runs the task
        looks like a retry to it, and keeps the operation all the same.
    :param end_from_trigger: Finish the task in the triggerer, without another start of a worker. None: wherever
        Airflow loses nothing by it (no outlets, listeners, callbacks on success, ``post_execute``, custom XCom
        backend, result of a DAG); the log says what stands against it. True loses these, and in any case the metrics
        and the audit row that a worker's success leaves. Failures always resume on the worker.
    :param on_unknown_submission: What to do where the way to the service broke inside a submission, so that it may
        have been taken under an id that nobody knows: ``resubmit``, which may pay twice, or ``fail``.
    :param cancel_on_kill: Cancel the operation when the task is marked failed or successful, or deleted, while it
        waits. A task that will run again (retry, clear) keeps its operation.
    :raises ConfigurationError: A parameter or the connection is wrong; nothing was sent.
    :raises RequestError: The service refused the submission.
    :raises SubmissionUnknown: As ``on_unknown_submission`` says.
    :raises OperationError: The operation ended without an answer, or still runs after ``timeout``.
    :raises AirflowTaskTimeout: It still runs after ``execution_timeout``, which also holds while the task is deferred.
    :raises ContentFiltered: The service withheld the answer.
    :raises AnswerRefused: The model declined to answer.
    :raises AnswerUnreadable: This release can't read the answer.
    """

    ui_color = "#f3e9ff"
    operator_extra_links = (YandexAIStudioFolderLink(),)
    api: Api = "completion"
    request_fields: Sequence[str]
    """The parameters that go into the request as they are."""
    request_of: Callable[..., CompletionRequest | ResponseRequest]
    """Checks the parts of a request and puts them together."""
    written_later: Sequence[str] = ()
    """Parameters that are not known before the task runs."""
    json_schema: JsonSchema | None
    model: str | None

    def __init__(
        self,
        *,
        conn_id: str = YandexAIStudioHook.default_conn_name,
        wait_for_completion: bool = True,
        deferrable: bool = True,
        timeout: float | timedelta = timedelta(hours=24),
        on_timeout: OnTimeout = "wait",
        on_clear: OnClear = "keep",
        end_from_trigger: bool | None = None,
        on_unknown_submission: OnUnknownSubmission = "resubmit",
        cancel_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.timeout = timeout
        self.on_timeout = on_timeout
        self.on_clear = on_clear
        self.end_from_trigger = end_from_trigger
        self.on_unknown_submission = on_unknown_submission
        self.cancel_on_kill = cancel_on_kill
        self._kill_target: tuple[TaskInstanceKey, str, Journal] | None = None

    def check_constants(self) -> None:
        """
        Refuse what is wrong in the DAG file already. Templates and XComs are checked when the task runs.

        :raises ConfigurationError: It names the parameter that is wrong.
        """
        self._policy()
        if self.at_once and not self.wait_for_completion:
            raise wrong(
                "Leave `wait_for_completion` out: where the worker waits for the answer itself, there is no operation "
                "to come back for"
            )
        marks = marks_of(self)
        parts = {name: value for name, value in self.parts().items() if name not in self.written_later}
        self.request_of(**constants_of(parts, marks))
        if is_constant(self.json_schema, marks):
            self._check_end()

    def _policy(self) -> Policy:
        return Policy.of(
            timeout=self.timeout,
            on_unknown_submission=self.on_unknown_submission,
            on_timeout=self.on_timeout,
            on_clear=self.on_clear,
        )

    def _check_end(self) -> None:
        if self.end_from_trigger and self.needs_worker():
            raise wrong(
                "Leave `end_from_trigger` out: the answer must be worked on first, for it is structured, or goes on a "
                "conversation"
            )

    @property
    def at_once(self) -> bool:
        """Whether the worker waits for the answer itself, without an operation."""
        return False

    @abstractmethod
    def request(self) -> CompletionRequest | ResponseRequest:
        """
        Return what to ask for, checked.

        :raises ConfigurationError: It names the parameter that is wrong.
        """

    @abstractmethod
    def submission_call(self, request: Any) -> Call[Operation]:
        """Return the call that submits a request of this operator."""

    @abstractmethod
    def free_question(self, request: Any) -> Call[Any]:
        """Return a call that costs nothing, and whose answer shows that the service works."""

    @abstractmethod
    def generate(self, request: Any) -> tuple[Generation, str | None]:
        """
        Generate while this worker waits.

        :return: The answer, and the id that the service gave it, if any.
        """

    def before_submission(self, request: Any) -> None:
        """
        Look once more at what is about to be paid for.

        :raises ConfigurationError: It is not to be submitted.
        """

    def beside(self, generation: Generation) -> dict[str, Any]:
        """Return the XComs of this operator's own that go beside an answer."""
        return {}

    def form(self) -> Output:
        """Return the form that the answer must have."""
        return Output.of(json_object=False, json_schema=self.json_schema)

    def needs_worker(self) -> bool:
        """Tell whether an answer must be worked on before it is returned, so that the task can't end before that."""
        return self.form().structured

    def value_of(self, generation: Generation) -> Any:
        """
        Return what the task returns for an answer: the text, or the value in it; calls of tools come without one.

        :raises InvalidOutput: It does not have the form that was asked for.
        """
        return generation.text if generation.tool_calls else self.form().value_of(generation.text)

    def parts(self) -> dict[str, Any]:
        """Return the parameters that go into the request as they are."""
        return {name: getattr(self, name) for name in self.request_fields}

    @cached_property
    def hook(self) -> YandexAIStudioHook:
        """The hook on ``conn_id``."""
        return YandexAIStudioHook(self.conn_id)

    def execute(self, context: Context) -> Any:
        """Submit, unless an earlier attempt did; then defer, wait, or return the id."""
        with telling_failures(self._tags):
            return self._begin(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral."""
        with telling_failures(self._tags):
            return super().resume_execution(next_method, next_kwargs, context)

    def _begin(self, context: Context) -> Any:
        policy = self._policy()
        self._check_end()
        request = self.request()
        characters = sum(len(message.text or "") for message in request.messages)
        self.log.info(
            "The request: %s message(s) with %s characters to %s", len(request.messages), characters, request.model_uri
        )
        if self.at_once:
            self.before_submission(request)
            began = self.hook.clock()
            answer = self.generate(request)
            tell(Metric("submitted"), tags=self._tags())
            return self._deliver(context, *answer, since=began)
        journal = Journal(context.get("task_state_store"))
        submitted = Submission(
            self.submission_call(request),
            api=self.api,
            hook=self.hook,
            journal=journal,
            question=self.free_question(request),
            before=partial(self.before_submission, request),
            policy=policy,
            model=request.model_uri,
            own_model=bool(self.model),
            max_tries=context["ti"].max_tries,
            log=self.log,
        ).run()
        self._kill_target = (context["ti"], submitted.operation_id, journal)
        context["ti"].xcom_push("operation_id", submitted.operation_id)
        describe(request_attributes(request.model_uri, submitted.operation_id))
        wait = Wait(submitted.operation_id, submitted.submitted_at, submitted.deadline, api=self.api)
        seen = submitted.operation
        if seen and seen.error:
            return self._take(context, wait, seen)
        if not self.wait_for_completion:
            return submitted.operation_id
        if seen and (seen.done or self.hook.clock() >= submitted.deadline):
            return self._take(context, wait, seen, counted=submitted.cleared)
        if self.deferrable:
            limit = limit_of(self, context["ti"].start_date)
            self._defer(replace(wait, deadline=min(submitted.deadline, limit or submitted.deadline)))
        self.log.info("Waiting for operation %s on this worker", wait.operation_id)
        end = self.hook.wait_for_operation(wait)
        return self._take_or_wait(context, Wakeup(wait, end.outcome), end.operation)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> Any:
        """Take the answer, once the trigger has said that the wait is over."""
        wakeup = Wakeup.of(event)
        self._kill_target = (context["ti"], wakeup.wait.operation_id, Journal(context.get("task_state_store")))
        return self._take_or_wait(context, wakeup, None)

    def on_kill(self) -> None:
        """Cancel the operation, if nobody will come for it."""
        if not self.cancel_on_kill or self._kill_target is None:
            return
        ti, operation_id, journal = self._kill_target
        timed_out = isinstance(sys.exception(), AirflowTaskTimeout)
        claim = look_who_claims_on_worker(ti, journal, timed_out=timed_out)
        if not claim.nobody:
            self.log.info("Operation %s goes on: %s", operation_id, claim.value)
            return
        try:
            self.hook.twin().cancel_operation(operation_id, self.api)
            self.log.info("%s: asked the service to cancel operation %s", claim.value, operation_id)
        except YandexAIStudioError as error:
            self.log.warning("%s. %s It may run to its end, and be billed.", claim.value, error)

    def _take_or_wait(self, context: Context, wakeup: Wakeup, operation: Operation | None) -> Any:
        while operation is None:
            with self._telling(context, wakeup.wait):
                operation = last_look(self.hook, wakeup, self.log)
            if operation is None and self.deferrable:
                self._defer(wakeup.wait)
            if operation is None:
                end = self.hook.wait_for_operation(wakeup.wait)
                wakeup, operation = Wakeup(wakeup.wait, end.outcome), end.operation
        return self._take(context, wakeup.wait, operation)

    def _take(self, context: Context, wait: Wait, operation: Operation, *, counted: bool = False) -> Any:
        """
        Take the answer.

        :param counted: It was there when somebody cleared the task, which then most likely has taken it before.
        """
        with self._telling(context, wait):
            generation = answer_of(operation, replace(OWNER, timeout=_AFTER_TIMEOUT[self.on_timeout]))
        return self._deliver(context, generation, wait.operation_id, since=wait.submitted_at, counted=counted)

    @contextmanager
    def _telling(self, context: Context, wait: Wait) -> Iterator[None]:
        """Strike out what came to nothing, when that is told; and end the attempt as its author and Airflow would."""
        try:
            yield
        except (OperationCancelled, OperationExpired, OperationFailed):
            self._strike_out(context, wait.operation_id)
            raise
        except (OperationTimeout, RateLimited, ServiceUnavailable) as error:  # the last two: at the deadline
            limit = limit_of(self, context["ti"].start_date)
            if limit is not None and wait.deadline is not None and wait.deadline >= limit:
                raise out_of_time(wait, error) from error
            if isinstance(error, OperationTimeout) and self.on_timeout == "fail":
                raise final(error) from error
            raise

    def _deliver(
        self,
        context: Context,
        generation: Generation,
        operation_id: str | None,
        *,
        since: float,
        counted: bool = False,
    ) -> Any:
        tags = None if counted else self._tags()
        deliver(context["ti"], generation, operation_id, self.log, tags=tags, beside=self.beside(generation))
        try:
            value = self.value_of(generation)
        except InvalidOutput as error:
            context["ti"].xcom_push("text", generation.text)
            self._strike_out(context, operation_id)  # else another attempt would take the same answer
            raise invalid(generation, operation_id, error) from error
        if tags is not None:
            tell_success(since, self.hook.clock(), tags)
        return value

    def _tags(self) -> Tags:
        """Return what tells the metrics of this task apart. The connection is not looked up for it."""
        settings = vars(self.hook).get("settings")
        return tags_of(self.conn_id, self.model or (settings.model if settings else None))

    def _strike_out(self, context: Context, operation_id: str | None) -> None:
        """Spare the next attempt a look at what came to nothing: it may not get through, and cost the attempt."""
        if operation_id is None:
            return
        try:
            Journal(context.get("task_state_store")).strike_out(operation_id)
        except Exception as error:
            self.log.warning(
                "Operation %s came to nothing, and could not be struck out (%s): another attempt looks at it first.",
                operation_id,
                error,
            )

    def _defer(self, wait: Wait) -> NoReturn:
        from airflow_provider.yandex_ai_studio.triggers.operation import YandexAIStudioOperationTrigger

        end_from_trigger = not self.needs_worker() and ends_in_triggerer(self, self.end_from_trigger, self.log)
        self.defer(
            trigger=YandexAIStudioOperationTrigger(
                operation_id=wait.operation_id,
                conn_id=self.conn_id,
                submitted_at=wait.submitted_at,
                deadline=wait.deadline,
                end_from_trigger=end_from_trigger,
                cancel_on_kill=self.cancel_on_kill,
                api=wait.api,
                model=self._tags().get("model"),
            ),
            method_name="execute_complete",
            timeout=deferral_timeout(wait, self.hook.clock()),
        )


_AFTER_TIMEOUT: dict[OnTimeout, str] = {
    "wait": OWNER.timeout,
    "resubmit": "Retry the task to cancel the operation, as far as the service does that, and submit the request anew.",
    "fail": "Clear the task to wait as long again, for the same operation; or raise `timeout`.",
}
