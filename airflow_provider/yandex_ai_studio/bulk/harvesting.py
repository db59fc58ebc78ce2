"""How answers are read: as operations end, those submitted first at the front, within the budget of reads."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from airflow_provider.yandex_ai_studio.api.models import Operation, Usage
from airflow_provider.yandex_ai_studio.bulk.chunks import Chunks, OpenChunk
from airflow_provider.yandex_ai_studio.bulk.pool import Pool
from airflow_provider.yandex_ai_studio.bulk.result import Result, gone, late, result_of
from airflow_provider.yandex_ai_studio.bulk.steady_clock import SteadyClock
from airflow_provider.yandex_ai_studio.bulk.wakeup import Wakeup
from airflow_provider.yandex_ai_studio.exceptions import (
    ConfigurationError,
    NotFound,
    RateLimited,
    RequestError,
    ServiceUnavailable,
)
from airflow_provider.yandex_ai_studio.waiting import schedule
from airflow_provider.yandex_ai_studio.waiting.decision import is_past_retention

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_provider.yandex_ai_studio.api.output import Output
    from airflow_provider.yandex_ai_studio.bulk.submitting import Limits
    from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook

PATIENCE = 15.0
"""Seconds without an answer after which a worker waits no more: it would have to read again what it has read."""

QUIET = (1.0, 2.0, 4.0)
"""Seconds until the next round, after one, two or more without an answer."""

LAST_FEW = 3
"""So many operations may be taken for gone on the word of a trigger alone: nothing else can be read any more."""

SHORTEST_PAUSE, LONGEST_PAUSE = 60.0, 1200.0
"""Seconds until a worker tries again that can't read what the triggerer could: a tenth of the operation's age."""


class Harvesting:
    """
    Reads the operations of a run that may have ended.

    :param form: The form that an answer must have.
    :param must_stop: Tells whether no row is to be asked again.
    :param wakeup: What the trigger has found out. One look of a worker that fails decides nothing.
    """

    def __init__(
        self,
        chunks: Chunks,
        *,
        hook: YandexAIStudioHook,
        form: Output,
        limits: Limits,
        pool: Pool,
        must_stop: Callable[[], bool],
        wakeup: Wakeup,
        log: Logger,
    ) -> None:
        self._chunks = chunks
        self._hook = hook
        self._form = form
        self._limits = limits
        self._pool = pool
        self._must_stop = must_stop
        self._wakeup = wakeup
        self._log = log
        self._time = SteadyClock(hook.clock)
        self._reads = schedule.RateBudget(hook.settings.polls_per_second)
        self._heard_at = self._time()
        self._heard = False
        self._silent = 0
        self._refused = wakeup.refused
        self._quiet_until = -math.inf
        self.pause: tuple[float, str] | None = None
        if wakeup.chunks is None or chunks.returned:
            return
        for number, opened in chunks.open.items():
            if number not in wakeup.chunks and not opened.chunk.waiting:
                # An operation runs on there, and to read the others each time takes a worker's time.
                opened.look_at = math.inf

    def next(self, now: float) -> float | None:
        """
        Read operations that may have ended, if it is time for it.

        :return: 0 after a round; the seconds until the next; None where none is to be read for now.
        """
        due = [opened for opened in self._chunks.open.values() if opened.look_at <= now and opened.unread]
        if not due:
            return None
        if (quiet := self._quiet_until - self._time()) > 0:
            return quiet
        delay, size = self._reads.next_round(self._time())
        if not size:
            return delay
        picked = [(opened, row) for opened in due for row in opened.unread[: 1 if opened.narrow else size]]
        self._read(picked[:size])
        return 0

    def _read(self, picked: Sequence[tuple[OpenChunk, int]]) -> None:
        self._reads.sent(self._time(), len(picked))
        seen = self._pool.ask(self._look, [opened.chunk.ids[row][0] for opened, row in picked])
        now = self._hook.clock()
        changed: dict[int, OpenChunk] = {}
        self._listen(seen)
        looked_at = [(opened, row, found) for (opened, row), found in zip(picked, seen, strict=True)]
        for opened, _, found in looked_at:
            if not isinstance(found, RateLimited):
                opened.narrow = False
        for opened, row, found in looked_at:
            self._reads.answered(self._time())
            operation_id, submitted_at = opened.chunk.ids[row]
            age = now - submitted_at
            match found:
                case Operation() if found.done or found.error:
                    if self._take(opened, row, result_of(found, self._form)):
                        changed[opened.chunk.number] = opened
                    continue
                case NotFound() if self._is_gone(operation_id, age):
                    if self._take(opened, row, gone(operation_id)):
                        changed[opened.chunk.number] = opened
                    continue
                case Exception() if self._is_final(found):
                    raise found
                case RateLimited():
                    self._reads.slow_down(self._time())
            if isinstance(found, Exception) and self._time() - self._heard_at <= PATIENCE:
                continue  # asked again on this worker: that is cheaper than to read again what it has read
            if age >= self._limits.timeout:
                result = late(operation_id, None if isinstance(found, Operation) else found)
                opened.chunk.conclude(row, result.status, result.error, Usage(), keep_operation=True)
                self._chunks.tell(opened.chunk, row, result)
                changed[opened.chunk.number] = opened
                continue
            if isinstance(found, Exception):
                self._put_off(opened, now, age)
            opened.narrow = True
            opened.look_at = now + schedule.next_delay(age, random=1.0)
        for opened in changed.values():
            self._chunks.write(opened.chunk)

    def _listen(self, seen: Sequence[Operation | Exception]) -> None:
        """Note whether a round had an answer; without one, the next comes later."""
        if any(isinstance(found, Operation) for found in seen):
            self._heard_at, self._heard, self._silent, self._refused = self._time(), True, 0, False
        elif not any(isinstance(found, RateLimited) for found in seen):
            self._quiet_until = self._time() + QUIET[min(self._silent, len(QUIET) - 1)]
            self._silent += 1

    def _is_gone(self, operation_id: str, age: float) -> bool:
        """
        Tell whether a 404 is the service's word: others are found, or it need not keep the result any longer.

        A gateway that has lost the way to all operations says the same of each, and they are paid for. Of the last few,
        there are no others to tell by.
        """
        told_apart = self._heard or self._chunks.running <= LAST_FEW
        return is_past_retention("completion", age) or (told_apart and operation_id in self._wakeup.expired)

    def _is_final(self, found: Exception) -> bool:
        """Tell whether an error ends the attempt: nobody has foreseen it, or the trigger met it again and again."""
        if not isinstance(found, RequestError | ConfigurationError):
            return True
        return self._refused and not isinstance(found, NotFound | RateLimited | ServiceUnavailable)

    def _put_off(self, opened: OpenChunk, now: float, age: float) -> None:
        """Wait without a worker, where the trigger would see at once that the operations have ended."""
        if self._wakeup.chunks and (self._chunks.returned or opened.chunk.number in self._wakeup.chunks):
            later = now + min(max(age / 10, SHORTEST_PAUSE), LONGEST_PAUSE)
            self.pause = (later, "Operations have ended, and this worker gets no answer about them")

    def _take(self, opened: OpenChunk, row: int, result: Result) -> bool:
        """Keep a result, or let its row be asked again. Tell whether the ledger has changed."""
        head = self._chunks.head
        head.longest_answer = max(head.longest_answer, result.used.completion_tokens)
        failures = opened.chunk.failures.get(row, 0)
        if not result.worth_repeating or failures >= self._limits.row_retries or self._must_stop():
            opened.answers[row] = result
            self._chunks.tell(opened.chunk, row, result)
            return False
        self._log.info(
            "Row %s: %s. It is asked again (%s of %s).",
            opened.chunk.number * self._chunks.head.chunk_size + row,
            (result.error or {}).get("type"),
            failures + 1,
            self._limits.row_retries,
        )
        opened.chunk.repeat(row, result.used)
        return True

    def _look(self, operation_id: str) -> Operation:
        return self._hook.get_operation(operation_id, repeat=False)
