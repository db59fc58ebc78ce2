"""
What this task has already submitted and paid for.

The service knows no idempotency key and lists no operations: an id that is not written down is gone. So the intent to
submit is written down first, then the id. The record lives in Airflow's ``task_state_store`` (3.3 and later), which
survives retries and clears. The decisions are pure; :class:`Journal` is the edge.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from datetime import timedelta
from enum import Enum
from typing import Any, Protocol, get_args

from airflow_provider.yandex_ai_studio.answers.outcome import CANCELLED
from airflow_provider.yandex_ai_studio.api.endpoints import is_id
from airflow_provider.yandex_ai_studio.api.models import Api, Operation
from airflow_provider.yandex_ai_studio.durability.policy import OnClear, OnTimeout
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError, NotFound, RequestError
from airflow_provider.yandex_ai_studio.waiting.decision import is_past_retention

KEY = "yandex_ai_studio_operation"

MODEL_FIELDS = frozenset({"modelUri", "model"})
"""Where the body of a request, of either API, names the model."""

RETENTION = timedelta(days=7)
"""How long a record is kept: longer than the 3 days for which the service keeps a result."""


@dataclass(frozen=True)
class Record:
    """
    One submission.

    :param fingerprint: What was asked for, as :func:`fingerprint_of` gives it.
    :param submitted_at: When, in seconds since the epoch.
    :param operation_id: What came of it; None while nobody knows.
    :param model: The model that was asked.
    :param waited_from: From when the deadline counts, if not from the submission.
    :param max_tries: How many tries Airflow allowed the last attempt that saw it. A clear counts them anew, a retry
        does not.
    :param gone: An attempt has failed because the service does not know it (any more).
    """

    fingerprint: str
    submitted_at: float
    operation_id: str | None = None
    api: Api = "completion"
    model: str | None = None
    waited_from: float | None = None
    max_tries: int | None = None
    gone: bool = False

    @classmethod
    def of(cls, value: Any) -> Record:
        """
        Read what is written down. What a later release writes beside it is ignored.

        :raises ConfigurationError: It is no record: somebody has edited it, or a later release writes another one.
        """
        told = {"fingerprint": None, "submitted_at": None, **(value if isinstance(value, Mapping) else {})}
        record = cls(**{field.name: told[field.name] for field in fields(cls) if field.name in told})
        numbers = (record.submitted_at, record.waited_from or 0.0, record.max_tries or 0)
        if (
            not isinstance(record.fingerprint, str)
            or record.api not in get_args(Api)
            or not (record.operation_id is None or is_id(record.operation_id))
            or not all(isinstance(number, int | float) for number in numbers)
        ):
            raise ConfigurationError(
                f"Delete {KEY!r} from the state of the task, to submit and pay anew; or run the task with the release "
                "of this package that wrote it.\n"
                "It is to say what an earlier attempt has submitted, and can't be read. Nothing was sent."
            )
        return record

    def deadline(self, timeout: float) -> float:
        """Return when to stop waiting, in seconds since the epoch."""
        return (self.submitted_at if self.waited_from is None else self.waited_from) + timeout

    def cleared(self, max_tries: int) -> bool:
        """Tell whether the task was cleared since: a person wishes it to run again."""
        return self.max_tries is not None and max_tries != self.max_tries


class Step(Enum):
    """What a task does first, from the journal alone."""

    SUBMIT = "nothing is known: submit"
    SETTLE_UNKNOWN = "a submission was begun, and nobody knows what came of it"
    LOOK = "this very request was submitted: look how its operation stands"
    REPLACE = "another request was submitted: cancel its operation, then submit this one"
    START_OVER = "the task was cleared, and on_clear='resubmit': cancel its operation, then submit anew"


class Fate(Enum):
    """What becomes of a known operation, after one look at it."""

    WAIT = "it runs, or can't be seen for now: wait for it"
    TAKE = "it has an answer: take it"
    WAIT_AGAIN = "its deadline has passed: wait for it as long again"
    TELL = "nothing more will be done about it: say how it stands"
    SUBMIT_ANEW = "it ended without an answer, or is gone: submit the request anew"
    REPLACE = "it runs past its deadline, and on_timeout='resubmit': cancel it, then submit the request anew"


def fingerprint_of(asked: Mapping[str, Any]) -> str:
    """Return what tells things that are asked from others, without revealing a text."""
    return hashlib.sha256(json.dumps(asked, sort_keys=True).encode()).hexdigest()


def request_fingerprint(body: Mapping[str, Any] | None, model: str | None) -> str:
    """
    Return what tells one request of a task from another.

    :param model: The model in the task's own words, or None. What the connection adds to them, its default or its
        folder, makes no other request: what was paid for is not given up because a connection was edited.
    """
    asked = {name: value for name, value in (body or {}).items() if name not in MODEL_FIELDS}
    return fingerprint_of({**asked, "model": model} if model else asked)


def first_step(record: Record | None, fingerprint: str, *, cleared: bool = False, on_clear: OnClear = "keep") -> Step:
    """Decide what to do about the last submission of this task."""
    if record is None:
        return Step.SUBMIT
    if record.operation_id is None:
        return Step.SETTLE_UNKNOWN
    if cleared and on_clear == "resubmit":
        return Step.START_OVER
    return Step.LOOK if record.fingerprint == fingerprint else Step.REPLACE


def fate_of(
    seen: Operation | RequestError,
    *,
    api: Api,
    age: float,
    late: bool = False,
    cleared: bool = False,
    on_timeout: OnTimeout = "wait",
    gone: bool = False,
) -> Fate:
    """
    Decide what becomes of a known operation. One look that fails decides nothing: the wait has the patience for it.

    :param age: Seconds since it was submitted.
    :param late: Its deadline has passed.
    :param cleared: The task was cleared since an attempt last saw it. A cancelled operation is then submitted anew;
        without a clear, its cancellation is a person's, and no retry undoes it.
    :param gone: An attempt has failed because the service did not know it, through a whole wait.
    """
    waits_again = late and (cleared or on_timeout == "wait")
    match seen:
        case Operation(error=error) if error is not None:
            own = cleared or (late and on_timeout == "resubmit")
            return Fate.TELL if error.code in CANCELLED and not own else Fate.SUBMIT_ANEW
        case Operation(done=False) if late and on_timeout == "resubmit":
            return Fate.REPLACE
        case Operation(done=False) if late:
            return Fate.WAIT_AGAIN if waits_again else Fate.TELL
        case Operation(done=False):
            return Fate.WAIT
        case Operation(generation=None):
            return Fate.SUBMIT_ANEW
        case Operation():
            return Fate.TAKE
        case NotFound() if gone or is_past_retention(api, age):
            return Fate.SUBMIT_ANEW
        case NotFound() if late and on_timeout == "resubmit":
            return Fate.REPLACE
        case _:
            return Fate.WAIT_AGAIN if waits_again else Fate.WAIT


class Store(Protocol):
    """The part of Airflow's ``task_state_store`` that the journal uses."""

    def get(self, key: str) -> Any:
        """Return the value, or None."""

    def set(self, key: str, value: Any, *, retention: timedelta) -> None:
        """Write the value."""

    def delete(self, key: str) -> None:
        """Forget the value."""


