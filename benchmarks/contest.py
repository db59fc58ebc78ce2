"""
One contestant and one run, in a process of its own: ``python -m benchmarks.contest``, with the order on standard input.

What is measured begins after everything is imported and one job was waited for, so that what a library sets up once
does not count. For the same reason the objects that exist by then are frozen: else the garbage collector would walk
through all of Airflow now and then, at whoever's expense. The waits are begun as the triggerer begins its triggers: one
by one, with a turn of the event loop between.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import resource
import selectors
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from benchmarks.contestants import CONTESTANTS, Contestant
from benchmarks.quiet import silence
from benchmarks.service import Desk, Job, OpenRun, Order, Traffic

MEBIBYTE = 1024 * 1024


@dataclass(frozen=True)
class Result:
    """
    What a run has cost.

    :param ended: How many jobs were seen to end.
    :param seconds: Wall time.
    :param cpu_seconds: CPU time of the process, all threads.
    :param memory_mb: What the resident memory grew by, at its peak.
    :param longest_block: The longest time in seconds that something had to wait for its turn on the event loop.
    :param lengths: The seconds that each job took.
    :param delays: The seconds from the end of each job to its event.
    """

    name: str
    order: Order
    ended: int
    seconds: float
    cpu_seconds: float
    memory_mb: float
    longest_block: float
    lengths: list[float]
    delays: list[float]
    traffic: Traffic


class Watchdog(selectors.DefaultSelector):
    """
    Sees how long the turns of an event loop take, and how late it wakes.

    It is what the loop sleeps in anyway, so that watching wakes nobody up, and costs two looks at the clock per turn.
    """

    def __init__(self) -> None:
        super().__init__()
        self.longest = 0.0
        self._due = float("inf")

    def select(self, timeout: float | None = None) -> list[tuple[selectors.SelectorKey, int]]:
        """Wait for something to do; note how long the last turn kept everything else waiting."""
        now = time.perf_counter()
        self.longest = max(self.longest, now - self._due)
        events = super().select(timeout)
        woke = time.perf_counter()
        self._due = woke if timeout is None else min(woke, now + max(0.0, timeout))
        return events


async def all_seen(contestant: Contestant, run: OpenRun, limit: float) -> list[float]:
    """Wait for all jobs at once, and return when each was seen to end."""

    async def one(job: Job) -> float:
        await asyncio.sleep(max(0.0, job.begins_at - time.time()))
        await contestant.wait(job)
        return time.time()

    async with asyncio.timeout(limit), contestant.at(run):
        waits = []
        for job in run.jobs:
            waits.append(asyncio.create_task(one(job)))
            await asyncio.sleep(0)
        return await asyncio.gather(*waits)


def watched(contestant: Contestant, run: OpenRun, limit: float) -> tuple[list[float], float]:
    """Wait for all jobs; return when each was seen to end, and the longest block of the event loop."""
    watchdog = Watchdog()
    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(watchdog)) as runner:
        seen = runner.run(all_seen(contestant, run, limit))
    return seen, watchdog.longest


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
    watched(contestant, first, limit)
    desk.close(first)
    run = desk.open(order)
    os.environ.update(contestant.environment(run))
    gc.collect()
    gc.freeze()
    memory = resident_bytes()
    began, cpu = time.perf_counter(), time.process_time()
    seen, longest = watched(contestant, run, limit)
    seconds, cpu = time.perf_counter() - began, time.process_time() - cpu
    return Result(
        name=name,
        order=order,
        ended=len(seen),
        seconds=seconds,
        cpu_seconds=cpu,
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
