"""What waits share: a client, places, a pace, a poller; and what one of them costs the others. In virtual time."""

from __future__ import annotations

import asyncio
import contextvars
from collections import Counter
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    ConfigurationError,
    NotFound,
    PermissionDenied,
    RateLimited,
    RequestError,
    ServiceUnavailable,
)
from airflow_provider.yandex_ai_studio.telemetry import Metric
from airflow_provider.yandex_ai_studio.waiting import poller
from airflow_provider.yandex_ai_studio.waiting.decision import End, Wait
from airflow_provider.yandex_ai_studio.waiting.poller import PollerStopped, Trouble, watch
from virtual_time import play
from virtual_waits import DONE, DOWN, RUNNING, Service, now, wait

pytestmark = pytest.mark.usefixtures("virtual")


class Broken(Exception):
    """What no sender raises."""


def test_a_question_that_breaks_off_is_asked_again_with_another_client() -> None:
    service = Service(Broken("a library"), DONE)
    told = play(service.news(wait()))
    assert [(at, type(news)) for at, news in told] == [(0.0, Trouble), (1.0, End)]
    assert "the question broke off (Broken: a library)" in str(told[0][1].error)
    assert told[0][1].error.arrived
    assert [client.shut for client in service.clients] == [True, True]


def test_a_client_that_closes_under_a_question_costs_no_wait() -> None:
    service = Service(DONE, takes=2.0)

    async def story() -> list[Any]:
        waiting = asyncio.create_task(service.news(wait()))
        await asyncio.sleep(1.0)
        service.clients[0].shut = True
        service.answers = [ServiceUnavailable("Session is closed."), DONE]
        return await waiting

    assert [type(news) for _, news in play(story())] == [Trouble, End]
    assert len(service.clients) == 2


def test_a_client_that_cancels_a_question_costs_no_wait(caplog: pytest.LogCaptureFixture) -> None:
    service = Service(asyncio.CancelledError(), DONE)
    (_, trouble), (_, end) = play(service.news(wait()))
    assert "the question broke off (CancelledError: )" in str(trouble.error)
    assert end == End("ended", DONE)
    assert [record.args for record in caplog.records] == [(trouble.error,)]


def test_who_leaves_in_the_middle_of_a_question_is_no_trouble(caplog: pytest.LogCaptureFixture) -> None:
    service = Service(DONE, takes=100.0)

    async def story() -> None:
        begun = asyncio.all_tasks()
        waiting = asyncio.create_task(service.news(wait()))
        await asyncio.sleep(1.0)
        waiting.cancel()
        await asyncio.wait({waiting})
        assert now() == 1.0
        assert asyncio.all_tasks() == begun

    play(story())
    assert caplog.records == []
    assert [client.shut for client in service.clients] == [True]


def test_who_comes_just_when_the_last_one_leaves_gets_a_poller_of_his_own() -> None:
    service = Service(RUNNING)

    async def story() -> None:
        first = asyncio.create_task(service.news(wait(1)))
        await asyncio.sleep(1.5)
        first.cancel()
        service.answers = [DONE]
        assert await asyncio.create_task(service.news(wait(2))) == [(1.5, End("ended", DONE))]
        assert len(service.clients) == 2

    play(story())


def test_the_poller_works_in_no_task_s_context() -> None:
    task_of_log: contextvars.ContextVar[str] = contextvars.ContextVar("task_of_log", default="triggerer")
    service, seen = Service(DONE), list[str]()

    async def connect() -> Any:
        seen.append(task_of_log.get())
        return await service.connect()

    async def story() -> None:
        task_of_log.set("the first task")
        assert [news async for news in watch("studio", wait(), connect)] == [End("ended", DONE)]

    play(story())
    assert seen == ["triggerer"]


@pytest.mark.parametrize("error", [AuthenticationError("No.", status=401), ConfigurationError("No key.")], ids=repr)
def test_a_client_that_is_refused_is_replaced(error: Exception, caplog: pytest.LogCaptureFixture) -> None:
    service = Service(error, DONE)
    assert [type(news) for _, news in play(service.news(wait()))] == [Trouble, End]
    assert len(service.clients) == 2
    assert [record.args for record in caplog.records] == [(error,)]


