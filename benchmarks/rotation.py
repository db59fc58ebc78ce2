"""(f) A thousand waits while the key is rotated: for a while, nobody has a key that works."""

from __future__ import annotations

import asyncio
import json
import os
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

import requests

from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.triggers.operation import YandexAIStudioOperationTrigger
from benchmarks.quiet import silence
from benchmarks.report import Part, Table, Target, number, share, spread
from benchmarks.waits import BUDGET
from tools.harness.emulator import LocalEmulator

WAITS, QUICK_WAITS = 1000, 200
SECONDS, SECONDS_MAX = 60, 120
"""How long an operation takes, at least and at most."""

ROTATIONS = (10.0, 50.0)
"""When the old key is revoked, in seconds from the first wait on."""

WITHOUT_A_KEY = 15.0
"""Seconds until the connection has the new one."""

LIMIT = 600.0
CONN_ID = "rotated"
TRANSPORTS = ("rest", "grpc")


@dataclass(frozen=True)
class Rotated:
    """
    What came of one run.

    :param ended: Waits that were told the end of their operation.
    :param used: For each of them, its delay as a share of what it may take: a tenth of its operation's time and a
        second, or one round of all waits at the budget. It counts from the end of the operation, or from when the new
        key worked, if that came later and the old one was revoked before the end had to be seen.
    """

    transport: str
    ended: int
    used: list[float]


def allowance(length: float, waits: int) -> float:
    """Return how late an end may be seen, in seconds."""
    return max(0.1 * length + 1.0, waits / BUDGET)


def share_used(seen_at: float, ended_at: float, allowed: float, gaps: Sequence[tuple[float, float]]) -> float:
    """Return a delay as a share of what is allowed, without the time in which no key worked."""
    counts_from = ended_at
    for revoked_at, works_at in gaps:
        if counts_from < works_at and revoked_at < counts_from + allowed:
            counts_from = works_at
    return max(0.0, seen_at - counts_from) / allowed


def run(runs: int, waits: int, say: Callable[[str], None]) -> Part:
    """Rotate a key under the waits, over each transport, and repeat that."""
    silence()
    found: dict[str, list[Rotated]] = {transport: [] for transport in TRANSPORTS}
    for turn in range(1, runs + 1):
        for transport in TRANSPORTS:
            say(f"run {turn} of {runs}: {waits} waits over {transport}, a key rotated {len(ROTATIONS)} times")
            found[transport].append(asyncio.run(_rotated(transport, waits)))
    title = f"(f) {waits:,} waits, the key rotated {len(ROTATIONS)} times, each {WITHOUT_A_KEY:g} s without one"
    head = ("", "ended", "delay / what it may take, p50", "p95", "max")
    rows = [
        [transport, f"{min(each.ended for each in repeats):,}", *(_worst(repeats, part) for part in (0.5, 0.95, 1.0))]
        for transport, repeats in found.items()
    ]
    targets = [
        target
        for transport, repeats in found.items()
        for target in (
            Target(f"ended, {transport}", f"{waits:,}", f"{min(each.ended for each in repeats):,}"),
            Target(
                f"delay / what it may take, {transport}", "at most 1.5", spread([max(each.used) for each in repeats])
            ),
        )
    ]
    data = {transport: [asdict(each) for each in repeats] for transport, repeats in found.items()}
    return Part(title, [Table(f"{title}, the worst of {runs}", head, rows)], targets, data)


def _worst(repeats: Sequence[Rotated], part: float) -> str:
    return number(max(share(each.used, part) for each in repeats))


async def _rotated(transport: str, waits: int) -> Rotated:
    with LocalEmulator("--grpc-port", "0", "--seconds", str(SECONDS), "--seconds-max", str(SECONDS_MAX)) as service:
        fields: dict[str, Any] = {"transport": transport}
        if transport == "grpc":
            fields["grpc_target"] = service.grpc_target

        def use(key: str) -> None:
            extra = {**service.connection["extra"], **fields}
            os.environ[f"AIRFLOW_CONN_{CONN_ID.upper()}"] = json.dumps(
                {**service.connection, "password": key, "extra": extra}
            )

        use(service.api_key)
        hook = YandexAIStudioHook(CONN_ID)
        for _ in range(waits):
            await asyncio.to_thread(lambda: hook.submit_completion(hook.completion_request(prompt="What was written?")))
        seen: dict[str, float] = {}

        async def wait(operation_id: str, submitted_at: float) -> None:
            trigger = YandexAIStudioOperationTrigger(operation_id, CONN_ID, submitted_at, time.time() + LIMIT)
            async for event in trigger.run():
                if event.payload["outcome"] == "ended":
                    seen[operation_id] = time.time()

        gaps: list[tuple[float, float]] = []

        async def rotate() -> None:
            began = time.time()
            for at in ROTATIONS:
                await asyncio.sleep(began + at - time.time())
                key, revoked_at = f"AQVNrotated{at:g}", time.time()
                await asyncio.to_thread(_rotate, service, key)
                await asyncio.sleep(WITHOUT_A_KEY)
                use(key)
                gaps.append((revoked_at, time.time()))

        async with asyncio.timeout(LIMIT), asyncio.TaskGroup() as group:
            group.create_task(rotate())
            for each in service.operations():
                group.create_task(wait(each["id"], _seconds(each["created_at"])))
        ended = {
            each["id"]: (_seconds(each["created_at"]), _seconds(each["ended_at"])) for each in service.operations()
        }
        used = [
            share_used(seen_at, ended_at, allowance(ended_at - created_at, waits), gaps)
            for seen_at, (created_at, ended_at) in ((at, ended[one]) for one, at in seen.items())
        ]
        return Rotated(transport, len(seen), used)


def _seconds(moment: str) -> float:
    return datetime.fromisoformat(moment).timestamp()


def _rotate(service: LocalEmulator, key: str) -> None:
    requests.post(f"{service.url}/_emulator/api-keys", json={"rotate": key}, timeout=30).raise_for_status()
