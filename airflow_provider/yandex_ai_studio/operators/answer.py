"""How an operator takes the answer of an operation, or tells what came of it instead."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from airflow_provider.yandex_ai_studio.answers.delivery import deliver, tell_success
from airflow_provider.yandex_ai_studio.answers.outcome import Advice, answer_of, final, invalid
from airflow_provider.yandex_ai_studio.api.models import Message
from airflow_provider.yandex_ai_studio.api.words import within
from airflow_provider.yandex_ai_studio.durability.advice import owner_advice
from airflow_provider.yandex_ai_studio.durability.journal import Journal, fingerprint_of
from airflow_provider.yandex_ai_studio.durability.kill import is_last_attempt
from airflow_provider.yandex_ai_studio.durability.patient_store import PatientStore
from airflow_provider.yandex_ai_studio.durability.resume import limit_of, out_of_time
from airflow_provider.yandex_ai_studio.exceptions import (
    ConfigurationError,
    InvalidOutput,
    OperationCancelled,
    OperationExpired,
    OperationFailed,
    OperationTimeout,
    RateLimited,
    ServiceUnavailable,
)
from airflow_provider.yandex_ai_studio.operators.base import GenerationOperator
from airflow_provider.yandex_ai_studio.telemetry import Tags, tags_of
from airflow_provider.yandex_ai_studio.waiting.decision import Wait, is_past_retention

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider.yandex_ai_studio.api.models import Generation, Operation


class AnswerOperator(GenerationOperator):
    """
    Take the answer of an operation.

    The parameters are those of :class:`~airflow_provider.yandex_ai_studio.operators.base.GenerationOperator`.
    """

    _asked: str | None = None
    """What tells the conversation that was submitted from another; None without one."""

    def _take(self, context: Context, wait: Wait, operation: Operation, *, counted: bool = False) -> Any:
        """
        Take the answer.

        :param counted: It was there when somebody cleared the task, which then most likely has taken it before.
        """
        with self._telling(context, wait):
            generation = answer_of(operation, self._advice(context))
        return self._deliver(context, generation, wait.operation_id, since=wait.submitted_at, counted=counted)

    @contextmanager
    def _telling(self, context: Context, wait: Wait) -> Iterator[None]:
        """Strike out what came to nothing, when that is told; and end the attempt as its author and Airflow would."""
        try:
            yield
        except (OperationCancelled, OperationExpired, OperationFailed) as error:
            age = self.hook.clock() - wait.submitted_at
            doubtful = isinstance(error, OperationExpired) and not is_past_retention(wait.api, age)
            self._strike_out(context, wait.operation_id, doubtful=doubtful)
            raise
        except (OperationTimeout, RateLimited, ServiceUnavailable) as error:  # the last two: at the deadline
            limit = limit_of(self, context["ti"].start_date)
            if limit is not None and wait.deadline is not None and wait.deadline >= limit:
                last = is_last_attempt(context["ti"])
                advice = self._advice(context)
                raise out_of_time(wait, error, advice, last=last, cancels=self.cancel_on_kill) from error
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
        beside, advice = self._beside(generation), self._advice(context)
        deliver(context["ti"], generation, operation_id, self.log, tags=tags, beside=beside, advice=advice)
        try:
            value = self.value_of(generation)
        except InvalidOutput as error:
            context["ti"].xcom_push("text", generation.text)
            self._strike_out(context, operation_id)  # else another attempt would take the same answer
            raise invalid(generation, operation_id, error) from None
        if tags is not None:
            tell_success(since, self.hook.clock(), tags)
        return value

    def _beside(self, generation: Generation) -> dict[str, Any]:
        """Return the conversation with its answer; none where Airflow renders another one by now."""
        if self._mark() != self._asked:
            self.log.warning(
                "The XCom `messages` is left out: the task's `messages` or `prompt` are not those that were "
                "submitted, or nobody knows. The answer is taken."
            )
            return {}
        turns = self.conversation()
        answer = Message("assistant", generation.text or None, tool_calls=generation.tool_calls)
        return {} if turns is None else {"messages": [*turns, answer.as_dict()]}

    def _mark(self) -> str | None:
        try:
            turns = self.conversation()
        except ConfigurationError:  # a template that gave one before
            return ""
        return None if turns is None else fingerprint_of({"turns": turns})

    def _journal(self, context: Context) -> Journal:
        """Return the journal of this task, with patience for its store. A kill has no time for that."""
        store = context.get("task_state_store")
        return Journal(None if store is None else PatientStore(store, self.hook.sleep, self.log))

    def _advice(self, context: Context) -> Advice:
        return owner_advice(self.on_timeout, self.on_clear, lasting=context.get("task_state_store") is not None)

    def _tags(self) -> Tags:
        """Return what tells the metrics of this task apart. The connection is not looked up for it."""
        settings = vars(self.hook).get("settings")
        return tags_of(self.conn_id, self.model or (settings.model if settings else None))

    def _strike_out(self, context: Context, operation_id: str | None, *, doubtful: bool = False) -> None:
        """
        Spare the next attempt a look at what came to nothing: it may not get through, and cost the attempt.

        :param doubtful: It is to look once more: a gateway may have lost the way to what is there.
        """
        if operation_id is None:
            return
        journal = self._journal(context)
        try:
            journal.mark_gone(operation_id) if doubtful else journal.strike_out(operation_id)
        except Exception as error:
            self.log.warning(
                "Operation %s came to nothing, and could not be struck out (%s): another attempt looks at it first.",
                operation_id,
                within(error),
            )
