"""What a chaos run does, drawn from its seed: jobs and their deaths, the service's faults, the events. Without I/O."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

CHAOS_DAG = "chaos"
QUIET_DAGS = {"quiet_auto": None, "quiet_resume": False}
"""The DAGs of the quiet run, each with the ``end_from_trigger`` of its tasks."""

CONNECTIONS = ("chaos_api_key", "chaos_iam_token", "chaos_service_account")
RETRIES = 2
CHAOS_ACTIVE, QUIET_ACTIVE = 8, 16
"""The DAGs' ``max_active_tasks``; 16 is Airflow's default."""

STAGES = ("before_submit", "sending", "taken", "before_defer", "resume_begin", "resume_end")
"""Where a task kills itself: see dags/chaos_generations.py beside this."""

RESUMING = frozenset({"resume_begin", "resume_end"})
NEEDS_DEFERRAL = RESUMING | {"before_defer"}

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
"""Faults that cost an attempt: the operation ends without an answer."""

READ_FAULTS: tuple[dict[str, Any], ...] = (
    {"kind": "status", "status": 429},
    {"kind": "status", "status": 500, "times": 2},
    {"kind": "status", "status": 503, "times": 3},
    {"kind": "drop", "times": 2},
    {"kind": "garbage"},
    {"kind": "lost_answer"},
    {"kind": "delay", "seconds": 3},
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

EVENTS = (
    "kill a task",
    "kill a triggerer",
    "kill the scheduler",
    "429 storm",
    "kill a supervisor",
    "kill a task",
    "freeze a triggerer",
    "kill the scheduler and its children",
    "outage",
    "kill a supervisor",
    "kill a triggerer and its children",
    "kill a task",
    "kill a task",
    "restart all",
)
"""Those that cost an attempt of everything that runs or is queued stand far apart: nobody has more than three."""

SHORT_EVENTS = (
    "kill the scheduler",
    "kill a task",
    "kill a triggerer",
    "outage",
    "kill a supervisor",
    "restart all",
)
EVENTS_BEGIN, EVENTS_END = 0.02, 0.7
"""The shares of finished jobs between which the events are spread."""

WORDS = ("янтарь", "сокол", "ежевика", "naïve", "Straße", "東京", "парус", "кедр", "emoji 🦔", "«ёлки»")


@dataclass(frozen=True)
class Job:
    """
    One generation task.

    :param name: Stands in its prompt, so that requests, operations and faults can be told apart.
    :param task_id: The mapped task that it is an instance of.
    :param die_at: The stages at which it kills itself, each once.
    :param die_whole: Kill the supervising process first, so that nobody reports the death.
    """

    name: str
    prompt: str
    dag_id: str
    task_id: str
    map_index: int
    conn_id: str
    end_from_trigger: bool | None = None
    deferrable: bool = True
    die_at: tuple[str, ...] = ()
    die_whole: bool = False

    @property
    def key(self) -> tuple[str, str, int]:
        """What the metadata database knows it by, within a run."""
        return self.dag_id, self.task_id, self.map_index


@dataclass(frozen=True)
class Event:
    """Something that happens once this share of the jobs has finished."""

    at: float
    kind: str


@dataclass(frozen=True)
class Plan:
    """
    All that is drawn from the seed.

    :param active: How many tasks are queued or running at a time. A scheduler that starts takes an attempt from each.
    """

    seed: int
    jobs: tuple[Job, ...]
    active: int
    faults: tuple[dict[str, Any], ...] = ()
    events: tuple[Event, ...] = ()

    @property
    def doomed(self) -> frozenset[tuple[str, int]]:
        """The task and map index of the jobs that lose attempts by plan."""
        fatal = {fault["match"].strip() for fault in self.faults if fault["kind"] in FATAL and "match" in fault}
        return frozenset((job.task_id, job.map_index) for job in self.jobs if job.die_at or job.name in fatal)

    def as_json(self) -> str:
        """Return what the DAG file reads, and whoever wants to know what was planned."""
        return json.dumps(
            {
                "seed": self.seed,
                "retries": RETRIES,
                "active": self.active,
                "jobs": [asdict(job) for job in self.jobs],
                "faults": self.faults,
                "events": [asdict(event) for event in self.events],
            },
            ensure_ascii=False,
            indent=1,
        )


def chaos_plan(tasks: int, seed: int, *, short: bool = False) -> Plan:
    """
    Draw a chaos run.

    A job is planned to lose one attempt at most, by its own death or by a failed operation. The rest of the
    ``retries=2`` is left to the events, which hit whoever is there. The first two jobs die twice: they are over before
    the worst events come.
    """
    dice = random.Random(seed)
    jobs = list(_jobs(CHAOS_DAG, tasks, dice))
    order = [0, 1, *dice.sample(range(2, tasks), k=tasks - 2)]
    for position, number in enumerate(order[: tasks // 4]):
        stage = STAGES[position % len(STAGES)]
        die_at = ("taken", "before_defer") if number in (0, 1) else (stage,)
        jobs[number] = _changed(
            jobs[number],
            die_at=die_at,
            die_whole=position % 3 == 2,
            end_from_trigger=False if stage in RESUMING else jobs[number].end_from_trigger,
            deferrable=jobs[number].deferrable or not NEEDS_DEFERRAL.isdisjoint(die_at),
        )
    kinds = deque(dice.sample(SUBMIT_FAULTS, k=len(SUBMIT_FAULTS)))
    faults = [_submit_fault(jobs[number], kinds) for number in order[tasks // 8 : tasks // 8 + max(10, tasks // 4)]]
    faults += _spread("operations.get", READ_FAULTS, tasks // 4, within=tasks * 4, dice=dice)
    faults += _spread("iam.tokens", TOKEN_FAULTS, max(7, tasks // 14), within=tasks // 3, dice=dice)
    kinds_of_events = SHORT_EVENTS if short else EVENTS
    step = (EVENTS_END - EVENTS_BEGIN) / (len(kinds_of_events) - 1)
    events = tuple(Event(round(EVENTS_BEGIN + n * step, 3), kind) for n, kind in enumerate(kinds_of_events))
    return Plan(seed, tuple(jobs), CHAOS_ACTIVE, tuple(faults), events)


def quiet_plan(tasks: int, seed: int) -> Plan:
    """Draw a run in which nothing goes wrong, once for each mode of ending."""
    dice = random.Random(seed)
    jobs = [
        _changed(job, end_from_trigger=mode, deferrable=True)
        for dag_id, mode in QUIET_DAGS.items()
        for job in _jobs(dag_id, tasks, dice)
    ]
    return Plan(seed, tuple(jobs), QUIET_ACTIVE)


def _jobs(dag_id: str, tasks: int, dice: random.Random) -> Iterator[Job]:
    for number in range(tasks):
        conn_id = CONNECTIONS[number % len(CONNECTIONS)]
        name = f"{dag_id}-{number:03d}"
        first, second = dice.sample(WORDS, k=2)
        yield Job(
            name=name,
            prompt=f"The job {name} wants its own sentence back, {first} {dice.randrange(10_000)} {second} and all.",
            dag_id=dag_id,
            task_id=conn_id.replace("chaos_", "generate_"),
            map_index=number // len(CONNECTIONS),
            conn_id=conn_id,
            end_from_trigger=False if dice.random() < 0.3 else None,
            deferrable=dice.random() > 0.05,
        )


def _changed(job: Job, **changes: Any) -> Job:
    return Job(**{**asdict(job), **changes})


def _submit_fault(job: Job, kinds: deque[dict[str, Any]]) -> dict[str, Any]:
    """Return the next fault for a job's submission; one that dies by itself gets none that costs an attempt."""
    fault = next(fault for fault in kinds if not (job.die_at and fault["kind"] in FATAL))
    kinds.remove(fault)
    kinds.append(fault)
    return {"route": "completionAsync", "match": f"{job.name} ", **fault}


def _spread(
    route: str, kinds: Sequence[dict[str, Any]], count: int, *, within: int, dice: random.Random
) -> list[dict[str, Any]]:
    """Return faults that each hit a request of their route, somewhere within the first so many."""
    return [{"route": route, "after": dice.randrange(within), **kinds[number % len(kinds)]} for number in range(count)]
