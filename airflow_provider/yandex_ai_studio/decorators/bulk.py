"""``@task.yandex_ai_studio(bulk=True)``: a function writes the rows, the bulk operator does the rest."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.decorator import DecoratedOperator
from airflow.sdk.definitions.context import context_merge

from airflow_provider.yandex_ai_studio.api.checks import shape, wrong
from airflow_provider.yandex_ai_studio.bulk.kept import Kept, frozen, thawed
from airflow_provider.yandex_ai_studio.decorators.annotation import model_returned_by
from airflow_provider.yandex_ai_studio.operators.bulk import YandexAIStudioBulkCompletionOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider.yandex_ai_studio.bulk.attempt import Attempt


class DecoratedBulkCompletionOperator(DecoratedOperator, YandexAIStudioBulkCompletionOperator):
    """
    Generate a text for each of the rows that a function returns.

    The function runs on the worker, and need not return the same rows twice: once the run has begun, they are kept with
    the state of the task, and a further attempt goes on with them. It is called again where its arguments are others,
    or the state is gone. Rows are data, and never templates.

    :param python_callable: The function. It returns what the operator takes as ``inputs``: a list of texts or mappings,
        or the path of a file.
    :param json_schema: As for the operator. Default: the pydantic model ``M``, if the function is annotated to return
        ``list[M]``.
    """

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *(name for name in YandexAIStudioBulkCompletionOperator.template_fields if name != "inputs"),
    )
    template_fields_renderers = {
        **YandexAIStudioBulkCompletionOperator.template_fields_renderers,
        **DecoratedOperator.template_fields_renderers,
    }
    custom_operator_name = "@task.yandex_ai_studio"

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if "inputs" in kwargs:
            raise wrong("`inputs` is what the function of @task.yandex_ai_studio(bulk=True) returns; leave it out")
        if kwargs.get("multiple_outputs") and not (kwargs.get("output_path") or kwargs.get("estimate")):
            raise wrong(
                "Leave `multiple_outputs` out, or give `output_path`: this task returns a list, which has no keys. (A "
                "function that is annotated to return a mapping asks for `multiple_outputs` too)"
            )
        if kwargs.get("json_schema") is None and not kwargs.get("json_object"):
            kwargs["json_schema"] = model_returned_by(python_callable, bulk=True)
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, inputs=None, **kwargs)
        self._keep: Callable[[], None] | None = None

    def execute(self, context: Context) -> Any:
        """Take the rows of an earlier attempt, or have the function write them; then generate."""
        began, arguments = self._ledger(context).head() is not None, self._arguments()
        store = Kept(context["task_state_store"])
        rows = store.read(arguments) if began else None
        self._keep = None
        if rows is None:
            rows = frozen(self._written(context))
            self._keep = partial(store.write, rows, arguments)
        else:
            self.log.info("The rows are those of an earlier attempt; the function is not called again")
        self.inputs = thawed(rows)
        return YandexAIStudioBulkCompletionOperator.execute(self, context)

    def execute_complete(self, context: Context, event: dict[str, Any], began: Sequence[float] | None = None) -> Any:
        """Go on with the rows that this attempt began with."""
        rows = Kept(context["task_state_store"]).read()
        if rows is None:
            return self.execute(context)  # somebody has deleted the state of the task meanwhile
        self.inputs = thawed(rows)
        return YandexAIStudioBulkCompletionOperator.execute_complete(self, context, event, began)

    def _attempt(self, context: Context) -> Attempt:
        return replace(super()._attempt(context), keep_rows=self._keep)

    def _arguments(self) -> str:
        """Return what tells the arguments of the function from others."""
        given = [*self.op_args, *self.op_kwargs.keys(), *self.op_kwargs.values()]
        # The XComs of a mapped task come as a sequence that does not show what it holds.
        shown = [list(one) if isinstance(one, Sequence) and not isinstance(one, str | bytes) else one for one in given]
        same_in_each_process = re.sub(" at 0x[0-9a-f]+", "", repr(shown))
        return hashlib.sha256(same_in_each_process.encode()).hexdigest()

    def _written(self, context: Context) -> Any:
        from airflow.sdk import ObjectStoragePath

        merged: Any = {**context}  # the prompts see the same context whether or not the function was called
        context_merge(merged, self.op_kwargs)
        written = self.python_callable(*self.op_args, **self.determine_kwargs(merged))
        if not isinstance(written, str | list | tuple | ObjectStoragePath):
            raise wrong(
                f"The function {self.python_callable.__name__} of @task.yandex_ai_studio(bulk=True) must return a list "
                f"of rows or prompts, or the path of a file; it returned {shape(written)}"
            )
        return written
