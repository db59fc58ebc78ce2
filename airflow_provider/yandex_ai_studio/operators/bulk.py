"""The operator that generates a text for each of many rows, in one task."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow.sdk import BaseOperator

from airflow_provider.yandex_ai_studio.api import completion
from airflow_provider.yandex_ai_studio.api.checks import choice, count, positive, wrong
from airflow_provider.yandex_ai_studio.bulk import finish
from airflow_provider.yandex_ai_studio.bulk.chunks import Chunks
from airflow_provider.yandex_ai_studio.bulk.estimate import estimate
from airflow_provider.yandex_ai_studio.bulk.ledger import Chunk, Head, Ledger
from airflow_provider.yandex_ai_studio.bulk.money import Bounds, price_of
from airflow_provider.yandex_ai_studio.bulk.output import Output, OutputFormat
from airflow_provider.yandex_ai_studio.bulk.plan import Plan, Reader, look_through
from airflow_provider.yandex_ai_studio.bulk.reading import Wakeup
from airflow_provider.yandex_ai_studio.bulk.rows import source_of
from airflow_provider.yandex_ai_studio.bulk.run import Pause, Run
from airflow_provider.yandex_ai_studio.bulk.submitting import Limits
from airflow_provider.yandex_ai_studio.durability.journal import fingerprint_of
from airflow_provider.yandex_ai_studio.durability.policy import seconds_of
from airflow_provider.yandex_ai_studio.durability.resume import DEFERRAL_MARGIN
from airflow_provider.yandex_ai_studio.exceptions import BudgetExceeded, RowsFailed
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook

if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context, ObjectStoragePath

    from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
    from airflow_provider.yandex_ai_studio.api.output import JsonSchema

MOST_RETURNED = 1000
"""Rows that a task returns at most: what it returns is a row of Airflow's database."""

CHUNK_SIZE = 250


