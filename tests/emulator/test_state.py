"""What the emulator remembers, with a clock that the test turns."""

from __future__ import annotations

import random
import re
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.emulator.settings import Settings
from airflow_provider.yandex_ai_studio.emulator.state import faults
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend
from airflow_provider.yandex_ai_studio.emulator.state.clock import Clock
from airflow_provider.yandex_ai_studio.emulator.state.ids import Ids
from airflow_provider.yandex_ai_studio.emulator.state.operations import (
    NOTHING,
    RETENTION_SECONDS,
    Operation,
    State,
    failure,
    success,
)
from airflow_provider.yandex_ai_studio.emulator.state.quotas import QUOTAS, Quotas
from airflow_provider.yandex_ai_studio.emulator.state.stats import Peak, Stats
from airflow_provider.yandex_ai_studio.emulator.wire.errors import ApiError

START = 1_700_000_000.0


class Time:
    def __init__(self) -> None:
        self.seconds = START

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def now() -> Time:
    return Time()


@pytest.fixture
def backend(now: Time) -> Backend:
    return Backend(Settings(seconds=10, seconds_max=20), Clock(now), random.Random(7))


def state(backend: Backend, operation: Operation) -> State:
    return operation.at(backend.clock.now())[1].state


def test_an_operation_runs_until_its_time_has_come(backend: Backend, now: Time) -> None:
    operation = backend.operations.create("aje", "prompt", success({"answer": 1}))
    assert state(backend, operation) is State.RUNNING
    now.seconds += 9.9
    assert state(backend, operation) is State.RUNNING
    now.seconds += 10.1
    assert state(backend, operation) is State.SUCCEEDED
    assert operation.ended_at is not None
    assert START + 10 <= operation.ended_at <= START + 20


def test_times_are_drawn_anew_for_each_operation_and_alike_in_each_run(now: Time) -> None:
    def drawn(seed: int) -> list[float | None]:
        made = Backend(Settings(seconds=10, seconds_max=20), Clock(now), random.Random(seed)).operations
        return [made.create("aje", "p", NOTHING).ended_at for _ in range(5)]

    assert drawn(1) == drawn(2)
    assert len(set(drawn(1))) == 5


def test_a_result_expires_three_days_after_the_submission(backend: Backend, now: Time) -> None:
    operation = backend.operations.create("aje", "p", success({}))
    now.seconds += RETENTION_SECONDS - 1
    assert backend.operations.find(operation.id) is operation
    now.seconds += 1
    assert backend.operations.find(operation.id) is None
    assert backend.operations.count_by_state()["expired"] == 1


def test_a_cancelled_operation_ends_at_once_and_never_succeeds(backend: Backend, now: Time) -> None:
    operation = backend.operations.create("aje", "p", success({}))
    now.seconds += 1
    backend.operations.cancel(operation)
    now.seconds += 100
    assert state(backend, operation) is State.CANCELLED
    assert operation.ended_at == START + 1


def test_cancelling_a_finished_operation_changes_nothing(backend: Backend, now: Time) -> None:
    operation = backend.operations.create("aje", "p", success({}))
    now.seconds += 30
    before = list(operation.timeline)
    backend.operations.cancel(operation)
    assert operation.timeline == before


def test_an_early_error_shows_before_the_operation_is_done(backend: Backend, now: Time) -> None:
    operation = backend.operations.create("aje", "p", failure(13, "broken", early=True))
    early = operation.at(now())[1]
    assert early.error
    assert not early.done
    now.seconds += 30
    late = operation.at(now())[1]
    assert late.done
    assert late.error == early.error


def test_an_early_error_upon_reading_keeps_the_planned_end(backend: Backend, now: Time) -> None:
    operation = backend.operations.create("aje", "p", success({}))
    planned = operation.ended_at
    now.seconds += 1
    backend.operations.redirect(operation, failure(13, "broken", early=True))
    assert (operation.at(now())[1].done, operation.ended_at) == (False, planned)
    assert operation.created_at == START


def test_an_operation_can_be_done_with_nothing(backend: Backend, now: Time) -> None:
    operation = backend.operations.create("aje", "p", NOTHING)
    now.seconds += 30
    phase = operation.at(now())[1]
    assert (phase.done, phase.response, phase.error) == (True, None, None)


def test_ids_look_like_the_vendors_and_come_from_the_given_source() -> None:
    first, second = Ids(random.Random(1)), Ids(random.Random(1))
    assert re.fullmatch(r"d7q[a-z0-9]{17}", first.resource("d7q"))
    assert re.fullmatch(r"t1\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]{86}", first.iam_token())
    second.resource("d7q")
    second.iam_token()
    assert first.request() == second.request()


def test_the_clock_does_not_go_back() -> None:
    with pytest.raises(ValueError, match="forward"):
        Clock().advance(-1)


@pytest.mark.parametrize("seconds", [(-1, None), (5, 4)])
def test_impossible_times_are_refused(seconds: tuple[float, float | None]) -> None:
    with pytest.raises(ValueError, match="seconds"):
        Settings(seconds=seconds[0], seconds_max=seconds[1])


