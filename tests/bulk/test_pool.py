"""Requests that a worker has under way together."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api.models import Operation
from airflow_provider.yandex_ai_studio.bulk.pool import AT_ONCE, Pool


def taken(item: int) -> Operation:
    return Operation(f"op{item}", "completion")


def test_what_comes_back_is_in_the_order_of_what_was_asked() -> None:
    pool = Pool()
    assert pool.ask(taken, range(20)) == [taken(item) for item in range(20)]
    pool.close()


def test_requests_are_under_way_together_and_no_more_than_the_client_has_connections_for() -> None:
    pool, at_once = Pool(), threading.Barrier(AT_ONCE, timeout=10)
    seen: set[int] = set()

    def ask(item: int) -> Any:
        at_once.wait()
        seen.add(threading.get_ident())
        return taken(item)

    assert len(pool.ask(ask, range(2 * AT_ONCE))) == 2 * AT_ONCE
    assert len(seen) == AT_ONCE
    pool.close()


def test_all_threads_are_begun_before_anything_is_sent_and_end_with_the_pool() -> None:
    before = threading.active_count()
    pool = Pool()
    assert threading.active_count() == before + AT_ONCE
    pool.close()
    assert threading.active_count() == before


def test_a_thread_that_can_t_be_begun_leaves_none_behind_that_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    start, begun = threading.Thread.start, list[threading.Thread]()

    def refuse(thread: threading.Thread) -> None:
        if len(begun) == 3:
            raise RuntimeError("can't start new thread")
        begun.append(thread)
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        Pool()
    for thread in begun:
        thread.join(10)
    assert not any(thread.is_alive() for thread in begun)


def test_a_group_that_is_cut_short_begins_no_more_and_waits_for_what_is_under_way() -> None:
    pool, go, begun = Pool(), threading.Event(), threading.Semaphore(0)

    def ask(item: int) -> Any:
        begun.release()
        go.wait(10)
        return taken(item)

    group = pool.start(ask, range(AT_ONCE + 3))
    for _ in range(AT_ONCE):
        assert begun.acquire(timeout=10)
    threading.Timer(0.05, go.set).start()
    outcomes = group.cut_short()
    assert outcomes[:AT_ONCE] == [taken(item) for item in range(AT_ONCE)]
    assert [type(outcome) for outcome in outcomes[AT_ONCE:]] == [CancelledError] * 3
    pool.close()


def test_what_is_no_error_of_a_request_goes_on_its_way() -> None:
    pool = Pool()

    def ask(_: int) -> Any:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pool.ask(ask, [1])
    pool.close()


def test_a_pool_that_is_closed_begins_nothing_that_waits() -> None:
    pool, go, asked = Pool(), threading.Event(), list[int]()
    begun = threading.Semaphore(0)

    def ask(item: int) -> Any:
        begun.release()
        go.wait(10)
        asked.append(item)
        return taken(item)

    pool.start(ask, range(AT_ONCE + 3))
    for _ in range(AT_ONCE):
        assert begun.acquire(timeout=10)
    threading.Timer(0.05, go.set).start()
    pool.close()
    assert sorted(asked) == [*range(AT_ONCE)]


def test_requests_of_a_group_fail_one_by_one() -> None:
    def ask(item: Any) -> Any:
        return 1 // item

    pool = Pool()
    first, second, third = pool.ask(ask, [1, 0, 1])
    pool.close()
    assert (first, third) == (1, 1)
    assert isinstance(second, ZeroDivisionError)