def test_a_client_that_was_replaced_is_closed_once_its_last_question_is_over() -> None:
    service = Service(AuthenticationError("No.", status=401), RUNNING)

    async def story() -> None:
        slow = asyncio.create_task(service.news(wait(1)))
        await asyncio.sleep(0.1)
        service.takes, service.key = 3.0, "AQVN2"
        quick = asyncio.create_task(service.news(wait(2)))
        await asyncio.sleep(2.0)  # by now the first one was refused, and has asked again with another client
        assert [client.shut for client in service.clients] == [False, False]
        await asyncio.sleep(2.0)
        assert [client.shut for client in service.clients] == [True, False]
        slow.cancel()
        quick.cancel()
        await asyncio.wait({slow, quick})

    play(story())


def test_an_outage_of_the_service_says_nothing_of_the_client() -> None:
    service = Service(DOWN, DOWN, DONE)
    play(service.news(wait()))
    assert [client.shut for client in service.clients] == [True]  # by the last one out


LASTING = ServiceUnavailable("It redirects.", status=301, lasting=True)
NO_ROLE = PermissionDenied("No role.", status=403)
DEAD = ServiceUnavailable("Connection refused.")
NO_ROUTE = NotFound("No such route.", status=404)
SPENT = RateLimited("Too many.", status=429)


@pytest.mark.parametrize(
    ("error", "with_the_old_one"), [(LASTING, 1), (NO_ROLE, 3), (DEAD, 3), (NO_ROUTE, 3), (SPENT, 6)]
)
def test_an_error_that_lasts_has_an_edited_connection_found_by_those_who_wait(
    error: Exception, with_the_old_one: int
) -> None:
    """A host that was switched off, a role that was taken away: each wait asked the old way until its deadline."""
    service = Service(*[error] * 5, DONE)

    async def story() -> list[Any]:
        waiting = asyncio.create_task(service.news(wait()))
        await asyncio.sleep(0.1)
        service.key = "AQVN2"
        return await waiting

    assert [type(news) for _, news in play(story())][-1] is End
    with_each = [client.asked for client in service.clients if client.asked]
    assert with_each == [count for count in (with_the_old_one, 6 - with_the_old_one) if count]


@pytest.mark.parametrize(("after", "rate"), [(29.0, 2.0), (31.0, 20.0)])
def test_a_wait_that_joins_has_an_edited_connection_found_soon(after: float, rate: float) -> None:
    """An edit of `polls_per_second`, the brake that an administrator has, reached no poller that was busy."""
    service = Service(RUNNING, per_second=2.0)

    async def story() -> None:
        waits = [asyncio.create_task(service.news(wait(number, age=1.0))) for number in range(40)]
        await asyncio.sleep(after)
        service.per_second = 20.0
        waits.append(asyncio.create_task(service.news(wait(40))))
        await asyncio.sleep(5.0)
        (shared,) = poller._pollers[asyncio.get_running_loop()].values()
        assert shared._budget is not None
        assert shared._budget.rate(now()) == rate
        for each in waits:
            each.cancel()
        await asyncio.wait(waits)

    play(story())
    assert [client.shut for client in service.clients] == [True] * (1 if rate == 2.0 else 2)


def test_a_connection_that_can_t_be_looked_up_is_everybody_s_trouble_until_it_can() -> None:
    service = Service(DONE)
    service.look_ups = [ConfigurationError("No key."), ConfigurationError("No key.")]

    async def story() -> list[Any]:
        return await asyncio.gather(*(service.news(wait(number)) for number in range(3)))

    told = play(story())
    assert {tuple(type(news) for _, news in each) for each in told} == {(Trouble, Trouble, End)}
    assert [(news.times, str(news.error)) for _, news in told[0][:2]] == [(1, "No key."), (2, "No key.")]


@pytest.mark.parametrize(("per_second", "places"), [(1.0, 1), (3.0, 1), (10.0, 5), (40.0, 20), (200.0, 20)], ids=str)
def test_one_api_has_half_of_the_budget_in_places_and_no_more_than_there_are_connections(
    per_second: float, places: int
) -> None:
    service = Service(DONE, takes=4.0, per_second=per_second)

    async def story() -> None:
        await asyncio.gather(*(service.news(wait(number)) for number in range(45)))

    play(story())
    assert service.most_under_way == places


def test_those_without_an_answer_have_half_of_the_places_and_get_the_others_back() -> None:
    service = Service(DONE, takes=1e6, per_second=40.0)
    most: list[int] = []

    async def story() -> None:
        waits = [asyncio.create_task(service.news(wait(number))) for number in range(20)]
        await asyncio.sleep(5.5)  # all were given up once
        service.most_under_way = 0
        await asyncio.sleep(60.0)
        most.append(service.most_under_way)
        service.takes = 0.0
        ends = await asyncio.gather(*waits)
        assert {type(each[-1][1]) for each in ends} == {End}

    play(story())
    assert most == [10]


