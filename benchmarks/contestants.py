"""Who competes: how each is connected to the server, and how it waits for one job."""

from __future__ import annotations

import asyncio
import json
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib import import_module
from typing import TYPE_CHECKING, Any

import certifi

from benchmarks.service import Job, OpenRun, Service

if TYPE_CHECKING:
    import aiohttp
    from airflow.triggers.base import BaseTrigger

POLL_INTERVAL = 5.0
"""Seconds between two questions about a job, of those who poll at an interval."""

ROUNDS, ROUND = 2, 20
"""Rounds in a second, and questions in a round, of the bare loop that keeps to a pace."""

PATIENCE = 3600.0
"""Seconds that a trigger is told to wait at most."""


class Contestant(ABC):
    """Waits for jobs. Imports what it needs when it is made."""

    service: Service
    connection = ("", "")
    """The id of the Airflow connection, and its type."""

    def environment(self, run: OpenRun) -> dict[str, str]:
        """Return the environment variables that lead to the server: an Airflow connection."""
        conn_id, conn_type = self.connection
        connection = {"conn_type": conn_type, "host": self.host(run), "password": "key", "extra": self.fields(run)}
        return {f"AIRFLOW_CONN_{conn_id.upper()}": json.dumps(connection)}

    def host(self, run: OpenRun) -> str:
        """Return the host of the connection."""
        return run.url

    def fields(self, run: OpenRun) -> dict[str, Any]:
        """Return the extra fields of the connection."""
        return {}

    @asynccontextmanager
    async def at(self, run: OpenRun) -> AsyncIterator[None]:
        """Hold what all waits share, where that is not the contestant's own business."""
        yield

    @abstractmethod
    async def wait(self, job: Job) -> None:
        """Wait until a job has ended."""


class Triggers(Contestant):
    """Waits as a triggerer does: with a trigger for each job."""

    @abstractmethod
    def trigger(self, job: Job) -> BaseTrigger:
        """Return the trigger that waits for a job."""

    @abstractmethod
    def is_end(self, payload: dict[str, Any]) -> bool:
        """Tell whether an event says that its job ended well."""

    async def wait(self, job: Job) -> None:
        """Run a trigger to its end, as the triggerer does."""
        payloads = [event.payload async for event in self.trigger(job).run()]
        if not all(map(self.is_end, payloads)) or not payloads:
            raise RuntimeError(f"Events that should not be: {payloads}")


class Ours(Triggers):
    """The trigger of this package."""

    service: Service = "emulator with quotas"
    connection = ("yandex_ai_studio_default", "yandex_ai_studio")

    def __init__(self) -> None:
        from airflow_provider.yandex_ai_studio.triggers import operation
        from airflow_provider.yandex_ai_studio.waiting import poller  # noqa: F401 - the trigger imports it when it runs

        self._operation = operation

    def trigger(self, job: Job) -> BaseTrigger:
        """Return what the operator defers with."""
        deadline = job.begins_at + PATIENCE
        return self._operation.YandexAIStudioOperationTrigger(job.id, submitted_at=job.begins_at, deadline=deadline)

    def is_end(self, payload: dict[str, Any]) -> bool:
        """Tell whether the event says that the operation ended."""
        return bool(payload["outcome"] == "ended")


class OursOverGrpc(Ours):
    """The same over gRPC."""

    service: Service = "emulator with quotas, gRPC"

    def fields(self, run: OpenRun) -> dict[str, Any]:
        """Choose gRPC."""
        return {"transport": "grpc", "grpc_target": run.grpc_target}


class OpenAI(Triggers):
    """The trigger of the OpenAI provider."""

    service: Service = "openai"
    connection = ("openai_default", "openai")

    def __init__(self) -> None:
        self._openai = import_module("airflow.providers.openai.triggers.openai")

    def host(self, run: OpenRun) -> str:
        """Add the path that the client expects in the URL."""
        return f"{run.url}/v1"

    def trigger(self, job: Job) -> BaseTrigger:
        """Return what the operator defers with."""
        trigger: BaseTrigger = self._openai.OpenAIBatchTrigger(
            "openai_default", job.id, POLL_INTERVAL, timeout=PATIENCE
        )
        return trigger

    def is_end(self, payload: dict[str, Any]) -> bool:
        """Tell whether the event says that the batch completed."""
        return bool(payload["status"] == "success")


