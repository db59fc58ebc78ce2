"""What is agreed between the server and those who use it, and how they reach it. Imports nothing that costs."""

from __future__ import annotations

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import Any, Literal

TIMEOUT = 60.0
"""Seconds that the server may take to open or close a run."""

LATENCY = 0.02
"""Seconds that each answer takes."""

Service = Literal["emulator", "emulator with quotas", "emulator with quotas, gRPC", "openai", "anthropic"]


@dataclass(frozen=True)
class Order:
    """
    What a run shall hold.

    :param service: Whose endpoints.
    :param count: How many jobs.
    :param seconds: The least time that a job takes.
    :param seconds_max: The longest.
    :param arrival: The jobs begin one by one in the course of this many seconds; 0: all at once.
    :param seed: What the times are drawn from.
    """

    service: Service
    count: int
    seconds: float
    seconds_max: float
    arrival: float = 0.0
    seed: int = 1
    latency: float = LATENCY


@dataclass(frozen=True)
class Job:
    """What is waited for, and when it is planned to begin and to end, in seconds since the epoch."""

    id: str
    begins_at: float
    ends_at: float


@dataclass(frozen=True)
class Traffic:
    """
    What the server saw of a run.

    :param requests: How often it was asked.
    :param connections: TCP connections that were opened; None over gRPC, whose server does not say.
    :param busiest_second: The most requests in any window of one second.
    :param refused: Answers with 429.
    """

    requests: int
    connections: int | None
    busiest_second: int
    refused: int


@dataclass(frozen=True)
class OpenRun:
    """
    A run that the server has begun.

    :param grpc_target: Where it is reached over gRPC, if it is.
    """

    number: int
    url: str
    grpc_target: str | None
    jobs: list[Job]


class Desk:
    """Orders runs from the server."""

    def __init__(self, url: str) -> None:
        self._url = url

    def open(self, order: Order) -> OpenRun:
        """Begin a run: its jobs begin now."""
        answer = self._ask("POST", "/runs", asdict(order))
        return OpenRun(**{**answer, "jobs": [Job(**job) for job in answer["jobs"]]})

    def close(self, run: OpenRun) -> Traffic:
        """End a run, and return what the server saw of it."""
        return Traffic(**self._ask("DELETE", f"/runs/{run.number}"))

    def _ask(self, method: str, path: str, body: Any = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - the URL is that of our own server
            self._url + path, json.dumps(body).encode(), {"Content-Type": "application/json"}, method=method
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(request, timeout=TIMEOUT) as response:
            return json.load(response)


@contextmanager
def local_server() -> Iterator[str]:
    """Run the server in a process of its own, and yield the URL of its desk."""
    command = [sys.executable, "-m", "benchmarks.server"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            url = process.stdout.readline().strip()
            if not url:
                raise RuntimeError("The server did not start.")
            yield url
        finally:
            process.stdin.close()
            try:
                process.wait(TIMEOUT)
            except subprocess.TimeoutExpired:
                process.kill()
