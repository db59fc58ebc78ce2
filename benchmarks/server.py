"""
The service that all contestants wait for: one process on the loopback interface, with a port for each run.

A run holds a number of jobs that end at planned times. Ours, and the bare loop, are served by the package's emulator;
for the peers there is just enough of their vendors' endpoints: a batch that is in progress, then has ended.

It ends when its standard input does, which is when its parent does.
"""

from __future__ import annotations

import asyncio
import itertools
import random
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from typing import Any

from aiohttp import web

from airflow_provider.yandex_ai_studio.emulator import names
from airflow_provider.yandex_ai_studio.emulator.fronts import Addresses, Fronts
from airflow_provider.yandex_ai_studio.emulator.generation.completion import RESPONSE_TYPE, complete
from airflow_provider.yandex_ai_studio.emulator.settings import Settings
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend
from airflow_provider.yandex_ai_studio.emulator.state.operations import Operations, success
from airflow_provider.yandex_ai_studio.emulator.state.stats import Peak
from benchmarks.service import Job, OpenRun, Order, Traffic

LIFETIME = 4 * 3600.0
"""Seconds after which the server ends in any case."""

PROMPT = "Deferrable operators free the worker while a text is written. " * 20


class EmulatorRun:
    """Serve operations: the package's emulator."""

    def __init__(self, order: Order) -> None:
        draw = random.Random(order.seed)
        arrivals = [order.arrival * number / order.count for number in range(order.count)]
        lengths = [draw.uniform(order.seconds, order.seconds_max) for _ in arrivals]
        quotas = order.service != "emulator"
        backend = Backend(Settings(latency=order.latency, enforce_quotas=quotas))
        backend.operations = Operations(backend.clock.now, backend.ids, lambda n: arrivals[n] + lengths[n])
        completion = complete({"messages": [{"role": "user", "text": PROMPT}]})
        ending = success({"@type": RESPONSE_TYPE, **completion.response()})
        # Created here, because by requests the vendor's quota of 10 a second would apply.
        operations = [backend.operations.create("benchmark", PROMPT, ending) for _ in arrivals]
        self.jobs = [
            Job(operation.id, operation.created_at + arrival, operation.created_at + arrival + length)
            for operation, arrival, length in zip(operations, arrivals, lengths, strict=True)
        ]
        self._backend = backend
        self._grpc = order.service == "emulator with quotas, gRPC"
        self._fronts = Fronts(backend, grpc_port=0 if self._grpc else None)

    async def start(self) -> Addresses:
        """Listen, and say where."""
        return await self._fronts.start()

    async def stop(self) -> Traffic:
        """Stop, and return what was counted."""
        await self._fronts.stop()
        stats = self._backend.stats.traffic()
        return Traffic(
            requests=stats["requests"][names.OPERATIONS_GET],
            connections=None if self._grpc else stats["connections"]["total"],
            busiest_second=stats["peak_requests_per_second"][names.OPERATIONS_GET],
            refused=stats["responses"][names.OPERATIONS_GET].get("429", 0),
        )


class PeerRun:
    """Serve batches of another vendor."""

    def __init__(self, order: Order, render: Callable[[str, bool], dict[str, Any]]) -> None:
        draw, now = random.Random(order.seed), time.time()
        self.jobs = [
            Job(f"batch_{n}", now, now + draw.uniform(order.seconds, order.seconds_max)) for n in range(order.count)
        ]
        self._ends = {job.id: job.ends_at for job in self.jobs}
        self._latency = order.latency
        self._render = render
        self._peak = Peak(time.monotonic)
        self._requests = 0
        self._server = _ConnectionCounter(self._answer)
        self._runner = web.ServerRunner(self._server, shutdown_timeout=0.2)

    async def start(self) -> Addresses:
        """Listen, and say where."""
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0, backlog=1024).start()
        return Addresses(f"http://127.0.0.1:{self._runner.addresses[0][1]}")

    async def stop(self) -> Traffic:
        """Stop, and return what was counted."""
        await self._runner.cleanup()
        return Traffic(self._requests, self._server.opened, self._peak.highest, 0)

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        self._requests += 1
        self._peak.hit()
        await asyncio.sleep(self._latency)
        batch_id = request.path.rpartition("/")[2]
        return web.json_response(self._render(batch_id, time.time() >= self._ends[batch_id]))


class _ConnectionCounter(web.Server):
    def __init__(self, handler: Callable[[web.BaseRequest], Any]) -> None:
        super().__init__(handler, access_log=None)
        self.opened = 0

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self.opened += 1


def openai_batch(batch_id: str, ended: bool) -> dict[str, Any]:
    """Render a batch as OpenAI does."""
    return {
        "id": batch_id,
        "object": "batch",
        "endpoint": "/v1/chat/completions",
        "input_file_id": "file-1",
        "completion_window": "24h",
        "status": "completed" if ended else "in_progress",
        "created_at": 1760000000,
        "request_counts": {"total": 1, "completed": int(ended), "failed": 0},
    }


def anthropic_batch(batch_id: str, ended: bool) -> dict[str, Any]:
    """Render a message batch as Anthropic does."""
    moment = "2026-01-01T00:00:00Z"
    return {
        "id": batch_id,
        "type": "message_batch",
        "processing_status": "ended" if ended else "in_progress",
        "request_counts": {
            "processing": int(not ended),
            "succeeded": int(ended),
            "errored": 0,
            "canceled": 0,
            "expired": 0,
        },
        "created_at": moment,
        "expires_at": moment,
        "ended_at": moment if ended else None,
        "archived_at": None,
        "cancel_initiated_at": None,
        "results_url": None,
    }


def prepared(order: Order) -> EmulatorRun | PeerRun:
    """Return the run that an order asks for; its jobs begin now."""
    match order.service:
        case "openai":
            return PeerRun(order, openai_batch)
        case "anthropic":
            return PeerRun(order, anthropic_batch)
        case _:
            return EmulatorRun(order)


class Desk:
    """Take orders for runs, on a port of its own."""

    def __init__(self) -> None:
        self._runs: dict[int, EmulatorRun | PeerRun] = {}
        self._numbers = itertools.count()
        self.app = web.Application()
        self.app.router.add_post("/runs", self.open)
        self.app.router.add_delete("/runs/{number}", self.close)

    async def open(self, request: web.Request) -> web.Response:
        """Begin a run, and return where it is and what to wait for."""
        run, number = prepared(Order(**await request.json())), next(self._numbers)
        self._runs[number] = run
        at = await run.start()
        opened = OpenRun(number, at.url, at.grpc_target, run.jobs)
        return web.json_response(asdict(opened))

    async def close(self, request: web.Request) -> web.Response:
        """End a run, and return its traffic."""
        traffic = await self._runs.pop(int(request.match_info["number"])).stop()
        return web.json_response(asdict(traffic))


async def serve() -> None:
    """Serve until standard input ends."""
    loop = asyncio.get_running_loop()
    commands = asyncio.StreamReader()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    runner = web.AppRunner(Desk().app, access_log=None)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    print(f"http://127.0.0.1:{runner.addresses[0][1]}", flush=True)
    async with asyncio.timeout(LIFETIME):
        await commands.read()


if __name__ == "__main__":
    asyncio.run(serve())
