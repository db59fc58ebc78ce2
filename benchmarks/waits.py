"""(a) A thousand waits in one process: this package, its peers, and a bare aiohttp loop."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from benchmarks.contest import Result, compete
from benchmarks.contestants import CONTESTANTS
from benchmarks.report import Part, Table, Target, median, number, share, spread
from benchmarks.service import Order, local_server

OURS, BARE, PACED = "this package", "bare aiohttp", "bare aiohttp, 40 a second"
PEERS = ("openai provider", "anthropic provider")
CERTIFICATES = ", SSL_CERT_FILE"
"""What the name of a contestant ends in where that variable is set."""

SECONDS = (30.0, 40.0)
"""The least and the longest time of a job."""

LIMIT = 1200.0
"""Seconds that one contestant may take."""

BUDGET = 40
"""Questions a second that a connection allows, unless it says otherwise."""


@dataclass(frozen=True)
class Sizes:
    """
    How large the comparison is.

    :param waits: Jobs that are waited for at once.
    :param seconds: The least and the longest time of a job.
    :param detected: Jobs of the run that looks at the detection alone, and their times.
    :param arrival: Seconds in which those begin one by one, so that the budget is not what holds them up.
    """

    waits: int = 1000
    seconds: tuple[float, float] = SECONDS
    detected: int = 100
    detected_seconds: tuple[float, float] = (5.0, 120.0)
    arrival: float = 60.0


QUICK = Sizes(waits=200, seconds=(10.0, 15.0), detected=40, detected_seconds=(5.0, 30.0), arrival=30.0)


def run(runs: int, sizes: Sizes, say: Callable[[str], None]) -> Part:
    """Let all compete, one after the other, and repeat that."""
    results: dict[str, list[Result]] = {name: [] for name in CONTESTANTS}
    detections: list[Result] = []
    with local_server() as desk:
        for turn in range(1, runs + 1):
            for name, contestant in CONTESTANTS.items():
                say(f"run {turn} of {runs}: {sizes.waits} waits, {name}")
                order = Order(contestant.service, sizes.waits, *sizes.seconds, seed=turn)
                results[name].append(compete(name, order, desk, LIMIT))
            say(f"run {turn} of {runs}: detection without pressure on the budget")
            order = Order("emulator with quotas", sizes.detected, *sizes.detected_seconds, sizes.arrival, seed=turn)
            detections.append(compete(OURS, order, desk, LIMIT))
    title = f"(a) {sizes.waits:,} waits in one process"
    tables = [
        comparison(f"{title}, jobs of {sizes.seconds[0]:g} to {sizes.seconds[1]:g} s, medians of {runs}", results),
        detection(sizes, detections),
    ]
    data = {"contestants": _plain(results), "detection": _plain({OURS: detections})[OURS]}
    return Part(title, tables, targets(results, detections), data)


def row(name: str, results: Sequence[Result]) -> list[str]:
    """Return the line of one contestant: medians, and the worst where a promise is about never."""
    return [
        name,
        spread([result.cpu_seconds for result in results]),
        number(median(result.cpu_seconds / result.traffic.requests * 1000 for result in results)),
        number(median(result.memory_mb for result in results)),
        spread([result.longest_block for result in results]),
        number(median(result.traffic.requests for result in results)),
        _connections(results),
        number(max(result.traffic.busiest_second for result in results)),
        number(max(result.traffic.refused for result in results)),
        *(number(median(share(result.delays, part) for result in results)) for part in (0.5, 0.95, 1.0)),
    ]


HEAD = (
    "",
    "CPU, s",
    "CPU per request, ms",
    "memory, MB",
    "longest block, s",
    "requests",
    "TCP connections",
    "busiest second",
    "429",
    "delay p50, s",
    "p95",
    "max",
)


def comparison(title: str, results: dict[str, list[Result]]) -> Table:
    """Lay the contestants side by side."""
    return Table(title, HEAD, [row(name, each) for name, each in results.items()])


def detection(sizes: Sizes, results: Sequence[Result]) -> Table:
    """Show how late ends are seen where the budget suffices."""
    lengths = f"{sizes.detected_seconds[0]:g} to {sizes.detected_seconds[1]:g} s"
    rows = [
        [
            f"{sizes.detected} jobs of {lengths}, begun within {sizes.arrival:g} s",
            *(number(median(share(result.delays, part) for result in results)) for part in (0.5, 0.95, 1.0)),
            number(median(allowance_used(result) for result in results)),
            number(max(result.traffic.busiest_second for result in results)),
        ]
    ]
    head = ("", "delay p50, s", "p95", "max", "p95 of delay / (10 % of run time + 1 s)", "busiest second")
    return Table("Detection without pressure on the budget", head, rows)


def allowance_used(result: Result) -> float:
    """Return, at the 95th percentile, the delay as a share of a tenth of the job's time plus a second."""
    pairs = zip(result.delays, result.lengths, strict=True)
    return share([delay / (0.1 * length + 1.0) for delay, length in pairs], 0.95)


def targets(results: dict[str, list[Result]], detections: Sequence[Result]) -> list[Target]:
    """Put what was wanted beside what came out."""
    ours = results[OURS]

    def per_request(name: str) -> float:
        return median(result.cpu_seconds / result.traffic.requests for result in results[name])

    def cpu(name: str) -> float:
        return median(result.cpu_seconds for result in results[name])

    def against_the_better(names: str) -> Target:
        better = min((peer + names for peer in PEERS), key=cpu)
        pairs = zip(results[better], results[OURS + names], strict=True)
        return Target(
            f"CPU of the better peer ({better}) / ours",
            "at least 30",
            spread([peer.cpu_seconds / own.cpu_seconds for peer, own in pairs]),
        )

    return [
        *(against_the_better(names) for names in ("", CERTIFICATES)),
        *(
            Target(f"CPU per request, ours / {name}", "at most 1.5", number(per_request(OURS) / per_request(name)))
            for name in (PACED, BARE)
        ),
        Target("memory growth, MB", "at most 40", spread([result.memory_mb for result in ours])),
        Target("longest block, s", "at most 0.1", spread([result.longest_block for result in ours])),
        Target("TCP connections", "at most 20", _connections(ours)),
        Target("requests in any one second", f"at most {BUDGET}", number(_most([*ours, *detections]))),
        Target("answers with 429", "0", number(max(result.traffic.refused for result in [*ours, *detections]))),
        Target("p95 of delay / (10 % of run time + 1 s)", "at most 1", spread([*map(allowance_used, detections)])),
    ]


def _connections(results: Sequence[Result]) -> str:
    counted = [result.traffic.connections for result in results if result.traffic.connections is not None]
    return number(max(counted)) if counted else "not counted"


def _most(results: Sequence[Result]) -> int:
    return max(result.traffic.busiest_second for result in results)


def _plain(results: dict[str, list[Result]]) -> dict[str, list[dict[str, object]]]:
    return {name: [asdict(result) for result in each] for name, each in results.items()}