class YandexAIStudioBulkCompletionOperator(BaseOperator):
    """
    Generate a text for each of many rows, in one task: submitted at the quota's pace, waited for without a worker.

    With ``output_path``, writes a part for each chunk of rows and at the end a manifest, and returns the manifest.
    Without it, returns the texts in the order of the rows, or the values in them where ``json_object`` or
    ``json_schema`` asks for one. Needs Airflow 3.3: what was submitted is written down in its ``task_state_store``.

    :param inputs: A list of texts or mappings, as it is or from another task; or the path of a file of JSON lines
        (``.jsonl``, ``.ndjson``) or Parquet on any object storage that Airflow knows.
    :param prompt: A template over the row: ``"Summarize: {{ row.text }}"``. It is filled for each row, on the worker,
        and sees the task's context too. Default: the rows are the prompts.
    :param instructions: A system message that goes before each prompt.
    :param model: As for :class:`~...operators.completion.YandexAIStudioCompletionOperator`, and so are ``temperature``,
        ``max_tokens``, ``reasoning``, ``json_object`` and ``json_schema``.
    :param output_path: A folder on any object storage. Give each set of rows its own.
    :param output_format: ``jsonl`` or ``parquet``.
    :param id_field: The field with the id of a row; it is the ``custom_id`` of the output.
    :param deduplicate: Ask requests that are the same only once.
    :param row_retries: How often a row is asked again after its generation failed.
    :param on_row_error: What rows mean that failed for good: ``fail`` fails the task once all others are done, ``keep``
        leaves them to the reader of the output, or returns None for each.
    :param max_failed_rows: Submit no more, and fail, once more rows than this have failed for good.
    :param max_total_tokens: Submit no more, and fail, before the run takes more tokens than this, over all attempts.
    :param max_cost: The same for the cost, by the connection's ``prices``.
    :param estimate: Submit nothing; count the tokens of the rows (of a sample, if there are many) with the service's
        free tokenizer, and return what the run would take.
    :param chunk_size: Rows of a part of the output, and of memory.
    :param timeout: How long an operation may take, counted from its submission. Seconds, or a timedelta; at most 3
        days.
    :param conn_id: The Airflow connection.
    :raises ConfigurationError: A parameter, a row or the connection is wrong; nothing was sent.
    :raises RowsFailed: Rows failed for good. The others are kept: another attempt asks only these.
    :raises BudgetExceeded: The bound of tokens or cost is reached. What was generated is kept.
    :raises RequestError: The service refuses this account, or all rows alike.

    .. seealso:: https://aistudio.yandex.ru/docs/en/ai-studio/operations/generation/async-request
    """

    template_fields: Sequence[str] = (
        "inputs",
        "instructions",
        "model",
        "temperature",
        "max_tokens",
        "output_path",
        "max_total_tokens",
        "max_cost",
        "conn_id",
    )
    template_fields_renderers = {"instructions": "md"}
    ui_color = "#f3e9ff"

    def __init__(
        self,
        *,
        inputs: Any,
        prompt: str | None = None,
        instructions: str | None = None,
        model: str | None = None,
        temperature: float | str | None = None,
        max_tokens: int | str | None = None,
        reasoning: str | None = None,
        json_object: bool = False,
        json_schema: JsonSchema | None = None,
        output_path: str | ObjectStoragePath | None = None,
        output_format: OutputFormat = "jsonl",
        id_field: str | None = None,
        deduplicate: bool = True,
        row_retries: int = 2,
        on_row_error: Literal["fail", "keep"] = "fail",
        max_failed_rows: int | None = None,
        max_total_tokens: int | str | None = None,
        max_cost: float | str | None = None,
        estimate: bool = False,
        chunk_size: int = CHUNK_SIZE,
        timeout: float | timedelta = timedelta(hours=24),
        conn_id: str = YandexAIStudioHook.default_conn_name,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.inputs = inputs
        self.prompt = prompt
        self.instructions = instructions
        self.model = model
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.reasoning = reasoning
        self.json_object = json_object
        self.json_schema = json_schema
        self.output_path = output_path
        self.output_format = output_format
        self.id_field = id_field
        self.deduplicate = deduplicate
        self.row_retries = row_retries
        self.on_row_error = on_row_error
        self.max_failed_rows = max_failed_rows
        self.max_total_tokens = max_total_tokens
        self.max_cost = max_cost
        self.estimate = estimate
        self.chunk_size = chunk_size
        self.timeout = timeout
        self.conn_id = conn_id

    @cached_property
    def hook(self) -> YandexAIStudioHook:
        """The hook on ``conn_id``."""
        return YandexAIStudioHook(self.conn_id)

    def render_template(
        self,
        content: Any,
        context: Context,
        jinja_env: jinja2.Environment | None = None,
        seen_oids: set[int] | None = None,
    ) -> Any:
        """Render a template field. Rows are data, and never templates, whatever braces they hold."""
        if content is self.inputs and isinstance(content, list | tuple):
            return content
        return super().render_template(content, context, jinja_env, seen_oids)

    def execute(self, context: Context) -> Any:
        """Look at all rows; then submit, read and write until nothing is left to do on a worker."""
        base, limits = self._base(), self._limits()
        ledger = self._ledger(context)
        reader = self._reader(context)
        parameters = fingerprint_of(completion.submit_completion(self.hook.settings.endpoints, base).body)
        plan = look_through(
            reader,
            parameters=f"{parameters} {self.id_field}",
            chunk_size=self._chunk_size(ledger),
            deduplicate=self.deduplicate,
        )
        if not self.output_path and plan.rows > MOST_RETURNED:
            raise wrong(f"Give `output_path`: there are {plan.rows} rows, and a task returns {MOST_RETURNED} at most")
        self.log.info("%s rows with %s characters, to %s", plan.rows, plan.characters, base.model_uri)
        if self.estimate:
            return estimate(self.hook, base, reader, plan, self._chunk_size(ledger), limits.bounds.price)
        head = self._head(ledger, plan)
        if (output := self._output(head)) is not None:
            output.claim(plan.fingerprint, plan.rows)
            self._find_again(head, ledger, output)
            output.drop_manifest()
        chunks = self._chunks(head, ledger, reader, output, limits)
        for opened in chunks.open.values():
            opened.chunk.start_over()
        return self._go(chunks, base, limits, output, (self.hook.clock(), chunks.done_rows), Wakeup())

    def execute_complete(self, context: Context, event: dict[str, Any], began: Sequence[float]) -> Any:
        """Go on, once the trigger has said that there is something to do."""
        base, limits = self._base(), self._limits()
        ledger = self._ledger(context)
        head = ledger.head()
        if head is None:
            return self.execute(context)  # somebody has deleted the state of the task meanwhile
        output = self._output(head)
        chunks = self._chunks(head, ledger, self._reader(context), output, limits)
        return self._go(chunks, base, limits, output, (began[0], int(began[1])), Wakeup.of(event))

    def _go(
        self,
        chunks: Chunks,
        base: CompletionRequest,
        limits: Limits,
        output: Output | None,
        began: tuple[float, int],
        wakeup: Wakeup,
    ) -> Any:
        run = Run(
            chunks,
            hook=self.hook,
            base=base,
            limits=limits,
            began=began,
            wakeup=wakeup,
            sleep=self.hook.sleep,
            log=self.log,
        )
        pause = run.go()
        chunks.write_head()
        if pause:
            self._defer(pause, limits, began)
        if output is None:
            self._judge(run.stopped, chunks.failed_rows, chunks)
            return [row["output"] for row in finish.rows_in_order(chunks)]
        manifest = finish.write_end(chunks, output, self._about(base), limits.bounds.price, self.hook.clock())
        counts = manifest["counts"]
        self._judge(run.stopped, manifest["request_count"] - counts["succeeded"] - counts["missing"], chunks)
        return manifest

    def _judge(self, stopped: str | None, failed: int, chunks: Chunks) -> None:
        kept = "What was generated is kept: another attempt asks only for what is missing."
        if stopped and "max_failed_rows" not in stopped:
            raise BudgetExceeded(
                f"Raise {stopped.removeprefix('the bound of ')}, and clear the task: the next row could go beyond it. "
                f"{chunks.tally().spent.total_tokens} tokens were spent. {kept}"
            )
        if stopped or (failed and self.on_row_error == "fail"):
            chunks.strike_out_failed()
            where = f"see their `error` in {self.output_path}" if self.output_path else "the log says why"
            raise RowsFailed(
                f"{failed} of {chunks.head.rows} rows failed: {where}. "
                f"{'No more were submitted, because of `max_failed_rows`. ' if stopped else ''}{kept}"
            )

    def _defer(self, pause: Pause, limits: Limits, began: tuple[float, int]) -> NoReturn:
        from airflow_provider.yandex_ai_studio.triggers.bulk import YandexAIStudioBulkTrigger

        now = self.hook.clock()
        last = max((at + limits.timeout for waits in pause.waits.values() for _, at in waits), default=now)
        ends_at = last if pause.wake_at is None else max(last, pause.wake_at)
        self.log.info("%s: waiting without a worker", pause.why)
        self.defer(
            trigger=YandexAIStudioBulkTrigger(
                chunks={str(number): waits for number, waits in pause.waits.items()},
                conn_id=self.conn_id,
                wake_at=pause.wake_at,
                timeout=limits.timeout,
            ),
            method_name="execute_complete",
            kwargs={"began": list(began)},
            timeout=timedelta(seconds=max(0.0, ends_at - now)) + DEFERRAL_MARGIN,
        )

    # -- what the parameters come to

    def _base(self) -> CompletionRequest:
        return self.hook.completion_request(
            model=self.model,
            prompt="a row",
            instructions=self.instructions,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
            reasoning=self.reasoning,
            json_object=self.json_object,
            json_schema=self.json_schema,
        )

    def _limits(self) -> Limits:
        base = self._base()
        choice(self.on_row_error, "on_row_error", ("fail", "keep"))
        choice(self.output_format, "output_format", ("jsonl", "parquet"))
        for name, value in (("row_retries", self.row_retries), ("max_failed_rows", self.max_failed_rows)):
            if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 0):
                raise wrong(f"`{name}` must be a whole number of at least 0, not {value!r}")
        price = price_of(self.hook.settings.prices, base.model_uri)
        bounds = Bounds.of(
            count(self.max_total_tokens, "max_total_tokens"),
            None if self.max_cost is None else positive(self.max_cost, "max_cost"),
            price,
            base.max_tokens,
        )
        return Limits(self.row_retries, seconds_of(self.timeout), self.max_failed_rows, bounds)

    def _ledger(self, context: Context) -> Ledger:
        store = context.get("task_state_store")
        if store is None:
            raise wrong(
                "This operator needs Airflow 3.3 or later: without its task_state_store, nobody would find again what "
                "was paid for. Map YandexAIStudioCompletionOperator over the rows instead"
            )
        return Ledger(store)

    def _reader(self, context: Context) -> Reader:
        render = None if self.prompt is None else self._renderer(self.prompt, context)
        return Reader(source_of(self.inputs), render, self.id_field)

    def _renderer(self, prompt: str, context: Context) -> Callable[[Any], str]:
        from jinja2 import StrictUndefined, TemplateSyntaxError

        environment = self.get_template_env(self.get_dag() if self.has_dag() else None)  # type: ignore[no-untyped-call]
        try:
            template = environment.overlay(undefined=StrictUndefined).from_string(prompt)
        except TemplateSyntaxError as error:
            raise wrong(f"`prompt` is no template: {error.message}") from None
        return lambda row: template.render({**context, "row": row})

    def _chunk_size(self, ledger: Ledger) -> int:
        """Return the size that the run was begun with: the ledger and the parts are by chunks."""
        head = ledger.head()
        return count(self.chunk_size, "chunk_size") or CHUNK_SIZE if head is None else head.chunk_size

    def _head(self, ledger: Ledger, plan: Plan) -> Head:
        path = str(self.output_path) if self.output_path else None
        head = ledger.head()
        if head is not None and head.fingerprint == plan.fingerprint:
            if head.output_path != path:
                raise wrong(
                    f"`output_path` is {path!r}, and this run was begun with {head.output_path!r}, where its parts "
                    "are. Give that one again, or delete the state of the task to pay for the rows anew"
                )
            self.log.info("Found an earlier attempt: %s of %s chunks are done", len(head.done), head.chunks)
            return head
        if head is not None:
            self.log.warning(
                "An earlier attempt of this task was about other requests (the inputs or the parameters have changed). "
                "What it submitted is not used."
            )
            for number in range(head.chunks):
                ledger.forget_chunk(number)
        head = Head.begin(plan, self._chunk_size(ledger), self.hook.clock(), path, self.output_format)
        if path:
            Output(path, head.output_format).claim(plan.fingerprint, plan.rows)
        for number, twins in plan.twins.items():
            ledger.write(Chunk(number, head.size_of(number), head.digests[number], twins=twins))
        ledger.write(head)
        return head

    def _output(self, head: Head) -> Output | None:
        return Output(head.output_path, head.output_format) if head.output_path else None

    def _find_again(self, head: Head, ledger: Ledger, output: Output) -> None:
        """Open the chunks again whose rows failed or are missing, or whose part is gone."""
        names = output.names()
        for number, tally in list(head.done.items()):
            gone = output.part_name(number) not in names
            if not gone and not tally.flawed:
                continue
            chunk = ledger.chunk(number)
            if gone or chunk is None:
                self.log.warning("The part of chunk %s is gone from %s: it is generated anew", number, head.output_path)
                chunk = Chunk(number, head.size_of(number), head.digests[number], twins=chunk.twins if chunk else {})
            else:
                first = number * head.chunk_size
                failed = [row["index"] - first for row in output.read_part(number) if row["status"] != "success"]
                chunk.reopen(row for row in failed if row not in chunk.twins)
            ledger.write(chunk)
            del head.done[number]
        ledger.write(head)

    def _chunks(self, head: Head, ledger: Ledger, reader: Reader, output: Output | None, limits: Limits) -> Chunks:
        return Chunks(head, ledger, reader, output, limits.bounds.price, self.log)

    def _about(self, base: CompletionRequest) -> dict[str, Any]:
        model = base.output.model
        return {
            "llm_conn_id": self.conn_id,
            "model_id": base.model_uri,
            "output_type_ref": f"{model.__module__}:{model.__qualname__}" if model else None,
            "structured": base.output.structured,
        }
