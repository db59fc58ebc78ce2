"""When the poller asks, what it tells and when it ends: to the moment, in time that passes only where all wait."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api.models import Operation
from airflow_provider.yandex_ai_studio.client.credentials import ApiKey
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.client.triggerer import AsyncClient
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError
from airflow_provider.yandex_ai_studio.waiting.decision import End, Wait
from airflow_provider.yandex_ai_studio.waiting.poller import OperationPoller, Recovered, StillRunning, Trouble, watch
from virtual_time import play
from virtual_waits import DONE, DOWN, EPOCH, RUNNING, Client, Service, wait

pytestmark = pytest.mark.usefixtures("virtual")


def test_an_operation_is_asked_about_by_its_age_until_it_has_ended() -> None:
    service = Service(RUNNING, RUNNING, RUNNING, DONE)
    assert play(service.news(wait(age=20.0))) == [(6.62, End("ended", DONE))]
    assert service.times == [0.0, 2.0, 4.2, 6.62]
    assert {asked for _, asked in service.asked} == {"d7q1"}


def test_a_fresh_operation_is_left_its_first_second() -> None:
    service = Service(DONE)
    assert play(service.news(wait(age=0.25))) == [(0.75, End("ended", DONE))]


def test_the_api_of_a_wait_is_the_one_that_is_asked() -> None:
    urls: list[str] = []

    async def answer(url: str) -> Operation:
        urls.append(url)
        return DONE

    async def connect() -> AsyncClient:
        return Client(answer, Settings(ApiKey("AQVN1")))

    async def story() -> list[Any]:
        return [news async for news in watch("studio", wait(api="responses"), connect)]

    assert play(story()) == [End("ended", DONE)]
    assert urls == ["https://ai.api.cloud.yandex.net/v1/responses/d7q1"]


def test_what_is_no_operation_id_is_refused_before_anything_is_asked() -> None:
    service = Service(DONE)
    ((at, end),) = play(service.news(Wait("None", EPOCH)))
    assert (at, end.outcome) == (0.0, "refused")
    assert isinstance(end.error, ConfigurationError)
    assert service.clients == []


@pytest.mark.parametrize(
    ("deadline", "at"), [(30.0, 30.0), (-60.0, 5.0), (2.0, 5.0)], ids=["to come", "passed", "near"]
)
def test_a_wait_ends_at_its_deadline_or_after_one_question_whatever_hangs(deadline: float, at: float) -> None:
    service = Service(RUNNING, takes=3600.0)
    assert play(service.news(wait(deadline=deadline)))[-1] == (at, End("timeout"))


def test_each_of_many_deadlines_is_kept_whichever_came_first_and_whoever_left() -> None:
    service = Service(RUNNING, takes=3600.0)

    async def story() -> list[Any]:
        waits = [asyncio.create_task(service.news(wait(number, deadline=number))) for number in (30, 10, 20, 40, 15)]
        await asyncio.sleep(5.0)
        waits[1].cancel()
        waits[4].cancel()
        ends = await asyncio.gather(*waits, return_exceptions=True)
        return [None if isinstance(end, BaseException) else end[-1] for end in ends]

    assert play(story()) == [(at, End("timeout")) if at else None for at in (30.0, None, 20.0, 40.0, None)]


def test_waits_that_left_before_their_deadlines_are_forgotten_now_and_then() -> None:
    async def story() -> list[int]:
        shared = OperationPoller("studio", Service(RUNNING, takes=1e6).connect)

        async def begin(number: int) -> None:
            async for _ in shared.watch(wait(number, deadline=86_400.0)):
                raise AssertionError

        staying = asyncio.create_task(begin(0))
        kept = []
        for number in range(1, 106):
            leaving = asyncio.create_task(begin(number))
            await asyncio.sleep(0)
            kept.append(len(shared._deadlines))
            leaving.cancel()
            await asyncio.sleep(0)
        staying.cancel()
        await asyncio.wait({staying})
        return kept

    assert play(story()) == [*range(2, 106), 2]


def test_troubles_are_told_ever_more_seldom_and_a_recovery_once() -> None:
    service = Service(*[DOWN] * 9, RUNNING, DONE)
    told = [news for _, news in play(service.news(wait(age=20.0)))]
    assert told == [
        *[Trouble(DOWN, times) for times in (1, 2, 4, 8)],
        Recovered(9),
        End("ended", DONE),
    ]


def test_a_wait_that_goes_on_says_so_after_a_minute_and_each_time_that_it_has_doubled() -> None:
    service = Service(RUNNING)
    told = play(service.news(wait(deadline=600.0)))
    *running, end = told
    assert {type(news) for _, news in running} == {StillRunning}
    assert end == (600.0, End("timeout"))
    first, second, third, fourth = (at for at, _ in running)
    assert 60.0 <= first < 70.0
    assert 2 * first <= second < 2.2 * first
    assert 2 * second <= third < 2.2 * second
    assert 2 * third <= fourth < 2.2 * third


def test_a_question_that_hangs_is_given_up_and_the_next_one_has_twice_as_long() -> None:
    service = Service(DONE, takes=18.0)
    told = play(service.news(wait()))
    assert [(at, type(news)) for at, news in told] == [(5.0, Trouble), (16.0, Trouble), (36.0, End)]
    assert "the service did not answer in time" in str(told[0][1].error)
    assert told[0][1].error.arrived
    assert service.times == [0.0, 6.0, 18.0]


def test_a_service_that_has_answered_so_far_is_given_up_as_soon_as_at_first() -> None:
    service = Service(RUNNING)

    async def story() -> list[Any]:
        waiting = asyncio.create_task(service.news(wait(age=100.0)))
        await asyncio.sleep(25.0)
        service.takes = 1e6
        await asyncio.sleep(30.0)
        service.takes, service.answers = 0.0, [DONE]
        return await waiting

    (at, trouble), *_ = play(story())
    assert isinstance(trouble, Trouble)
    assert at == service.times[3] + 5.0


def test_an_answer_makes_the_service_a_quick_one_again() -> None:
    service = Service(DONE, takes=6.0)

    async def story() -> list[Any]:
        waiting = asyncio.create_task(service.news(wait()))
        await asyncio.sleep(7.0)
        service.takes, service.answers = 0.5, [RUNNING, RUNNING, DONE]
        await asyncio.sleep(2.0)
        return await waiting

    told = play(story())
    assert [type(news) for _, news in told] == [Trouble, Recovered, End]


def test_an_operation_of_the_future_is_asked_about_as_one_of_now() -> None:
    """Where the triggerer's clock is behind, it was asked about each second, for as long as the clocks differed."""
    times = []
    for age in (0.0, -600.0):
        service = Service(*[RUNNING] * 20, DONE)
        play(service.news(wait(age=age)))
        times.append(service.times)
    assert times[0] == times[1]
