"""
One attempt at a bulk task: it looks at all rows, takes up what an earlier attempt left, works, and ends.

Between its stretches on a worker it waits; how, is the operator's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from secrets import token_hex
from typing import TYPE_CHECKING, Any

from airflow.sdk.exceptions import AirflowException, AirflowTaskTimeout

from airflow_provider.yandex_ai_studio.api.checks import wrong
from airflow_provider.yandex_ai_studio.bulk import earlier, estimate, finish
from airflow_provider.yandex_ai_studio.bulk.chunks import Chunks
from airflow_provider.yandex_ai_studio.bulk.folder import Folder
from airflow_provider.yandex_ai_studio.bulk.ledger import KEY, Head, Ledger
from airflow_provider.yandex_ai_studio.bulk.money import Excess, model_name
from airflow_provider.yandex_ai_studio.bulk.plan import Plan, Reader, Twin, look_through
from airflow_provider.yandex_ai_studio.bulk.run import Run
from airflow_provider.yandex_ai_studio.bulk.submitting import Limits
from airflow_provider.yandex_ai_studio.bulk.wakeup import Wakeup
from airflow_provider.yandex_ai_studio.durability.advice import to_clear
from airflow_provider.yandex_ai_studio.durability.journal import fingerprint_of
from airflow_provider.yandex_ai_studio.exceptions import (
    BudgetExceeded,
    ConfigurationError,
    RowsFailed,
    ServiceUnavailable,
)
from airflow_provider.yandex_ai_studio.telemetry import describe, request_attributes, tags_of, tell, usage_attributes

if TYPE_CHECKING:
    from airflow.sdk.types import Logger

    from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
    from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook

MOST_RETURNED = 1000
"""Rows that a task returns at most: what it returns is a row of Airflow's database."""

KEPT = "What was generated is kept: another attempt asks only for what is missing."


PAID_AGAIN = (
    "%s holds the answers of another run to the same requests: they are asked and paid for again, and written over"
)


