"""Waits on a real event loop, and the look-up of the connection that they share."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.models import Api
from airflow_provider.yandex_ai_studio.client.credentials import ApiKey
from airflow_provider.yandex_ai_studio.client.grpc import GrpcAsyncClient
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.client.triggerer import AsyncClient
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.waiting import poller
from airflow_provider.yandex_ai_studio.waiting.decision import End, Wait
from support import API_KEY, FOLDER

CONN_ID = "shared"

PATIENCE, HANGS = 60.0, 600.0
"""Seconds after which a test is given up, and for which a service hangs that hangs: no verdict depends on either."""


@dataclass
class Connector:
    """
    Stands for the look-up of an Airflow connection, and counts how often it happens.

    :param failing: What it raises.
    """

    settings: Settings
    clients: list[AsyncClient] = field(default_factory=list)
    failing: Exception | None = None
    look_ups: int = 0

    async def __call__(self) -> AsyncClient:
        self.look_ups += 1
        if self.failing:
            raise self.failing
        self.clients.append((GrpcAsyncClient if self.settings.transport == "grpc" else AsyncClient)(self.settings))
        return self.clients[-1]


def settings(
    emulator: Emulator, key: str = API_KEY, polls_per_second: float = 200.0, transport: str = "rest"
) -> Settings:
    return Settings(
        ApiKey(key),
        Endpoints.at(emulator.url),
        FOLDER,
        polls_per_second=polls_per_second,
        transport=transport,
        grpc_target=emulator.grpc_target if transport == "grpc" else None,
    )


def submit(hook: YandexAIStudioHook, number: int = 1) -> list[str]:
    return [hook.submit_completion(hook.completion_request(prompt=f"Text {n}.")).id for n in range(number)]


async def end_of(
    connector: Connector,
    operation_id: str,
    *,
    age: float = 5.0,
    deadline: float | None = None,
    api: Api = "completion",
) -> End:
    wait = Wait(operation_id, time.time() - age, deadline, api=api)
    news = [news async for news in poller.watch(CONN_ID, wait, connector)]
    assert isinstance(news[-1], End)
    assert not any(isinstance(item, End) for item in news[:-1])
    return news[-1]


@asynccontextmanager
async def waiting(connector: Connector, ids: list[str], **how: Any) -> AsyncIterator[list[asyncio.Task[End]]]:
    """Keep waits running inside the block."""
    tasks = [asyncio.create_task(end_of(connector, operation_id, **how)) for operation_id in ids]
    await asyncio.sleep(0)
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def until(condition: Callable[[], object], seconds: float = PATIENCE) -> None:
    """Wait for a condition, within bounds."""
    async with asyncio.timeout(seconds):
        while not condition():
            await asyncio.sleep(0.01)


def reads(emulator: Emulator) -> int:
    return int(emulator.stats()["requests"]["operations.get"])
