"""Waking up, the last look, and what an attempt may take, to the second: against a hook that is a value."""

from __future__ import annotations

import logging
from copy import copy
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any, cast

import pytest

from airflow_provider.yandex_ai_studio.api.models import Failure, Operation
from airflow_provider.yandex_ai_studio.durability.resume import (
    DEFERRAL_MARGIN,
    LAST_PAUSES,
    LONGEST_STAY,
    Wakeup,
    deferral_timeout,
    find_connection,
    last_look,
    limit_of,
    margin_before,
    stay,
)
from airflow_provider.yandex_ai_studio.exceptions import (
    ConfigurationError,
    ConnectionNotFound,
    NotFound,
    OperationExpired,
    OperationTimeout,
    PermissionDenied,
    RateLimited,
    ServiceUnavailable,
    TriggerEventError,
)
from airflow_provider.yandex_ai_studio.waiting.decision import REFUSAL_SECONDS, Outcome, Wait

LOG: Any = logging.getLogger(__name__)
NOW, DAY = 1_800_000_000.0, 86_400.0
RUNNING = Operation("d7q1", "responses")
DONE = Operation("d7q1", "responses", done=True)
FAILED = Operation("d7q1", "responses", error=Failure(13, "boom"))
GONE = NotFound("Gone.", status=404)
WRONG = ConfigurationError("Correct the connection.")
LOST = ConnectionNotFound("No connection.")
REFUSED = PermissionDenied("No.", status=403)
DOWN = ServiceUnavailable("Down.", status=503)
THROTTLED = RateLimited("Quota.", status=429)


class Hook:
    """Shows what it is told to, one after the other, and notes what it is asked; the last one stays."""

    def __init__(self, *seen: Operation | Exception) -> None:
        self.seen = [*seen]
        self.did: list[Any] = []

    def clock(self) -> float:
        return NOW

    def get_operation(self, operation_id: str, of: str) -> Operation:
        self.did.append((operation_id, of))
        seen = self.seen.pop(0) if len(self.seen) > 1 else self.seen[0]
        if isinstance(seen, Exception):
            raise seen
        return seen

    def pause(self, seconds: float, *, after: Operation | Exception) -> None:
        self.did.append((seconds, after))


def wait_of(deadline: float | None = 60.0, age: float = 60.0, refused: float | None = None) -> Wait:
    """Return a wait whose deadline is in so many seconds, and whose workers are refused since so many."""
    since = 0.0 if refused is None else NOW - refused
    until = None if deadline is None else NOW + deadline
    return Wait("d7q1", NOW - age, until, api="responses", refused_since=since)


def look(hook: Any, outcome: Outcome = "ended", **wait: Any) -> Any:
    """Look at an operation whose wait is over; return it, or None where the wait goes on."""
    seen = last_look(hook, Wakeup(wait_of(**wait), outcome), LOG)
    return None if isinstance(seen, Wait) else seen


@pytest.mark.parametrize(
    ("seen", "outcome", "deadline", "returned"),
    [
        (DONE, "ended", 60.0, DONE),
        (FAILED, "ended", 60.0, FAILED),
        (RUNNING, "ended", 60.0, None),
        (RUNNING, "timeout", 60.0, None),
        (RUNNING, "timeout", 0.0, RUNNING),
        (RUNNING, "ended", 0.0, RUNNING),
        (RUNNING, "timeout", None, RUNNING),
        (RUNNING, "ended", None, None),
        (GONE, "ended", 60.0, None),
        (THROTTLED, "ended", 60.0, None),
        (DOWN, "ended", 60.0, None),
        (REFUSED, "ended", 60.0, None),
        (REFUSED, "broken", None, None),
        (WRONG, "ended", 60.0, None),
        (LOST, "ended", 60.0, None),
        (LOST, "refused", 60.0, None),
        (GONE, "refused", 60.0, None),
        (DOWN, "ended", None, None),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Operation | Exception) else str(value),
)
def test_a_wait_goes_on_unless_its_operation_has_ended_or_its_time_is_up(
    seen: Any, outcome: Outcome, deadline: float | None, returned: Operation | None
) -> None:
    assert look(Hook(seen), outcome, deadline=deadline) is returned


