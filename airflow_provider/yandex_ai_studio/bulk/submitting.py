"""How rows are submitted: in groups at the quota's pace, each written down before and after, within the bounds."""

from __future__ import annotations

import math
import random
from collections.abc import Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from airflow.sdk.exceptions import AirflowTaskTimeout

from airflow_provider.yandex_ai_studio.api import completion
from airflow_provider.yandex_ai_studio.api.models import Message, Operation, Usage
from airflow_provider.yandex_ai_studio.api.words import within
from airflow_provider.yandex_ai_studio.bulk.budget import Budget
from airflow_provider.yandex_ai_studio.bulk.chunks import Chunks, OpenChunk
from airflow_provider.yandex_ai_studio.bulk.hourly_quota import NAME, PATIENCE, HourlyQuota
from airflow_provider.yandex_ai_studio.bulk.money import Bounds, Excess
from airflow_provider.yandex_ai_studio.bulk.pool import Outcome, Pool
from airflow_provider.yandex_ai_studio.bulk.reception import AWAY, Reception, Trouble, may_have_arrived, trouble_of
from airflow_provider.yandex_ai_studio.bulk.result import Result, failed, unknown
from airflow_provider.yandex_ai_studio.bulk.steady_clock import SteadyClock
from airflow_provider.yandex_ai_studio.durability.submission import QUESTION_TIMEOUT, SUBMISSIONS
from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    BadRequest,
    ConfigurationError,
    RateLimited,
    RequestError,
    ServiceUnavailable,
)
from airflow_provider.yandex_ai_studio.waiting.schedule import RateBudget

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
    from airflow_provider.yandex_ai_studio.bulk.ledger import Chunk
    from airflow_provider.yandex_ai_studio.bulk.plan import Request
    from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook

LAST_TRY_AFTER = 60.0
"""Seconds that a row waits for its third try: what breaks answers for a moment must not take all three."""

PROBE_SECONDS = 30.0
"""How soon a pace that met a 429 asks for more: a quota of few a second is soon taken up, and a refusal is free."""

KEPT_SHARE = 0.7
"""The share of the pace that a 429 leaves: half of a task's share of ten a second is next to nothing."""

REFUSED_ALIKE = 50
"""Rows refused one after the other, with none ever taken: it is not the rows. Refusals are free of charge."""


@dataclass(frozen=True)
class Limits:
    """
    How far a run may go.

    :param row_retries: How often a row is asked again after its generation failed.
    :param timeout: Seconds that an operation may take.
    :param max_failed_rows: How many rows may fail before no more are submitted; None for all.
    :param bounds: What it may cost.
    """

    row_retries: int
    timeout: float
    max_failed_rows: int | None
    bounds: Bounds


