"""
One stretch of a bulk run on a worker: submit at the quota's pace, read what has ended, write what is complete.

It ends when nothing is left to do on a worker for now. Nothing here waits for a model or for the quota of an hour.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from airflow_provider.yandex_ai_studio.bulk.chunks import Chunks
from airflow_provider.yandex_ai_studio.bulk.harvesting import Harvesting
from airflow_provider.yandex_ai_studio.bulk.pool import Pool
from airflow_provider.yandex_ai_studio.bulk.progress import Progress
from airflow_provider.yandex_ai_studio.bulk.submitting import Limits, Submitting
from airflow_provider.yandex_ai_studio.bulk.wakeup import Wakeup
from airflow_provider.yandex_ai_studio.telemetry import tags_of, tell

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
    from airflow_provider.yandex_ai_studio.bulk.money import Excess
    from airflow_provider.yandex_ai_studio.exceptions import BadRequest, ServiceUnavailable
    from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook

WATCHED = 2000
"""Operations that a trigger is told to watch at most: its fields are a row of Airflow's database."""

PROGRESS_SECONDS = 30.0
"""How often the log is told how far the run is."""


@dataclass(frozen=True)
class Pause:
    """
    Nothing is left to do on a worker for now.

    :param began: When this attempt began, in seconds since the epoch, and how many rows were done then.
    :param waits: By chunk: the operations to wait for, and when each was submitted.
    :param wake_at: When to go on in any case, in seconds since the epoch; None where only the operations matter.
    :param why: What the log says.
    :param seen: What the next stretch is told of answers that it has to read again.
    """

    began: tuple[float, int]
    waits: dict[int, list[tuple[str, float]]]
    wake_at: float | None
    why: str
    seen: Mapping[str, Any]

    def ends_at(self, now: float, timeout: float) -> float:
        """
        Return when there is surely nothing to wait for any more.

        It is no sooner than an operation may take: the trigger ends by itself, and a triggerer may be away for long.

        :param timeout: Seconds that an operation may take.
        """
        return max(now + timeout, self.wake_at or 0.0)


class Run:
    """
    Works on the chunks of a run.

    :param base: What all requests have in common; its last message gives way to the prompt of each.
    :param began: As in :class:`Pause`.
    :param wakeup: What the trigger has found out, if there was one.
    :param check: Called between groups, when all is written down: raises where the attempt must end.
    """

    def __init__(
        self,
        chunks: Chunks,
        *,
        hook: YandexAIStudioHook,
        base: CompletionRequest,
        limits: Limits,
        began: tuple[float, int],
        wakeup: Wakeup,
        check: Callable[[], None],
        log: Logger,
    ) -> None:
        hook.get_conn()  # made once, before threads share it
        self._chunks = chunks
        self._clock = hook.clock
        self._price = limits.bounds.price
        self._tags = tags_of(hook.conn_id, base.model_uri)
        self._began = began
        self._sleep = hook.sleep
        self._check = check
        self._log = log
        self._told_at = float("-inf")
        self._pool = Pool()
        self._submitting = Submitting(chunks, hook=hook, base=base, limits=limits, pool=self._pool, log=log)
        self._harvesting = Harvesting(
            chunks,
            hook=hook,
            form=base.output,
            limits=limits,
            pool=self._pool,
            must_stop=self._submitting.must_stop,
            wakeup=wakeup,
            log=log,
        )

    @property
    def stopped(self) -> Excess | ServiceUnavailable | Literal["max_failed_rows"] | None:
        """What has ended the run before its rows were, if anything has: a bound, or answers that got lost."""
        return self._submitting.stopped

    @property
    def refused_alike(self) -> BadRequest | None:
        """What all rows were refused with, where it was the same for each."""
        return self._submitting.refused_alike

    def go(self) -> Pause | None:
        """
        Work until nothing is left to do on a worker.

        :return: What to wait for; None when each row has its answer or its verdict, or the run is stopped.
        :raises RequestError: The service refuses this account, or every row alike.
        """
        try:
            while True:
                self._check()
                self._tell()
                next_in = [self._submitting.next(), self._harvesting.next(self._clock())]
                for opened in [each for each in self._chunks.open.values() if each.complete]:
                    self._chunks.close(opened)
                if delays := [delay for delay in next_in if delay is not None]:
                    self._sleep(min(delays))
                else:
                    return self._pause()
        finally:
            self._pool.close()
            self._tell(force=True)

    def _pause(self) -> Pause | None:
        """Say what to wait for, once there is nothing to submit and nothing to read for now."""
        if self._harvesting.pause and self._chunks.running:  # the trigger would see at once that they have ended
            pauses = [pause for pause in (self._harvesting.pause, self._submitting.pause) if pause]
            return Pause(self._began, {}, *min(pauses), self._chunks.seen())
        waits: dict[int, list[tuple[str, float]]] = {}
        watched = 0
        together = self._chunks.returned  # one stretch must read all: it wakes when all have ended, or to submit
        for number, opened in self._chunks.open.items():
            unread = opened.unread
            worth = self._submitting.pause is None or not (opened.chunk.waiting or together)
            if unread and worth and watched < WATCHED:
                known = [opened.chunk.ids[row] for row in unread[: WATCHED - watched]]
                waits.setdefault(0 if together else number, []).extend(known)
                watched += len(known)
        if self._submitting.pause:
            return Pause(self._began, waits, *self._submitting.pause, self._chunks.seen())
        running = self._chunks.running
        if not running:
            return None
        why = f"{running} operations are under way" if running > 1 else "1 operation is under way"
        return Pause(self._began, waits, None, why, self._chunks.seen())

    def _tell(self, *, force: bool = False) -> None:
        now = self._clock()
        if not force and now - self._told_at < PROGRESS_SECONDS:
            return
        self._told_at = now
        began, restored = self._began
        progress = Progress(
            rows=self._chunks.head.rows,
            done=self._chunks.done_rows,
            again=self._chunks.to_read_again,
            running=self._chunks.running - self._chunks.to_read_again,
            failed=self._chunks.failed_rows,
            spent=self._chunks.spent(),
            restored=restored,
            seconds=now - began,
        )
        self._log.info(progress.line(self._price))
        tell(*self._chunks.untold(), tags=self._tags)