def test_the_budget_of_questions_is_kept_and_they_are_counted_by_rounds(counted: list[Any]) -> None:
    service = Service(DONE, per_second=20.0)

    async def story() -> None:
        await asyncio.gather(*(service.news(wait(number)) for number in range(50)))

    play(story())
    assert sorted(Counter(service.times).items()) == [(0.0, 10), (0.5, 10), (1.0, 10), (1.5, 10), (2.0, 10)]
    assert counted == [(Metric("reads", 10), {"conn_id": "studio"})] * 5


def test_a_429_slows_all_down_and_is_told_with_the_pace(caplog: pytest.LogCaptureFixture) -> None:
    service = Service(RateLimited("Quota.", status=429), DONE, per_second=40.0)

    async def story() -> None:
        await asyncio.gather(*(service.news(wait(number)) for number in range(60)))

    play(story())
    assert sorted(Counter(service.times).items())[:2] == [(0.0, 20), (1.0, 11)]
    ((error, pace),) = [record.args for record in caplog.records]
    assert isinstance(error, RateLimited)
    assert pace == 20.0


def test_the_last_one_out_closes_the_client_and_the_next_one_in_gets_its_own() -> None:
    service = Service(RUNNING)

    async def story() -> None:
        begun = asyncio.all_tasks()
        waits = [asyncio.create_task(service.news(wait(number))) for number in range(2)]
        await asyncio.sleep(1.0)
        (shared,) = poller._pollers[asyncio.get_running_loop()].values()
        waits[0].cancel()
        await asyncio.sleep(1.0)
        assert not service.clients[0].shut
        assert not shared.idle
        waits[1].cancel()
        await asyncio.wait(waits)
        assert service.clients[0].shut
        assert shared.idle
        assert poller._pollers[asyncio.get_running_loop()] == {}
        assert asyncio.all_tasks() == begun
        service.answers = [DONE]
        assert await service.news(wait()) == [(2.0, End("ended", DONE))]
        assert len(service.clients) == 2

    play(story())


def test_each_connection_has_a_poller_of_its_own() -> None:
    service = Service(DONE, takes=1.0)

    async def story() -> None:
        await asyncio.gather(*(service.news(wait(), conn_id=conn_id) for conn_id in ("one", "one", "other")))

    play(story())
    assert len(service.clients) == 2


def test_a_wait_that_left_is_not_asked_about_again() -> None:
    service = Service(RUNNING)

    async def story() -> None:
        waits = [asyncio.create_task(service.news(wait(number))) for number in range(2)]
        await asyncio.sleep(0.5)
        waits[0].cancel()
        await asyncio.sleep(60.0)
        waits[1].cancel()
        await asyncio.wait(waits)

    play(story())
    assert [asked for _, asked in service.asked].count("d7q0") == 1


def test_a_poller_that_breaks_tells_its_waits_and_stops_what_is_under_way(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    service = Service(DONE, takes=100.0)

    def break_now(*_: Any, **__: Any) -> None:
        raise Broken

    async def story() -> None:
        begun = asyncio.all_tasks()
        first = asyncio.create_task(service.news(wait(1)))
        await asyncio.sleep(1.0)
        monkeypatch.setattr(poller, "tell", break_now)
        second = asyncio.create_task(service.news(wait(2)))
        ends = await asyncio.gather(first, second, return_exceptions=True)
        assert [type(end) for end in ends] == [PollerStopped, PollerStopped]
        assert now() < 2.0
        assert asyncio.all_tasks() == begun
        assert service.under_way == 0
        assert all(client.shut for client in service.clients)

    play(story())
    assert any(record.exc_info for record in caplog.records)


def test_what_nobody_foresaw_in_one_wait_ends_that_one_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    decide, service = poller.decide, Service(DONE)

    def breaking(wait: Wait, seen: Any, **how: Any) -> Any:
        if wait.operation_id == "d7q1":
            raise Broken
        return decide(wait, seen, **how)

    monkeypatch.setattr(poller, "decide", breaking)

    async def story() -> Any:
        return await asyncio.gather(service.news(wait(1)), service.news(wait(2)), return_exceptions=True)

    broken, sound = play(story())
    assert isinstance(broken, Broken)
    assert sound == [(0.0, End("ended", DONE))]


def test_a_refusal_is_an_answer_of_a_quick_service() -> None:
    refusal = RequestError("No.", status=403, arrived=False)
    service = Service(refusal, refusal, DONE)
    assert [type(news) for _, news in play(service.news(wait()))] == [Trouble, Trouble, End]
    assert service.times == [0.0, 1.0, 2.0]
