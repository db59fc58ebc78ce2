"""
Submit once, whatever this task has been through.

The journal says what an earlier attempt did; here it is acted upon. Each line that can fail leaves either a record from
which the next attempt knows more, or a log line that says what was paid for.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider.yandex_ai_studio.api.models import Api, Operation
from airflow_provider.yandex_ai_studio.api.words import within
from airflow_provider.yandex_ai_studio.durability.journal import (
    Fate,
    Journal,
    Record,
    Step,
    fate_of,
    first_step,
    request_fingerprint,
)
from airflow_provider.yandex_ai_studio.durability.policy import Policy
from airflow_provider.yandex_ai_studio.exceptions import (
    ConfigurationError,
    RequestError,
    ServiceUnavailable,
    SubmissionUnknown,
)
from airflow_provider.yandex_ai_studio.telemetry import Metric, tags_of, tell

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_provider.yandex_ai_studio.api.call import Call
    from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook

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
    :param deadline: When to stop waiting for it, likewise.
    :param operation: What was last seen of it, if anything.
    :param cleared: Somebody cleared the task since it was submitted.
    """

    operation_id: str
    submitted_at: float
    deadline: float
    operation: Operation | None = None
    cleared: bool = False


class Submission:
    """
    Submits a call unless an earlier attempt of the task did.

    :param call: What to submit.
    :param api: The API that it belongs to.
    :param question: What the service is asked, free of charge, before it gets a request again that it may have taken.
    :param before: Called before anything is submitted, but not for a known operation; it may raise.
    :param model: The model that it asks.
    :param asked_model: How the task itself names that model; None where it is the connection's default.
    :param max_tries: How many tries Airflow allows the task.
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
        policy: Policy,
        model: str,
        asked_model: str | None,
        max_tries: int,
        log: Logger,
    ) -> None:
        self._call = call
        self._api: Api = api
        self._fingerprint = request_fingerprint(call.body, asked_model)
        self._hook = hook
        self._journal = journal
        self._question = question
        self._before = before
        self._policy = policy
        self._model = model
        self._max_tries = max_tries
        self._log = log
        self.lost = 0
        """How many submissions of this attempt were sent, and may have been taken without an answer."""

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
        cleared = record is not None and record.cleared(self._max_tries)
        step = first_step(record, self._fingerprint, cleared=cleared, on_clear=self._policy.on_clear)
        if record is not None:
            self._log.info("Found an earlier submission of this task: %s (%s)", record.operation_id, step.value)
        fate, seen = None, None
        if record is not None and step is Step.LOOK:
            fate, seen = self._look(record, cleared)
            if fate not in (Fate.SUBMIT_ANEW, Fate.REPLACE):
                return self._found(record, fate, seen, cleared)
        self._before()
        kept = record if fate is Fate.SUBMIT_ANEW and seen is None else None  # a later look may find it all the same
        if record is not None and (step in (Step.REPLACE, Step.START_OVER) or fate is Fate.REPLACE):
            kept = self._give_up(record)
        pauses = iter(PAUSES)
        if record is not None and step is Step.SETTLE_UNKNOWN:
            pauses = iter((0.0, *PAUSES))
            cause = f"an earlier attempt began it at {_utc(record.submitted_at)} and was cut off"
            self._settle_unknown(record, cause, pauses, cleared=cleared)
        return self._submit(pauses, kept)

    def _look(self, record: Record, cleared: bool) -> tuple[Fate, Operation | None]:
        now = self._hook.clock()
        seen: Operation | RequestError
        try:
            seen = self._hook.get_operation(str(record.operation_id), record.api, repeat=False)
        except RequestError as error:
            seen = error
        fate = fate_of(
            seen,
            api=record.api,
            age=now - record.submitted_at,
            late=now >= record.deadline(self._policy.timeout),
            cleared=cleared,
            on_timeout=self._policy.on_timeout,
            gone=record.gone,
        )
        self._log.info("Operation %s: %s", record.operation_id, fate.value)
        return fate, seen if isinstance(seen, Operation) else None

    def _found(self, record: Record, fate: Fate, seen: Operation | None, cleared: bool) -> Submitted:
        """Go on with a known operation; and write down what another attempt must know of this one."""
        if record.model not in (None, self._model):
            self._log.info(
                "It was asked of %s. By the connection, that is %s now, for what is submitted from now on.",
                record.model,
                self._model,
            )
        known = replace(record, max_tries=self._max_tries, gone=False)
        if fate is Fate.WAIT_AGAIN:
            known = replace(known, waited_from=self._hook.clock())
        if known != record:
            self._write_down(known)
        self._tell("found")
        deadline = known.deadline(self._policy.timeout)
        return Submitted(str(known.operation_id), known.submitted_at, deadline, seen, cleared)

    def _give_up(self, record: Record) -> Record | None:
        """Cancel an operation that another one takes the place of; return it where it has its answer all the same."""
        operation_id = str(record.operation_id)
        with suppress(RequestError):  # then the cancellation says why
            if self._hook.get_operation(operation_id, record.api, repeat=False).done:
                self._log.info("Operation %s is done: nothing to cancel. Its answer is not used.", operation_id)
                return record
        try:
            self._hook.cancel_operation(operation_id, record.api)
            self._log.info("Asked the service to cancel operation %s", operation_id)
        except RequestError as error:
            self._log.warning("%s It may run to its end, and be billed.", error)
        return None

    def _submit(self, pauses: Iterator[float], kept: Record | None) -> Submitted:
        """
        Submit.

        :param kept: An operation with an answer that this submission replaces. Where it is refused, that one stays.
        """
        client = self._hook.get_conn()  # what is wrong with it is no unknown submission
        while True:
            intent = Record(
                self._fingerprint, self._hook.clock(), api=self._api, model=self._model, max_tries=self._max_tries
            )
            self._journal.write(intent)
            self._log.info("Submitting; the operation id follows. A log that ends here leaves the submission unknown.")
            try:
                operation = client.send(self._call)
            except ConfigurationError:
                self._strike_out(intent, kept)
                raise
            except RequestError as error:
                if not error.arrived:
                    self._strike_out(intent, kept)
                    raise
                self.lost += 1
                if self.lost == SUBMISSIONS:
                    raise
                self._settle_unknown(intent, str(error), pauses)
                continue
            # In this order: what a log names must be found by the next attempt.
            self._write_down(replace(intent, operation_id=operation.id))
            self._log.info("Submitted: operation %s", operation.id)
            self._tell("submitted")
            return Submitted(operation.id, intent.submitted_at, intent.deadline(self._policy.timeout), operation)

    def _tell(self, name: Literal["submitted", "found"]) -> None:
        tell(Metric(name), tags=tags_of(self._hook.conn_id, self._model))

    def _write_down(self, record: Record) -> None:
        """Write down an id that is known and paid for: a store out of order is no reason to lose it."""
        try:
            self._journal.write(record)
        except BaseException as error:  # a timeout of the attempt, too: what is paid for is named somewhere
            self._log.warning(
                "Operation %s could not be written down (%s). This attempt goes on with it; another one knows no more "
                "than before.",
                record.operation_id,
                within(error),
            )
            if not isinstance(error, Exception):
                raise

    def _strike_out(self, intent: Record, kept: Record | None) -> None:
        """Nothing was submitted. If that can't be written down, the next attempt suspects more than was."""
        try:
            self._journal.withdraw(intent, before=kept)
        except Exception as error:
            self._log.warning(
                "The intent to submit could not be struck out (%s); nothing was submitted.", within(error)
            )

    def _settle_unknown(self, intent: Record, cause: str, pauses: Iterator[float], *, cleared: bool = False) -> None:
        """
        Decide about a submission that nobody knows of; return where it is to be submitted anew.

        :param cleared: A person has decided: the task was cleared since.
        :raises SubmissionUnknown: A person is to decide.
        :raises ServiceUnavailable: The service answers nothing for now. The intent stays, for another attempt.
        """
        story = (
            f"The fate of a submission is unknown: {within(cause)}. The service may have taken it, under an id "
            "that nobody knows: up to one generation may have been billed without a use"
        )
        if self._policy.on_unknown_submission == "fail" and not cleared:
            self._journal.withdraw(intent)
            raise SubmissionUnknown(
                "Clear the task to submit again: on_unknown_submission='fail' leaves that to you.\n"
                f"{story}. It was not submitted again."
            )
        self._ask_first(story, pauses)
        reason = "the task was cleared" if cleared else "on_unknown_submission='resubmit'"
        self._log.warning("%s. Submitting anew, because %s.", story, reason)

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
            "Retry the task once the service works again. Another attempt will settle it.\n"
            f"{story}. It was not submitted again, for the service does not answer a free question either: {trouble}"
        ) from trouble


def _utc(seconds: float) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(seconds))
