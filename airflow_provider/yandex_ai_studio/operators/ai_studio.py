"""The operator that submits a completion and returns its text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any, NoReturn

from airflow.sdk import BaseOperator

from airflow_provider.yandex_ai_studio import api
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError, RequestError
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.journal import Journal
from airflow_provider.yandex_ai_studio.kill import TaskInstanceKey, look_whether_abandoned
from airflow_provider.yandex_ai_studio.resume import (
    DEFERRAL_MARGIN,
    finish,
    may_end_in_triggerer,
    operation_id_of,
    take_answer,
)
from airflow_provider.yandex_ai_studio.submission import OnUnknownSubmission, Submission, Submitted
from airflow_provider.yandex_ai_studio.waiting import Wait

if TYPE_CHECKING:
    from airflow.sdk import Context


class YandexAIStudioCompletionOperator(BaseOperator):
    """
    Generate a text with YandexGPT or another model of Yandex AI Studio, in asynchronous mode.

    Returns the text. Beside it go the XComs ``operation_id``, ``usage``, ``model_version`` and ``status``.
    While the model writes, the task is deferred and takes no worker.

    :param prompt: The text of a single user message. Give either this or ``messages``.
    :param messages: A conversation: mappings with ``role`` (system, user, assistant) and ``text``.
    :param instructions: A system message that goes before the others.
    :param model: A short name, with a branch if need be (``yandexgpt``, ``yandexgpt-lite/rc``), or a full model
        URI. Default: the connection's ``model``, else ``yandexgpt``.
    :param temperature: 0 (most predictable) to 1 (most creative). Default: the service's, 0.3.
    :param max_tokens: Upper bound of the answer's length in tokens. Default: the service's.
    :param conn_id: The Airflow connection.
    :param wait_for_completion: Wait for the text. If False, return the operation id at once; a
        :class:`~airflow_provider.yandex_ai_studio.sensors.operation.YandexAIStudioOperationSensor` can wait.
    :param deferrable: Wait in the triggerer instead of on the worker. True by default: to wait without a
        worker is what this operator is for.
    :param timeout: How long to wait, counted from the submission; a restart does not extend it. Seconds, or a
        timedelta.
    :param end_from_trigger: Finish the task in the triggerer, without another start of a worker. None: wherever
        Airflow loses nothing by it (no outlets, listeners, callbacks on success, ``post_execute``, custom XCom
        backend). Failures always resume on the worker.
    :param on_unknown_submission: What to do where the way to the service broke inside a submission, so that it may
        have been taken under an id that nobody knows: ``resubmit``, which may pay twice, or ``fail``.
    :param cancel_on_kill: Cancel the operation when the task is marked failed or successful, or deleted, while it
        waits. A task that will run again (retry, clear) keeps its operation.
    :raises ConfigurationError: A parameter or the connection is wrong; nothing was sent.
    :raises RequestError: The service refused the submission.
    :raises OperationError: The operation ended without an answer, or still runs after ``timeout``.
    :raises ContentFiltered: The service withheld the answer.

    .. seealso:: https://aistudio.yandex.ru/docs/en/ai-studio/operations/generation/async-request
    """

    template_fields: Sequence[str] = (
        "prompt",
        "messages",
        "instructions",
        "model",
        "temperature",
        "max_tokens",
        "conn_id",
    )
    template_fields_renderers = {"prompt": "md", "instructions": "md", "messages": "json"}
    ui_color = "#f3e9ff"

    def __init__(
        self,
        *,
        prompt: str | None = None,
        messages: Sequence[Mapping[str, Any]] | None = None,
        instructions: str | None = None,
        model: str | None = None,
        temperature: float | str | None = None,
        max_tokens: int | str | None = None,
        conn_id: str = YandexAIStudioHook.default_conn_name,
        wait_for_completion: bool = True,
        deferrable: bool = True,
        timeout: float | timedelta = timedelta(hours=24),
        end_from_trigger: bool | None = None,
        on_unknown_submission: OnUnknownSubmission = "resubmit",
        cancel_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.prompt = prompt
        self.messages = messages
        self.instructions = instructions
        self.model = model
        self.temperature = temperature
        self.max_tokens = max_tokens
        self.conn_id = conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.timeout = timeout
        self.end_from_trigger = end_from_trigger
        self.on_unknown_submission = on_unknown_submission
        self.cancel_on_kill = cancel_on_kill
        self._kill_target: tuple[TaskInstanceKey, str] | None = None

    @cached_property
    def hook(self) -> YandexAIStudioHook:
        """The hook on ``conn_id``."""
        return YandexAIStudioHook(self.conn_id)

    def execute(self, context: Context) -> str:
        """Submit the completion; then defer, wait, or return its id."""
        seconds = _seconds(self.timeout)
        request = self.hook.completion_request(
            model=self.model,
            prompt=self.prompt,
            messages=self.messages,
            instructions=self.instructions,
            temperature=self.temperature,
            max_tokens=self.max_tokens,
        )
        self.log.info(
            "The request: %s message(s) with %s characters to %s",
            len(request.messages),
            sum(len(message.text) for message in request.messages),
            request.model_uri,
        )
        submitted = Submission(
            api.submit_completion(self.hook.settings.endpoints, request),
            hook=self.hook,
            journal=Journal(context.get("task_state_store")),
            on_unknown=self.on_unknown_submission,
            log=self.log,
        ).run()
        self._kill_target = (context["ti"], submitted.operation_id)
        context["ti"].xcom_push("operation_id", submitted.operation_id)
        if not self.wait_for_completion:
            return submitted.operation_id
        return self._text(context, submitted, seconds)

    def _text(self, context: Context, submitted: Submitted, seconds: float) -> str:
        wait = Wait(submitted.operation_id, submitted.submitted_at, submitted.submitted_at + seconds)
        seen = submitted.operation
        if seen and (seen.done or seen.error or self.hook.clock() >= submitted.submitted_at + seconds):
            return take_answer(context["ti"], seen, self.log)
        if self.deferrable:
            self._defer(wait, seconds)
        self.log.info("Waiting for operation %s on this worker", submitted.operation_id)
        end = self.hook.wait_for_operation(wait)
        if end.operation:
            return take_answer(context["ti"], end.operation, self.log)
        return finish(self.hook, context["ti"], submitted.operation_id, self.log)

    def _defer(self, wait: Wait, seconds: float) -> NoReturn:
        from airflow_provider.yandex_ai_studio.triggers.operation import YandexAIStudioOperationTrigger

        end_from_trigger = self.end_from_trigger
        if end_from_trigger is None:
            end_from_trigger = may_end_in_triggerer(self)
        self.defer(
            trigger=YandexAIStudioOperationTrigger(
                operation_id=wait.operation_id,
                conn_id=self.conn_id,
                submitted_at=wait.submitted_at,
                deadline=wait.deadline,
                end_from_trigger=end_from_trigger,
                cancel_on_kill=self.cancel_on_kill,
            ),
            method_name="execute_complete",
            timeout=timedelta(seconds=seconds) + DEFERRAL_MARGIN,
        )

    def on_kill(self) -> None:
        """Cancel the operation, if nobody will come for it."""
        if not self.cancel_on_kill or self._kill_target is None:
            return
        ti, operation_id = self._kill_target
        if not look_whether_abandoned(ti):
            self.log.info("Operation %s goes on: its task will run again, and find it", operation_id)
            return
        try:
            self.hook.cancel_operation(operation_id)
            self.log.info("The task is over: asked the service to cancel operation %s", operation_id)
        except RequestError as error:
            self.log.warning("The task is over. %s It may run to its end, and be billed.", error)

    def execute_complete(self, context: Context, event: dict[str, Any]) -> str:
        """Take the answer, once the trigger has said that the operation ended."""
        return finish(self.hook, context["ti"], operation_id_of(event), self.log)


def _seconds(timeout: float | timedelta) -> float:
    seconds = timeout.total_seconds() if isinstance(timeout, timedelta) else float(timeout)
    if not 0 < seconds <= timedelta(days=3).total_seconds():
        raise ConfigurationError(
            f"`timeout` must be above 0 and at most 3 days (that long the service keeps results), not {timeout!r}. "
            "Nothing was sent to the service."
        )
    return seconds