def test_an_end_that_the_trigger_has_seen_is_looked_for_as_long_as_a_refusal_is_borne() -> None:
    hook = Hook(RUNNING, RUNNING, DONE)
    assert look(hook, deadline=0.0) is DONE
    first, second, *_ = LAST_PAUSES
    asked = ("d7q1", "responses")
    assert hook.did == [asked, (first, RUNNING), asked, (second, RUNNING), asked]


@pytest.mark.parametrize(
    ("seen", "outcome", "deadline", "age", "error", "said"),
    [
        (GONE, "expired", 60.0, 60.0, OperationExpired, "operation d7q1.*30 days"),
        (GONE, "ended", 60.0, 30 * DAY, OperationExpired, "operation d7q1"),
        (GONE, "timeout", 0.0, 60.0, OperationTimeout, r"'d7q1'(.|\n)*at the last look(.|\n)*Gone\."),
        (GONE, "timeout", None, 60.0, OperationTimeout, "last look"),
        (REFUSED, "ended", 0.0, 60.0, PermissionDenied, "No"),
        (REFUSED, "refused", 60.0, 60.0, PermissionDenied, "No"),
        (WRONG, "refused", 60.0, 60.0, ConfigurationError, "Correct"),
        (LOST, "ended", 0.0, 60.0, ConnectionNotFound, "No connection"),
        (REFUSED, "expired", 60.0, 60.0, PermissionDenied, "No"),
        (DOWN, "ended", 0.0, 60.0, ServiceUnavailable, "Down"),
        (THROTTLED, "timeout", None, 60.0, RateLimited, "Quota"),
    ],
)
def test_what_ends_a_wait_without_an_operation_says_so(
    seen: Any, outcome: Outcome, deadline: float | None, age: float, error: type[Exception], said: str
) -> None:
    with pytest.raises(error, match=said) as caught:
        look(Hook(copy(seen)), outcome, deadline=deadline, age=age)
    assert "peration d7q1" in str(caught.value)
    assert type(caught.value) is type(seen) or type(caught.value.__cause__) is type(seen)
    assert type(caught.value) is not OperationTimeout or "Gone." in str(caught.value)


@pytest.mark.parametrize("error", [REFUSED, WRONG, GONE], ids=repr)
def test_a_refusal_that_meets_workers_alone_is_borne_for_as_long_as_a_trigger_bears_it(error: Exception) -> None:
    def since(seen: Operation | Exception, refused: float | None = None) -> float | None:
        goes_on = last_look(cast("Any", Hook(seen)), Wakeup(wait_of(refused=refused), "ended"), LOG)
        return goes_on.refused_since if isinstance(goes_on, Wait) else None

    assert since(error) == NOW
    assert since(error, REFUSAL_SECONDS - 1) == NOW - REFUSAL_SECONDS + 1
    with pytest.raises(type(error)):
        since(copy(error), REFUSAL_SECONDS)
    for other in (RUNNING, DOWN, THROTTLED, LOST):  # that is no refusal: those before it count no more
        assert since(other, REFUSAL_SECONDS) == 0.0


def test_results_of_the_other_api_are_not_kept_for_so_long() -> None:
    assert look(Hook(GONE), age=30 * DAY - 1) is None


@pytest.mark.parametrize("error", [REFUSED, GONE, WRONG, LOST], ids=repr)
@pytest.mark.parametrize("outcome", ["ended", "timeout", "broken"])
def test_a_refusal_that_is_a_surprise_is_asked_about_again_after_growing_pauses(
    outcome: Outcome, error: Exception
) -> None:
    hook = Hook(error, error, error, DONE)
    assert look(hook, outcome) is DONE
    asked = ("d7q1", "responses")
    assert hook.did == [asked, *[each for pause in LAST_PAUSES for each in ((pause, error), asked)]]


@pytest.mark.parametrize("outcome", ["expired", "refused"])
def test_a_refusal_that_ended_the_wait_is_asked_about_once(outcome: Outcome) -> None:
    hook = Hook(copy(REFUSED))
    with pytest.raises(PermissionDenied):
        look(hook, outcome)
    assert hook.did == [("d7q1", "responses")]


@pytest.mark.parametrize("error", [DOWN, THROTTLED], ids=repr)
def test_an_outage_is_not_waited_out_on_a_worker(error: Exception) -> None:
    hook = Hook(error)
    assert look(hook) is None
    assert hook.did == [("d7q1", "responses")]


