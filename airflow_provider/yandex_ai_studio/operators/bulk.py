"""The operator that generates a text for each of many rows, in one task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence, Set
from datetime import timedelta
from functools import cached_property, partial
from typing import TYPE_CHECKING, Any, Literal, NoReturn

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowException, AirflowTaskTimeout, TaskDeferralTimeout

from airflow_provider.yandex_ai_studio.api.checks import choice, count, is_absent, positive, shape, text, wrong
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.output import JsonSchema, templatable
from airflow_provider.yandex_ai_studio.bulk.rows import no_rows, suffix_of
from airflow_provider.yandex_ai_studio.durability.policy import seconds_of
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.links import YandexAIStudioFolderLink
from airflow_provider.yandex_ai_studio.operators.constants import check_templates, constants_of, is_constant, marks_of

# What only a worker needs is imported there: it would double what this operator costs a DAG file.
if TYPE_CHECKING:
    import jinja2
    from airflow.sdk import Context, ObjectStoragePath

    from airflow_provider.yandex_ai_studio.bulk.attempt import Attempt
    from airflow_provider.yandex_ai_studio.bulk.folder import OutputFormat
    from airflow_provider.yandex_ai_studio.bulk.ledger import Ledger
    from airflow_provider.yandex_ai_studio.bulk.run import Pause
    from airflow_provider.yandex_ai_studio.durability.journal import Store

REQUEST_FIELDS = (
    "instructions",
    "model",
    "temperature",
    "max_tokens",
    "reasoning",
    "json_object",
    "json_schema",
)
"""The parameters that go into each request as they are."""

GOES_ON = "What was submitted is written down: another attempt goes on with it."

TOLD_TO_ASSETS = ("result_uri", "output_format", "request_count", "counts", "usage", "cost", "currency", "model_id")
"""What of the manifest is in the event of an asset."""


class YandexAIStudioBulkCompletionOperator(BaseOperator):
    """
    Generate a text for each of many rows, in one task: submitted at the quota's pace, waited for without a worker.

    With ``output_path``, writes a part for each chunk of rows and at the end a manifest, and returns the manifest.
    Without it, returns the texts in the order of the rows, or the values in them where ``json_object`` or
    ``json_schema`` asks for one. Needs Airflow 3.3: what was submitted is written down in its ``task_state_store``.
    An asset in ``outlets`` gets an event with what the manifest counts, and its path.

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
        "reasoning",
        "json_schema",
        "output_path",
        "max_total_tokens",
        "max_cost",
        "conn_id",
    )
    template_fields_renderers = {"instructions": "md", "json_schema": "json"}
    ui_color = "#f3e9ff"
    operator_extra_links = (YandexAIStudioFolderLink(),)
    written_later: Sequence[str] = ()
    """Parameters that are not known before the task runs."""

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
        chunk_size: int = 250,
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
        self.json_schema = templatable(json_schema)
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
        self._killed = False
        self.check_constants()

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
        from jinja2 import UndefinedError

        try:
            return super().render_template(content, context, jinja_env, seen_oids)
        except UndefinedError as error:
            if str(error) != "'row' is undefined":
                raise
            raise wrong(
                "Name fields of a row in `prompt` only: all other parameters are the same for all rows"
            ) from None

    def check_constants(self) -> None:
        """
        Refuse what is wrong in the DAG file already. Templates and XComs are checked when the task runs.

        :raises ConfigurationError: It names the parameter that is wrong.
        """
        choice(str(self.on_row_error), "on_row_error", ("fail", "keep"))
        choice(str(self.output_format), "output_format", ("jsonl", "parquet"))
        for name, least in (("row_retries", 0), ("max_failed_rows", 0), ("chunk_size", 1)):
            value = getattr(self, name)
            optional = name == "max_failed_rows" and value is None
            if not optional and (type(value) is not int or value < least):
                raise wrong(f"`{name}` must be a whole number of at least {least}, not {value!r}")
        for name in ("deduplicate", "estimate"):
            if type(getattr(self, name)) is not bool:
                raise wrong(f"`{name}` must be True or False, not {getattr(self, name)!r}")
        seconds_of(self.timeout)
        marks = marks_of(self)
        self._check_inputs(marks)
        if self.prompt is not None and is_constant(text(self.prompt, "`prompt`"), marks) and self.deduplicate:
            raise wrong(
                "Name a field of the row in `prompt`, e.g. {{ row.text }}, or set deduplicate=False: as it is, all "
                "rows are the same request"
            )
        if is_constant(self.max_total_tokens, marks):
            count(self.max_total_tokens, "max_total_tokens")
        if self.max_cost is not None and is_constant(self.max_cost, marks):
            positive(self.max_cost, "max_cost")
        self._check_output()
        CompletionRequest.of(**constants_of(self._parts(), marks))
        check_templates(self, ("prompt", "instructions"))

    def _check_inputs(self, marks: Sequence[str]) -> None:
        if isinstance(self.inputs, str) and is_constant(self.inputs, marks):
            suffix_of(self.inputs)
        never = is_constant(self.inputs, marks) or isinstance(self.inputs, Mapping | bytes | Set)
        if never and not isinstance(self.inputs, str | list | tuple) and "inputs" not in self.written_later:
            raise no_rows(self.inputs)

    def _check_output(self) -> None:
        if is_absent(self.output_path):
            raise wrong(
                f"Give `output_path` a folder, or leave it out: it is {shape(self.output_path)}. Did the task before "
                "it return one?"
            )
        if self.output_format != "jsonl" and not self.output_path:
            raise wrong("Give `output_path`, or leave `output_format` out: without a folder, nothing is written")
        if self.multiple_outputs and not (self.output_path or self.estimate):
            raise wrong(
                "Leave `multiple_outputs` out, or give `output_path`: this task returns a list, which has no keys. (A "
                "decorated function that is annotated to return a mapping asks for `multiple_outputs` too)"
            )

    def execute(self, context: Context) -> Any:
        """Look at all rows; then submit, read and write until nothing is left to do on a worker."""
        self._check_output()  # `output_path` may have rendered to nothing
        attempt = self._attempt(context)
        if self.estimate:
            return attempt.estimate()
        return self._end_or_defer(context, attempt, attempt.begin())

    def resume_execution(self, next_method: str, next_kwargs: dict[str, Any] | None, context: Context) -> Any:
        """Go on after a deferral, also after one that Airflow has ended because no triggerer took it for long."""
        from airflow_provider.yandex_ai_studio.bulk.wakeup import Wakeup

        try:
            return super().resume_execution(next_method, next_kwargs, context)
        except TaskDeferralTimeout:
            self.log.warning("Airflow has ended the deferral itself: was the triggerer away? The run goes on.")
            return self.execute_complete(context, Wakeup().event())

    def execute_complete(
        self,
        context: Context,
        event: dict[str, Any],
        *,
        began: Sequence[float] | None = None,
        seen: Mapping[str, Any] | None = None,
        asked: Mapping[str, Any] | None = None,
    ) -> Any:
        """Go on, once the trigger has said that there is something to do. ``dag.test()`` forgets what went before."""
        from airflow_provider.yandex_ai_studio.bulk.wakeup import Wakeup
        from airflow_provider.yandex_ai_studio.durability.resume import find_connection

        find_connection(self.hook, self.log)
        if asked and asked["instructions"] != self.instructions:
            self.log.info("The run goes on with the `instructions` that it began with: they are others by now.")
            self.instructions = asked["instructions"]
        attempt = self._attempt(context)
        return self._end_or_defer(context, attempt, attempt.go_on(began, seen, Wakeup.of(event)))

    def on_kill(self) -> None:
        """Submit no more: Airflow gives a worker seconds between this and its end."""
        self._killed = True

    def _check(self, limit: float | None) -> None:
        """
        End the attempt where it must end.

        :param limit: When ``execution_timeout`` ends it, in seconds since the epoch. Airflow gives each stretch on a
            worker all of it anew, and none to a deferral.
        """
        if self._killed:
            raise AirflowException(f"This attempt was told to end. {GOES_ON}")
        if limit is not None and self.hook.clock() >= limit:
            raise AirflowTaskTimeout(f"The `execution_timeout` of this attempt has passed. {GOES_ON}")

    def _end_or_defer(self, context: Context, attempt: Attempt, outcome: Any) -> Any:
        from airflow_provider.yandex_ai_studio.bulk.run import Pause
        from airflow_provider.yandex_ai_studio.durability.resume import limit_of

        if isinstance(outcome, Pause):
            self._defer(outcome, attempt.limits.timeout, limit_of(self, context["ti"].start_date))
        if isinstance(outcome, Mapping):  # by what the run began with: `output_path` may be another one by now
            self._tell_assets(context, outcome)
        return outcome

    def _tell_assets(self, context: Context, manifest: Mapping[str, Any]) -> None:
        """Say in the event of each asset that the task updates where the answers are, and what came of the rows."""
        from airflow.sdk.definitions.asset import Asset, AssetRef

        for outlet in self.outlets:
            if isinstance(outlet, Asset | AssetRef):
                context["outlet_events"][outlet].extra.update({name: manifest[name] for name in TOLD_TO_ASSETS})

    def _defer(self, pause: Pause, timeout: float, limit: float | None) -> NoReturn:
        from airflow_provider.yandex_ai_studio.durability.resume import DEFERRAL_MARGIN
        from airflow_provider.yandex_ai_studio.triggers.bulk import YandexAIStudioBulkTrigger

        now = self.hook.clock()
        wake_at = min((at for at in (pause.wake_at, limit) if at is not None), default=None)
        self.log.info("%s: waiting without a worker", pause.why)
        self.defer(
            trigger=YandexAIStudioBulkTrigger(
                chunks={str(number): waits for number, waits in pause.waits.items()},
                conn_id=self.conn_id,
                wake_at=wake_at,
                timeout=timeout,
            ),
            method_name="execute_complete",
            kwargs={
                "began": list(pause.began),
                "seen": dict(pause.seen),
                "asked": {"instructions": self.instructions},  # Airflow renders anew: the time of day, say
            },
            timeout=timedelta(seconds=pause.ends_at(now, timeout) - now) + DEFERRAL_MARGIN,
        )

    # -- what the parameters come to

    def _parts(self) -> dict[str, Any]:
        """Return the parameters that go into each request as they are."""
        return {name: getattr(self, name) for name in REQUEST_FIELDS}

    def _attempt(self, context: Context) -> Attempt:
        from airflow_provider.yandex_ai_studio.bulk.attempt import Attempt
        from airflow_provider.yandex_ai_studio.bulk.money import Bounds, missing_price, price_of
        from airflow_provider.yandex_ai_studio.bulk.plan import Reader
        from airflow_provider.yandex_ai_studio.bulk.prompts import template
        from airflow_provider.yandex_ai_studio.bulk.rows import source_of
        from airflow_provider.yandex_ai_studio.bulk.submitting import Limits
        from airflow_provider.yandex_ai_studio.durability.resume import limit_of

        def with_model(model: str | None) -> tuple[CompletionRequest, Limits]:
            base = self.hook.completion_request(prompt="a row", **{**self._parts(), "model": model})
            bounds = Bounds(
                count(self.max_total_tokens, "max_total_tokens"),
                None if self.max_cost is None else positive(self.max_cost, "max_cost"),
                price_of(self.hook.settings.prices, base.model_uri),
                base.max_tokens,
                missing_price(self.conn_id, base.model_uri),
            )
            return base, Limits(self.row_retries, seconds_of(self.timeout), self.max_failed_rows, bounds)

        base, limits = with_model(self.model)
        dag = self.get_dag() if self.has_dag() else None  # type: ignore[no-untyped-call] # Airflow leaves it untyped
        # A prompt is a text, and no value of Python, whatever `render_template_as_native_obj` makes of other parameters
        environment = dag.get_template_env(force_sandboxed=True) if dag else self.get_template_env()
        render = None if self.prompt is None else template(self.prompt, environment, context)
        return Attempt(
            hook=self.hook,
            conn_id=self.conn_id,
            base=base,
            limits=limits,
            asked_model=self.model or None,
            with_model=with_model,
            ledger=self._ledger(context),
            reader=Reader(source_of(self.inputs), render, self.id_field),
            output_path=str(self.output_path) if self.output_path else None,
            output_format=self.output_format,
            chunk_size=self.chunk_size,
            deduplicate=self.deduplicate,
            keep_failed=self.on_row_error == "keep",
            log=self.log,
            check=partial(self._check, limit_of(self, context["ti"].start_date)),
        )

    def _ledger(self, context: Context) -> Ledger:
        from airflow_provider.yandex_ai_studio.bulk.ledger import Ledger

        return Ledger(self._store(context))

    def _store(self, context: Context) -> Store:
        from airflow_provider.yandex_ai_studio.durability.patient_store import PatientStore

        store: Store | None = context.get("task_state_store")
        if store is None:
            raise wrong(
                "This operator needs Airflow 3.3 or later: without its task_state_store, nobody would find again what "
                "was paid for. Map YandexAIStudioCompletionOperator over the rows instead"
            )
        return PatientStore(store, self.hook.sleep, self.log)
