"""The client that waits share: when it is looked up, how long that is waited for, and when each one is closed."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.client.credentials import ApiKey
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.client.triggerer import AsyncClient
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError, ServiceUnavailable
from airflow_provider.yandex_ai_studio.waiting.link import LOOK_UP_PATIENCE, PROMPT, Link
from virtual_time import play
from virtual_waits import now

REASON = ConfigurationError("It was refused.")


class Client(AsyncClient):
    """Takes a moment to close, and is closed once."""

    def __init__(self, key: str) -> None:
        self.settings = Settings(ApiKey(key))
        self.closes = 0

    def is_like(self, other: AsyncClient) -> bool:
        return self.settings == other.settings

    @property
    def closed(self) -> bool:
        return self.closes > 0

    async def close(self) -> None:
        await asyncio.sleep(0.5)
        self.closes += 1


class Connection:
    """An Airflow connection whose look-up takes some time, and may fail."""

    def __init__(self) -> None:
        self.key = "AQVN1"
        self.takes = 0.0
        self.fails: Exception | None = None
        self.looked_up: list[float] = []
        self.clients: list[Client] = []
        self.link = Link(self.connect)

    async def connect(self) -> AsyncClient:
        self.looked_up.append(now())
        await asyncio.sleep(self.takes)
        if self.fails:
            raise self.fails
        self.clients.append(Client(self.key))
        return self.clients[-1]

    @property
    def closes(self) -> list[int]:
        return [client.closes for client in self.clients]


def test_a_client_is_looked_up_once_and_kept() -> None:
    connection = Connection()

    async def story() -> None:
        first = await connection.link.open()
        await asyncio.sleep(100)
        assert await connection.link.open() is first
        assert connection.looked_up == [0.0]

    play(story())


def test_the_first_client_is_waited_for_but_not_forever() -> None:
    connection = Connection()
    connection.takes = 20.0

    async def story() -> None:
        assert await connection.link.open() is connection.clients[0]
        assert now() == 20.0
        hangs = Connection()
        hangs.takes = 1e6
        with pytest.raises(ServiceUnavailable, match=r"^The Airflow connection can't be looked up: TimeoutError\.$"):
            await hangs.link.open()
        assert now() == 20.0 + LOOK_UP_PATIENCE

    play(story())


@pytest.mark.parametrize(
    ("error", "told"),
    [
        (OSError("...the store is broken."), "The Airflow connection can't be looked up: ...the store is broken."),
        (OSError(), "The Airflow connection can't be looked up: OSError."),
        (ConfigurationError("No key."), "No key."),
    ],
)
def test_a_connection_that_can_t_be_looked_up_is_told(error: Exception, told: str) -> None:
    connection = Connection()
    connection.fails = error

    async def story() -> None:
        with pytest.raises((ServiceUnavailable, ConfigurationError)) as caught:
            await connection.link.open()
        assert str(caught.value) == told
        assert not getattr(caught.value, "arrived", False)
        assert caught.value.__cause__ is error

    play(story())


def test_a_client_in_doubt_is_replaced_and_the_questions_wait_for_that_a_moment_at_most(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connection = Connection()

    async def story() -> None:
        link = connection.link
        first = await link.open()
        await asyncio.sleep(10)
        link.doubt(first, REASON)
        link.doubt(first, REASON)
        connection.takes, connection.key = 5.0, "AQVN2"
        assert await link.open() is first
        assert now() == 10.0 + PROMPT
        assert await link.open() is first
        await asyncio.sleep(5)
        second = await link.open()
        assert second is connection.clients[1]
        link.doubt(first, REASON)  # it is of no account any more
        await asyncio.sleep(10)
        assert await link.open() is second
        assert connection.looked_up == [0.0, 10.0]
        assert connection.closes == [1, 0]

    play(story())
    assert [record.args for record in caplog.records] == [(REASON,)]


def test_a_client_in_doubt_is_kept_with_its_token_where_the_connection_says_what_it_said(
    caplog: pytest.LogCaptureFixture,
) -> None:
    connection = Connection()

    async def story() -> None:
        link = connection.link
        first = await link.open()
        for _ in range(3):
            await asyncio.sleep(10)
            link.doubt(first, REASON)
            assert await link.open() is first
        assert connection.looked_up == [0.0, 10.0, 20.0, 30.0]
        await asyncio.sleep(1)
        assert connection.closes == [0, 1, 1, 1]
        link.doubt(first, REASON, broken=True)
        await asyncio.sleep(10)
        link.doubt(first, REASON)
        assert await link.open() is connection.clients[-1]
        await asyncio.sleep(1)
        assert connection.closes == [1, 1, 1, 1, 0]

    play(story())
    assert [record.args for record in caplog.records] == [(REASON,)]  # once for a trouble


def test_who_joins_later_has_the_connection_looked_up_but_not_each_one() -> None:
    connection = Connection()

    async def story() -> None:
        link = connection.link
        link.join()
        first = await link.open()
        connection.key = "AQVN2"
        await asyncio.sleep(29)
        link.join()
        assert await link.open() is first
        await asyncio.sleep(1)
        link.join()
        link.join()
        assert await link.open() is connection.clients[1]
        link.join()
        assert await link.open() is connection.clients[1]
        assert connection.looked_up == [0.0, 30.0]

    play(story())


def test_where_the_client_was_closed_the_next_one_is_waited_for() -> None:
    connection = Connection()

    async def story() -> None:
        link = connection.link
        first = await link.open()
        await asyncio.sleep(10)
        await first.close()
        link.doubt(first, REASON)
        connection.takes = 5.0
        assert await link.open() is connection.clients[1]
        assert now() == 15.5

    play(story())


def test_a_look_up_that_fails_while_there_is_a_client_costs_nobody_that_one(caplog: pytest.LogCaptureFixture) -> None:
    connection = Connection()

    async def story() -> None:
        link = connection.link
        first = await link.open()
        await asyncio.sleep(10)
        link.doubt(first, REASON)
        connection.fails, connection.key = OSError("broken"), "AQVN2"
        assert await link.open() is first
        assert await link.open() is first
        assert connection.looked_up == [0.0, 10.0]
        await asyncio.sleep(2)
        connection.fails = None
        assert await link.open() is connection.clients[1]

    play(story())
    _, (failed,) = (record.args for record in caplog.records)
    assert str(failed) == "The Airflow connection can't be looked up: broken."


def test_a_client_that_was_replaced_is_closed_with_its_last_question() -> None:
    connection = Connection()

    async def story() -> None:
        link = connection.link
        first = await link.open()
        link.lend(first)
        link.lend(first)
        link.give_back(first)
        link.lend(first)
        await asyncio.sleep(10)
        link.doubt(first, REASON)
        connection.key = "AQVN2"
        second = await link.open()
        link.lend(second)
        link.give_back(second)
        link.give_back(first)
        await asyncio.sleep(1)
        assert connection.closes == [0, 0]
        link.give_back(first)
        await asyncio.sleep(1)
        assert connection.closes == [1, 0]
        await link.close()
        assert connection.closes == [1, 1]

    play(story())


@pytest.mark.parametrize("after", [1.0, 6.0], ids=["under way", "just done"])
def test_whoever_closes_the_link_leaves_nothing_open_and_nothing_under_way(after: float) -> None:
    connection = Connection()

    async def story() -> None:
        begun: set[asyncio.Task[Any]] = asyncio.all_tasks()
        link = connection.link
        first = await link.open()
        link.lend(first)
        await asyncio.sleep(10)
        link.doubt(first, REASON)
        connection.takes = 5.0
        await link.open()
        await asyncio.sleep(after)
        await link.close()
        assert connection.closes == [1] * (1 if after < 5 else 2)
        assert asyncio.all_tasks() == begun

    play(story())