class Submitting:
    """
    Submits the rows of a run that wait.

    :param base: What all requests have in common; its last message gives way to the prompt of each.
    """

    def __init__(
        self,
        chunks: Chunks,
        *,
        hook: YandexAIStudioHook,
        base: CompletionRequest,
        limits: Limits,
        pool: Pool,
        log: Logger,
    ) -> None:
        self._chunks = chunks
        self._head = chunks.head
        self._hook = hook
        self._base = base
        self._instructions = base.messages[:-1]
        self._budget = Budget(chunks, base, limits.bounds)
        self._limits = limits
        self._pool = pool
        self._log = log
        self._time = SteadyClock(hook.clock)
        self._pace = RateBudget(hook.settings.submits_per_second, PROBE_SECONDS, KEPT_SHARE)
        self._hour = HourlyQuota(self._head.hour)
        self._admitted_at = hook.clock()
        self._reception = Reception.of(self._head.reception)
        self._asks_first = self._reception.trouble != "" and self._reception.lost > 0
        self._not_before = self._time()
        self._lost_at: dict[tuple[int, int], float] = {}
        self._refused_alike = 0
        self._refusals: dict[str, BadRequest] = {}
        self._taken = chunks.tally().submissions > 0
        self.pause: tuple[float, str] | None = None
        self.stopped: Excess | ServiceUnavailable | Literal["max_failed_rows"] | None = None

    def next(self) -> float | None:
        """
        Submit a group, if it is time for one.

        :return: 0 after a group; the seconds until the next; None where there is nothing to submit for now.
        """
        if self.must_stop():
            self.pause = None  # no row waits for a quota any more
            return None
        if self.pause:
            return None
        now = self._time()
        delay, size = self._pace.next_round(now)
        if self._reception.probes:
            size = min(size, 1)
        found = self._next_rows(max(size, 1))
        if not found:
            return None
        begins_at = max(self._not_before, self._last_try_at(*found))
        if not size or now < begins_at:
            return max(delay, begins_at - now)
        if self._asks_first and not self._reception.risks_a_row and not self._is_heard():
            return 0
        self._submit(*found)
        return 0

    def _next_rows(self, size: int) -> tuple[OpenChunk, list[int]] | None:
        last: OpenChunk | None = None
        for opened in self._chunks.in_turn():
            waiting = opened.chunk.waiting
            if trusted := [row for row in waiting if not opened.chunk.is_doubtful(row)]:
                return self._within(opened, trusted[:size])
            if waiting:
                last = last or opened
            elif opened.complete:
                self._chunks.close(opened)  # nothing but twins of other chunks
        return self._within(last, last.chunk.waiting[:size]) if last else None

    def _last_try_at(self, opened: OpenChunk, rows: Sequence[int]) -> float:
        """Return when these rows may be tried for the last time, if any of them would be."""
        chunk = opened.chunk
        last = [row for row in rows if chunk.losses.get(row) == SUBMISSIONS - 1]
        return (
            max((self._lost_at.get((chunk.number, row), -math.inf) for row in last), default=-math.inf) + LAST_TRY_AFTER
        )

    def _within(self, opened: OpenChunk, rows: list[int]) -> tuple[OpenChunk, list[int]] | None:
        """Return what of it the bounds allow; where nothing is and nothing runs, the run is stopped."""
        found = self._budget.affordable(opened, rows)
        if isinstance(found, Excess):
            self.stopped = found
            return None
        return (opened, found) if found else None

    def _submit(self, opened: OpenChunk, rows: list[int]) -> None:
        chunk = opened.chunk
        requests = self._chunks.requests(chunk)
        self._intend(chunk, rows)
        self._pace.sent(self._time(), len(rows))
        group = self._pool.start(self._send, [requests[row] for row in rows])
        try:
            outcomes = group.outcomes()
        except BaseException:  # `execution_timeout` comes so: what was taken is written down before it goes on its way
            self._record(chunk, rows, group.cut_short())
            raise
        self._record(chunk, rows, outcomes)
        self._account(outcomes)

    def _intend(self, chunk: Chunk, rows: Sequence[int]) -> None:
        """Write down what is about to be submitted."""
        chunk.intend(rows)
        try:
            self._chunks.write(chunk)
        except AirflowTaskTimeout:  # a store may take its time. Nothing was sent, and nobody is to suspect it
            for row in rows:
                chunk.refused(row)
            self._chunks.write(chunk)
            raise

    def _send(self, request: Request) -> Operation:
        asked = replace(self._base, messages=(*self._instructions, Message("user", request.prompt)))
        call = completion.submit_completion(self._hook.settings.endpoints, asked)
        return self._hook.get_conn().send(call, repeat=False)

    def _record(self, chunk: Chunk, rows: Sequence[int], outcomes: Sequence[Outcome]) -> None:
        """Note what came of a group, and write it down."""
        for row, outcome in zip(rows, outcomes, strict=True):
            self._note(chunk, row, outcome)
        self._write_down(chunk, rows)

    def _note(self, chunk: Chunk, row: int, outcome: Outcome) -> None:
        """Note in the chunk what came of a submission."""
        self._pace.answered(self._time())
        match outcome:
            case Operation():
                chunk.submitted(row, outcome.id, self._hook.clock())
            case BadRequest():
                self._conclude(chunk, row, failed("refused", str(outcome)))
            case RequestError(arrived=False) | ConfigurationError() | CancelledError():
                chunk.refused(row)
            case _:
                self._lose(chunk, row, outcome)

    def _lose(self, chunk: Chunk, row: int, cause: Exception) -> None:
        times = chunk.lose(row)
        self._lost_at[chunk.number, row] = self._time()
        if times < SUBMISSIONS:
            self._log.warning("%s 1 row of chunk %s may have been billed without a use.", cause, chunk.number)
        else:
            self._conclude(chunk, row, unknown(times, cause))

    def _conclude(self, chunk: Chunk, row: int, result: Result) -> None:
        chunk.conclude(row, result.status, result.error, Usage())
        self._chunks.tell(chunk, row, result)

    def _write_down(self, chunk: Chunk, rows: Sequence[int]) -> None:
        """Write down what came of a group; say in the log at least what was paid for."""
        try:
            self._chunks.write(chunk)
        except Exception:
            first = chunk.number * self._head.chunk_size
            known = [f"{chunk.ids[row][0]} (row {first + row})" for row in rows if row in chunk.ids]
            self._log.error(
                "These operations could not be written down, and no other attempt will find them: %s",
                ", ".join(known) or "none",
            )
            raise
        except BaseException:  # `execution_timeout`, in the middle of it
            self._chunks.write(chunk)
            raise

    # -- what follows from it

    def _account(self, outcomes: Sequence[Outcome]) -> None:
        now = self._hook.clock()
        taken = sum(isinstance(one, Operation) for one in outcomes)
        errors = [one for one in outcomes if isinstance(one, Exception) and not isinstance(one, BadRequest)]
        lost = sum(map(may_have_arrived, errors))
        if taken:
            self._admitted_at, self._taken = now, True
            self._hour.submitted(now, taken)
            self._head.hour = self._hour.value(now)
        if taken or lost:
            self._asks_first = lost > 0
        for error in errors:
            if isinstance(error, AuthenticationError | ConfigurationError):
                self._hook.pause(0.0, after=error)  # keys rotate: the connection is looked up anew
                break
        trouble, cause = trouble_of(errors)
        self._received(taken, lost, trouble, now)
        asked = max((error.retry_after for error in errors if isinstance(error, RequestError)), default=0.0)
        self._not_before = max(self._not_before, self._time() + asked)
        self._throttled([error for error in errors if isinstance(error, RateLimited)], now)
        self._count_refused_rows([one for one in outcomes if isinstance(one, BadRequest)])
        if cause:
            self._bear(cause, now)

    def _received(self, taken: int, lost: int, trouble: Trouble, now: float) -> None:
        self._reception = self._reception.after(taken, lost, trouble, now)
        self._head.reception = self._reception.value()
        if lost or self._reception.probes:
            self._not_before = self._time() + self._reception.pause(random.random())

    def _throttled(self, errors: Sequence[RateLimited], now: float) -> None:
        if not errors:
            return
        self._pace.slow_down(self._time())
        named = any(NAME in str(error) for error in errors)
        if named or now - self._admitted_at > PATIENCE:
            spent = "The quota of submissions an hour is spent"
            why = spent if named else f"The service takes no more for now. {within(str(errors[0]).splitlines()[-1])}"
            self.pause = (self._reception.quota_opens_at(self._hour.opens_at(now), now), why)

    def _count_refused_rows(self, errors: Sequence[BadRequest]) -> None:
        for error in errors:
            self._refused_alike += 1
            self._refusals[str(error).replace(error.request_id or "", "")] = error
        if errors and not self._taken and self._refused_alike >= REFUSED_ALIKE:
            raise errors[-1]

    def _bear(self, error: Exception, now: float, *, asked: bool = False) -> None:
        """
        Wait for better times, as long as that is of use.

        :param asked: It is a free question that failed; nothing was submitted.
        :raises Exception: It is not: what is wrong.
        """
        if not isinstance(error, RequestError | ConfigurationError):
            raise error  # nobody has foreseen it
        how = self._reception
        if how.loses_too_much:
            self._give_up_lost(error)
            return
        if how.is_over(now, self._limits.timeout, known=self._taken):
            raise error
        if not how.probes:
            return
        self._pace.slow_down(self._time())
        if how.keeps_no_worker:
            silent = "A question that is free gets no answer, and nothing is submitted before one does"
            self.pause = (now + AWAY, silent if asked else "The service takes no submissions")
            self._log.warning(
                "%s\nThe task tries again every %.0f minutes, until %s; then this attempt fails.",
                error,
                AWAY / 60,
                datetime.fromtimestamp(how.gives_up_at(self._limits.timeout), UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
            )
        elif how.tries == 1 and not asked and not may_have_arrived(error):
            self._log.warning("%s It is tried again with one row.", error)

    def _give_up_lost(self, cause: Exception) -> None:
        """Conclude the rows whose answers got lost: the others, and what runs, must not suffer for them."""
        for opened in self._chunks.open.values():
            chunk = opened.chunk
            for row in chunk.waiting:
                if row in chunk.losses:
                    self._conclude(chunk, row, unknown(chunk.losses[row], cause))
            self._chunks.write(chunk)

    def _is_heard(self) -> bool:
        """Ask something free first: no service that is out of order is to bill the same rows again and again."""
        asked = replace(self._base, messages=(Message("user", "ping"),))
        question = completion.count_tokens(self._hook.settings.endpoints, asked)
        try:
            self._hook.get_conn().send(replace(question, timeout=QUESTION_TIMEOUT), repeat=False)
        except ServiceUnavailable as error:
            now = self._hook.clock()
            self._received(0, 0, "unavailable", now)
            self._bear(error, now, asked=True)
            return False
        except (RequestError, ConfigurationError):
            pass  # a refusal is an answer
        self._asks_first = False
        return True

    @property
    def refused_alike(self) -> BadRequest | None:
        """What all rows were refused with, where none was ever taken and each met the same."""
        return next(iter(self._refusals.values())) if len(self._refusals) == 1 and not self._taken else None

    def must_stop(self) -> bool:
        """Tell whether no more is to be submitted in this attempt."""
        most = self._limits.max_failed_rows
        if most is not None and self._chunks.failed_rows > most:
            self.stopped = "max_failed_rows"
        elif self._reception.loses_too_much and self._chunks.wait:
            self.stopped = self._reception.too_many_lost()
        return self.stopped is not None or self._reception.loses_too_much
