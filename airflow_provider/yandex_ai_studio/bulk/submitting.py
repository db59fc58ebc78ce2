"""How rows are submitted: in groups at the quota's pace, each written down before and after, within the bounds."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from airflow_provider.yandex_ai_studio.api import completion
from airflow_provider.yandex_ai_studio.api.models import Message, Operation, Usage
from airflow_provider.yandex_ai_studio.bulk.chunks import Chunks, OpenChunk
from airflow_provider.yandex_ai_studio.bulk.hourly_quota import NAME, PATIENCE, HourlyQuota
from airflow_provider.yandex_ai_studio.bulk.money import Bounds, Excess, plus, times
from airflow_provider.yandex_ai_studio.bulk.pool import Pool
from airflow_provider.yandex_ai_studio.bulk.result import failed
from airflow_provider.yandex_ai_studio.exceptions import BadRequest, RateLimited, RequestError, ServiceUnavailable
from airflow_provider.yandex_ai_studio.waiting.schedule import RateBudget

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
    from airflow_provider.yandex_ai_studio.bulk.plan import Request
    from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook

PROBE_SECONDS = 30.0
"""How soon a pace that met a 429 asks for more: a quota of few a second is soon taken up, and a refusal is free."""

KEPT_SHARE = 0.7
"""The share of the pace that a 429 leaves: half of a task's share of ten a second is next to nothing."""

TROUBLES = 5
"""Rounds in a row without an answer of the service, after which the worker does not wait for it any more."""

TROUBLE_PAUSE = 120.0
"""Seconds until a service that gives no answer is tried again."""

