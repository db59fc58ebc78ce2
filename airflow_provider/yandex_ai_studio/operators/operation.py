"""How an operator has a text generated: pay once, and wait without a worker."""

from __future__ import annotations

import math
import random
import sys
from dataclasses import replace
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk.exceptions import AirflowTaskTimeout, TaskDeferralError, TaskDeferralTimeout

from airflow_provider.yandex_ai_studio.api.words import within
from airflow_provider.yandex_ai_studio.durability.journal import Journal
from airflow_provider.yandex_ai_studio.durability.kill import TaskInstanceKey, look_who_claims_on_worker
from airflow_provider.yandex_ai_studio.durability.resume import (
    DEFERRAL_MARGIN,
    LostDeferral,
    Wakeup,
    deferral_timeout,
    ends_in_triggerer,
    find_connection,
    last_look,
    limit_of,
    not_waited_for,
    turn_delay,
)
from airflow_provider.yandex_ai_studio.durability.submission import Submission
from airflow_provider.yandex_ai_studio.exceptions import RateLimited, YandexAIStudioError
from airflow_provider.yandex_ai_studio.operators.answer import AnswerOperator
from airflow_provider.yandex_ai_studio.telemetry import Metric, describe, request_attributes, tell, telling_failures
from airflow_provider.yandex_ai_studio.waiting.decision import Wait

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider.yandex_ai_studio.api.models import Operation


