"""
What became of each row, a chunk at a time, kept across attempts.

The rules are those of the journal of a single operation: an intent before each group of submissions, the ids after it,
and a chunk is done only when its part of the output is. The values do no I/O; :class:`Ledger` is the edge.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, fields, replace
from typing import Any

from airflow_provider.yandex_ai_studio.api.models import Usage
from airflow_provider.yandex_ai_studio.bulk.money import times
from airflow_provider.yandex_ai_studio.bulk.plan import Plan, Twin
from airflow_provider.yandex_ai_studio.bulk.tally import Tally
from airflow_provider.yandex_ai_studio.durability.journal import RETENTION, Store

KEY = "yandex_ai_studio_bulk"


@dataclass
class Chunk:
    """
    A chunk of rows. Its rows are numbered from 0.

    A row waits; then it is intended; then its operation is known; then it waits again, or has a verdict.

    :param digest: What tells its rows from others.
    :param twins: Rows that are not asked, because another one is the same.
    :param ids: The operation of a row, and when it was submitted, in seconds since the epoch.
    :param intent: Rows that are being submitted.
    :param failures: How often the generation of a row has failed.
    :param losses: How often the answer to the submission of a row got lost, so that nobody knows its operation; 0 where
        that was in an earlier attempt.
    :param verdicts: Rows that won't be asked again in this attempt: status, and error.
    :param redo: The rows that are asked again after the chunk was done once; the others are in its part.
    :param done: Its part of the output is complete.
    :param run: The run that it belongs to.
    """

    number: int
    size: int
    digest: str
    twins: dict[int, Twin] = field(default_factory=dict)
    ids: dict[int, tuple[str, float]] = field(default_factory=dict)
    intent: tuple[int, ...] = ()
    failures: dict[int, int] = field(default_factory=dict)
    losses: dict[int, int] = field(default_factory=dict)
    verdicts: dict[int, tuple[str, dict[str, Any] | None]] = field(default_factory=dict)
    redo: tuple[int, ...] | None = None
    tally: Tally = Tally()  # noqa: RUF009 - it is frozen
    done: bool = False
    run: str = ""

    @property
    def asked(self) -> list[int]:
        """The rows that this chunk is open for."""
        rows = range(self.size) if self.redo is None else self.redo
        return [row for row in rows if row not in self.twins]

    @property
    def waiting(self) -> list[int]:
        """The rows that are to be submitted, those at the end that only lost answers so far."""
        taken = set(self.intent)
        rows = [row for row in self.asked if row not in self.ids and row not in self.verdicts and row not in taken]
        return sorted(rows, key=lambda row: self.losses.get(row, 0))

    def is_doubtful(self, row: int) -> bool:
        """Whether the answers about a row got lost more than once, or in an earlier attempt: others come first."""
        return self.losses.get(row, 1) != 1

    @property
    def running(self) -> list[int]:
        """The rows whose operation is to be read, those submitted first at the front."""
        rows = [row for row in self.ids if row not in self.verdicts]
        return sorted(rows, key=lambda row: self.ids[row][1])

    @property
    def late(self) -> int:
        """How many operations took too long: they may have an answer yet, for another attempt, and are billed then."""
        return sum(row in self.ids for row in self.verdicts)

    def intend(self, rows: Iterable[int]) -> None:
        """Note that rows are about to be submitted."""
        self.intent = (*self.intent, *rows)

    def submitted(self, row: int, operation_id: str, now: float) -> None:
        """Note the operation of a row."""
        self._settle(row)
        self.ids[row] = (operation_id, now)
        self._count(submissions=1)

    def refused(self, row: int) -> None:
        """Note that the service surely did not take a row: it waits again."""
        self._settle(row)

    def lose(self, row: int) -> int:
        """Note that nobody knows whether the service took a row: it waits again. Return how often that was so."""
        self._settle(row)
        self._count(lost=1)
        self.losses[row] = self.losses.get(row, 0) + 1
        return self.losses[row]

    def lose_intent(self) -> int:
        """Count the rows that an attempt was cut off at: they wait again."""
        cut_off = self.intent
        for row in cut_off:
            self.lose(row)
        return len(cut_off)

    def repeat(self, row: int, used: Usage) -> None:
        """Note that the generation of a row failed, and what it cost: the row waits again."""
        self.ids.pop(row)
        self.failures[row] = self.failures.get(row, 0) + 1
        self._count(spent=used, repeated=1)

    def conclude(
        self, row: int, status: str, error: dict[str, Any] | None, used: Usage, *, keep_operation: bool = False
    ) -> None:
        """Note that a row failed for good, as far as this attempt goes."""
        self._settle(row)
        if not keep_operation:
            self.ids.pop(row, None)
        self.verdicts[row] = (status, error)
        self._count(spent=used)

    def strike_out(self, row: int, used: Usage) -> None:
        """Forget an operation that ended without an answer, but not what it took: another attempt asks the row anew."""
        self.ids.pop(row)
        self._count(spent=used)

    def complete(self, counts: Iterable[int], used: Usage, keep: Iterable[int] = ()) -> None:
        """
        Note that the part of the output is complete.

        :param counts: The rows in it, by status.
        :param used: Tokens of the answers that came since the chunk was opened.
        :param keep: Rows whose operation is read again, should the chunk be opened again.
        """
        self.ids = {row: self.ids[row] for row in keep if row in self.ids}
        taken = Tally(tuple(counts), used, late=self.late)
        self.tally = taken.plus(self.tally.without_rows())
        self.done, self.intent, self.redo = True, (), None

    def reopen(self, rows: Iterable[int] | None, read_again: Usage = Usage()) -> None:  # noqa: B008 - it is frozen
        """
        Ask rows of a chunk that was done again: these, or all. What they took stays counted.

        :param read_again: What was counted for answers that are to be read again, and counted then.
        """
        self.done, self.redo = False, None if rows is None else tuple(rows)
        self._count(spent=times(read_again, -1))
        self.tally = self.tally.without_rows() if rows is None else replace(self.tally, late=0)
        self.start_over()

    def start_over(self) -> None:
        """Let rows that failed for good in an earlier attempt wait again."""
        self.verdicts, self.failures, self.losses = {}, {}, dict.fromkeys(self.losses, 0)

    def value(self) -> dict[str, Any]:
        """Return plain JSON, without what is empty."""
        known = {
            "number": self.number,
            "size": self.size,
            "digest": self.digest,
            "twins": {str(row): list(twin) for row, twin in self.twins.items()},
            "ids": {str(row): list(submitted) for row, submitted in self.ids.items()},
            "intent": list(self.intent),
            "failures": {str(row): times for row, times in self.failures.items()},
            "losses": {str(row): times for row, times in self.losses.items()},
            "verdicts": {str(row): list(verdict) for row, verdict in self.verdicts.items()},
            "redo": None if self.redo is None else list(self.redo),
            "tally": self.tally.value(),
            "done": self.done,
            "run": self.run,
        }
        return {name: value for name, value in known.items() if value or value == 0 or name == "redo"}

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Chunk:
        """Read what :meth:`value` gave."""
        redo = value.get("redo")
        return cls(
            number=value["number"],
            size=value["size"],
            digest=value["digest"],
            twins={int(row): (twin[0], twin[1]) for row, twin in value.get("twins", {}).items()},
            ids={int(row): (known[0], known[1]) for row, known in value.get("ids", {}).items()},
            intent=tuple(value.get("intent", ())),
            failures={int(row): times for row, times in value.get("failures", {}).items()},
            losses={int(row): times for row, times in value.get("losses", {}).items()},
            verdicts={int(row): (one[0], one[1]) for row, one in value.get("verdicts", {}).items()},
            redo=None if redo is None else tuple(redo),
            tally=Tally.of(value["tally"]),
            done=bool(value.get("done")),
            run=value.get("run", ""),
        )

    def _settle(self, row: int) -> None:
        self.intent = tuple(one for one in self.intent if one != row)

    def _count(self, **more: Any) -> None:
        self.tally = self.tally.plus(Tally(**more))


@dataclass
class Head:
    """
    What the chunks have in common.

    :param fingerprint: Of the set of requests.
    :param run: Tells this run from another one at the same requests: a chunk of another one is none of this.
    :param model: The model that is asked, as its full URI.
    :param parameters: What tells the parameters of the requests from others, by name.
    :param output_path: Where the parts are, if anywhere.
    :param output_format: Of the parts.
    :param longest_prompt: Characters of it.
    :param places: Where each chunk is found in the inputs.
    :param opened: How many chunks were begun; they are begun in turn.
    :param done: The chunks whose part is complete, and what each came to.
    :param hour: What was submitted lately, as :class:`~...hourly_quota.HourlyQuota` keeps it.
    :param reception: How the service takes what this attempt submits, as :class:`~...reception.Reception` keeps it.
    :param longest_answer: Tokens of the longest answer so far.
    """

    fingerprint: str
    rows: int
    chunk_size: int
    began_at: float
    output_path: str | None
    output_format: str
    longest_prompt: int
    places: list[int]
    digests: list[str]
    opened: int = 0
    done: dict[int, Tally] = field(default_factory=dict)
    hour: dict[str, int] = field(default_factory=dict)
    run: str = ""
    model: str = ""
    parameters: dict[str, str] = field(default_factory=dict)
    reception: dict[str, Any] = field(default_factory=dict)
    longest_answer: int = 0

    @classmethod
    def begin(
        cls,
        plan: Plan,
        chunk_size: int,
        began_at: float,
        output_path: str | None,
        output_format: str,
        **about: Any,
    ) -> Head:
        """Begin the ledger of a run."""
        return cls(
            plan.fingerprint,
            plan.rows,
            chunk_size,
            began_at,
            output_path,
            output_format,
            plan.longest,
            list(plan.places),
            list(plan.digests),
            **about,
        )

    @property
    def chunks(self) -> int:
        """How many chunks there are."""
        return len(self.places)

    @property
    def open(self) -> list[int]:
        """The chunks that were begun and are not done."""
        return [number for number in range(self.opened) if number not in self.done]

    def size_of(self, number: int) -> int:
        """Return how many rows a chunk has."""
        return min(self.chunk_size, self.rows - number * self.chunk_size)

    def chunk(self, number: int, **known: Any) -> Chunk:
        """Return a chunk of this run, with what is known of it."""
        return Chunk(number, self.size_of(number), self.digests[number], run=self.run, **known)

    def value(self) -> dict[str, Any]:
        """Return plain JSON."""
        return {**vars(self), "done": {str(number): tally.value() for number, tally in self.done.items()}}

    @classmethod
    def of(cls, value: Mapping[str, Any]) -> Head:
        """Read what :meth:`value` gave, of this release or another."""
        known = {each.name for each in fields(cls)}
        done = {int(number): Tally.of(tally) for number, tally in value["done"].items()}
        return cls(**{**{name: item for name, item in value.items() if name in known}, "done": done})


class Ledger:
    """
    The ledger of one task instance, kept across its attempts.

    :param store: ``context["task_state_store"]``.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self.writes = 0

    def head(self) -> Head | None:
        """Return what the chunks have in common, or None where nothing was begun."""
        value = self._store.get(KEY)
        return None if value is None else Head.of(value)

    def chunk(self, head: Head, number: int) -> Chunk | None:
        """Return a chunk of a run, or None where nothing is known of it. One of another run or other rows is none."""
        value = self._store.get(f"{KEY}_{number}")
        if value is None:
            return None
        chunk = Chunk.of(value)
        return chunk if (chunk.run, chunk.digest) == (head.run, head.digests[number]) else None

    def write(self, value: Head | Chunk) -> None:
        """Write a value down."""
        key = KEY if isinstance(value, Head) else f"{KEY}_{value.number}"
        self._store.set(key, value.value(), retention=RETENTION)
        self.writes += 1

    def forget_chunk(self, number: int) -> None:
        """Forget what is known of a chunk of another run."""
        self._store.delete(f"{KEY}_{number}")
