"""Faults that wait for a request: what can go wrong, where, and how often."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from airflow_provider.yandex_ai_studio.emulator import names
from airflow_provider.yandex_ai_studio.emulator.state.clock import Now
from airflow_provider.yandex_ai_studio.emulator.state.operations import NOTHING, Ending, failure, partial_success

#: The kinds of faults, each with the fields that belong to it; those marked ``True`` must be given.
KINDS: dict[str, dict[str, bool]] = {
    "status": {"status": True, "body": False, "headers": False},
    "echo": {"status": False},
    "delay": {"seconds": True},
    "hang": {"seconds": True},
    "trickle": {"seconds": True},
    "drop": {},
    "lost_answer": {},
    "garbage": {"body": False},
    "gzip": {"size": False},
    "cut": {"size": False},
    "stale": {"seconds": True},
    "foreign": {},
    "patch": {"body": True},
    "milliseconds": {},
    "operation_error": {"code": False, "message": False, "details": False},
    "operation_empty": {},
    "operation_answer": {"body": True},
    "early_error": {"code": False, "message": False, "details": False},
    "embedded_error": {"message": False},
}
_BELONGS = {
    "operation_error": names.OPERATION_ENDINGS,
    "operation_empty": names.OPERATION_ENDINGS,
    "operation_answer": names.OPERATION_ENDINGS,
    "early_error": names.NATIVE_ENDINGS,
    "milliseconds": names.RESPONSES,
    "embedded_error": names.EMBEDDED_ERRORS,
    "stale": names.READS,
}
_COMMON = ("route", "kind", "times", "after", "probability", "operation_id", "match")
_INTERNAL = 13
#: The kinds whose body says only what is different.
_MERGED = ("patch", "operation_answer")


@dataclass
class Fault:
    """Hold a fault that waits.

    :param route: the name of the route that it waits at.
    :param kind: what goes wrong, one of :data:`KINDS`.
    :param times: how many requests it still hits; ``None`` is every one, until the faults are cleared.
    :param after: how many requests it still lets through.
    :param probability: how likely it hits a request that it is meant for; the same ones in every run.
    :param operation_id: hit only requests for this operation or response.
    :param match: hit only requests whose body contains this.
    :param hit_at: when it hit, in seconds since the epoch.
    """

    route: str
    kind: str
    times: int | None = 1
    after: int = 0
    probability: float = 1.0
    operation_id: str | None = None
    match: str | None = None
    status: int = 500
    body: object = None
    headers: dict[str, str] | None = None
    seconds: float = 0.0
    code: int = _INTERNAL
    message: str = "Internal error"
    details: tuple[dict[str, Any], ...] = ()
    size: int | None = None
    hit_at: list[float] = field(default_factory=list)

    @property
    def ending(self) -> Ending | None:
        """Return how the operation ends that this fault meets; ``None`` for faults of another kind."""
        match self.kind:
            case "operation_empty":
                return NOTHING
            case "operation_answer" if isinstance(self.body, dict):
                return partial_success(self.body)
            case "operation_error" | "early_error":
                return failure(self.code, self.message, self.details, early=self.kind == "early_error")
        return None

    def hits(self, route: str, operation_id: str | None, body: bytes) -> bool:
        """Say whether this fault is meant for such a request."""
        return (
            self.route == route
            and self.operation_id in (None, operation_id)
            and (self.match is None or self.match.encode() in body)
        )


class Faults:
    """Keep the faults that wait, in the order in which they were queued, and remember what became of all.

    :param now: the emulator's clock.
    """

    def __init__(self, now: Now) -> None:
        self._now = now
        self._queue: list[Fault] = []
        self._all: list[Fault] = []
        self._held: dict[asyncio.Event, str] = {}
        self._random = random.Random(0)

    def __iter__(self) -> Iterator[Fault]:
        """Iterate over all faults that were queued since they were last forgotten, those that hit included."""
        return iter(self._all)

    def add(self, *faults: Fault) -> None:
        """Queue faults."""
        self._queue.extend(faults)
        self._all.extend(faults)

    def end(self, route: str | None = None) -> None:
        """Let no fault hit any more, and what hangs go on.

        :param route: only the faults of this route.
        """
        for fault in [fault for fault in self._queue if route in (None, fault.route)]:
            fault.times = 0
            self._queue.remove(fault)
        for released, held_at in self._held.items():
            if route in (None, held_at):
                released.set()

    def clear(self) -> None:
        """End all faults and forget them."""
        self.end()
        self._all.clear()

    async def hold(self, route: str, seconds: float) -> None:
        """Return when the faults of this route are ended, or so many seconds of real time are over."""
        released = asyncio.Event()
        self._held[released] = route
        try:
            await asyncio.wait_for(released.wait(), seconds)
        except TimeoutError:
            pass
        finally:
            del self._held[released]

    def take(self, route: str, operation_id: str | None, body: bytes) -> Fault | None:
        """Return the fault that hits this request: the first that is meant for it and lets no more through."""
        for fault in self._queue:
            if not fault.hits(route, operation_id, body):
                continue
            if fault.after:
                fault.after -= 1
                continue
            if fault.probability < 1 and self._random.random() >= fault.probability:
                continue
            if fault.times is not None:
                fault.times -= 1
                if not fault.times:
                    self._queue.remove(fault)
            fault.hit_at.append(self._now())
            return fault
        return None


def parse(value: object) -> list[Fault]:
    """Read one fault or a list of them, as strictly as the service reads requests.

    :raises ValueError: saying what is wrong, before any of them is queued.
    """
    return [_parse(item) for item in (value if isinstance(value, list) else [value])]


def _parse(value: object) -> Fault:
    if not isinstance(value, dict):
        raise ValueError("a fault is a JSON object")
    route, kind = value.get("route"), value.get("kind")
    if route not in names.ALL:
        raise ValueError(f"route is {route!r}, it must be one of {', '.join(sorted(names.ALL))}")
    if kind not in KINDS:
        raise ValueError(f"kind is {kind!r}, it must be one of {', '.join(KINDS)}")
    if unknown := value.keys() - {*_COMMON, *KINDS[kind]}:
        raise ValueError(f"a fault of kind {kind} has no field {', '.join(sorted(map(repr, unknown)))}")
    if missing := {name for name, needed in KINDS[kind].items() if needed} - value.keys():
        raise ValueError(f"a fault of kind {kind} needs {', '.join(sorted(missing))}")
    if route not in _BELONGS.get(kind, names.ALL):
        raise ValueError(f"a fault of kind {kind} belongs to {' or '.join(sorted(_BELONGS[kind]))}")
    if value.get("operation_id") is not None and route not in names.WITH_OPERATION_ID:
        raise ValueError(f"the route {route} has no operation_id in its path")
    for name, member in value.items():
        _check(name, member)
    if kind in _MERGED and not isinstance(value["body"], dict):
        raise ValueError(f"the body of a fault of kind {kind} is an object")
    return Fault(**{**value, "details": tuple(value.get("details", ()))})


_EXPECTED: dict[str, tuple[str, Any]] = {
    "times": ("a positive integer or null", lambda v: v is None or (_integer(v) and v > 0)),
    "after": ("an integer from 0", lambda v: _integer(v) and v >= 0),
    "probability": ("a number above 0, up to 1", lambda v: _number(v) and 0 < v <= 1),
    "operation_id": ("a string", lambda v: v is None or isinstance(v, str)),
    "match": ("a string", lambda v: v is None or isinstance(v, str)),
    "status": ("an HTTP status", lambda v: _integer(v) and 200 <= v <= 599),
    "headers": ("an object of strings", lambda v: isinstance(v, dict) and all(map(_string, v.values()))),
    "seconds": ("a number from 0", lambda v: _number(v) and v >= 0),
    "size": ("an integer from 0", lambda v: _integer(v) and v >= 0),
    "details": (
        "a list of objects with an @type",
        lambda v: isinstance(v, list) and all(isinstance(item, dict) and _string(item.get("@type")) for item in v),
    ),
    "code": ("a gRPC status code", lambda v: _integer(v) and 1 <= v <= 16),
    "message": ("a string", lambda v: isinstance(v, str)),
}


def _check(name: str, value: object) -> None:
    wanted, fits = _EXPECTED.get(name, ("", None))
    if fits and not fits(value):
        raise ValueError(f"{name} is {value!r}, it must be {wanted}")


def _integer(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _number(value: object) -> bool:
    return _integer(value) or isinstance(value, float)


def _string(value: object) -> bool:
    return isinstance(value, str)
