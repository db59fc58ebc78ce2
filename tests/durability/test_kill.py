"""What a kill means for an operation, by what Airflow says of its task."""

from __future__ import annotations

import logging
from collections.abc import Callable
from contextvars import ContextVar
from types import SimpleNamespace
from typing import Any

import airflow
import pytest
from airflow.sdk.execution_time.task_runner import RuntimeTaskInstance
from airflow.sdk.execution_time.xcom import XCom

from airflow_provider.yandex_ai_studio.durability import kill
from airflow_provider.yandex_ai_studio.durability.journal import Journal, Record
from airflow_provider.yandex_ai_studio.durability.kill import (
    Claim,
    claim_of,
    clear_may_discard,
    is_abandoned,
    is_forgotten,
    is_last_attempt,
    look_who_claims,
    look_who_claims_on_worker,
    settle,
)
from support import Store, TaskInstance

LOG = logging.getLogger(__name__)
whose: ContextVar[str] = ContextVar("whose", default="nobody")


def looks(*claims: Claim | Exception) -> Callable[[], Claim]:
    """Return a look at Airflow that says these, one after the other."""
    rest = iter(claims)

    def look() -> Claim:
        claim = next(rest)
        if isinstance(claim, Exception):
            raise claim
        return claim

    return look


class Time:
    """A clock that moves when somebody sleeps."""

    def __init__(self) -> None:
        self.now = 0.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    async def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


@pytest.mark.parametrize(
    ("states", "abandoned"),
    [
        ({}, True),
        ({"run": {}}, True),
        ({"run": {"generate": "failed"}}, True),
        ({"run": {"generate": "success"}}, True),
        ({"run": {"generate": "skipped"}}, True),
        ({"run": {"generate": "upstream_failed"}}, True),
        ({"run": {"generate": "removed"}}, True),
        ({"run": {"generate": "deferred"}}, False),
        ({"run": {"generate": "running"}}, False),
        ({"run": {"generate": "restarting"}}, False),
        ({"run": {"generate": "up_for_retry"}}, False),
        ({"run": {"generate": "queued"}}, False),
        ({"run": {"generate": None}}, False),
        ({"other": {"generate": "running"}}, True),
    ],
)
def test_an_operation_is_abandoned_only_when_its_task_is_over(
    ti: TaskInstance, states: dict[str, Any], abandoned: bool
) -> None:
    assert is_abandoned(states, ti) is abandoned


@pytest.mark.parametrize("map_index", [0, 3])
def test_a_mapped_task_is_looked_up_under_its_own_name(ti: TaskInstance, map_index: int) -> None:
    ti.map_index = map_index
    assert not is_abandoned({"run": {"generate": "failed", f"generate_{map_index}": "deferred"}}, ti)
    assert is_abandoned({"run": {"generate": "deferred", f"generate_{map_index}": "failed"}}, ti)


@pytest.mark.parametrize("map_index", [None, -1])
def test_a_task_that_is_not_mapped_is_looked_up_under_its_name_alone(ti: Any, map_index: int | None) -> None:
    ti.map_index = map_index
    assert not is_abandoned({"run": {"generate": "deferred"}}, ti)


@pytest.mark.parametrize(
    ("found", "claim"), [(None, Claim.OPEN), ("own", Claim.TASK), ("another", Claim.FORGOTTEN)], ids=str
)
def test_an_operation_is_its_next_attempt_s_if_that_one_found_it(found: str | None, claim: Claim) -> None:
    assert claim_of("own", found) is claim


async def test_an_attempt_that_has_not_begun_is_waited_for_ever_more_seldom() -> None:
    time = Time()
    look = looks(*[Claim.OPEN] * 6, Claim.OVER)
    assert await settle(look, 1e6, LOG, clock=time.clock, sleep=time.sleep) is Claim.OVER
    assert time.slept == [5, 10, 20, 40, 60, 60]


async def test_an_attempt_that_never_begins_is_not_waited_for_forever() -> None:
    time = Time()
    look = looks(*[Claim.OPEN] * 99)
    assert await settle(look, 100.0, LOG, clock=time.clock, sleep=time.sleep) is Claim.OPEN
    assert time.now < 200


async def test_an_airflow_that_does_not_answer_once_decides_nothing() -> None:
    time = Time()
    look = looks(ConnectionError("restarting"), Claim.TASK)
    assert await settle(look, 1e6, LOG, clock=time.clock, sleep=time.sleep) is Claim.TASK


@pytest.mark.parametrize(("discards", "forgotten"), [(True, True), (False, False)])
def test_a_record_that_is_gone_was_discarded_only_where_airflow_does_that(
    store: Store, monkeypatch: pytest.MonkeyPatch, discards: bool, forgotten: bool
) -> None:
    monkeypatch.setattr(kill, "clear_may_discard", lambda: discards)
    journal = Journal(store)
    journal.write(Record("fingerprint", 0.0, "own"))
    assert not is_forgotten(journal)
    store.values.clear()
    assert is_forgotten(journal) is forgotten


@pytest.mark.parametrize(
    ("version", "discards"),
    [("3.2.0", False), ("3.3.2", False), ("3.4.0b2", True), ("3.4.0", True), ("3.10.1", True), ("4.0.0", True)],
)
def test_from_airflow_3_4_on_a_clear_may_discard_the_record(
    monkeypatch: pytest.MonkeyPatch, version: str, discards: bool
) -> None:
    monkeypatch.setattr("airflow.__version__", version)
    assert kill.clear_may_discard() is discards


