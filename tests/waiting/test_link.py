"""The client that all waits share is closed when its last question is over, whichever way it went out of use."""

from __future__ import annotations

import asyncio
from dataclasses import replace

import pytest

from airflow_provider.yandex_ai_studio.client.triggerer import AsyncClient
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import AuthenticationError
from airflow_provider.yandex_ai_studio.waiting.link import Link
from waits import PATIENCE, Connector, settings, until


async def replaced(connector: Connector, link: Link, client: AsyncClient) -> AsyncClient:
    """Edit the connection, and doubt a client until there is another."""
    connector.settings = replace(connector.settings, folder_id="b1gother")
    link.doubt(client, AuthenticationError("refused", status=401))
    async with asyncio.timeout(PATIENCE):
        while (found := await link.open()) is client:
            await asyncio.sleep(0.05)
    return found


@pytest.fixture
def connector(emulator: Emulator) -> Connector:
    return Connector(settings(emulator))


async def test_a_client_that_was_replaced_is_closed_when_its_last_question_is_over(connector: Connector) -> None:
    link = Link(connector)
    first = await link.open()
    link.lend(first)
    link.lend(first)
    second = await replaced(connector, link, first)
    link.give_back(first)
    await asyncio.sleep(0)
    assert not first.closed
    link.give_back(first)
    await until(lambda: first.closed)
    assert not second.closed
    await link.close()


async def test_a_client_that_is_still_lent_when_all_waits_are_over_is_closed_with_the_others(
    connector: Connector,
) -> None:
    """A question that was cancelled before it began gives nothing back."""
    link = Link(connector)
    first = await link.open()
    link.lend(first)
    second = await replaced(connector, link, first)
    await link.close()
    assert first.closed
    assert second.closed