LASTING = 300.0
"""Seconds after which a fault ends the attempt that no waiting mends: no TLS on the port, a refused certificate."""

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
        self._limits = limits
        self._pool = pool
        self._log = log
        self._pace = RateBudget(hook.settings.submits_per_second, PROBE_SECONDS, KEPT_SHARE)
        self._hour = HourlyQuota(self._head.hour)
        self._admitted_at = hook.clock()
        self._troubles = 0
        self._refused_alike = 0
        self._refusals: dict[str, BadRequest] = {}
        self._taken = chunks.tally().submissions > 0
        self.pause: tuple[float, str] | None = None
        self.stopped: Excess | Literal["max_failed_rows"] | None = None

    def next(self, now: float) -> float | None:
        """
        Submit a group, if it is time for one.

        :return: 0 after a group; the seconds until the next; None where there is nothing to submit for now.
        """
        if self.pause or self.must_stop():
            return None
        delay, size = self._pace.next_round(now)
        found = self._next_rows(max(size, 1))
        if not found:
            return None
        if not size:
            return delay
        self._submit(*found)
        return 0

    def _next_rows(self, size: int) -> tuple[OpenChunk, list[int]] | None:
        for opened in self._chunks.in_turn():
            if waiting := opened.chunk.waiting[:size]:
                rows = self._affordable(opened, waiting)
                return (opened, rows) if rows else None
            if opened.complete and not opened.chunk.asked:
                self._chunks.close(opened)  # nothing but twins of other chunks
        return None

    def _submit(self, opened: OpenChunk, rows: list[int]) -> None:
        chunk = opened.chunk
        requests = self._chunks.requests(chunk)
        chunk.intend(rows)
        self._chunks.write(chunk)
        self._pace.sent(self._hook.clock(), len(rows))
        outcomes = self._pool.ask(self._send, [requests[row] for row in rows])
        now = self._hook.clock()
        fatal: RequestError | None = None
        admitted = 0
        for row, outcome in zip(rows, outcomes, strict=True):
            self._pace.answered(now)
            match outcome:
                case Operation():
                    chunk.submitted(row, outcome.id, now)
                    admitted += 1
                case RateLimited():
                    chunk.refused(row)
                    self._throttled(outcome, now)
                case BadRequest():
                    result = failed("refused", str(outcome))
                    chunk.conclude(row, result.status, result.error, Usage())
                    self._chunks.tell(chunk, row, result)
                    self._refused_alike += 1
                    self._refusals[str(outcome).replace(outcome.request_id or "", "")] = outcome
                    if not self._taken and self._refused_alike >= REFUSED_ALIKE:
                        fatal = outcome
                case ServiceUnavailable() if outcome.arrived:
                    chunk.lose(row)
                    self._log.warning(
                        "%s 1 row of chunk %s may have been billed without a use; it is submitted again.",
                        outcome,
                        chunk.number,
                    )
                case ServiceUnavailable():
                    chunk.refused(row)
                case _:
                    chunk.refused(row)
                    fatal = outcome
        self._chunks.write(chunk)
        self._account(admitted, now, [one for one in outcomes if isinstance(one, ServiceUnavailable)])
        if fatal:
            raise fatal

    def _send(self, request: Request) -> Operation:
        asked = replace(self._base, messages=(*self._instructions, Message("user", request.prompt)))
        call = completion.submit_completion(self._hook.settings.endpoints, asked)
        return self._hook.get_conn().send(call, repeat=False)

    def _account(self, admitted: int, now: float, troubles: Sequence[RequestError]) -> None:
        if admitted:
            self._admitted_at, self._troubles, self._taken = now, 0, True
            self._hour.submitted(now, admitted)
            self._head.hour, self._head.stalled_since = self._hour.value(now), None
        elif troubles:
            self._troubles += 1
            self._pace.slow_down(now)
            self._head.stalled_since = self._head.stalled_since or now
            lasting = all(trouble.lasting for trouble in troubles)
            gives_up_at = self._head.stalled_since + min(self._limits.timeout, LASTING if lasting else math.inf)
            if now > gives_up_at:
                raise troubles[0]
            if self._troubles >= TROUBLES:
                self.pause = (now + TROUBLE_PAUSE, "The service takes no submissions")
                self._log.warning(
                    "%s\nThe task tries again every %.0f minutes, until %s; then this attempt fails.",
                    troubles[0],
                    TROUBLE_PAUSE / 60,
                    datetime.fromtimestamp(gives_up_at, UTC).strftime("%Y-%m-%d %H:%M:%S UTC"),
                )

    def _throttled(self, error: RateLimited, now: float) -> None:
        self._pace.slow_down(now)
        if NAME in str(error) or now - self._admitted_at > PATIENCE:
            self.pause = (self._hour.opens_at(now), "The quota of submissions an hour is spent")

    def _affordable(self, opened: OpenChunk, rows: list[int]) -> list[int]:
        """Return the rows that surely stay within the bounds, whatever the operations under way take."""
        bounds = self._limits.bounds
        if not bounds.any:
            return rows
        tally = self._chunks.tally()
        running = self._chunks.running
        expected = bounds.most(self._head.longest_prompt, self._chunks.longest_answer)
        lost = times(expected, tally.lost)
        most = plus(plus(tally.spent, lost), times(expected, running))
        within: list[int] = []
        for row in rows:
            characters = len(self._chunks.requests(opened.chunk)[row].prompt) + self._characters_before
            next_one = bounds.most(characters, self._chunks.longest_answer)
            most = plus(most, next_one)
            if not bounds.allow(most):
                if not within and not running:
                    self.stopped = bounds.excess(tally.spent, lost, next_one)
                break
            within.append(row)
        return within

    @property
    def _characters_before(self) -> int:
        return sum(len(message.text or "") for message in self._instructions)

    @property
    def refused_alike(self) -> BadRequest | None:
        """What all rows were refused with, where none was ever taken and each met the same."""
        return next(iter(self._refusals.values())) if len(self._refusals) == 1 and not self._taken else None

    def must_stop(self) -> bool:
        """Tell whether no more is to be submitted in this attempt."""
        most = self._limits.max_failed_rows
        if most is not None and self._chunks.failed_rows > most:
            self.stopped = "max_failed_rows"
        return self.stopped is not None