def test_without_a_state_store_every_operation_is_forgotten() -> None:
    assert is_forgotten(Journal(None))


def test_a_journal_that_can_t_be_read_forgets_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill, "clear_may_discard", lambda: True)
    store.broken = {"get"}
    assert not is_forgotten(Journal(store))


class Airflow:
    """What Airflow knows of a task instance, and how it was asked."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *, state: str, found: str | None, discards: bool) -> None:
        self.asked: list[dict[str, Any]] = []
        self.state, self.found = state, found
        monkeypatch.setattr(RuntimeTaskInstance, "get_task_states", self._states)
        monkeypatch.setattr(XCom, "get_one", self._xcom)
        monkeypatch.setattr(kill, "clear_may_discard", lambda: discards)

    def _states(self, **asked: Any) -> dict[str, dict[str, str]]:
        self.asked.append(asked)
        return {"run": {"generate": self.state, "generate_3": self.state}}

    def _xcom(self, **asked: Any) -> str | None:
        self.asked.append(asked)
        return self.found


@pytest.mark.parametrize(
    ("state", "found", "discards", "claim"),
    [
        ("failed", "own", True, Claim.OVER),
        ("running", "own", True, Claim.TASK),
        ("running", "another", True, Claim.FORGOTTEN),
        ("running", None, True, Claim.OPEN),
        ("running", "another", False, Claim.TASK),
        ("running", None, False, Claim.TASK),
    ],
)
def test_the_triggerer_sees_who_comes_for_an_operation_by_the_state_and_the_xcom_of_its_task(
    ti: TaskInstance,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    found: str | None,
    discards: bool,
    claim: Claim,
) -> None:
    Airflow(monkeypatch, state=state, found=found, discards=discards)
    assert look_who_claims(ti, "own") is claim


@pytest.mark.parametrize(("map_index", "of_xcom"), [(None, -1), (-1, -1), (3, 3)])
def test_airflow_is_asked_about_this_very_task_instance(
    ti: Any, monkeypatch: pytest.MonkeyPatch, map_index: int | None, of_xcom: int
) -> None:
    ti.map_index = map_index
    airflow = Airflow(monkeypatch, state="running", found="own", discards=True)
    assert look_who_claims(ti, "own") is Claim.TASK
    assert airflow.asked == [
        {"dag_id": "dag", "task_ids": ["generate"], "run_ids": ["run"], "map_index": map_index},
        {"key": "operation_id", "dag_id": "dag", "task_id": "generate", "run_id": "run", "map_index": of_xcom},
    ]


def test_the_xcom_is_asked_for_as_nobody_s_attempt(ti: TaskInstance, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a trigger's own context, Airflow 3.4 takes it for the attempt that was cleared."""
    seen: list[str] = []
    Airflow(monkeypatch, state="running", found="own", discards=True)
    monkeypatch.setattr(XCom, "get_one", lambda **_: seen.append(whose.get()))
    whose.set("the attempt that was cleared")
    look_who_claims(ti, "own")
    assert seen == ["nobody"]


@pytest.mark.parametrize(
    ("state", "timed_out", "max_tries", "kept", "claim"),
    [
        ("failed", False, 1, True, Claim.OVER),
        ("running", False, 1, True, Claim.TASK),
        ("running", False, 1, False, Claim.FORGOTTEN),
        ("running", False, 0, True, Claim.TASK),
        ("running", True, 1, True, Claim.TASK),
        ("running", True, 0, True, Claim.OVER),
    ],
)
def test_a_worker_sees_who_comes_for_an_operation_by_the_state_and_the_journal_of_its_task(
    ti: TaskInstance,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    state: str,
    timed_out: bool,
    max_tries: int,
    kept: bool,
    claim: Claim,
) -> None:
    Airflow(monkeypatch, state=state, found=None, discards=True)
    ti.max_tries = max_tries
    journal = Journal(store)
    if kept:
        journal.write(Record("fingerprint", 0.0, "own"))
    assert look_who_claims_on_worker(ti, journal, timed_out=timed_out) is claim


@pytest.mark.parametrize(
    ("version", "discards"),
    [("2.11.0", False), ("3.2.0", False), ("3.3.2", False), ("3.4.0b2", True), ("3.10.1", True), ("4.0.0", True)],
)
def test_a_clear_may_discard_the_journal_from_airflow_3_4_on(
    monkeypatch: pytest.MonkeyPatch, version: str, discards: bool
) -> None:
    monkeypatch.setattr(airflow, "__version__", version)
    assert clear_may_discard() is discards


@pytest.mark.parametrize(
    ("max_tries", "try_number", "last"), [(0, 1, True), (1, 1, False), (1, 2, True), (2, 2, False), (2, 3, True)]
)
def test_the_last_attempt_is_the_one_after_all_retries(max_tries: int, try_number: int, last: bool) -> None:
    assert is_last_attempt(SimpleNamespace(max_tries=max_tries, try_number=try_number)) is last


async def test_a_wait_for_an_attempt_ends_when_its_time_is_up() -> None:
    time = Time()
    assert await settle(looks(Claim.OPEN), 0.0, LOG, clock=time.clock, sleep=time.sleep) is Claim.OPEN
    assert time.slept == []


async def test_that_an_operation_goes_on_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    time = Time()
    caplog.set_level(logging.INFO)
    await settle(looks(*[Claim.OPEN] * 3, Claim.TASK), 1e6, LOG, clock=time.clock, sleep=time.sleep)
    assert [record.args for record in caplog.records] == [(Claim.OPEN.value,)]
