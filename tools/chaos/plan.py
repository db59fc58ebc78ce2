"""What a chaos run does, drawn from its seed: jobs and their deaths, the service's faults, the events. Without I/O."""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal

CHAOS_DAG = "chaos"
QUIET_DAGS = {"quiet_auto": None, "quiet_resume": False}
"""The DAGs of the quiet run, each with the ``end_from_trigger`` of its tasks."""

RETRIES = 3
RETRY_SECONDS, AWAY_SECONDS = 5, 4.0
"""
How long a task waits for its next attempt, and how long a credential, the gateway and look-ups are out of order: less,
so that each costs a task one attempt.
"""

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

WORDS = ("янтарь", "сокол", "ежевика", "naïve", "Straße", "東京", "парус", "кедр", "emoji 🦔", "«ёлки»")


@dataclass(frozen=True)
class Way:
    """
    How a connection leads to the service.

    :param credential: Its kind.
    :param grpc: Over gRPC instead of REST.
    :param through: ``gateway``: a process that may die stands before the service. ``vault``: the connection is looked
        up in a secrets backend that may fail.
    """

    credential: Literal["api_key", "iam_token", "service_account"]
    grpc: bool = False
    through: Literal["", "gateway", "vault"] = ""


CONNECTIONS: Mapping[str, Way] = {
    "chaos_api_key": Way("api_key"),
    "chaos_iam_token": Way("iam_token"),
    "chaos_service_account": Way("service_account"),
    "chaos_api_key_grpc": Way("api_key", grpc=True),
    "chaos_iam_token_grpc": Way("iam_token", grpc=True),
    "chaos_service_account_grpc": Way("service_account", grpc=True),
    "chaos_gateway": Way("api_key", through="gateway"),
    "chaos_vault": Way("api_key", through="vault"),
}

ROTATED = {
    ROTATE_API_KEYS: ("chaos_api_key", "chaos_api_key_grpc"),
    # The emulator revokes all tokens at once, those of the service accounts included.
    ROTATE_IAM: ("chaos_iam_token", "chaos_iam_token_grpc", "chaos_service_account", "chaos_service_account_grpc"),
}
"""The connections whose credentials each rotation replaces."""


@dataclass(frozen=True)
class Job:
    """
    One generation task.

    :param name: Stands in its prompt, so that requests, operations and faults can be told apart.
    :param wave: The mapped task that it is an instance of. Its pool opens when its time has come.
    :param die_at: The stages at which it kills itself, each once.
    :param die_whole: Kill the supervising process first, so that nobody reports the death.
    """

    name: str
    prompt: str
    dag_id: str
    wave: int
    map_index: int
    conn_id: str
    end_from_trigger: bool | None = None
    deferrable: bool = True
    die_at: tuple[str, ...] = ()
    die_whole: bool = False

    @property
    def task_id(self) -> str:
        """The id of its task."""
        return f"generate_{self.wave:02d}"

    @property
    def key(self) -> tuple[str, str, int]:
        """What the metadata database knows it by, within a run."""
        return self.dag_id, self.task_id, self.map_index


def pool_of(wave: int) -> str:
    """Return the Airflow pool of a wave."""
    return f"wave_{wave:02d}"


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
        """The task and map index of the jobs that lose attempts by plan."""
        fatal = {fault["match"].strip() for fault in self.faults if fault["kind"] in FATAL and "match" in fault}
        return frozenset((job.task_id, job.map_index) for job in self.jobs if job.die_at or job.name in fatal)

    def as_json(self) -> str:
        """Return what the DAG file reads, and whoever wants to know what was planned."""
        return json.dumps(
            {
                "seed": self.seed,
                "retries": RETRIES,
                "retry_seconds": RETRY_SECONDS,
                "active": self.active,
                "jobs": [{**asdict(job), "task_id": job.task_id, "pool": pool_of(job.wave)} for job in self.jobs],
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
    jobs = list(_jobs(CHAOS_DAG, tasks, dice, waves=len(events) + 1))
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
    # Each job reads its operation once at least, and each that starts with a key asks for a token.
    faults += _spread("operations.get", READ_FAULTS, tasks // 4, within=tasks * 3 // 4, dice=dice)
    faults += _spread("iam.tokens", TOKEN_FAULTS, max(7, tasks // 14), within=tasks // 10, dice=dice)
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


def _jobs(dag_id: str, tasks: int, dice: random.Random, *, waves: int = 1) -> Iterator[Job]:
    ways = list(CONNECTIONS)
    sizes = [0] * waves
    for number in range(tasks):
        wave = number * waves // tasks
        sizes[wave] += 1
        name = f"{dag_id}-{number:03d}"
        first, second = dice.sample(WORDS, k=2)
        yield Job(
            name=name,
            prompt=f"The job {name} wants its own sentence back, {first} {dice.randrange(10_000)} {second} and all.",
            dag_id=dag_id,
            wave=wave,
            map_index=sizes[wave] - 1,
            conn_id=ways[number % len(ways)],
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