class Anthropic(Triggers):
    """The trigger of the Anthropic provider."""

    service: Service = "anthropic"
    connection = ("anthropic_default", "anthropic")

    def __init__(self) -> None:
        self._batch = import_module("airflow.providers.anthropic.triggers.batch")

    def trigger(self, job: Job) -> BaseTrigger:
        """Return what the operator defers with."""
        end_time = job.begins_at + PATIENCE
        trigger: BaseTrigger = self._batch.AnthropicBatchTrigger("anthropic_default", job.id, POLL_INTERVAL, end_time)
        return trigger

    def is_end(self, payload: dict[str, Any]) -> bool:
        """Tell whether the event says that the batch ended."""
        return bool(payload["status"] == "success")


class Bare(Contestant):
    """A loop for each job over one aiohttp session, as it would be written without a second thought."""

    service: Service = "emulator"

    def __init__(self) -> None:
        import aiohttp

        self._aiohttp = aiohttp
        self._session: aiohttp.ClientSession

    def environment(self, run: OpenRun) -> dict[str, str]:
        """Return nothing: it knows no Airflow."""
        return {}

    @asynccontextmanager
    async def at(self, run: OpenRun) -> AsyncIterator[None]:
        """Hold the session."""
        async with self._aiohttp.ClientSession(run.url, headers={"Authorization": "Api-Key key"}) as self._session:
            yield

    async def wait(self, job: Job) -> None:
        """Ask, and sleep, until the operation is done."""
        while not await self._done(job):
            await asyncio.sleep(POLL_INTERVAL)

    async def _done(self, job: Job) -> bool:
        async with self._session.get(f"/operations/{job.id}") as response:
            return bool((await response.json())["done"])


class BareInRounds(Bare):
    """The same loop at the pace that the quota allows: 20 questions at once, twice a second."""

    @asynccontextmanager
    async def at(self, run: OpenRun) -> AsyncIterator[None]:
        """Hold the session, and give out the places."""
        self._places: deque[asyncio.Future[None]] = deque()
        async with super().at(run):
            giver = asyncio.create_task(self._give())
            yield
            giver.cancel()

    async def wait(self, job: Job) -> None:
        """Ask when it is this job's turn, until the operation is done."""
        while True:
            place = asyncio.get_running_loop().create_future()
            self._places.append(place)
            await place
            if await self._done(job):
                return
            await asyncio.sleep(POLL_INTERVAL)

    async def _give(self) -> None:
        while True:
            for _ in range(min(ROUND, len(self._places))):
                self._places.popleft().set_result(None)
            await asyncio.sleep(1.0 / ROUNDS)


class InACompany(Contestant):
    """Where ``SSL_CERT_FILE`` names the certificates to trust, as networks with an authority of their own need it."""

    def environment(self, run: OpenRun) -> dict[str, str]:
        """Name certificates. The server speaks no TLS: what it costs is that somebody reads them."""
        return {**super().environment(run), "SSL_CERT_FILE": certifi.where()}


class OursInACompany(InACompany, Ours):
    """The trigger of this package, there."""


class OpenAIInACompany(InACompany, OpenAI):
    """The trigger of the OpenAI provider, there."""


class AnthropicInACompany(InACompany, Anthropic):
    """The trigger of the Anthropic provider, there."""


CONTESTANTS: dict[str, type[Contestant]] = {
    "this package": Ours,
    "bare aiohttp": Bare,
    "bare aiohttp, 40 a second": BareInRounds,
    "this package, gRPC": OursOverGrpc,
    "openai provider": OpenAI,
    "anthropic provider": Anthropic,
    "this package, SSL_CERT_FILE": OursInACompany,
    "openai provider, SSL_CERT_FILE": OpenAIInACompany,
    "anthropic provider, SSL_CERT_FILE": AnthropicInACompany,
}
