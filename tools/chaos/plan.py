"""What a chaos run does, drawn from its seed: jobs and their deaths, the service's faults, the events. Without I/O."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

from tools.chaos.jobs import (
    NEEDS_DEFERRAL,
    RESUMING,
    ROWS,
    SHORT_ROWS,
    STAGES,
    Job,
    jobs_of,
    pool_of,
)

CHAOS_DAG = "chaos"
QUIET_DAGS = {"quiet_auto": None, "quiet_resume": False}
"""The DAGs of the quiet run, each with the ``end_from_trigger`` of its tasks."""

CHECK = "check"
"""The task that compares the texts, and takes no part in what happens to the others."""

RETRIES = 3
RETRY_SECONDS, AWAY_SECONDS = 5, 4.0
"""
How long a task waits for its next attempt, and how long a credential, the gateway and look-ups are out of order: less,
so that each costs a task one attempt.
"""

BULK_RETRIES = 10
"""A bulk task is there for longer than others, and is hit more often."""

CHAOS_ACTIVE, QUIET_ACTIVE = 8, 16
"""The DAGs' ``max_active_tasks``; 16 is Airflow's default."""

SUBMIT_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "status", "status": 429},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 503},
    {"kind": "drop"},
    {"kind": "garbage"},
    {"kind": "lost_answer"},
    {"kind": "delay", "seconds": 4},
    {"kind": "operation_error"},
    {"kind": "operation_empty"},
    {"kind": "early_error"},
)
FATAL = frozenset({"operation_error", "operation_empty", "early_error"})
"""Faults that cost an attempt, or another submission of a row: the operation ends without an answer."""

BULK_DEATHS = {
    True: ("taken", "resume_begin", "sending", "before_defer", "resume_end"),
    False: ("taken", "resume_begin"),
}
"""The deaths of a bulk task that writes to a folder, and of one that returns its texts. A short run has two of each."""

READ_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "status", "status": 429},
    {"kind": "status", "status": 500, "times": 2},
    {"kind": "status", "status": 503, "times": 3},
    {"kind": "drop", "times": 2},
    {"kind": "garbage"},
    {"kind": "lost_answer"},
    {"kind": "delay", "seconds": 3},
    {"kind": "status", "status": 404},
    {"kind": "status", "status": 403},
    {"kind": "status", "status": 400},
    {"kind": "status", "status": 502, "body": "<html><h1>502 Bad Gateway</h1></html>"},
)
TOKEN_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "status", "status": 429},
    {"kind": "status", "status": 500},
    {"kind": "status", "status": 503},
    {"kind": "drop"},
    {"kind": "garbage"},
    {"kind": "lost_answer"},
    {"kind": "delay", "seconds": 2},
)

ROTATE_API_KEYS, ROTATE_IAM = "rotate the API keys", "rotate the IAM tokens and service-account keys"
CLEAR_WAITING, CLEAR_FINISHED = "clear a waiting task", "clear a finished task"
DISCARD = ", discard its state"
LOOKUPS, GATEWAY, HANG = "look-ups of a connection fail", "the gateway dies", "the service hangs"

EVENTS = (
    ("kill a task",),
    ("kill a triggerer", CLEAR_WAITING),
    ("kill the scheduler", ROTATE_API_KEYS),
    ("429 storm", LOOKUPS),
    ("kill a supervisor", CLEAR_WAITING + DISCARD),
    ("kill a task", GATEWAY),
    ("freeze a triggerer", ROTATE_IAM),
    ("kill the scheduler and its children", CLEAR_FINISHED),
    ("outage",),
    ("kill a supervisor", ROTATE_API_KEYS),
    (HANG, CLEAR_FINISHED + DISCARD),
    ("kill a triggerer and its children", LOOKUPS),
    ("kill a task", GATEWAY),
    ("kill a task", CLEAR_WAITING),
    ("restart all",),
)
"""
Wave by wave of jobs: what happens to everybody, then what happens to some connections or one task.