class OperationOperator(AnswerOperator):
    """
    Submit an operation, and wait for its answer.

    The parameters are those of :class:`~airflow_provider.yandex_ai_studio.operators.base.GenerationOperator`.
    """

    _kill_target: tuple[TaskInstanceKey, str, Journal] | None = None
    _refused: tuple[int, float] | None = None

    def execute(self, context: Context) -> Any:
        """Submit, unless an earlier attempt did; then defer, wait, or return the id."""
        with telling_failures(self._tags):
            return self.begin(context)

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral. Where Airflow has ended that itself, the answer may be there all the same."""
        with telling_failures(self._tags):
            try:
                return super().resume_execution(next_method, next_kwargs, context)
            except (TaskDeferralError, TaskDeferralTimeout) as lost:
                return self._after(context, lost)

    def begin(self, context: Context) -> Any:
        """Submit, as :meth:`execute` says."""
        policy = self._policy()
        self._check_end()
        request, self._asked = self.request(), self._mark()
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
        submission = Submission(
            self.submission_call(request),
            api=self.api,
            hook=self.hook,
            journal=self._journal(context),
            question=self.free_question(request),
            before=partial(self.before_submission, request),
            policy=policy,
            model=request.model_uri,
            asked_model=self.model or None,
            max_tries=context["ti"].max_tries,
            log=self.log,
        )
        try:
            submitted = submission.run()
        except RateLimited as error:
            if not submission.lost:  # each attempt may lose so many, and each turn would begin to count anew
                self._wait_for_turn(context, policy.timeout, error)
            raise
        self._kill_target = (context["ti"], submitted.operation_id, Journal(context.get("task_state_store")))
        self._push_id(context, submitted.operation_id)
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

    def _push_id(self, context: Context, operation_id: str) -> None:
        """Write the id into XCom. Whoever can't do that has paid all the same, and has an answer to wait for."""
        try:
            context["ti"].xcom_push("operation_id", operation_id)
        except Exception as error:
            self.log.warning(
                "The XCom `operation_id` can't be written (%s). The task goes on with operation %s.",
                within(error),
                operation_id,
            )

    def submit_later(
        self, context: Context, event: dict[str, Any], *, refused: int = 0, since: float | None = None
    ) -> Any:
        """
        Submit, when it may be this task's turn. The function of a decorated task is called again for it.

        ``dag.test()`` forgets how long it has waited.
        """
        self._end_at_limit(context)  # what is submitted now would be given up at once
        find_connection(self.hook, self.log)
        self._refused = (refused, self.hook.clock() if since is None else since)
        return self.begin(context)

    def execute_complete(self, context: Context, event: dict[str, Any], *, refused_since: float = 0.0) -> Any:
        """Take the answer, once the trigger has said that the wait is over."""
        self._asked = event.get("asked") if isinstance(event, dict) else None
        wakeup = Wakeup.of(event, refused_since, self._advice(context))
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

    def _wait_for_turn(self, context: Context, timeout: float, error: RateLimited) -> None:
        """
        Defer until it may be this task's turn to submit: that others use the quota up is no failure of this task.

        Return where the task waits on its worker anyway, or has waited for as long as it may wait for an answer.

        :raises AirflowTaskTimeout: The ``execution_timeout`` has passed meanwhile.
        """
        if not self.deferrable:
            return
        now = self.hook.clock()
        refused, since = self._refused or (0, now)
        self._end_at_limit(context, error)
        left = min(since + timeout, limit_of(self, context["ti"].start_date) or math.inf) - now
        if left <= 0:
            return
        pause = min(left, error.retry_after + turn_delay(refused, random=random.random()))
        self.log.warning("%s The task tries again in %.0f s, and needs no worker until then.", error, pause)
        from airflow_provider.yandex_ai_studio.triggers.bulk import YandexAIStudioBulkTrigger

        self.defer(
            trigger=YandexAIStudioBulkTrigger(conn_id=self.conn_id, wake_at=now + pause),  # it wakes at a time as well
            method_name="submit_later",
            kwargs={"refused": refused + 1, "since": since},
            timeout=timedelta(seconds=pause) + DEFERRAL_MARGIN,
        )

    def _end_at_limit(self, context: Context, cause: RateLimited | None = None) -> None:
        """
        See whether there is time left to submit.

        :raises AirflowTaskTimeout: The ``execution_timeout`` has passed, which Airflow counts anew after a deferral.
        """
        limit = limit_of(self, context["ti"].start_date)
        if limit is not None and self.hook.clock() >= limit:
            raise AirflowTaskTimeout(
                "The `execution_timeout` of this attempt has passed, and nothing was submitted: the quota was spent."
            ) from cause

    def _after(self, context: Context, lost: LostDeferral) -> Any:
        """
        Look once more at the operation of a deferral that Airflow has ended.

        :raises TaskDeferralError: The trigger can't run, and there is no answer yet; or nothing was submitted.
        """
        wait = self._waited_for(context)
        if wait is None and isinstance(lost, TaskDeferralTimeout):
            return self.begin(context)  # it waited for its turn, or the journal knows more than its XCom
        if wait is None:
            raise not_waited_for(lost, None, self._advice(context)) from lost
        self._kill_target = (context["ti"], wait.operation_id, Journal(context.get("task_state_store")))
        if isinstance(lost, TaskDeferralTimeout):
            return self._take_or_wait(context, Wakeup(wait, "timeout"), None)
        with self._telling(context, wait):
            seen = last_look(self.hook, Wakeup(wait, "broken"), self.log)
        if isinstance(seen, Wait):
            raise not_waited_for(lost, wait, self._advice(context)) from lost
        return self._take(context, wait, seen)

    def _waited_for(self, context: Context) -> Wait | None:
        """Return what this attempt waits for: its XCom says whether that is what the journal tells of."""
        ti, now = context["ti"], self.hook.clock()
        operation_id = ti.xcom_pull(key="operation_id", map_indexes=ti.map_index)
        record = self._journal(context).read()
        if not operation_id:
            return None
        if record is None or record.operation_id != operation_id:
            return Wait(operation_id, now, now, api=self.api)
        limit, deadline = limit_of(self, ti.start_date), record.deadline(self._policy().timeout)
        return Wait(operation_id, record.submitted_at, min(deadline, limit or deadline), api=record.api)

    def _take_or_wait(self, context: Context, wakeup: Wakeup, operation: Operation | None) -> Any:
        while operation is None:
            with self._telling(context, wakeup.wait):
                seen = last_look(self.hook, wakeup, self.log)
            if not isinstance(seen, Wait):
                operation = seen
            elif self.deferrable:
                self._defer(seen)
            else:
                end = self.hook.wait_for_operation(seen)
                wakeup, operation = Wakeup(seen, end.outcome), end.operation
        return self._take(context, wakeup.wait, operation)

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
                returns=wait.returns,
                asked=self._asked,
            ),
            method_name="execute_complete",
            kwargs={"refused_since": wait.refused_since},
            timeout=deferral_timeout(wait, self.hook.clock()),
        )
