"""The trigger: waits for an operation in the triggerer, without a worker."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from airflow import __version__
from airflow.sdk.execution_time.xcom import XCom
from airflow.triggers.base import BaseTrigger, TaskSuccessEvent, TriggerEvent

from airflow_provider.yandex_ai_studio.answers.delivery import tell_answer, tell_success
from airflow_provider.yandex_ai_studio.answers.outcome import story_of, xcoms_of
from airflow_provider.yandex_ai_studio.api.models import Api, Generation
from airflow_provider.yandex_ai_studio.api.words import within
from airflow_provider.yandex_ai_studio.durability.kill import (
    RESULT_KEPT,
    TaskInstanceKey,
    look_who_claims,
    settle,
)
from airflow_provider.yandex_ai_studio.durability.resume import DEFERRAL_MARGIN, Wakeup, least_deferral, stay
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.telemetry import tags_of
from airflow_provider.yandex_ai_studio.waiting.decision import End, Outcome, Wait

_settling: set[asyncio.Task[None]] = set()
"""What goes on after its kill: the loop alone would forget it."""


class YandexAIStudioOperationTrigger(BaseTrigger):
    """
    Wait until an operation ends, and say that it did. What the model wrote is not in the event.

    All fields but the id have defaults and unknown ones are ignored, so that a trigger that was stored by
    another release can still be rebuilt.

    :param operation_id: The operation.
    :param conn_id: The Airflow connection to ask with.
    :param submitted_at: When it was submitted, in seconds since the epoch. Default: now.
    :param deadline: When to stop waiting, in seconds since the epoch. A restart does not extend it.
    :param end_from_trigger: Finish a task whose operation has a final answer right here, without another
        start of a worker. Everything else always resumes on the worker.
    :param cancel_on_kill: Cancel the operation when the task is taken from the trigger for good.
    :param api: The API that the operation belongs to.
    :param model: The model that it asks, for the metrics.
    :param margin: Without a ``deadline``, how many seconds before Airflow's own timeout to stop.
    :param returns: How often the wait went back to a worker in vain.
    :param asked: What the task that resumes is to be told again of what it has submitted.
    """

    resume_after = least_deferral(__version__)
    """Seconds that a task stays deferred at least, if it is to resume on a worker."""

    fields = (
        "operation_id",
        "conn_id",
        "submitted_at",
        "deadline",
        "end_from_trigger",
        "cancel_on_kill",
        "api",
        "margin",
        "model",
        "returns",
        "asked",
    )

    def __init__(
        self,
        operation_id: str,
        conn_id: str = YandexAIStudioHook.default_conn_name,
        submitted_at: float | None = None,
        deadline: float | None = None,
        end_from_trigger: bool = False,
        cancel_on_kill: bool = False,
        api: Api = "completion",
        margin: float = DEFERRAL_MARGIN.total_seconds(),
        model: str | None = None,
        returns: int = 0,
        asked: str | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow leaves it untyped
        self.operation_id = operation_id
        self.conn_id = conn_id
        self.submitted_at = submitted_at
        self.deadline = deadline
        self.end_from_trigger = end_from_trigger
        self.cancel_on_kill = cancel_on_kill
        self.api = api
        self.margin = margin
        self.model = model
        self.returns = returns
        self.asked = asked
        self.timeout_after: datetime | None = None  # the triggerer sets it
        if unknown:
            self.log.warning("Ignoring fields of another release: %s", ", ".join(sorted(unknown)))

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what this trigger is rebuilt from."""
        cls = type(self)
        return f"{cls.__module__}.{cls.__qualname__}", {name: getattr(self, name) for name in self.fields}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield one event."""
        started, now = time.monotonic(), time.time()
        wait = Wait(self.operation_id, self.submitted_at or now, self._deadline(), api=self.api, returns=self.returns)
        until = "it ends" if wait.deadline is None else f"{_utc(wait.deadline)} at the latest"
        self.log.info("Waiting for operation %s until %s", self.operation_id, until)
        try:
            end = await self._end(self._with_a_stay(wait, now))
        except Exception as error:
            self.log.warning("Operation %s can't be asked about: %s", self.operation_id, error)
            await self._hold_back(started, stay(self.returns, self.resume_after))
            yield self._event(wait, "broken")  # that is no evidence of a refusal
            return
        self.log.info(
            "Operation %s: %s after %.1f s, %.1f s of them here",
            self.operation_id,
            end.outcome,
            max(0.0, time.time() - wait.submitted_at),
            time.monotonic() - started,
        )
        if end.outcome == "refused":
            self.log.warning("%s", end.error)
        answer = end.operation.generation if end.operation else None
        ti = self.task_instance  # dag.test() has none: there, every task resumes
        if self.end_from_trigger and ti is not None and answer is not None and answer.status == "final":
            self.log.info(story_of(answer, self.operation_id))
            try:
                await _push(ti, answer)
                tags = tags_of(self.conn_id, self.model)
                tell_answer(answer, self.operation_id, tags)
                tell_success(wait.submitted_at, time.time(), tags)
                yield TaskSuccessEvent()
                return
            except Exception as error:
                self.log.warning("The XComs can't be written here (%s); a worker will do it", within(error))
        await self._hold_back(started, stay(self.returns, self.resume_after))
        yield self._event(wait, end.outcome)

    async def on_kill(self) -> None:
        """Cancel the operation, if nobody will come for it."""
        if not self.cancel_on_kill or self.task_instance is None:
            return
        # Airflow cancels a trigger that is to be killed once more every second, on_kill included.
        settling = asyncio.create_task(self._settle(self.task_instance))
        _settling.add(settling)
        settling.add_done_callback(_settling.discard)
        await asyncio.shield(settling)

    async def _settle(self, ti: TaskInstanceKey) -> None:
        until = (self.submitted_at or time.time()) + RESULT_KEPT
        claim = await settle(partial(look_who_claims, ti, self.operation_id), until, self.log)
        if not claim.nobody:
            self.log.info("Operation %s goes on: %s", self.operation_id, claim.value)
            return
        try:
            asked = await YandexAIStudioHook(self.conn_id).cancel_if_running(self.operation_id, self.api)
            if asked:
                self.log.info("%s: asked the service to cancel operation %s", claim.value, self.operation_id)
            else:
                self.log.info("%s: operation %s has ended, nothing to cancel", claim.value, self.operation_id)
        except Exception as error:
            self.log.warning(
                "%s. Operation %s is not cancelled (%s). It may run to its end, and be billed.",
                claim.value,
                self.operation_id,
                within(error),
            )

    def _event(self, wait: Wait, outcome: Outcome) -> TriggerEvent:
        told = Wakeup(replace(wait, returns=wait.returns + 1), outcome).event()
        return TriggerEvent({**told, "asked": self.asked})  # type: ignore[no-untyped-call] # Airflow leaves it untyped

    def _with_a_stay(self, wait: Wait, now: float) -> Wait:
        """Let a wait go on for a while whose deadline is over by this clock, and was not by the worker's."""
        if wait.deadline is None or wait.deadline > now or not self.returns:
            return wait
        return replace(wait, deadline=now + stay(self.returns, self.resume_after))

    async def _hold_back(self, started: float, seconds: float) -> None:
        """Give the scheduler time to see that the worker is gone: else it may fail a task that resumes at once."""
        if self.task_instance is not None:  # dag.test() has none, and no scheduler
            await asyncio.sleep(max(0.0, started + seconds - time.monotonic()))

    def _deadline(self) -> float | None:
        """Return when to stop; where the task started here, it follows from the time that Airflow allows."""
        if self.deadline is not None or self.timeout_after is None:
            return self.deadline
        return float(self.timeout_after.timestamp() - self.margin)

    async def _end(self, wait: Wait) -> End:
        from airflow_provider.yandex_ai_studio.waiting import (
            poller,
        )  # a worker builds triggers, and needs no aiohttp for it

        connect = YandexAIStudioHook(self.conn_id).get_async_conn
        async for news in poller.watch(self.conn_id, wait, connect):
            match news:
                case poller.Trouble(error, times):
                    self.log.warning("%s Failed %s times in a row; the wait goes on.", error, times)
                case poller.Recovered(times):
                    self.log.info("The service answers again, after %s questions that failed.", times)
                case poller.StillRunning():
                    age = timedelta(seconds=max(0, int(time.time() - wait.submitted_at)))
                    self.log.info("Operation %s still runs, %s after its submission", self.operation_id, age)
                case End():
                    end = news
        return end


def _utc(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S UTC")


async def _push(ti: Any, answer: Generation) -> None:
    """
    Write the XComs as a worker would: through the supervisor, before the event ends the task.

    Each is a message on the one channel that all triggers share, and costs a pass of its other end. So the operation id
    is not among them: a worker that deferred has written it.
    """
    for key, value in {**xcoms_of(answer, None, ti.try_number), "return_value": answer.text}.items():
        await XCom.aset(
            key=key, value=value, dag_id=ti.dag_id, task_id=ti.task_id, run_id=ti.run_id, map_index=ti.map_index
        )