class Lost:
    """A hook whose connection is found at a later look, if at all."""

    def __init__(self, missing: int) -> None:
        self.missing, self.looks, self.slept = missing, 0, list[float]()

    @property
    def settings(self) -> None:
        self.looks += 1
        if self.looks <= self.missing:
            raise ConnectionNotFound("No connection.")

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@pytest.mark.parametrize(("missing", "looks"), [(0, 1), (2, 3), (9, 3)])
def test_a_connection_that_is_not_found_is_looked_up_again_after_growing_pauses(missing: int, looks: int) -> None:
    hook: Any = Lost(missing)
    find_connection(hook, LOG)
    assert hook.looks == looks
    assert hook.slept == [*LAST_PAUSES[:missing]]


WAKEUP = Wakeup(Wait("d7q1", NOW, NOW + 60, api="responses", returns=3), "ended")


def test_an_event_is_read_as_it_was_fired_and_holds_nothing_else() -> None:
    fired = {
        "operation_id": "d7q1",
        "outcome": "ended",
        "submitted_at": NOW,
        "deadline": NOW + 60,
        "api": "responses",
        "returns": 3,
    }
    assert WAKEUP.event() == fired
    assert Wakeup.of(fired) == WAKEUP
    assert Wakeup.of(fired, NOW).wait.refused_since == NOW


def test_an_event_of_an_earlier_release_is_read() -> None:
    bare = {"operation_id": "d7q1", "outcome": "timeout"}
    assert Wakeup.of(bare) == Wakeup(Wait("d7q1", 0.0, None, api="completion"), "timeout")
    assert Wakeup.of({**bare, "submitted_at": None}).wait.submitted_at == 0.0


@pytest.mark.parametrize(
    "event",
    [None, "ended", {}, {"outcome": "ended"}, {"operation_id": "d7q1"}, {"operation_id": "d7q1", "outcome": "won"}],
    ids=str,
)
def test_what_is_no_event_of_this_package_is_told_as_it_is(event: Any) -> None:
    with pytest.raises(TriggerEventError) as caught:
        Wakeup.of(event)
    assert repr(event) in str(caught.value)


@pytest.mark.parametrize(
    ("deadline", "left"), [(NOW + 100, 100.0), (NOW + 0.5, 0.5), (NOW, 0.0), (NOW - 100, 0.0), (None, 0.0)]
)
def test_airflow_s_own_timeout_of_a_deferral_comes_after_the_trigger_s_deadline(
    deadline: float | None, left: float
) -> None:
    assert deferral_timeout(Wait("d7q1", NOW, deadline), NOW) == timedelta(seconds=left) + DEFERRAL_MARGIN


@pytest.mark.parametrize(
    ("limit", "timeout", "margin"),
    [(7200.0, 3600.0, 3600.0), (3600.0, 3600.0, 60.0), (3600.0, 7200.0, 60.0), (100.0, 100.0, 10.0)],
)
def test_a_trigger_stops_before_airflow_s_limit_by_the_room_that_there_is(
    limit: float, timeout: float, margin: float
) -> None:
    assert margin_before(timedelta(seconds=limit), timeout) == margin


@pytest.mark.parametrize(
    ("limit", "started", "ends"),
    [
        (None, None, None),
        (None, datetime(2026, 1, 1, tzinfo=UTC), None),
        (timedelta(hours=1), None, None),
        (timedelta(hours=1), datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 1, 1, tzinfo=UTC).timestamp()),
    ],
)
def test_an_attempt_ends_when_its_execution_timeout_has_passed_since_it_began(
    limit: timedelta | None, started: datetime | None, ends: float | None
) -> None:
    task: Any = SimpleNamespace(execution_timeout=limit)
    assert limit_of(task, started) == ends


def test_a_wait_that_comes_back_in_vain_stays_away_for_twice_as_long_each_time() -> None:
    assert [stay(returns, 5.0) for returns in (0, 1, 2, 5, 6, 7, 10**6)] == [5, 10, 20, 160, LONGEST_STAY, 300, 300]
    assert stay(0, 20.0) == 20.0
    assert DEFERRAL_MARGIN.total_seconds() > 2 * LONGEST_STAY  # Airflow's own timeout comes later
