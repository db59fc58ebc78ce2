"""
One contestant and one run, in a process of its own: ``python -m benchmarks.contest``, with the order on standard input.

What is measured begins after everything is imported and one job was waited for, so that what a library sets up once
does not count. A watchdog sleeps for short whiles on the same event loop, and notes how late it wakes; its own CPU
time is measured alone first, and taken off.
"""

from __future__ import annotations

import asyncio
import contextlib
import gc
import json
import os
import resource
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.contestants import CONTESTANTS, Contestant
from benchmarks.quiet import silence
from benchmarks.service import Desk, Job, OpenRun, Order, Traffic

NAP = 0.02
"""Seconds that the watchdog sleeps."""

IDLE_SECONDS = 3.0
"""Seconds in which the watchdog is measured alone."""

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Result:
    """
    What a run has cost.

    :param ended: How many jobs were seen to end.
    :param seconds: Wall time.
    :param cpu_seconds: CPU time of the process, all threads, without the watchdog's.
    :param memory_mb: What the resident memory grew by, at its peak.
    :param longest_block: The longest time in seconds that the event loop did not get around to the watchdog.
    :param lengths: The seconds that each job took.
    :param delays: The seconds from the end of each job to its event.
    """

    name: str
    order: Order
    ended: int
    seconds: float
    cpu_seconds: float
    watchdog_cpu_seconds: float
    memory_mb: float
    longest_block: float
    lengths: list[float]
    delays: list[float]
    traffic: Traffic


class Watchdog:
    """Notes how late it wakes."""

    def __init__(self) -> None:
        self.longest = 0.0

    async def watch(self) -> None:
        """Sleep and wake, until cancelled."""
        while True:
            began = time.perf_counter()
            await asyncio.sleep(NAP)
            self.longest = max(self.longest, time.perf_counter() - began - NAP)


async def watched(contestant: Contestant, run: OpenRun, limit: float) -> tuple[list[float], float]:
    """Wait for all jobs at once; return when each was seen to end, and the longest block of the event loop."""

    async def one(job: Job) -> float:
        await asyncio.sleep(max(0.0, job.begins_at - time.time()))
        await contestant.wait(job)
        return time.time()

    watchdog = Watchdog()
    watching = asyncio.create_task(watchdog.watch())
    try:
        async with asyncio.timeout(limit), contestant.at(run):
            seen = await asyncio.gather(*map(one, run.jobs))
    finally:
        watching.cancel()
    return seen, watchdog.longest


def watchdog_share() -> float:
    """Return the CPU time that the watchdog takes in a second."""

    async def alone() -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(Watchdog().watch(), IDLE_SECONDS)

    began = time.process_time()
    asyncio.run(alone())
    return (time.process_time() - began) / IDLE_SECONDS


def resident_bytes() -> int:
    """Return the memory that this process holds now."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()


def peak_bytes() -> int:
    """Return the most memory that this process ever held."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def measure(name: str, order: Order, desk: Desk, limit: float) -> Result:
    """Let a contestant wait for a run."""
    contestant = CONTESTANTS[name]()
    silence()
    first = desk.open(Order(order.service, 1, 0.0, 0.0))
    os.environ.update(contestant.environment(first))
    asyncio.run(watched(contestant, first, limit))
    desk.close(first)
    share = watchdog_share()
    run = desk.open(order)
    os.environ.update(contestant.environment(run))
    gc.collect()
    memory = resident_bytes()
    began, cpu = time.perf_counter(), time.process_time()
    seen, longest = asyncio.run(watched(contestant, run, limit))
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Result(
        name=name,
        order=order,
        ended=len(seen),
        seconds=seconds,
        cpu_seconds=cpu - share * seconds,
        watchdog_cpu_seconds=share * seconds,
        memory_mb=(peak_bytes() - memory) / MEBIBYTE,
        longest_block=longest,
        lengths=[job.ends_at - job.begins_at for job in run.jobs],
        delays=[at - job.ends_at for at, job in zip(seen, run.jobs, strict=True)],
        traffic=desk.close(run),
    )


def compete(name: str, order: Order, desk_url: str, limit: float) -> Result:
    """
    Let a contestant wait for a run, in a process of its own.

    :param limit: Seconds that the run may take.
    """
    said = json.dumps({"name": name, "order": asdict(order), "desk": desk_url, "limit": limit})
    environment = {**os.environ, "NO_PROXY": "127.0.0.1", "no_proxy": "127.0.0.1"}
    child = subprocess.run(
        [sys.executable, "-m", "benchmarks.contest"],
        input=said,
        env=environment,
        capture_output=True,
        text=True,
        timeout=2 * limit,
        check=False,
    )
    if child.returncode:
        raise RuntimeError(f"{name} failed:\n{child.stderr[-4000:]}")
    result = json.loads(child.stdout.splitlines()[-1])
    return Result(**{**result, "order": Order(**result["order"]), "traffic": Traffic(**result["traffic"])})


def main() -> None:
    """Run what standard input says, and print the result as JSON."""
    said = json.load(sys.stdin)
    result = measure(said["name"], Order(**said["order"]), Desk(said["desk"]), said["limit"])
    print(json.dumps(asdict(result)))


if __name__ == "__main__":
    main()
