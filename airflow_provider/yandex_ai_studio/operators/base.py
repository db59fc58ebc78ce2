"""What all operators do alike that have a text generated: their parameters, the request, the form of its answer."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from datetime import timedelta
from functools import cached_property
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

from airflow_provider.yandex_ai_studio.api.checks import wrong
from airflow_provider.yandex_ai_studio.api.output import JsonSchema, Output
from airflow_provider.yandex_ai_studio.durability.policy import OnClear, OnTimeout, OnUnknownSubmission, Policy
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.links import YandexAIStudioFolderLink
from airflow_provider.yandex_ai_studio.operators.constants import constants_of, is_constant, marks_of

if TYPE_CHECKING:
    from airflow_provider.yandex_ai_studio.api.call import Call
    from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
    from airflow_provider.yandex_ai_studio.api.models import Api, Generation, Operation
    from airflow_provider.yandex_ai_studio.api.response_request import ResponseRequest


class GenerationOperator(BaseOperator):
    """
    Submit an operation, and wait for its answer.

    :param conn_id: The Airflow connection.
    :param wait_for_completion: Wait for the answer. If False, return the operation id at once; a
        :class:`~airflow_provider.yandex_ai_studio.sensors.operation.YandexAIStudioOperationSensor` can wait.
    :param deferrable: Wait in the triggerer instead of on the worker: for the answer, and for a turn to submit where
        the quota is spent. True by default: to wait without a worker is what this operator is for.
    :param timeout: How long to wait, counted from the submission; neither a restart nor a retry extends it before it
        has passed. Seconds, or a timedelta; at most 3 days.
    :param on_timeout: What another attempt does, once ``timeout`` has passed: ``wait`` as long again for the same
        operation, or ``resubmit``: cancel it as far as the service does that, and pay for another. With ``fail``, the
        task fails without a retry, until a person clears it. Whatever is chosen, an answer that is there is taken.
    :param on_clear: What a cleared task does with an operation that it has paid for: ``keep`` it, so that a clear takes
        its answer, or ``resubmit``: cancel it if it runs, and generate anew. Without a journal (Airflow 3.2), or where
        Airflow 3.4 has discarded it with the clear, a task always submits anew. A clear while a worker runs the task
        looks like a retry to it, and keeps the operation all the same.
    :param end_from_trigger: Finish the task in the triggerer, without another start of a worker. None: wherever
        Airflow loses nothing by it (no outlets, listeners, callbacks on success, ``post_execute``, custom XCom
        backend, result of a DAG); the log says what stands against it. True loses these, and in any case the metrics
        and the audit row that a worker's success leaves. Failures always resume on the worker.
    :param on_unknown_submission: What to do where the way to the service broke inside a submission, so that it may
        have been taken under an id that nobody knows: ``resubmit``, which may pay twice, or ``fail``.
    :param cancel_on_kill: Cancel the operation when the task is marked failed or successful, or deleted, while it
        waits. A task that will run again (retry, clear) keeps its operation.
    :raises ConfigurationError: A parameter or the connection is wrong; nothing was sent.
    :raises RequestError: The service refused the submission; because of a spent quota only after ``timeout``.
    :raises SubmissionUnknown: As ``on_unknown_submission`` says.
    :raises OperationError: The operation ended without an answer, or still runs after ``timeout``.
    :raises AirflowTaskTimeout: It still runs after ``execution_timeout``, which also holds while the task is deferred.
    :raises ContentFiltered: The service withheld the answer.
    :raises AnswerRefused: The model declined to answer.
    :raises AnswerUnreadable: This release can't read the answer.
    """

    ui_color = "#f3e9ff"
    operator_extra_links = (YandexAIStudioFolderLink(),)
    api: Api = "completion"
    request_fields: Sequence[str]
    """The parameters that go into the request as they are."""
    request_of: Callable[..., CompletionRequest | ResponseRequest]
    """Checks the parts of a request and puts them together."""
    written_later: Sequence[str] = ()
    """Parameters that are not known before the task runs."""
    json_schema: JsonSchema | None
    model: str | None

    def __init__(
        self,
        *,
        conn_id: str = YandexAIStudioHook.default_conn_name,
        wait_for_completion: bool = True,
        deferrable: bool = True,
        timeout: float | timedelta = timedelta(hours=24),
        on_timeout: OnTimeout = "wait",
        on_clear: OnClear = "keep",
        end_from_trigger: bool | None = None,
        on_unknown_submission: OnUnknownSubmission = "resubmit",
        cancel_on_kill: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.conn_id = conn_id
        self.wait_for_completion = wait_for_completion
        self.deferrable = deferrable
        self.timeout = timeout
        self.on_timeout = on_timeout
        self.on_clear = on_clear
        self.end_from_trigger = end_from_trigger
        self.on_unknown_submission = on_unknown_submission
        self.cancel_on_kill = cancel_on_kill

    def check_constants(self) -> None:
        """
        Refuse what is wrong in the DAG file already. Templates and XComs are checked when the task runs.

        :raises ConfigurationError: It names the parameter that is wrong.
        """
        self._policy()
        if self.at_once and not self.wait_for_completion:
            raise wrong(
                "Leave `wait_for_completion` out: where the worker waits for the answer itself, there is no operation "
                "to come back for"
            )
        marks = marks_of(self)
        parts = {name: value for name, value in self.parts().items() if name not in self.written_later}
        self.request_of(**constants_of(parts, marks))
        if is_constant(self.json_schema, marks):
            self._check_end()

    def _policy(self) -> Policy:
        return Policy.of(
            timeout=self.timeout,
            on_unknown_submission=self.on_unknown_submission,
            on_timeout=self.on_timeout,
            on_clear=self.on_clear,
        )

    def _check_end(self) -> None:
        if self.end_from_trigger and self.needs_worker():
            raise wrong(
                "Leave `end_from_trigger` out: the answer must be worked on first, for it is structured, or goes on a "
                "conversation"
            )

    @property
    def at_once(self) -> bool:
        """Whether the worker waits for the answer itself, without an operation."""
        return False

    @abstractmethod
    def request(self) -> CompletionRequest | ResponseRequest:
        """
        Return what to ask for, checked.

        :raises ConfigurationError: It names the parameter that is wrong.
        """

    @abstractmethod
    def submission_call(self, request: Any) -> Call[Operation]:
        """Return the call that submits a request of this operator."""

    @abstractmethod
    def free_question(self, request: Any) -> Call[Any]:
        """Return a call that costs nothing, and whose answer shows that the service works."""

    @abstractmethod
    def generate(self, request: Any) -> tuple[Generation, str | None]:
        """
        Generate while this worker waits.

        :return: The answer, and the id that the service gave it, if any.
        """

    def before_submission(self, request: Any) -> None:
        """
        Look once more at what is about to be paid for.

        :raises ConfigurationError: It is not to be submitted.
        """

    def conversation(self) -> list[dict[str, Any]] | None:
        """
        Return the turns that an answer is to be told after, as the parameters are rendered now; None for none.

        :raises ConfigurationError: They are no conversation.
        """
        return None

    def form(self) -> Output:
        """Return the form that the answer must have."""
        return Output.of(json_object=False, json_schema=self.json_schema)

    def needs_worker(self) -> bool:
        """Tell whether an answer must be worked on before it is returned, so that the task can't end before that."""
        return self.form().structured

    def value_of(self, generation: Generation) -> Any:
        """
        Return what the task returns for an answer: the text, or the value in it; calls of tools come without one.

        :raises InvalidOutput: It does not have the form that was asked for.
        """
        return generation.text if generation.tool_calls else self.form().value_of(generation.text)

    def parts(self) -> dict[str, Any]:
        """Return the parameters that go into the request as they are."""
        return {name: getattr(self, name) for name in self.request_fields}

    @cached_property
    def hook(self) -> YandexAIStudioHook:
        """The hook on ``conn_id``."""
        return YandexAIStudioHook(self.conn_id)
