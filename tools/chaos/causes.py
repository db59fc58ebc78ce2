"""
By what the ids of a job's operations may have got lost: by the death of an attempt, or of an answer. Without I/O.

An attempt dies once, and is often heard of several times: the note that it left by plan, the event that killed it, a
line of its supervisor, Airflow's own record of its end. The first of these that there is counts, and counts once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tools.chaos.account import SENDING, TAKEN, Cause
from tools.chaos.jobs import job_of

SUBMISSIONS = frozenset({"completionAsync", "responses.create"})
"""The routes of submissions."""

LOST_ANSWERS = frozenset({"lost_answer"})
"""Faults of a submission that have their effect, and no answer."""

WITHOUT_EFFECT = frozenset({"drop", "garbage", "status"})
"""Faults of a submission that have none, though one that gets them may not know that."""


@dataclass(frozen=True)
class Death:
    """
    That an attempt was killed.

    :param at: When, in seconds since the epoch.
    :param stage: Where, if it was by plan.
    """

    attempt: int
    at: float
    what: str
    stage: str | None = None


def causes_of(deaths: Iterable[Death], answers: Iterable[Cause], *, group: int = 1) -> list[Cause]:
    """
    Return everything by which one id each may have got lost.

    :param deaths: What is known of them, the best source first.
    :param answers: The answers that got lost.
    :param group: How many submissions are under way together: all of them die with one that is only being sent.
    """
    first: dict[int, Cause] = {}
    for death in deaths:
        stage = TAKEN if group > 1 and death.stage == SENDING else death.stage
        first.setdefault(death.attempt, Cause(death.at, death.what, stage))
    return [*(cause for cause in first.values() for _ in range(group)), *answers]


def lost_answers(faults: Iterable[Mapping[str, Any]], job: str) -> Iterator[Cause]:
    """
    Return when answers to submissions of a job got lost.

    :param faults: What became of each fault, its ``hits`` in seconds since the epoch.
    """
    for fault in faults:
        if fault["kind"] in LOST_ANSWERS and job_of(fault["match"]) == job:
            yield from (Cause(at, "its answer got lost") for at in fault["hits"])


def faults_without_effect(faults: Iterable[Mapping[str, Any]], job: str) -> int:
    """Return how many submissions of a job met a fault by which no operation came to be, as the service alone knows."""
    mine = [fault for fault in faults if fault["route"] in SUBMISSIONS and job_of(fault["match"]) == job]
    return sum(len(fault["hits"]) for fault in mine if fault["kind"] in WITHOUT_EFFECT)


def not_met(faults: Sequence[Mapping[str, Any]], planned: Sequence[Mapping[str, Any]]) -> list[str]:
    """
    Return the faults that did not take place.

    :param faults: What became of each fault, those of the plan first.
    :param planned: Those of the plan: they must have hit as often as they should. An outage must have hit once.
    """
    lost = [
        f"{wanted['kind']} at {wanted['route']}: the service never had it"
        for number, wanted in enumerate(planned)
        if number >= len(faults) or any(faults[number][name] != wanted.get(name) for name in ("kind", "route", "match"))
    ]
    ours = list(zip(faults, planned, strict=False))
    left = [fault for fault, wanted in ours if fault["times"] or len(fault["hits"]) < wanted.get("times", 1)]
    left += [fault for fault in faults[len(planned) :] if not fault["hits"]]
    return lost + [
        f"{fault['kind']} at {fault['route']}{' for ' + fault['match'].strip() if fault['match'] else ''}: "
        f"hit {len(fault['hits'])} time(s), {fault['times']} left"
        for fault in left
    ]
