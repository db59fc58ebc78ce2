"""Long-running operations: each is a timeline of phases, and time alone moves it from one to the next."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import Enum
from typing import Any

from airflow_provider.yandex_ai_studio.emulator.state.clock import Now
from airflow_provider.yandex_ai_studio.emulator.state.ids import Ids
from airflow_provider.yandex_ai_studio.emulator.wire.errors import Code

#: How long the service keeps a result, counted from the submission.
RETENTION_SECONDS = 3 * 24 * 3600.0

_ID_PREFIX = "d7q"
_PROMPT_HEAD = 200

#: The members of a request that hold what the model reads.
_TEXTS = frozenset({"messages", "input", "instructions"})


class State(Enum):
    """What an operation counts as in the statistics."""

    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"
    EXPIRED = "expired"


@dataclass(frozen=True)
class Phase:
    """Say what an operation shows during a stretch of its life."""

    state: State
    done: bool = True
    response: dict[str, Any] | None = None
    error: dict[str, Any] | None = None


@dataclass(frozen=True)
class Ending:
    """Say how an operation ends.

    :param early: whether its error shows before it is done.
    :param partial: whether its answer says only in which members it differs from the planned one.
    """

    phase: Phase
    early: bool = False
    partial: bool = False

    def instead_of(self, planned: Phase) -> Ending:
        """Return this ending in full, now that the one that it replaces is known."""
        if not self.partial:
            return self
        response = {**(planned.response or {}), **(self.phase.response or {})}
        return Ending(replace(self.phase, response=response), self.early)

    @property
    def until_then(self) -> Phase:
        """Return the phase that leads to this ending."""
        return replace(RUNNING, error=self.phase.error) if self.early else RUNNING


RUNNING = Phase(State.RUNNING, done=False)
EXPIRED = Phase(State.EXPIRED)
CANCELLED = Phase(
    State.CANCELLED,
    error={"code": int(Code.CANCELLED), "message": "Operation was cancelled", "details": []},
)
#: Done, and yet neither an answer nor an error: against the contract, but clients have to survive it.
NOTHING = Ending(Phase(State.FAILED))


def success(response: dict[str, Any]) -> Ending:
    """Return the ending with an answer."""
    return Ending(Phase(State.SUCCEEDED, response=response))


def partial_success(response: dict[str, Any]) -> Ending:
    """Return the ending with another answer than the usual one: of its members, with these."""
    return Ending(Phase(State.SUCCEEDED, response=response), partial=True)


def failure(code: int, message: str, details: Iterable[dict[str, Any]] = (), early: bool = False) -> Ending:
    """Return the ending with an error.

    :param details: what it carries besides, each the JSON form of a ``google.protobuf.Any``.
    """
    error = {"code": code, "message": message, "details": list(details)}
    return Ending(Phase(State.FAILED, error=error), early)


@dataclass
class Operation:
    """Hold an operation and its timeline: pairs of a time and the phase that begins then, in order.

    :param options: what it was asked besides its prompt.
    """

    id: str
    created_by: str
    prompt_sha256: str
    prompt_head: str
    timeline: list[tuple[float, Phase]] = field(repr=False)
    options: Mapping[str, Any] = field(default_factory=dict)

    @classmethod
    def begun(
        cls,
        id: str,
        created_by: str,
        prompt: str,
        *timeline: tuple[float, Phase],
        asked: Mapping[str, Any] | None = None,
    ) -> Operation:
        """Return an operation that was asked this, with the life that lies before it."""
        digest = hashlib.sha256(prompt.encode()).hexdigest()
        options = {name: value for name, value in (asked or {}).items() if name not in _TEXTS}
        return cls(id, created_by, digest, prompt[:_PROMPT_HEAD], list(timeline), options)

    @property
    def created_at(self) -> float:
        """Return the time of the submission."""
        return self.timeline[0][0]

    @property
    def ended_at(self) -> float | None:
        """Return when the operation is done, or is planned to be."""
        return next((at for at, phase in self.timeline if phase.done), None)

    def at(self, now: float) -> tuple[float, Phase]:
        """Return the phase at this time, and when it began."""
        return next(((at, phase) for at, phase in reversed(self.timeline) if at <= now), self.timeline[0])

    def redirect(self, now: float, ending: Ending) -> None:
        """Give the operation another ending: now, or at the planned time when its error shows early."""
        planned = self.ended_at if ending.early else None
        *_, (_, last), expiry = self.timeline
        ending = ending.instead_of(last)
        self.timeline = [
            *((at, phase) for at, phase in self.timeline[:-1] if at <= now and not phase.done),
            (now, ending.until_then),
            (max(now, planned or now), ending.phase),
            expiry,
        ]


class Operations:
    """Keep all operations of one emulator.

    :param now: the emulator's clock.
    :param ids: where ids are drawn from.
    :param duration: how many seconds the n-th operation takes.
    """

    def __init__(self, now: Now, ids: Ids, duration: Callable[[int], float]) -> None:
        self._now = now
        self._ids = ids
        self._duration = duration
        self._by_id: dict[str, Operation] = {}

    def __len__(self) -> int:
        """Return how many operations were ever created."""
        return len(self._by_id)

    def __iter__(self) -> Iterator[tuple[Operation, Phase]]:
        """Iterate over all operations in the order of their creation, each with its phase now."""
        now = self._now()
        return ((operation, operation.at(now)[1]) for operation in self._by_id.values())

    def create(self, created_by: str, prompt: str, ending: Ending, asked: Mapping[str, Any] | None = None) -> Operation:
        """Start an operation on its way to this ending.

        :param asked: the members of the request.
        """
        now = self._now()
        operation = Operation.begun(
            self._ids.resource(_ID_PREFIX),
            created_by,
            prompt,
            (now, ending.until_then),
            (now + self._duration(len(self)), ending.phase),
            (now + RETENTION_SECONDS, EXPIRED),
            asked=asked,
        )
        self._by_id[operation.id] = operation
        return operation

    def find(self, operation_id: str) -> Operation | None:
        """Return an operation, unless it is unknown or has expired."""
        operation = self._by_id.get(operation_id)
        if operation is None or operation.at(self._now())[1].state is State.EXPIRED:
            return None
        return operation

    def cancel(self, operation: Operation) -> None:
        """End an operation without an answer; one that is done stays as it is."""
        now = self._now()
        if not operation.at(now)[1].done:
            operation.redirect(now, Ending(CANCELLED))

    def redirect(self, operation: Operation, ending: Ending) -> None:
        """Give an operation another ending."""
        operation.redirect(self._now(), ending)

    def count_by_state(self) -> dict[str, int]:
        """Return how many operations are in each state."""
        return count_by_state(self)


def count_by_state(operations: Iterable[tuple[Operation, Phase]]) -> dict[str, int]:
    """Return how many of these operations are in each state."""
    counted = Counter(phase.state for _, phase in operations)
    return {state.value: counted[state] for state in State}