@dataclass
class Attempt:
    """
    What a bulk task has to do.

    :param conn_id: What the manifest says of the connection.
    :param base: What all requests have in common.
    :param asked_model: How the task itself names the model; None where it is the connection's default.
    :param with_model: Returns base and limits for another model.
    :param reader: The rows.
    :param output_path: Where parts go; None where the answers are returned.
    :param output_format: Of the parts.
    :param chunk_size: Rows of a chunk, where the run was not begun with another size.
    :param deduplicate: Whether requests that are the same are asked once.
    :param keep_failed: Whether rows that failed for good don't fail the task.
    :param keep_rows: Called once the rows and their output are known to be right, before anything is paid for.
    :param check: Called between groups, when all is written down: raises where the attempt must end.
    :param about_rows: What an error about the rows says beside what is wrong.
    """

    hook: YandexAIStudioHook
    conn_id: str
    base: CompletionRequest
    limits: Limits
    asked_model: str | None
    with_model: Callable[[str], tuple[CompletionRequest, Limits]]
    ledger: Ledger
    reader: Reader
    output_path: str | None
    output_format: str
    chunk_size: int
    deduplicate: bool
    keep_failed: bool
    log: Logger
    check: Callable[[], None]
    keep_rows: Callable[[], None] | None = None
    about_rows: str | None = None

    def estimate(self) -> dict[str, Any]:
        """Return what the run would take; see :func:`~...estimate.estimate`."""
        found = estimate.estimate(self.hook, self.base, self.reader, self._plan, self._size, self.limits.bounds)
        self.log.info("%s", found.line())
        return found.value()

    def begin(self) -> Any:
        """
        Look at all rows; then work until nothing is left to do on a worker.

        :return: A :class:`Pause`, or what the task returns.
        :raises ConfigurationError: A row can't be asked, or the output is another's. Nothing was sent.
        :raises RowsFailed: Rows failed for good.
        :raises BudgetExceeded: A bound is reached.
        :raises RequestError: The service refuses this account, or every row alike.
        """
        head, folder = self._checked()
        if head is not None:
            self._keep_model(head)
        if self.keep_rows:
            self.keep_rows()  # only now: rows that are refused must not take the place of those that were paid for
        if folder is not None:
            if head is None and folder.holds_answers():
                self.log.warning(PAID_AGAIN, self.output_path)
            folder.claim(self._plan.fingerprint, self._plan.rows, self.hook.sleep)
        if head is None:
            head = self._new()
        else:
            earlier.take_up(head, self._plan, self.ledger, folder, self.log)
        if folder is not None:
            folder.drop_manifest()
        chunks = self._chunks(head, folder)
        return self._work(chunks, folder, (self.hook.clock(), chunks.done_rows), Wakeup())

    def go_on(self, began: Sequence[float] | None, seen: Mapping[str, Any] | None, wakeup: Wakeup) -> Any:
        """
        Work again, after a pause, until nothing is left to do on a worker.

        :param began: That of the pause; None counts pace and time from now.
        :param seen: That of the pause; None if it is not known.
        :raises ConfigurationError: The parameters were changed meanwhile.
        """
        head = self.ledger.head()
        if head is None:
            return self.begin()  # somebody has deleted the state of the task meanwhile
        earlier.refuse_changed(head, self._parameters)
        self._keep_model(head)
        folder = self._folder(head)
        chunks = self._chunks(head, folder)
        chunks.recall(seen or {})
        at, done = began or (self.hook.clock(), chunks.done_rows)
        return self._work(chunks, folder, (at, int(done)), wakeup)

    def _work(self, chunks: Chunks, folder: Folder | None, began: tuple[float, int], wakeup: Wakeup) -> Any:
        run = Run(
            chunks,
            hook=self.hook,
            base=self.base,
            limits=self.limits,
            began=began,
            wakeup=wakeup,
            check=self.check,
            log=self.log,
        )
        try:
            pause = run.go()
        except (AirflowException, AirflowTaskTimeout):
            chunks.write_head()  # what was submitted in this hour counts for the next attempt, too
            raise
        chunks.write_head()
        if pause:
            return pause
        if folder is None:
            self._judge(run, chunks.failed_rows, chunks)
            rows = finish.rows_in_order(chunks)
            self._tell(chunks, rows)
            return [row["output"] for row in rows]
        manifest = finish.write_end(chunks, folder, self._about(), self.limits.bounds.price, self.hook.clock())
        self._tell(chunks)
        counts = manifest["counts"]
        not_asked = counts["missing"] if run.stopped else 0
        self._judge(run, manifest["request_count"] - counts["succeeded"] - not_asked, chunks)
        return manifest

    def _tell(self, chunks: Chunks, returned: Sequence[Mapping[str, Any]] = ()) -> None:
        """Tell monitoring of the end of the run."""
        tell(*chunks.untold(returned), tags=tags_of(self.conn_id, self.base.model_uri))
        spent = chunks.tally().spent
        describe(
            {**request_attributes(self.base.model_uri), **usage_attributes(spent.input_tokens, spent.completion_tokens)}
        )

    def _judge(self, run: Run, failed: int, chunks: Chunks) -> None:
        stopped = run.stopped
        if isinstance(stopped, Excess):
            raise BudgetExceeded(
                f"Raise {stopped.names}, and {to_clear()}: the next row could go beyond it.\n{stopped.story} {KEPT}"
            )
        if isinstance(stopped, ServiceUnavailable):
            raise stopped
        if stopped or (failed and not self.keep_failed):
            if chunks.returned:  # no part of these rows is ever written down
                tell(*chunks.untold_failures(), tags=tags_of(self.conn_id, self.base.model_uri))
            chunks.strike_out_failed()
            if run.refused_alike:
                raise run.refused_alike
            where = f"see their `error` in {self.output_path}" if self.output_path else "the log says why they failed"
            raise RowsFailed(
                f"Look at the rows that failed ({where}): another attempt asks them again, and pays for them again.\n"
                f"{failed} of {chunks.head.rows} rows failed. "
                f"{'No more were submitted, because of `max_failed_rows`. ' if stopped else ''}{KEPT}"
            )

    # -- what an earlier attempt has left

    @cached_property
    def _size(self) -> int:
        """The size that the run was begun with: the ledger and the parts are by chunks."""
        head = self.ledger.head()
        return self.chunk_size if head is None else head.chunk_size

    @cached_property
    def _parameters(self) -> dict[str, str]:
        return earlier.parameters_of(self.base, self.reader.id_field, self.asked_model)

    def _keep_model(self, head: Head) -> None:
        """Go on with the model that the run began with, where another one is the connection's default by now."""
        if head.model and model_name(head.model) != model_name(self.base.model_uri):  # in whichever folder
            self.log.info(
                "The run goes on with %s, with which it began. The connection's default is %s now.",
                head.model,
                self.base.model_uri,
            )
            self.base, self.limits = self.with_model(head.model)

    @cached_property
    def _plan(self) -> Plan:
        plan = look_through(
            self.reader,
            parameters=fingerprint_of(self._parameters),
            chunk_size=self._size,
            deduplicate=self.deduplicate,
        )
        if not self.output_path and plan.rows > MOST_RETURNED:
            raise wrong(f"Give `output_path`: there are {plan.rows} rows, and a task returns {MOST_RETURNED} at most")
        self.log.info("%s rows with %s characters, to %s", plan.rows, plan.characters, self.base.model_uri)
        return plan

    def _checked(self) -> tuple[Head | None, Folder | None]:
        """Return the head of an earlier attempt and the folder of the output, once all rows are known to be right."""
        try:
            plan, head = self._plan, self._earlier()
            folder = self._folder(head)
            if folder is not None:
                folder.check(plan.fingerprint)
                if head is not None:
                    earlier.refuse_elsewhere(head, self.ledger, folder)
        except ConfigurationError as error:
            if self.about_rows is None:
                raise
            raise ConfigurationError(f"{error}\n{self.about_rows}.") from None
        return head, folder

    def _earlier(self) -> Head | None:
        """Return the head of an earlier attempt at the same requests."""
        head = self.ledger.head()
        if head is None or head.fingerprint != self._plan.fingerprint:
            return None
        if head.output_path != self.output_path:
            raise wrong(
                f"`output_path` is {self.output_path!r}, and this run was begun with {head.output_path!r}, where its "
                f"parts are. Give that one again, or delete {KEY!r} from the state of the task to pay for the rows anew"
            )
        self.log.info("Found an earlier attempt: %s of %s chunks are done", len(head.done), head.chunks)
        head.reception = {}  # each attempt has its own patience
        return head

    def _new(self) -> Head:
        """Begin a ledger, in place of one that is about other requests."""
        plan = self._plan
        head = Head.begin(
            plan,
            self._size,
            self.hook.clock(),
            self.output_path,
            self.output_format,
            run=token_hex(4),
            model=self.base.model_uri,
            parameters=self._parameters,
        )
        if (other := self.ledger.head()) is not None:
            self.log.warning(
                "An earlier attempt of this task was about other requests: the inputs or parameters have changed, or "
                "another release of this package tells them apart in another way. What it submitted is not used."
            )
            for number in range(other.chunks):
                self.ledger.forget_chunk(number)
        for number, twins in plan.twins.items():
            self.ledger.write(head.chunk(number, twins=twins))
        self.ledger.write(head)
        return head

    def _folder(self, head: Head | None) -> Folder | None:
        """Return the folder of the output, as the run was begun with it."""
        path, form = (self.output_path, self.output_format) if head is None else (head.output_path, head.output_format)
        return Folder(path, form) if path else None

    def _chunks(self, head: Head, folder: Folder | None) -> Chunks:
        def twins() -> Mapping[int, dict[int, Twin]]:
            try:
                return self._plan.twins if self._plan.fingerprint == head.fingerprint else {}
            except ConfigurationError:
                return {}  # the rows are others by now: that is told where they are read

        return Chunks(head, self.ledger, self.reader, folder, self.limits.bounds.price, self.log, twins)

    def _about(self) -> dict[str, Any]:
        model = self.base.output.model
        return {
            "llm_conn_id": self.conn_id,
            "model_id": self.base.model_uri,
            "output_type_ref": f"{model.__module__}.{model.__qualname__}" if model else None,
            "structured": self.base.output.structured,
        }
