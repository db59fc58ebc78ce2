"""What is asked in turn with the waits, and is none of theirs: cancellations. In virtual time."""

from __future__ import annotations

import asyncio

import pytest

from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    ConfigurationError,
    RateLimited,
    ServiceUnavailable,
)
from airflow_provider.yandex_ai_studio.waiting import poller
from airflow_provider.yandex_ai_studio.waiting.poller import PollerStopped, visit
from virtual_time import play
from virtual_waits import DONE, RUNNING, Service, now, wait

pytestmark = pytest.mark.usefixtures("virtual")


async def kill(service: Service, name: str, told: list[tuple[float, str]], requests: int = 2) -> None:
    """Take some turns, one after the other."""
    async with visit("studio", service.connect) as turn:
        for number in range(requests):
            async with turn() as client:
                told.append((round(now(), 3), f"{name}.{number}"))
                await asyncio.sleep(0.01)
                assert not client.closed


def test_cancellations_and_waits_share_one_client_and_one_budget() -> None:
    service, told = Service(RUNNING), list[tuple[float, str]]()

    async def story() -> None:
        waits = [asyncio.create_task(service.news(wait(number, age=10.0))) for number in range(40)]
        await asyncio.sleep(2.5)
        await asyncio.gather(*(kill(service, str(number), told) for number in range(100)))
        for each in waits:
            each.cancel()
        await asyncio.wait(waits)

    play(story())
    assert len(service.clients) == 1
    assert service.clients[0].shut
    moments = sorted([at for at, _ in told] + service.times)
    for at in moments:
        assert sum(at <= each < at + 1.0 for each in moments) <= 40
    assert max(at for at, _ in told) < 2.5 + 200 / 40 + 2


def test_who_came_first_is_through_with_all_its_turns_first() -> None:
    service, told = Service(DONE), list[tuple[float, str]]()

    async def story() -> None:
        async def later(number: int) -> None:
            await asyncio.sleep(number / 1e6)
            await kill(service, str(number), told)

        await asyncio.gather(*(later(number) for number in range(60)))

    play(story())
    at = {name: when for when, name in told}
    assert at["0.1"] == at["1.0"] == 0.5  # the second round
    assert all(at[f"{number}.1"] < at["59.0"] for number in range(15))


def test_a_turn_that_nobody_wants_any_more_keeps_no_place() -> None:
    service, told = Service(RUNNING, takes=0.0), list[tuple[float, str]]()

    async def story() -> None:
        waiting = asyncio.create_task(service.news(wait(age=10.0)))  # it keeps the poller
        kills = [asyncio.create_task(kill(service, str(number), told)) for number in range(50)]
        await asyncio.sleep(0)
        for each in kills[:45]:
            each.cancel()
        await asyncio.wait(kills)
        more = [asyncio.create_task(kill(service, "more", told)) for _ in range(50)]
        for _ in range(5):
            await asyncio.sleep(0)
        for each in more:  # some have a turn, and did not come to take it
            each.cancel()
        await asyncio.wait(more)
        async with asyncio.timeout(3):
            await asyncio.gather(*(kill(service, "last", told, requests=1) for _ in range(40)))
        waiting.cancel()
        await asyncio.wait({waiting})
        assert poller._pollers[asyncio.get_running_loop()] == {}

    play(story())


@pytest.mark.parametrize(
    ("error", "clients"), [(RateLimited("Too many.", status=429), 1), (AuthenticationError("No.", status=401), 2)]
)
def test_what_a_cancellation_meets_is_heeded_for_all(error: Exception, clients: int) -> None:
    service = Service(RUNNING)

    async def story() -> None:
        waiting = asyncio.create_task(service.news(wait(age=10.0)))
        await asyncio.sleep(0.5)
        service.key = "AQVN2"
        with pytest.raises(type(error)):
            async with visit("studio", service.connect) as turn, turn():
                raise error
        (shared,) = poller._pollers[asyncio.get_running_loop()].values()
        assert shared._budget is not None
        assert shared._budget.rate(now()) == (20.0 if clients == 1 else 40.0)
        await asyncio.sleep(3)
        waiting.cancel()
        await asyncio.wait({waiting})

    play(story())
    assert len(service.clients) == clients


@pytest.mark.parametrize("error", [ConfigurationError("No key."), ServiceUnavailable("No backend.")])
def test_who_comes_for_a_turn_where_there_is_no_client_hears_it(error: Exception) -> None:
    service, told = Service(RUNNING), list[tuple[float, str]]()
    service.look_ups = [error]

    async def story() -> None:
        with pytest.raises((ConfigurationError, ServiceUnavailable), match="No "):
            await kill(service, "early", told)
        await kill(service, "late", told)

    play(story())
    assert [name for _, name in told] == ["late.0", "late.1"]


def test_who_comes_for_a_turn_of_a_poller_that_stopped_hears_it_and_the_next_one_has_another(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    service, told = Service(RUNNING), list[tuple[float, str]]()

    def broken(*_: object) -> None:
        raise ZeroDivisionError

    async def story() -> None:
        with monkeypatch.context() as broke:
            broke.setattr(poller.Turns, "take", broken)
            async with visit("studio", service.connect) as turn:
                for _ in range(2):
                    with pytest.raises(PollerStopped):
                        async with turn():
                            pass
        await kill(service, "next", told)

    play(story())
    assert len(told) == 2