def test_the_peak_is_the_fullest_second(now: Time) -> None:
    peak = Peak(now)
    for step in (0, 0.4, 0.4, 0.1, 5, 0.2):
        now.seconds += step
        peak.hit()
    assert peak.highest == 4


def test_connections_are_counted_in_and_out() -> None:
    stats = Stats()
    for event in (stats.connection_opened, stats.connection_opened, stats.connection_closed, stats.connection_opened):
        event()
    assert stats.traffic()["connections"] == {"open": 2, "total": 3, "peak": 2}


def test_a_full_window_admits_again_after_a_second(now: Time) -> None:
    quotas = Quotas(now, enforced=True)
    for _ in range(10):
        with quotas.admit("completionAsync"):
            now.seconds += 0.05
    with pytest.raises(ApiError, match="allowed 10 requests"), quotas.admit("completionAsync"):
        pass
    now.seconds = START + 1
    with quotas.admit("completionAsync"):
        pass


def test_the_hourly_quota_outlasts_the_second(now: Time) -> None:
    quotas = Quotas(now, enforced=True)
    for _ in range(5_000):
        now.seconds += 0.2
        with quotas.admit("completionAsync"):
            pass
    now.seconds += 2
    with pytest.raises(ApiError, match=r"PerHour.*allowed 5000"), quotas.admit("completionAsync"):
        pass


def test_a_gauge_counts_those_inside(now: Time) -> None:
    quotas = Quotas(now, enforced=True)
    inside = [quotas.admit("completion") for _ in range(10)]
    for admitted in inside:
        admitted.__enter__()
    with pytest.raises(ApiError, match="gauge quota limit exceed: allowed 10"), quotas.admit("completion"):
        pass
    inside[0].__exit__(None, None, None)
    with quotas.admit("completion"):
        pass


def test_both_tokenizers_share_one_quota() -> None:
    assert QUOTAS["tokenize"] is QUOTAS["tokenizeCompletion"]


def test_nothing_is_refused_unless_quotas_are_enforced(now: Time) -> None:
    quotas = Quotas(now, enforced=False)
    for _ in range(100):
        with quotas.admit("completionAsync"):
            pass


def queued(*values: dict[str, Any]) -> faults.Faults:
    queue = faults.Faults(lambda: 1000.0)
    queue.add(*faults.parse(list(values)))
    return queue


def test_a_fault_hits_as_often_as_it_says() -> None:
    queue = queued({"route": "models", "kind": "drop", "after": 1, "times": 2})
    hits = [queue.take("models", None, b"") is not None for _ in range(5)]
    assert hits == [False, True, True, False, False]


def test_a_fault_without_an_end_hits_until_it_is_cleared() -> None:
    queue = queued({"route": "models", "kind": "drop", "times": None})
    assert all(queue.take("models", None, b"") for _ in range(5))
    queue.clear()
    assert queue.take("models", None, b"") is None


def test_a_fault_hits_only_what_it_is_meant_for() -> None:
    queue = queued(
        {"route": "operations.get", "kind": "drop", "operation_id": "d7q1"},
        {"route": "completion", "kind": "drop", "match": "ёж"},
    )
    assert queue.take("operations.cancel", "d7q1", b"") is None
    assert queue.take("operations.get", "d7q2", b"") is None
    assert queue.take("completion", None, b"hedgehog") is None
    assert queue.take("operations.get", "d7q1", b"")
    assert queue.take("completion", None, "про ёжика".encode())


@pytest.mark.parametrize(
    ("fault", "complaint"),
    [
        ("drop", "a fault is a JSON object"),
        ({}, "route is None"),
        (
            {"route": "operation.get", "kind": "drop"},
            "route is 'operation.get', it must be one of chat.completions,",
        ),
        ({"route": "models", "kind": "explode"}, "kind is 'explode', it must be one of status,"),
        ({"route": "models", "kind": "drop", "seconds": 1}, "kind drop has no field 'seconds'"),
        ({"route": "models", "kind": "drop", "time": 1}, "kind drop has no field 'time'"),
        ({"route": "models", "kind": "status"}, "kind status needs status"),
        ({"route": "models", "kind": "delay"}, "kind delay needs seconds"),
        ({"route": "models", "kind": "delay", "seconds": -1}, "seconds is -1, it must be a number from 0"),
        ({"route": "models", "kind": "status", "status": "503"}, "status is '503', it must be an HTTP status"),
        ({"route": "models", "kind": "drop", "times": 0}, "times is 0, it must be a positive integer or null"),
        ({"route": "models", "kind": "drop", "after": True}, "after is True, it must be an integer from 0"),
        ({"route": "models", "kind": "operation_empty"}, "belongs to completionAsync or operations.get"),
        ({"route": "responses.get", "kind": "early_error"}, "belongs to completionAsync or operations.get"),
        ({"route": "completion", "kind": "embedded_error"}, "belongs to responses.create or responses.get"),
        ({"route": "models", "kind": "drop", "operation_id": "x"}, "models has no operation_id in its path"),
    ],
)
def test_a_wrong_fault_is_refused_with_a_reason(fault: Any, complaint: str) -> None:
    with pytest.raises(ValueError, match=re.escape(complaint)):
        faults.parse(fault)
