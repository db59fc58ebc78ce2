"""
Submit once, whatever this task has been through.

The journal says what an earlier attempt did; here it is acted upon. Each line that can fail leaves either a record from
which the next attempt knows more, or a log line that says what was paid for.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider.yandex_ai_studio.api.models import Api, Operation
from airflow_provider.yandex_ai_studio.durability.journal import (
    Fate,
    Journal,
    Record,
    Step,
    fate_of,
    fingerprint_of,
    first_step,
)
from airflow_provider.yandex_ai_studio.exceptions import (
    ConfigurationError,
    RequestError,
    ServiceUnavailable,
    SubmissionUnknown,
)

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_provider.yandex_ai_studio.api.call import Call
    from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook

OnUnknownSubmission = Literal["resubmit", "fail"]

SUBMISSIONS = 3
"""How often one attempt submits at most, when answers get lost on the way."""

PAUSES = (2.0, 6.0, 18.0)
"""Seconds at most before each question whether the service works again. All of them together, and the attempt fails."""

QUESTION_TIMEOUT = 10.0
"""Seconds that such a question may take."""


@dataclass(frozen=True)
class Submitted:
    """
    A submitted operation.

    :param submitted_at: When it was first submitted, in seconds since the epoch.
    :param operation: What was last seen of it, if anything.
    """

    operation_id: str
    submitted_at: float
    operation: Operation | None = None


class Submission:
    """
    Submits a call unless an earlier attempt of the task did.

    :param call: What to submit.
    :param api: The API that it belongs to.
    :param question: What the service is asked, free of charge, before it gets a request again that it may have taken.
    :param before: Called before anything is submitted, but not for a known operation; it may raise.
    :param on_unknown: What to do where a submission may have been taken under an id that nobody knows:
        ``resubmit`` (and perhaps pay twice) or ``fail`` (and let a person decide).
    """

    def __init__(
        self,
        call: Call[Operation],
        *,
        api: Api,
        hook: YandexAIStudioHook,
        journal: Journal,
        question: Call[Any],
        before: Callable[[], None],
        on_unknown: OnUnknownSubmission,
        log: Logger,
    ) -> None:
        if on_unknown not in ("resubmit", "fail"):
            raise ConfigurationError(
                f"`on_unknown_submission` must be 'resubmit' or 'fail', not {on_unknown!r}. "
                "Nothing was sent to the service."
            )
        self._call = call
        self._api: Api = api
        self._fingerprint = fingerprint_of(call.body)
        self._hook = hook
        self._journal = journal
        self._question = question
        self._before = before
        self._on_unknown = on_unknown
        self._log = log

    def run(self) -> Submitted:
        """
        Return the operation of this request: a known one, or a new one.

        :raises RequestError: The service refused the submission.
        :raises SubmissionUnknown: The fate of a submission is unknown, and ``fail`` was asked for.
        """
        if not self._journal.lasting:
            self._log.warning(
                "This Airflow has no task_state_store (it came with 3.3): another attempt of this task will submit "
                "and pay again."
            )
        record = self._journal.read()
        step = first_step(record, self._fingerprint)
        if record is not None and step is not Step.SUBMIT:
            self._log.info("Found an earlier submission of this task: %s (%s)", record.operation_id, step.value)
        if record is not None and step is Step.LOOK and (submitted := self._look(record)):
            return submitted
        self._before()
        if record is not None and step is Step.REPLACE:
            self._cancel(record)
        pauses = iter(PAUSES)
        if record is not None and step is Step.SETTLE_UNKNOWN:
            pauses = iter((0.0, *PAUSES))
            self._settle_unknown(f"an earlier attempt began it at {_utc(record.submitted_at)} and was cut off", pauses)
        return self._submit(pauses)

    def _look(self, record: Record) -> Submitted | None:
        seen: Operation | RequestError
        try:
            seen = self._hook.get_operation(str(record.operation_id), record.api, repeat=False)
        except RequestError as error:
            seen = error
        fate = fate_of(seen, api=record.api, age=self._hook.clock() - record.submitted_at)
        self._log.info("Operation %s: %s", record.operation_id, fate.value)
        if fate is Fate.SUBMIT_ANEW:
            return None
        operation = seen if isinstance(seen, Operation) else None
        return Submitted(str(record.operation_id), record.submitted_at, operation)

    def _cancel(self, record: Record) -> None:
        try:
            self._hook.cancel_operation(str(record.operation_id), record.api)
            self._log.info("Asked the service to cancel operation %s", record.operation_id)
        except RequestError as error:
            self._log.warning("%s It may run to its end, and be billed.", error)

    def _submit(self, pauses: Iterator[float]) -> Submitted:
        client = self._hook.get_conn()  # what is wrong with it is no unknown submission
        for number in range(1, SUBMISSIONS + 1):
            submitted_at = self._hook.clock()
            self._journal.write(Record(self._fingerprint, submitted_at, api=self._api))
            self._log.info("Submitting; the operation id follows. A log that ends here leaves the submission unknown.")
            try:
                operation = client.send(self._call)
            except ConfigurationError:
                self._strike_out()
                raise
            except RequestError as error:
                if not error.arrived:
                    self._strike_out()
                    raise
                if number == SUBMISSIONS:
                    raise
                self._settle_unknown(str(error), pauses)
                continue
            # In this order: what a log names must be found by the next attempt.
            self._write_down(Record(self._fingerprint, submitted_at, operation.id, self._api))
            self._log.info("Submitted: operation %s", operation.id)
            return Submitted(operation.id, submitted_at, operation)
        raise AssertionError("the loop above returns or raises")

    def _write_down(self, record: Record) -> None:
        """Write down an id that is known and paid for: a store out of order is no reason to lose it."""
        try:
            self._journal.write(record)
        except Exception as error:
            self._log.warning(
                "Operation %s could not be written down (%s). This attempt goes on with it; another one would count "
                "it as unknown.",
                record.operation_id,
                error,
            )

    def _strike_out(self) -> None:
        """Nothing was submitted. If that can't be written down, the next attempt suspects more than was."""
        try:
            self._journal.forget()
        except Exception as error:
            self._log.warning("The intent to submit could not be struck out (%s); nothing was submitted.", error)

    def _settle_unknown(self, cause: str, pauses: Iterator[float]) -> None:
        """
        Decide about a submission that nobody knows of; return where it is to be submitted anew.

        :raises SubmissionUnknown: A person is to decide.
        :raises ServiceUnavailable: The service answers nothing for now. The intent stays, for another attempt.
        """
        story = (
            f"The fate of a submission is unknown: {cause.rstrip('.')}. The service may have taken it, under an id "
            "that nobody knows: up to one generation may have been billed without a use"
        )
        if self._on_unknown == "fail":
            self._journal.forget()
            raise SubmissionUnknown(
                f"{story}. It was not submitted again, because on_unknown_submission='fail'; clear the task to do so."
            )
        self._ask_first(story, pauses)
        self._log.warning("%s. Submitting anew, because on_unknown_submission='resubmit'.", story)

    def _ask_first(self, story: str, pauses: Iterator[float]) -> None:
        """Let no service that is out of order take, and bill, the same request again and again."""
        trouble: ServiceUnavailable | None = None
        for pause in pauses:
            self._hook.sleep(pause * random.uniform(0.5, 1.0))  # those who failed together don't come back together
            try:
                self._hook.get_conn().send(replace(self._question, timeout=QUESTION_TIMEOUT), repeat=False)
                return
            except ServiceUnavailable as error:
                self._log.warning("%s Nothing is submitted until it answers such a question, which is free.", error)
                trouble = error
            except RequestError:
                return  # a refusal is an answer
        raise ServiceUnavailable(
            f"{story}. It was not submitted again, for the service does not answer a free question either: {trouble} "
            "Another attempt will settle it."
        ) from trouble


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
