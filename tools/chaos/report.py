"""What came of a chaos run, as claims that hold or don't, and as tables."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field


@dataclass
class Report:
    """
    Collects claims.

    :param claims: Each with whether it holds, and what was found.
    """

    claims: list[tuple[bool, str, str]] = field(default_factory=list)

    def claim(self, text: str, wrong: Sequence[str], found: str = "") -> None:
        """
        Add a claim.

        :param wrong: What speaks against it; it holds when there is nothing.
        :param found: What it was found to be.
        """
        self.claims.append((not wrong, text, found or (f"{len(wrong)} against it" if wrong else "yes")))
        self.claims += [(False, "", f"- {line}") for line in wrong[:SHOWN]]

    @property
    def holds(self) -> bool:
        """Whether all claims hold."""
        return all(good for good, _, _ in self.claims)

    def text(self) -> str:
        """Lay the claims out."""
        return "\n".join(
            f"  {'ok    ' if good else 'WRONG '} {text:<58} {found}" if text else f"           {found}"
            for good, text, found in self.claims
        )


SHOWN = 10
"""How many counterexamples of a claim are printed."""


def counted(title: str, items: Iterable[str]) -> str:
    """Lay out how often each item occurs."""
    counts = Counter(items)
    rows = [f"  {count:>5}  {item}" for item, count in sorted(counts.items(), key=lambda row: (-row[1], row[0]))]
    return "\n".join([title, *(rows or ["      0"])])