class Journal:
    """
    The record of one task instance, kept across its attempts.

    :param store: ``context["task_state_store"]``, or None where Airflow has none: then nothing is remembered.
    """

    def __init__(self, store: Store | None) -> None:
        self._store = store

    @property
    def lasting(self) -> bool:
        """Whether another attempt will find what this one writes."""
        return self._store is not None

    def read(self) -> Record | None:
        """
        Return the last submission, or None where there was none.

        An error of the store is raised: it must not be taken for "nothing was submitted".

        :raises ConfigurationError: As :meth:`Record.of` does.
        """
        value = self._store.get(KEY) if self._store else None
        return None if value is None else Record.of(value)

    def write(self, record: Record) -> None:
        """Write the last submission down."""
        if self._store:
            self._store.set(KEY, asdict(record), retention=RETENTION)

    def strike_out(self, operation_id: str) -> None:
        """Forget an operation whose end was told to the user, but not one that a newer attempt has paid for since."""
        record = self.read()
        if record is not None and record.operation_id == operation_id:
            self._forget()

    def mark_gone(self, operation_id: str) -> None:
        """Note that the service does not know an operation. Where a gateway said so, the next attempt finds it."""
        record = self.read()
        if record is not None and record.operation_id == operation_id:
            self.write(replace(record, gone=True))

    def withdraw(self, record: Record, before: Record | None = None) -> None:
        """
        Forget this very record, but not what another attempt of the task has written over it.

        :param before: What it was written over, and is true again.
        """
        if self.read() != record:
            return
        if before is None:
            self._forget()
        else:
            self.write(before)

    def _forget(self) -> None:
        if self._store:
            self._store.delete(KEY)
