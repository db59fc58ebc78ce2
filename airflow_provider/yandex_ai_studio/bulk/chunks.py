"""The chunks of a run that are open: what is asked next, what is read next, and the part that comes of each."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from airflow_provider.yandex_ai_studio.api.models import Usage
from airflow_provider.yandex_ai_studio.bulk.earlier import STATE_GONE
from airflow_provider.yandex_ai_studio.bulk.folder import Folder, counts_of
from airflow_provider.yandex_ai_studio.bulk.ledger import Chunk, Head, Ledger
from airflow_provider.yandex_ai_studio.bulk.money import Price, plus
from airflow_provider.yandex_ai_studio.bulk.plan import Reader, Request, Twin, digest_of
from airflow_provider.yandex_ai_studio.bulk.progress import metrics_between
from airflow_provider.yandex_ai_studio.bulk.result import MISSING, STATUSES, Result, used_by
from airflow_provider.yandex_ai_studio.bulk.tally import Tally
from airflow_provider.yandex_ai_studio.durability.advice import to_clear
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError
from airflow_provider.yandex_ai_studio.telemetry import Metric

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

MOST_OPEN = 40
"""
How many chunks are open at a time: it bounds the memory, however slow single operations are.

Without an output, all are: no chunk is ever closed there, and the rows that a task returns are few.
"""

MOST_TOLD = 20
"""How many rows that failed a stretch on a worker tells the log of one by one."""

READ_AT_A_TIME = 3
"""How many chunks of the inputs are held in memory."""


@dataclass
class OpenChunk:
    """
    A chunk that is worked on.

    :param answers: What was read on this worker, by row. It is read again where the task has deferred since.
    :param seen: What an earlier stretch of this attempt had read. It only tells how far the run is.
    :param look_at: When its operations are to be looked at next, in seconds since the epoch.
    :param narrow: Only look at the operation that was submitted first: the last look was in vain.
    """

    chunk: Chunk
    answers: dict[int, Result] = field(default_factory=dict)
    seen: Tally = Tally()  # noqa: RUF009 - it is frozen
    look_at: float = 0.0
    narrow: bool = True

    @property
    def unread(self) -> list[int]:
        """The rows whose operation is still to be read, those submitted first at the front."""
        return [row for row in self.chunk.running if row not in self.answers]

    @property
    def complete(self) -> bool:
        """Whether each row has its answer or its verdict."""
        return not self.chunk.waiting and not self.chunk.intent and not self.unread

    def result(self, row: int) -> Result:
        """Return what became of a row."""
        if answer := self.answers.get(row):
            return answer
        status, error = self.chunk.verdicts.get(row, ("missing", None))
        return Result(status, error=error) if status != "missing" else MISSING

    @property
    def kept(self) -> list[int]:
        """The rows that failed, and whose operation may have an answer for another attempt."""
        return [*self.chunk.verdicts, *(row for row, answer in self.answers.items() if answer.keep_operation)]

    @property
    def failed(self) -> int:
        """How many rows failed for good, as far as is known."""
        read = sum(answer.status != "success" for answer in self.answers.values())
        return len(self.chunk.verdicts) + max(read, sum(self.seen.counts[1:]))

    @property
    def known(self) -> Tally:
        """What is known of its answers, whether or not they are to be read again."""
        statuses = [answer.status for answer in self.answers.values()]
        read = Tally(tuple(map(statuses.count, STATUSES)), used_by(self.answers.values()))
        return max(self.seen, read, key=lambda tally: sum(tally.counts))

    @property
    def to_read_again(self) -> int:
        """How many answers an earlier stretch had read that this one has not."""
        return max(0, sum(self.seen.counts) - len(self.answers))


class Chunks:
    """
    The open chunks of a run, with what is written of them.

    :param folder: Where parts go; None where the rows are returned.
    :param twins: Returns, by chunk, the rows that are the same as others. It reads all rows, and is asked only where a
        record is gone that knew.
    """

    def __init__(
        self,
        head: Head,
        ledger: Ledger,
        reader: Reader,
        folder: Folder | None,
        price: Price | None,
        log: Logger,
        twins: Callable[[], Mapping[int, dict[int, Twin]]] = dict,
    ) -> None:
        self.head = head
        self._ledger = ledger
        self._reader = reader
        self._folder = folder
        self._price = price
        self._log = log
        self._requests: dict[int, list[Request]] = {}
        self._told = 0
        self._look_up_twins = twins
        self._twins: Mapping[int, dict[int, Twin]] = {}
        self.open: dict[int, OpenChunk] = {}
        for number in head.open:
            self._find(number)
        self._counted = self._written

    def _find(self, number: int) -> None:
        chunk = self._ledger.chunk(self.head, number)
        if chunk is None:
            self._log.warning(STATE_GONE, number)
            self._twins = self._twins or self._look_up_twins()
            chunk = self._new(number)
        if chunk.done:
            self.head.done[number] = chunk.tally
            return
        if lost := chunk.lose_intent():
            self._log.warning(
                "%s rows of chunk %s may have been billed without a use: an earlier attempt was cut off while it "
                "submitted them, and nobody knows their operations. They are submitted again.",
                lost,
                number,
            )
            self._ledger.write(chunk)
        self.open[number] = OpenChunk(chunk)

    def _new(self, number: int) -> Chunk:
        return self.head.chunk(number, twins=self._twins.get(number, {}))

    def in_turn(self) -> Iterator[OpenChunk]:
        """Give the open chunks in turn, and begin the next ones as far as that is wanted."""
        yield from list(self.open.values())
        while not self.all_begun and (self.returned or len(self.open) < MOST_OPEN):
            yield self.begin_next()

    def begin_next(self) -> OpenChunk:
        """Begin the next chunk."""
        number = self.head.opened
        chunk = self._ledger.chunk(self.head, number)
        if chunk is None:
            chunk = self._new(number)
            self._ledger.write(chunk)  # so that one without a record is one whose record is gone
        self.head.opened += 1
        self._ledger.write(self.head)
        self.open[number] = OpenChunk(chunk)
        return self.open[number]

    @property
    def returned(self) -> bool:
        """Whether the rows are returned: their answers are in memory only, and must all be read in one stretch."""
        return self._folder is None

    @property
    def all_begun(self) -> bool:
        """Whether no chunk is left to be begun."""
        return self.head.opened == self.head.chunks

    @property
    def wait(self) -> bool:
        """Whether rows are still to be submitted."""
        return not self.all_begun or any(opened.chunk.waiting for opened in self.open.values())

    def requests(self, chunk: Chunk) -> list[Request]:
        """
        Return the requests of a chunk.

        :raises ConfigurationError: The inputs are others than when the run began.
        """
        if chunk.number not in self._requests:
            found = self._read_again(chunk)
            if found is None or digest_of(found) != chunk.digest:
                raise ConfigurationError(
                    f"Restore the `inputs` and the `prompt`, and {to_clear()}; or give the new ones an `output_path` "
                    "of their own.\nThey were changed while the run went on (or the `prompt` says another thing each "
                    f"time): the rows from {chunk.number * self.head.chunk_size} on are others than when this attempt "
                    "began. What was submitted is written down."
                )
            self._requests[chunk.number] = found
            while len(self._requests) > READ_AT_A_TIME:
                self._requests.pop(next(iter(self._requests)))
        return self._requests[chunk.number]

    def _read_again(self, chunk: Chunk) -> list[Request] | None:
        try:
            return self._reader.chunk(chunk.number, self.head.chunk_size, self.head.places[chunk.number])
        except ConfigurationError:
            return None  # it could be read when the attempt began

    def write(self, chunk: Chunk) -> None:
        """Write a chunk down."""
        self._ledger.write(chunk)

    def write_head(self) -> None:
        """Write down what the chunks have in common."""
        self._ledger.write(self.head)

    def tell(self, chunk: Chunk, row: int, result: Result) -> None:
        """Say why a row failed for good; of many, say it of the first ones."""
        if result.error is None or self._told > MOST_TOLD:
            return
        self._told += 1
        if self._told > MOST_TOLD:
            self._log.warning("More rows failed; the log does not tell of each.")
            return
        index = chunk.number * self.head.chunk_size + row
        self._log.warning("Row %s failed (%s): %s", index, result.error["type"], result.error["message"])

    def strike_out_failed(self) -> None:
        """Spare another attempt a look at operations whose failure is told now: it asks these rows anew."""
        for opened in self.open.values():
            for row, answer in opened.answers.items():
                if answer.status != "success" and not answer.keep_operation:
                    opened.chunk.strike_out(row, answer.used)
            self._ledger.write(opened.chunk)

    def close(self, opened: OpenChunk) -> None:
        """Write the part of a chunk, and note that it is complete. Without an output, its answers stay in memory."""
        if self._folder is None:
            return
        chunk = opened.chunk
        self._folder.check_again(self.head.fingerprint)
        rows = self.rows(opened)
        self._folder.write_part(chunk.number, rows)
        chunk.complete(counts_of(rows, STATUSES), used_by(opened.answers.values()), opened.kept)
        self._ledger.write(chunk)
        self.head.done[chunk.number] = chunk.tally
        self._ledger.write(self.head)
        del self.open[chunk.number]
        self._requests.pop(chunk.number, None)

    def rows(self, opened: OpenChunk) -> list[dict[str, Any]]:
        """Return the rows of a chunk's part: its own, and those that are the same as one of them."""
        chunk = opened.chunk
        first = chunk.number * self.head.chunk_size
        rows: dict[int, dict[str, Any]] = {}
        if chunk.redo is not None and self._folder is not None:
            rows = {row["index"]: row for row in self._folder.read_part(chunk.number)}
        for row in chunk.asked:
            rows[first + row] = opened.result(row).row(first + row, self._custom_id(chunk, row), self._price)
        for row, (same, custom_id) in chunk.twins.items():
            if same >= first:
                rows[first + row] = {**rows[same], "index": first + row, "custom_id": custom_id}
        return [rows[index] for index in sorted(rows)]

    def _custom_id(self, chunk: Chunk, row: int) -> str:
        if self._reader.id_field is None:
            return f"row-{chunk.number * self.head.chunk_size + row}"
        return self.requests(chunk)[row].custom_id

    def far_twins(self) -> dict[int, list[tuple[int, str]]]:
        """Return the rows that are the same as one of another chunk: by that one, their index and id."""
        found: dict[int, list[tuple[int, str]]] = {}
        for number in range(self.head.chunks):
            opened = self.open.get(number)
            chunk = opened.chunk if opened else self._ledger.chunk(self.head, number)
            first = number * self.head.chunk_size
            for row, (same, custom_id) in (chunk.twins if chunk else {}).items():
                if same < first:
                    found.setdefault(same, []).append((first + row, custom_id))
        return found

    def tally(self) -> Tally:
        """Return what the run has come to, as far as it is written down or in memory."""
        whole = self._written
        for opened in self.open.values():
            whole = whole.plus(Tally(spent=used_by(opened.answers.values())))
        return whole

    def seen(self) -> dict[str, Any]:
        """Return what the next stretch on a worker is told of answers that it has to read again."""
        return {str(number): opened.known.value() for number, opened in self.open.items() if any(opened.known.counts)}

    def recall(self, seen: Mapping[str, Any]) -> None:
        """Take up what :meth:`seen` gave."""
        for number, tally in seen.items():
            if opened := self.open.get(int(number)):
                opened.seen = Tally.of(tally)

    def spent(self) -> Usage:
        """Return what the run has taken, with what is to be read again."""
        used = self._written.spent
        for opened in self.open.values():
            used = plus(used, opened.known.spent)
        return used

    @property
    def _written(self) -> Tally:
        whole = Tally()
        for tally in (*self.head.done.values(), *(opened.chunk.tally for opened in self.open.values())):
            whole = whole.plus(tally)
        return whole

    def untold(self, returned: Sequence[Mapping[str, Any]] = ()) -> tuple[Metric, ...]:
        """
        Return the metrics of what was written down since this was asked last: another stretch reads the rest again.

        :param returned: The rows, where the task returns them. Nothing is read again after that.
        """
        now = self._written
        if returned:
            now = self.tally().plus(Tally(tuple(counts_of(returned, STATUSES))))
        before, self._counted = self._counted, now
        return metrics_between(before, now)

    def untold_failures(self) -> tuple[Metric, ...]:
        """Return the metrics of rows that failed, where the task returns none because of them."""
        rows = [row for opened in self.open.values() for row in self.rows(opened) if row["status"] != "success"]
        return metrics_between(Tally(), Tally(counts_of(rows, STATUSES)))

    @property
    def running(self) -> int:
        """How many operations are under way, or not read yet."""
        return sum(len(opened.unread) for opened in self.open.values())

    @property
    def late(self) -> int:
        """How many operations took too long, so that nobody knows what they may be billed for yet."""
        return self._written.late + sum(opened.chunk.late for opened in self.open.values())

    @property
    def to_read_again(self) -> int:
        """How many operations are known to have ended, and are read again with their chunk."""
        return sum(opened.to_read_again for opened in self.open.values())

    @property
    def done_rows(self) -> int:
        """How many rows have their answer or failed for good, without those that are the same as others."""
        of_done = sum(self.head.size_of(number) for number in self.head.done)
        return (
            of_done
            + self.to_read_again
            + sum(
                len(opened.answers) + len(opened.chunk.verdicts) + opened.chunk.size - len(opened.chunk.asked)
                for opened in self.open.values()
            )
        )

    @property
    def failed_rows(self) -> int:
        """How many rows failed for good."""
        of_done = sum(sum(tally.counts[1:-1]) for tally in self.head.done.values())
        return of_done + sum(opened.failed for opened in self.open.values())