Those that cost an attempt of everything that runs or is queued stand far apart.
"""

SHORT_EVENTS = (
    ("kill the scheduler", ROTATE_API_KEYS),
    ("kill a task", CLEAR_WAITING, LOOKUPS),
    ("kill a triggerer", GATEWAY, CLEAR_FINISHED + DISCARD),
    ("outage", ROTATE_IAM),
    (HANG, CLEAR_FINISHED),
    ("kill a supervisor", CLEAR_WAITING + DISCARD),
    ("restart all",),
)

ROTATED = {
    ROTATE_API_KEYS: ("chaos_api_key", "chaos_api_key_grpc"),
    # The emulator revokes all tokens at once, those of the service accounts included.
    ROTATE_IAM: ("chaos_iam_token", "chaos_iam_token_grpc", "chaos_service_account", "chaos_service_account_grpc"),
}
"""The connections whose credentials each rotation replaces."""


@dataclass(frozen=True)
class Plan:
    """
    All that is drawn from the seed.

    :param active: How many tasks are queued or running at a time. A scheduler that starts takes an attempt from each.
    :param events: Wave by wave what happens to everybody, then what happens to some.
    """

    seed: int
    jobs: tuple[Job, ...]
    active: int
    faults: tuple[dict[str, Any], ...] = ()
    events: tuple[tuple[str, ...], ...] = ()

    @property
    def waves(self) -> int:
        """How many waves of jobs there are: one for each event that hits everybody, and one after the last."""
        return len(self.events) + 1

    @property
    def doomed(self) -> frozenset[tuple[str, int]]:
        """The task and map index of the jobs that lose most of their attempts by plan."""
        fatal = {fault["match"].strip() for fault in self.faults if fault["kind"] in FATAL and "match" in fault}
        singles = [job for job in self.jobs if job.kind != "bulk"]
        return frozenset(job.index for job in singles if job.die_at or job.name in fatal)

    def as_json(self) -> str:
        """Return what the DAG file reads, and whoever wants to know what was planned."""
        return json.dumps(
            {
                "seed": self.seed,
                "retry_seconds": RETRY_SECONDS,
                "active": self.active,
                "jobs": [
                    {
                        **asdict(job),
                        "task_id": job.task_id,
                        "pool": pool_of(job.wave),
                        "retries": BULK_RETRIES if job.kind == "bulk" else RETRIES,
                    }
                    for job in self.jobs
                ],
                "faults": self.faults,
                "events": self.events,
            },
            ensure_ascii=False,
            indent=1,
        )


def chaos_plan(tasks: int, seed: int, *, short: bool = False, discards: bool = False) -> Plan:
    """
    Draw a chaos run.

    A job is planned to lose one attempt at most, by its own death or by a failed operation. The rest of the
    ``retries`` is left to the events, which hit whoever is there. The first two jobs die twice: they are over before
    the worst events come.

    :param discards: Whether this Airflow can discard a task's state when it is cleared (3.4 and later).
    """
    dice = random.Random(seed)
    events = tuple(
        tuple(kind for kind in kinds if discards or not kind.endswith(DISCARD))
        for kinds in (SHORT_EVENTS if short else EVENTS)
    )
    jobs = list(jobs_of(CHAOS_DAG, tasks, dice, waves=len(events) + 1, rows=SHORT_ROWS if short else ROWS))
    singles = [number for number, job in enumerate(jobs) if job.kind in ("generate", "respond", "submit")]
    order = [*singles[:2], *dice.sample(singles[2:], k=len(singles) - 2)]
    dying = [number for number in order if jobs[number].kind != "submit"]
    for position, number in enumerate(dying[: tasks // 4]):
        stage = STAGES[position % len(STAGES)]
        die_at = ("taken", "before_defer") if position < 2 else (stage,)
        jobs[number] = replace(
            jobs[number],
            die_at=die_at,
            die_whole=position % 3 == 2,
            end_from_trigger=False if stage in RESUMING else jobs[number].end_from_trigger,
            deferrable=jobs[number].deferrable or not NEEDS_DEFERRAL.isdisjoint(die_at),
        )
    faults = []
    kinds = deque(dice.sample(SUBMIT_FAULTS, k=len(SUBMIT_FAULTS)))
    for number, job in enumerate(jobs):
        if job.kind == "submit" and job.wave % 3 == 0:
            jobs[number] = replace(job, die_at=(STAGES[job.wave // 3 % 3],))
        elif job.kind == "bulk":
            deaths = BULK_DEATHS[job.folder][: 2 if short else None]
            jobs[number] = replace(job, die_at=deaths, die_whole=not (job.folder or short))
            rows = dice.sample(job.rows, k=len(job.rows) // 4)
            faults += [_submit_fault(job, row, kinds) for row in rows]
    hit = order[tasks // 8 : tasks // 8 + max(10, tasks // 4)]
    faults += [_submit_fault(jobs[number], jobs[number].name, kinds) for number in hit]
    # Each job reads its operation once at least, and each that starts with a key asks for a token.
    faults += _spread("operations.get", READ_FAULTS, tasks // 4, within=tasks * 3 // 4, dice=dice)
    responses = sum(job.kind == "respond" for job in jobs)
    faults += _spread("responses.get", READ_FAULTS, responses // 2, within=max(1, responses * 3 // 4), dice=dice)
    faults += _spread("iam.tokens", TOKEN_FAULTS, max(7, tasks // 14), within=tasks // 10, dice=dice)
    return Plan(seed, tuple(jobs), CHAOS_ACTIVE, tuple(faults), events)


def quiet_plan(tasks: int, seed: int) -> Plan:
    """Draw a run in which nothing goes wrong, once for each mode of ending."""
    dice = random.Random(seed)
    jobs = [
        replace(job, end_from_trigger=mode, deferrable=True)
        for dag_id, mode in QUIET_DAGS.items()
        for job in jobs_of(dag_id, tasks, dice)
    ]
    return Plan(seed, tuple(jobs), QUIET_ACTIVE)


def _submit_fault(job: Job, name: str, kinds: deque[dict[str, Any]]) -> dict[str, Any]:
    """
    Return the next fault for the submission of a job or of a row.

    One that dies by itself gets none that costs an attempt, nor does one that somebody else waits for.
    """
    spared = FATAL if job.kind == "submit" or (job.die_at and job.kind != "bulk") else frozenset()
    if job.kind == "respond":
        spared |= {"early_error"}  # no response is shown like that
    fault = next(fault for fault in kinds if fault["kind"] not in spared)
    kinds.remove(fault)
    kinds.append(fault)
    return {"route": job.submissions, "match": f"{name} ", **fault}


def _spread(
    route: str, kinds: Sequence[dict[str, Any]], count: int, *, within: int, dice: random.Random
) -> list[dict[str, Any]]:
    """Return faults that each hit a request of their route, somewhere within the first so many."""
    return [{"route": route, "after": dice.randrange(within), **kinds[number % len(kinds)]} for number in range(count)]
