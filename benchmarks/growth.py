"""(d) What waits cost as there are more of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict

from benchmarks.contest import Result, compete
from benchmarks.report import Part, Table, Target, median, number, spread
from benchmarks.service import Order, local_server
from benchmarks.waits import BUDGET, HEAD, LIMIT, OURS, SECONDS, row

COUNTS = (100, 1_000, 10_000)
QUICK_COUNTS = (100, 1_000)


def run(runs: int, counts: Sequence[int], say: Callable[[str], None]) -> Part:
    """Wait for ever more jobs at once, and repeat that."""
    results: dict[int, list[Result]] = {count: [] for count in counts}
    with local_server() as desk:
        for turn in range(1, runs + 1):
            for count in counts:
                say(f"run {turn} of {runs}: {count} waits")
                order = Order("emulator with quotas", count, *SECONDS, seed=turn)
                results[count].append(compete(OURS, order, desk, LIMIT))
    title = f"(d) {', '.join(f'{count:,}' for count in counts)} waits"
    table = Table(
        f"{title}, jobs of {SECONDS[0]:g} to {SECONDS[1]:g} s, medians of {runs}",
        ("waits", "ended", "CPU per wait, ms", "wall, s", *HEAD[1:]),
        [_row(count, each) for count, each in results.items()],
    )
    data = {"by_count": {str(count): [asdict(result) for result in each] for count, each in results.items()}}
    return Part(title, [table], _targets(results), data)


def _row(count: int, results: Sequence[Result]) -> list[str]:
    name, *rest = row(f"{count:,}", results)
    ended = f"{min(result.ended for result in results):,}"
    return [name, ended, number(_per_wait(results)), number(median(result.seconds for result in results)), *rest]


def _per_wait(results: Sequence[Result]) -> float:
    return median(result.cpu_seconds / result.ended * 1000 for result in results)


def _targets(results: dict[int, list[Result]]) -> list[Target]:
    most = max(results)
    largest, before = results[most], results[sorted(results)[-2]]
    name = f"{most:,} waits: "
    return [
        Target(f"{name}ended", f"{most:,}", f"{min(result.ended for result in largest):,}"),
        Target(
            f"{name}requests in any one second",
            f"at most {BUDGET}",
            number(max(result.traffic.busiest_second for result in largest)),
        ),
        Target(f"{name}answers with 429", "0", number(max(result.traffic.refused for result in largest))),
        Target(f"{name}longest block, s", "at most 0.25", spread([result.longest_block for result in largest])),
        Target(f"{name}CPU per wait, ms", f"at most {number(_per_wait(before))}", number(_per_wait(largest))),
    ]
