"""The tasks of a chaos run: what each generates, on which connection, and where it dies by plan. Without I/O."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

STAGES = ("before_submit", "sending", "taken", "before_defer", "resume_begin", "resume_end")
"""Where a task kills itself: see dags/chaos_generations.py beside this."""

RESUMING = frozenset({"resume_begin", "resume_end"})
NEEDS_DEFERRAL = RESUMING | {"before_defer"}

ROWS, SHORT_ROWS = 60, 24
"""Rows of each of the two bulk tasks."""

PACE = 4
"""Rows that a bulk task submits a second: slow enough to be hit in the middle."""

GROUP = PACE // 2
"""Rows that it submits together, and loses at most by one death."""

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

BULK = {"chaos_api_key": True, "chaos_service_account_grpc": False}
"""The connections of the bulk tasks, and whether each writes its rows to a folder or returns them."""

Kind = Literal["generate", "respond", "submit", "watch", "bulk"]
"""
What a task does: it has a text generated with the text generation API, or with the Responses API; it submits and does
not wait; it waits for what the ``submit`` before it submitted; it has many texts generated.
"""


@dataclass(frozen=True)
class Job:
    """
    One task.

    :param name: Stands in its prompts, so that requests, operations and faults can be told apart.
    :param prompts: One, or one for each row.
    :param wave: Its pool opens when its time has come.
    :param map_index: Which of the mapped tasks of its kind and wave it is; -1: it is not mapped.
    :param from_trigger: It starts in the triggerer.
    :param folder: It writes its texts to a folder, and returns a manifest.
    :param die_at: The stages at which it kills itself, each once.
    :param die_whole: Kill the supervising process first, so that nobody reports the death.
    """

    name: str
    kind: Kind
    prompts: tuple[str, ...]
    dag_id: str
    wave: int
    map_index: int
    conn_id: str
    end_from_trigger: bool | None = None
    deferrable: bool = True
    from_trigger: bool = False
    folder: bool = False
    die_at: tuple[str, ...] = ()
    die_whole: bool = False

    @property
    def task_id(self) -> str:
        """The id of its task."""
        return f"{self.kind}_{self.wave:02d}"

    @property
    def index(self) -> tuple[str, int]:
        """What it is known by within its run."""
        return self.task_id, self.map_index

    @property
    def key(self) -> tuple[str, str, int]:
        """What the metadata database knows it by, within a run."""
        return self.dag_id, self.task_id, self.map_index

    @property
    def answer(self) -> str | list[str]:
        """What its prompts ask for."""
        return list(self.prompts) if self.kind == "bulk" else self.prompts[0]

    @property
    def submissions(self) -> str | None:
        """The route of its submissions, if it has any."""
        return {"watch": None, "respond": "responses.create"}.get(self.kind, "completionAsync")

    @property
    def rows(self) -> tuple[str, ...]:
        """The name of each row."""
        return tuple(f"{self.name}.{row:02d}" for row in range(len(self.prompts)))


def job_of(match: str | None) -> str:
    """Return the name of the job that a fault is for: it names the job, or a row of it."""
    return (match or "").strip().partition(".")[0]


def pool_of(wave: int) -> str:
    """Return the Airflow pool of a wave."""
    return f"wave_{wave:02d}"


def jobs_of(dag_id: str, tasks: int, dice: random.Random, *, waves: int = 1, rows: int = 0) -> Iterator[Job]:
    """
    Draw the jobs of a DAG, wave by wave.

    :param rows: Of each bulk task; with 0, all tasks generate one text each, and there is no other kind.
    """
    ways = list(CONNECTIONS)
    bulks = dict(zip((0, waves // 3), BULK, strict=True)) if rows else {}
    for wave in range(waves):
        numbers = [number for number in range(tasks) if number * waves // tasks == wave]
        kinds: Sequence[Kind] = ["generate"] * len(numbers)
        if rows:
            kinds = _kinds(len(numbers), bulk=wave in bulks)
        prompts: tuple[str, ...] = ()
        for position, (number, kind) in enumerate(zip(numbers, kinds, strict=True)):
            name = f"{dag_id}-{number:03d}"
            # Who only submits asks nothing in a triggerer, where the trouble of the vault begins.
            mine = [way for way in ways if kind != "submit" or CONNECTIONS[way].through != "vault"]
            conn_id = bulks[wave] if kind == "bulk" else mine[number % len(mine)]
            alone = kind == "bulk" or (kind in ("submit", "watch") and wave % 4 == 1)
            if kind == "bulk":
                prompts = tuple(_prompt(f"{name}.{row:02d}", dice) for row in range(rows))
            elif kind != "watch":  # that waits for the one before it
                prompts = (_prompt(name, dice),)
            yield Job(
                name=name,
                kind=kind,
                prompts=prompts,
                dag_id=dag_id,
                wave=wave,
                map_index=-1 if alone else kinds[:position].count(kind),
                conn_id=conn_id,
                end_from_trigger=False if dice.random() < 0.3 else None,
                deferrable=dice.random() > 0.05 or kind == "bulk",
                from_trigger=alone and kind == "watch",
                folder=kind == "bulk" and BULK[conn_id],
            )


def _kinds(size: int, *, bulk: bool) -> list[Kind]:
    first: list[Kind] = ["generate", "respond", "submit", "watch", "bulk" if bulk else "generate", "generate"]
    others: list[Kind] = ["generate"] * size
    return [*first, "respond", *others][:size]


def _prompt(name: str, dice: random.Random) -> str:
    first, second = dice.sample(WORDS, k=2)
    return f"The job {name} wants its own sentence back, {first} {dice.randrange(10_000)} {second} and all."
