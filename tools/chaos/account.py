"""
The account of a chaos run, operation by operation: what the service created, and what the logs say of it. Without I/O.

An operation is paid for. Either its text was used, or it ended without one, or the log of its task has a line that says
that a submission is unknown: one line accounts for one operation.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

UNKNOWN = "up to one generation may have been billed"
"""Stands in the log line of each submission whose fate is unknown."""

_ID = re.compile(r"\bd7q[0-9a-z]{17}\b")


class Verdict(Enum):
    """What an operation turned out to be."""

    USED = "used: its text is the task's"
    FAILED = "ended without an answer, named in the log"
    LOST = "unknown: its id never arrived, a log line says so"
    SUPERSEDED = "unknown: named in one attempt's log, another attempt's line says so"
    CANCELLED = "cancelled"
    UNACCOUNTED = "in no log line: paid for without a word"


@dataclass(frozen=True)
class Created:
    """An operation, as the service has it."""

    id: str
    state: str
    job: str


@dataclass(frozen=True)
class Told:
    """
    What is known of a job.

    :param used: The operation that its XCom names.
    :param lines: The lines of its logs.
    """

    used: str | None
    lines: Sequence[str]

    @property
    def named(self) -> frozenset[str]:
        """The operations that its logs name."""
        return frozenset(id_ for line in self.lines for id_ in _ID.findall(line))

    @property
    def unknown(self) -> int:
        """How many submissions its logs call unknown."""
        return sum(UNKNOWN in line for line in self.lines if "It was not submitted again" not in line)


@dataclass(frozen=True)
class Account:
    """
    Every operation with its verdict.

    :param suspected: Log lines about an unknown submission that came to nothing: they cost nothing.
    """

    verdicts: Mapping[str, Verdict]
    unknown_lines: int
    running_unmentioned: Sequence[str]
    suspected: int = 0
    jobs: Mapping[str, str] = field(default_factory=dict)

    def count(self, verdict: Verdict) -> int:
        """Return how many operations got a verdict."""
        return Counter(self.verdicts.values())[verdict]

    def of(self, verdict: Verdict) -> list[str]:
        """Return the operations that got a verdict, each with its job."""
        return [f"{id_} of {self.jobs[id_]}" for id_, found in self.verdicts.items() if found is verdict]


def settle(operations: Sequence[Created], told: Mapping[str, Told]) -> Account:
    """
    Judge every operation.

    :param operations: In the order of their creation.
    :param told: By the name of the job.
    """
    verdicts: dict[str, Verdict] = {}
    unknown = {job: it.unknown for job, it in told.items()}
    for operation in operations:
        it = told[operation.job]
        if operation.id == it.used:
            verdicts[operation.id] = Verdict.USED
        elif operation.state == "cancelled":
            verdicts[operation.id] = Verdict.CANCELLED
        elif operation.state == "failed" and operation.id in it.named:
            verdicts[operation.id] = Verdict.FAILED
        elif unknown[operation.job] > 0:
            unknown[operation.job] -= 1
            verdicts[operation.id] = Verdict.SUPERSEDED if operation.id in it.named else Verdict.LOST
        else:
            verdicts[operation.id] = Verdict.UNACCOUNTED
    return Account(
        verdicts=verdicts,
        unknown_lines=sum(it.unknown for it in told.values()),
        running_unmentioned=[
            operation.id
            for operation in operations
            if operation.state == "running" and verdicts[operation.id] is Verdict.UNACCOUNTED
        ],
        suspected=sum(unknown.values()),
        jobs={operation.id: operation.job for operation in operations},
    )
