"""
The account of a chaos run, operation by operation: what the service created, and what the logs say of it. Without I/O.

An operation is paid for. Either its text was used, or it ended without one, or its id got lost: then the log of its
task has a line of its own that says so, and something happened to this very task at that time. One line, and one thing
that happened, account for one operation. One whose id was known is never paid for again, unless a person wanted that:
then it is not used either. And no line may call a submission unknown for which nothing that happened is a reason.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum

UNKNOWN = "up to one generation may have been billed"
"""Stands in the log line of each submission whose fate is unknown."""

GROUP = re.compile(r"(\d+) rows? of chunk \d+ may have been billed without a use")
"""Stands in the log line of submissions of a bulk task whose fate is unknown, with how many they are."""

UNWRITTEN = "could not be written down"
"""Stands in the log line of an attempt that has an id, and a store that does not take it."""

UNSTRUCK = "The intent to submit could not be struck out"
"""Stands in the log line of an attempt that submitted nothing, and a store that does not take that."""

TAKEN, SENDING = "taken", "sending"
"""The stages at which a task that dies by plan loses an id, and leaves an intent that nothing came of."""

BEFORE, AFTER = 30.0, 10.0
"""
Seconds by which an operation may be older or younger than what its id was lost by: a request is under way for a while,
and a process outlives its supervisor a little.
"""

_ID = re.compile(r"\bd7q[0-9a-z]{17}\b|\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


class Verdict(Enum):
    """What an operation turned out to be."""

    USED = "used: its text is the task's"
    FAILED = "ended without an answer, named in the log"
    LOST = "lost: its id never arrived, as a log line says and something that happened explains"
    UNWRITTEN = "lost: its id arrived where it could no longer be written down, as the log says"
    DISCARDED = "left behind: a person cleared its task to start over"
    KEPT = "used, though a person had cleared its task to start over"
    LEFT_RUNNING = "left behind by a clear, and nobody ended it"
    SUPERSEDED = "known, and paid for again"
    UNTIED = "a log line calls it unknown, and nothing had happened to its task"
    CANCELLED = "cancelled, though nobody wanted that"
    UNACCOUNTED = "in no log line: paid for without a word"


WRONG = (
    Verdict.KEPT,
    Verdict.LEFT_RUNNING,
    Verdict.SUPERSEDED,
    Verdict.UNTIED,
    Verdict.CANCELLED,
    Verdict.UNACCOUNTED,
)
"""What no operation may turn out to be."""


@dataclass(frozen=True)
class Created:
    """
    An operation, as the service has it.

    :param at: When it was created, in seconds since the epoch.
    """

    id: str
    state: str
    job: str
    at: float = 0.0


@dataclass(frozen=True)
class Cause:
    """
    Something that happened to a job, by which the id of an operation may have got lost.

    :param stage: Where it died by plan, if that is what happened.
    """

    at: float
    what: str
    stage: str | None = None


@dataclass(frozen=True)
class Told:
    """
    What is known of a job.

    :param used: The operations whose texts are its own: that which its XCom names, or one for each row.
    :param lines: The lines of its logs.
    :param causes: What happened to it.
    :param discarded: When a person cleared it to start over, in seconds since the epoch.
    :param faults: How many of its submissions met a fault that takes no operation.
    :param ledger: The operations that its ledger ever knew.
    :param texts: How many texts it is to have.
    """

    used: Collection[str]
    lines: Sequence[str]
    causes: Sequence[Cause] = ()
    discarded: Sequence[float] = ()
    faults: int = 0
    ledger: frozenset[str] = frozenset()
    texts: int = 1

    @property
    def named(self) -> frozenset[str]:
        """The operations that its logs or its ledger name."""
        return self.ledger | frozenset(_ids(self.lines))

    @property
    def unwritten(self) -> frozenset[str]:
        """The operations that one attempt knew, and could not write down for the next."""
        return frozenset(_ids(line for line in self.lines if UNWRITTEN in line))

    @property
    def unknown(self) -> int:
        """How many submissions its logs call unknown."""
        single = sum(UNKNOWN in line for line in self.lines if "It was not submitted again" not in line)
        return single + sum(int(rows) for line in self.lines for rows in GROUP.findall(line))

    @property
    def reasons(self) -> int:
        """How many of its submissions there is a reason to call unknown."""
        unwritten = sum(UNWRITTEN in line or UNSTRUCK in line for line in self.lines)
        return self.faults + unwritten + sum(cause.stage in (None, SENDING, TAKEN) for cause in self.causes)


@dataclass(frozen=True)
class Account:
    """
    Every operation with its verdict.

    :param suspected: Log lines about an unknown submission that came to nothing: they cost nothing.
    :param tied: What the lost operations were lost by.
    :param alarms: The jobs whose logs call more submissions unknown than there are reasons for.
    :param unused: The jobs whose text is of no operation of theirs.
    """

    verdicts: Mapping[str, Verdict]
    unknown_lines: int
    running_unmentioned: Sequence[str]
    suspected: int = 0
    tied: Sequence[str] = ()
    jobs: Mapping[str, str] = field(default_factory=dict)
    alarms: Sequence[str] = ()
    unused: Sequence[str] = ()

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
    left = {
        id_ for job, it in told.items() for id_ in _left_behind([each for each in operations if each.job == job], it)
    }
    lines = {job: it.unknown for job, it in told.items()}
    causes = {job: list(it.causes) for job, it in told.items()}
    tied: list[str] = []
    for operation in operations:
        it = told[operation.job]
        if verdict := _plain(operation, it, left_behind=operation.id in left):
            verdicts[operation.id] = verdict
        elif lines[operation.job] == 0:
            verdicts[operation.id] = Verdict.UNACCOUNTED
        else:
            lines[operation.job] -= 1
            unwritten = operation.id in it.unwritten
            fitting = [cause for cause in causes[operation.job] if unwritten or cause.stage in (None, TAKEN)]
            cause = _cause_of(operation, fitting)
            if cause is None:
                verdicts[operation.id] = Verdict.UNTIED
                continue
            causes[operation.job].remove(cause)
            tied.append(cause.what)
            verdicts[operation.id] = Verdict.UNWRITTEN if unwritten else Verdict.LOST
    return Account(
        verdicts=verdicts,
        unknown_lines=sum(it.unknown for it in told.values()),
        running_unmentioned=[
            operation.id
            for operation in operations
            if operation.state == "running" and verdicts[operation.id] is Verdict.UNACCOUNTED
        ],
        suspected=sum(lines.values()),
        tied=tied,
        jobs={operation.id: operation.job for operation in operations},
        alarms=[
            f"{job}: {it.unknown} times, {it.reasons} reasons" for job, it in told.items() if it.unknown > it.reasons
        ],
        unused=[
            job
            for job, it in told.items()
            if len({each.id for each in operations if each.job == job and each.id in it.used}) != it.texts
        ],
    )


def _left_behind(operations: Sequence[Created], it: Told) -> Iterator[str]:
    """Return what clears left behind: each the operation that its task had by then, and had told of."""
    since = 0.0
    for at in sorted(it.discarded):
        before = [
            each for each in operations if since < each.at < at and each.state != "failed" and each.id in it.named
        ]
        if before:
            yield max(before, key=lambda each: each.at).id
        since = at


def _plain(operation: Created, it: Told, *, left_behind: bool) -> Verdict | None:
    """Return the verdict that follows from the operation and its log alone; None where its id seems to be lost."""
    if operation.id in it.used:
        return Verdict.KEPT if any(at > operation.at for at in it.discarded) else Verdict.USED
    if left_behind:
        return Verdict.LEFT_RUNNING if operation.state == "running" else Verdict.DISCARDED
    if operation.state == "cancelled":
        return Verdict.CANCELLED
    if operation.id not in it.named:
        return None
    if operation.state == "failed":
        return Verdict.FAILED
    return None if operation.id in it.unwritten else Verdict.SUPERSEDED


def _cause_of(operation: Created, causes: Iterable[Cause]) -> Cause | None:
    """Return what the id of an operation was lost by: the nearest in time that fits."""
    near = [cause for cause in causes if -AFTER <= cause.at - operation.at <= BEFORE]
    return min(near, key=lambda cause: abs(cause.at - operation.at), default=None)


def _ids(lines: Iterable[str]) -> Iterable[str]:
    return (id_ for line in lines for id_ in _ID.findall(line))
