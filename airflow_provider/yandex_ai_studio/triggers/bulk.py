"""The trigger of a bulk run: waits for many operations in the triggerer, until there is something to do on a worker."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal, NamedTuple

from airflow import __version__
from airflow.triggers.base import BaseTrigger, TriggerEvent

from airflow_provider.yandex_ai_studio.bulk.wakeup import Wakeup
from airflow_provider.yandex_ai_studio.durability.resume import least_deferral
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.waiting.decision import End, Outcome, Wait

TELL_SECONDS = 60.0
"""How often the log is told of troubles at most: many waits have the same."""


class Ended(NamedTuple):
    """A wait that is over, with the chunk that it belongs to; or one that this process could not go on with."""

    chunk: str
    operation_id: str
    outcome: Outcome | Literal["unseen"]


class YandexAIStudioBulkTrigger(BaseTrigger):
    """
    Wait until all operations of a chunk have ended, or until it is time to go on in any case.

    All fields have defaults and unknown ones are ignored, so that a trigger that another release has stored can still
    be rebuilt.

    :param chunks: By chunk: the operations, each with its id and when it was submitted.
    :param conn_id: The Airflow connection to ask with.
    :param wake_at: When to end in any case, in seconds since the epoch; None: with the operations only.
    :param timeout: Seconds that an operation may take; one that takes longer counts as ended.
    """

    resume_after = least_deferral(__version__)
    """Seconds that a task stays deferred at least: the scheduler must see first that the worker is gone."""

    fields = ("chunks", "conn_id", "wake_at", "timeout")

    def __init__(
        self,
        chunks: Mapping[str, Sequence[Sequence[Any]]] | None = None,
        conn_id: str = YandexAIStudioHook.default_conn_name,
        wake_at: float | None = None,
        timeout: float | None = None,
        **unknown: Any,
    ) -> None:
        super().__init__()  # type: ignore[no-untyped-call] # Airflow leaves it untyped
        self.chunks = chunks or {}
        self.conn_id = conn_id
        self.wake_at = wake_at
        self.timeout = timeout
        self._told_at = float("-inf")
        if unknown:
            self.log.warning("Ignoring fields of another release: %s", ", ".join(sorted(unknown)))

    def serialize(self) -> tuple[str, dict[str, Any]]:
        """Return what this trigger is rebuilt from."""
        cls = type(self)
        return f"{cls.__module__}.{cls.__qualname__}", {name: getattr(self, name) for name in self.fields}

    async def run(self) -> AsyncIterator[TriggerEvent]:
        """Wait, and yield one event."""
        started = time.monotonic()
        waits = [
            asyncio.create_task(self._ended(number, str(operation_id), float(submitted_at)))
            for number, operations in self.chunks.items()
            for operation_id, submitted_at in operations
        ]
        try:
            wakeup = await self._until_there_is_something_to_do(waits)
        finally:
            for wait in waits:
                wait.cancel()
            await asyncio.gather(*waits, return_exceptions=True)
        self.log.info("%s, after %.1f s here", wakeup.reason, time.monotonic() - started)
        if self.task_instance is not None:  # dag.test() has none, and no scheduler
            await asyncio.sleep(max(0.0, started + self.resume_after - time.monotonic()))
        yield TriggerEvent(wakeup.event())  # type: ignore[no-untyped-call] # Airflow leaves it untyped

    async def _until_there_is_something_to_do(self, waits: Sequence[asyncio.Task[Ended]]) -> Wakeup:
        left = Counter({number: len(operations) for number, operations in self.chunks.items()})
        pending: set[asyncio.Task[Ended]] = set(waits)
        expired: list[str] = []
        while pending:
            seconds = None if self.wake_at is None else self.wake_at - time.time()
            if seconds is not None and seconds <= 0:
                break
            done, pending = await asyncio.wait(pending, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            ended = [wait.result() for wait in done]
            expired += [each.operation_id for each in ended if each.outcome == "expired"]
            if any(each.outcome == "refused" for each in ended):
                return Wakeup("The service refuses to answer", tuple(expired), refused=True)
            if any(each.outcome == "unseen" for each in ended):
                return Wakeup("Operations can't be asked about here", tuple(expired))
            left.subtract(each.chunk for each in ended)
            if complete := sorted({int(each.chunk) for each in ended if left[each.chunk] == 0}):
                words = ", ".join(map(str, complete))
                return Wakeup(f"All operations of chunk {words} have ended", tuple(expired), chunks=tuple(complete))
        if self.wake_at is not None:
            await asyncio.sleep(max(0.0, self.wake_at - time.time()))
        return Wakeup("It is time to go on", tuple(expired), chunks=())

    async def _ended(self, number: str, operation_id: str, submitted_at: float) -> Ended:
        """Wait for one operation, together with all others of this process."""
        from airflow_provider.yandex_ai_studio.waiting import (
            poller,
        )  # a worker builds triggers, and needs no aiohttp for it

        deadline = None if self.timeout is None else submitted_at + self.timeout
        connect = YandexAIStudioHook(self.conn_id).get_async_conn
        outcome: Outcome | Literal["unseen"] = "unseen"
        try:
            async for news in poller.watch(self.conn_id, Wait(operation_id, submitted_at, deadline), connect):
                if isinstance(news, End):
                    outcome = news.outcome
                elif isinstance(news, poller.Trouble):
                    self._tell(f"{news.error} The wait goes on.")
        except Exception as error:
            self._tell(f"Operations can't be asked about: {error}")
        return Ended(number, operation_id, outcome)

    def _tell(self, trouble: str) -> None:
        now = time.monotonic()
        if now - self._told_at >= TELL_SECONDS:
            self._told_at = now
            self.log.warning("%s", trouble)
