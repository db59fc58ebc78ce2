"""What a kill means for an operation, by what Airflow says of its task."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.durability import kill
from airflow_provider.yandex_ai_studio.durability.journal import Journal, Record
from airflow_provider.yandex_ai_studio.durability.kill import Claim, claim_of, is_abandoned, is_forgotten, settle
from support import Store, TaskInstance

LOG = logging.getLogger(__name__)


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


def test_a_mapped_task_is_looked_up_under_its_own_name(ti: TaskInstance) -> None:
    ti.map_index = 3
    states = {"run": {"generate": "failed", "generate_3": "deferred"}}
    assert not is_abandoned(states, ti)


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


def test_without_a_state_store_every_operation_is_forgotten() -> None:
    assert is_forgotten(Journal(None))


def test_a_journal_that_can_t_be_read_forgets_nothing(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kill, "clear_may_discard", lambda: True)
    store.broken = {"get"}
    assert not is_forgotten(Journal(store))
