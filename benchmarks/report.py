"""What the parts hand in, and how it is shown: tables, targets beside what was measured, and JSON."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class Table:
    """Rows under a head; the first column is a name, the others are numbers."""

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]

    def __str__(self) -> str:
        """Lay the table out, as Markdown too understands it."""
        widths = [max(map(len, column)) for column in zip(self.head, *self.rows, strict=True)]
        rule = ["-" * widths[0], *("-" * (width - 1) + ":" for width in widths[1:])]
        lines = [_line(row, widths) for row in (self.head, rule, *self.rows)]
        return "\n".join([self.title, "", *lines])


@dataclass(frozen=True)
class Target:
    """What was wanted, beside what came out."""

    what: str
    wanted: str
    measured: str


@dataclass
class Part:
    """
    What one part of the benchmarks found.

    :param data: Everything that was measured, ready for JSON.
    """

    title: str
    tables: list[Table] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    data: dict[str, Any] = field(default_factory=dict)

    def __str__(self) -> str:
        """Lay the part out."""
        rows = [(target.what, target.wanted, target.measured) for target in self.targets]
        targets = [Table("Targets", ("", "wanted", "measured"), rows)] if rows else []
        return "\n\n".join(["", f"## {self.title}", *map(str, [*self.tables, *targets])])


def _line(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = [cell.rjust(width) for cell, width in zip(cells, widths, strict=True)]
    return "| " + " | ".join([cells[0].ljust(widths[0]), *padded[1:]]) + " |"


def share(values: Sequence[float], part: float) -> float:
    """Return the value that this part of the values does not exceed: 0.95 gives the 95th percentile."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(part * len(ordered)))]


def median(values: Iterable[float]) -> float:
    """Return the median."""
    return statistics.median(values)


def number(value: float) -> str:
    """Write a number with as many digits as matter."""
    if value == 0 or abs(value) >= 100:
        return f"{value:,.0f}"
    if abs(value) >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if abs(value) >= 0.1 else f"{value:.3f}"


def spread(values: Sequence[float]) -> str:
    """Write a median, with the least and the most where they differ."""
    middle, least, most = (number(value) for value in (median(values), min(values), max(values)))
    return middle if least == most else f"{middle} ({least} to {most})"
