"""Waits in virtual time, and the service that they are about as a function of the operation's id."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any

from airflow_provider.yandex_ai_studio.api.models import Generation, Operation, Usage
from airflow_provider.yandex_ai_studio.client.credentials import ApiKey
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.client.triggerer import AsyncClient
from airflow_provider.yandex_ai_studio.exceptions import ServiceUnavailable
from airflow_provider.yandex_ai_studio.waiting.decision import Wait
from airflow_provider.yandex_ai_studio.waiting.poller import watch

EPOCH = 1_800_000_000.0
RUNNING = Operation("d7q", "completion")
DONE = Operation("d7q", "completion", done=True, generation=Generation("Quack.", "final", Usage()))
DOWN = ServiceUnavailable("It is down.", status=503)
Answer = Callable[[str], Awaitable[Operation]]


def now() -> float:
    return asyncio.get_running_loop().time()


class Client(AsyncClient):
    """Asks a service that is a function of the operation's id."""

    def __init__(self, answer: Answer, settings: Settings) -> None:
        self.settings = settings
        self.answer = answer
        self.under_way = self.asked = 0
        self.shut = False

    @property
    def closed(self) -> bool:
        return self.shut

    def is_like(self, other: AsyncClient) -> bool:
        return self.settings == other.settings

    async def close(self) -> None:
        assert not self.under_way, "it is closed under a question"
        self.shut = True

    async def send(self, call: Any, **_: Any) -> Any:
        self.under_way += 1
        self.asked += 1
        try:
            return await self.answer(call.url)
        except asyncio.CancelledError:
            for _ in range(5):
                await asyncio.sleep(0)  # a library takes a moment to let go
            raise
        finally:
            self.under_way -= 1


class Service:
    """
    What the waits of a test are about.

    :param answers: What it answers to each question, one after the other; the last one stays. An error is raised.
    :param takes: Seconds that each answer takes.
    """

    def __init__(self, *answers: Operation | BaseException, takes: float = 0.0, per_second: float = 40.0) -> None:
        self.answers = [*answers]
        self.takes = takes
        self.per_second = per_second
        self.key = "AQVN1"
        self.asked: list[tuple[float, str]] = []
        self.clients: list[Client] = []
        self.look_ups: list[Exception] = []
        self.under_way = self.most_under_way = 0

    async def connect(self) -> AsyncClient:
        if self.look_ups:
            raise self.look_ups.pop(0)
        self.clients.append(Client(self._answer, Settings(ApiKey(self.key), polls_per_second=self.per_second)))
        return self.clients[-1]

    async def _answer(self, url: str) -> Operation:
        self.asked.append((now(), url.rpartition("/")[2]))
        self.under_way += 1
        self.most_under_way = max(self.most_under_way, self.under_way)
        try:
            await asyncio.sleep(self.takes)
        finally:
            self.under_way -= 1
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    @property
    def times(self) -> list[float]:
        return [round(at, 3) for at, _ in self.asked]

    async def news(self, wait: Wait, *, conn_id: str = "studio") -> list[tuple[float, Any]]:
        """Return what a wait hears, and when."""
        return [(round(now(), 3), news) async for news in watch(conn_id, wait, self.connect)]


def wait(number: int = 1, *, age: float = 5.0, deadline: float | None = None, **fields: Any) -> Wait:
    """Return a wait; its deadline is in so many seconds from the begin of time."""
    return Wait(f"d7q{number}", EPOCH - age, None if deadline is None else EPOCH + deadline, **fields)
