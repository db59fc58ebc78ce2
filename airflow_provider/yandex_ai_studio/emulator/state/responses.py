"""Responses of the Responses API: the same timelines as operations, with the service's own words for their phases."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider.yandex_ai_studio.emulator.state.clock import Now
from airflow_provider.yandex_ai_studio.emulator.state.ids import Ids
from airflow_provider.yandex_ai_studio.emulator.state.operations import EXPIRED, Ending, Operation, Phase, State
from airflow_provider.yandex_ai_studio.emulator.wire.errors import Code

#: How long the service keeps a response, counted from its creation.
RETENTION_SECONDS = 30 * 24 * 3600.0

#: The part of its time that a background response waits before it is worked on.
QUEUED_SHARE = 0.25

QUEUED = Phase(State.RUNNING, done=False, response={"status": "queued"})
IN_PROGRESS = Phase(State.RUNNING, done=False, response={"status": "in_progress"})
CANCELLED = Ending(Phase(State.CANCELLED, response={"status": "cancelled"}))

#: Done, and yet no output: clients have to survive it.
EMPTY = Ending(Phase(State.FAILED, response={"status": "completed", "output": []}))

_ERROR_CODES = {Code.INVALID_ARGUMENT: "invalid_prompt", Code.RESOURCE_EXHAUSTED: "rate_limit_exceeded"}


def success(shown: dict[str, Any]) -> Ending:
    """Return the ending with an answer, complete or not."""
    return Ending(Phase(State.SUCCEEDED, response=shown))


def failure(code: int, message: str) -> Ending:
    """Return the ending with an error.

    :param code: a gRPC status code, of which the API knows only some words.
    """
    error = {"code": _ERROR_CODES.get(Code(code), "server_error"), "message": message}
    return Ending(Phase(State.FAILED, response={"status": "failed", "error": error}))


@dataclass
class Response:
    """Hold a response.

    :param operation: its id and its timeline; each phase tells the members that it changes.
    :param shown: the members that stay what they are.
    :param input_items: what it was asked, item by item, each with an id.
    :param conversation: all items that led to it, its own input included.
    """

    operation: Operation
    background: bool
    shown: dict[str, Any]
    input_items: list[dict[str, Any]]
    conversation: list[dict[str, Any]]

    def at(self, now: float) -> dict[str, Any]:
        """Return the object as it is at this time."""
        return {**self.shown, **(self.operation.at(now)[1].response or {})}


class Responses:
    """Keep all responses of one emulator.

    :param now: the emulator's clock.
    :param ids: where ids are drawn from.
    :param duration: how many seconds the n-th background response takes.
    """

    def __init__(self, now: Now, ids: Ids, duration: Callable[[int], float]) -> None:
        self._now = now
        self._ids = ids
        self._duration = duration
        self._background: list[Operation] = []
        self._by_id: dict[str, Response] = {}

    def __len__(self) -> int:
        """Return how many background responses were ever created."""
        return len(self._background)

    def __iter__(self) -> Iterator[tuple[Operation, Phase]]:
        """Iterate over the background responses in the order of their creation, each with its phase now."""
        now = self._now()
        return ((operation, operation.at(now)[1]) for operation in self._background)

    def create(
        self, created_by: str, prompt: str, ending: Ending, background: bool, asked: Mapping[str, Any] | None = None
    ) -> Operation:
        """Start a response: one in the background takes its time, the others are done at once.

        :param asked: the members of the request.
        """
        now = self._now()
        expiry = (now + RETENTION_SECONDS, EXPIRED)
        if not background:
            return Operation.begun(self._ids.uuid(), created_by, prompt, (now, ending.phase), expiry, asked=asked)
        seconds = self._duration(len(self))
        operation = Operation.begun(
            self._ids.uuid(),
            created_by,
            prompt,
            (now, QUEUED),
            (now + QUEUED_SHARE * seconds, IN_PROGRESS),
            (now + seconds, ending.phase),
            expiry,
            asked=asked,
        )
        self._background.append(operation)
        return operation

    def keep(self, response: Response) -> None:
        """Let a response be found again."""
        self._by_id[response.operation.id] = response

    def find(self, response_id: str) -> Response | None:
        """Return a response, unless it is unknown, deleted or expired."""
        response = self._by_id.get(response_id)
        if response is None or response.operation.at(self._now())[1].state is State.EXPIRED:
            return None
        return response

    def cancel(self, response: Response) -> None:
        """End a response without an answer; one that is done stays as it is."""
        if not response.operation.at(self._now())[1].done:
            self.redirect(response, CANCELLED)

    def redirect(self, response: Response, ending: Ending) -> None:
        """Give a response another ending, now."""
        response.operation.redirect(self._now(), ending)

    def delete(self, response: Response) -> None:
        """Forget a response, and end it if it still runs."""
        self.cancel(response)
        del self._by_id[response.operation.id]
