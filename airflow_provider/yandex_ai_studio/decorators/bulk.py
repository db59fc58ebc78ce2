"""``@task.yandex_ai_studio(bulk=True)``: a function writes the rows, the bulk operator does the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.decorator import DecoratedOperator
from airflow.sdk.definitions.context import context_merge

from airflow_provider.yandex_ai_studio.api.checks import shape, wrong
from airflow_provider.yandex_ai_studio.bulk.kept import ABOUT, Kept, frozen, thawed, told_apart
from airflow_provider.yandex_ai_studio.decorators.annotation import model_returned_by
from airflow_provider.yandex_ai_studio.operators.bulk import YandexAIStudioBulkCompletionOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from airflow_provider.yandex_ai_studio.bulk.attempt import Attempt


class DecoratedBulkCompletionOperator(DecoratedOperator, YandexAIStudioBulkCompletionOperator):
    """
    Generate a text for each of the rows that a function returns.

    The function runs on the worker, and need not return the same rows twice: once they are found to be right, they are
    kept with the state of the task, and a further attempt goes on with them. It is called again where its arguments are
    others, or the state is gone. Rows are data, and never templates.

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
    written_later = ("inputs",)

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if "inputs" in kwargs:
            raise wrong("Leave `inputs` out: it is what the function of @task.yandex_ai_studio(bulk=True) returns")
        if kwargs.get("json_schema") is None and not kwargs.get("json_object"):
            kwargs["json_schema"] = model_returned_by(python_callable, bulk=True)
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, inputs=None, **kwargs)
        self._keep: Callable[[], None] | None = None
        self._about_rows: str | None = None

    def execute(self, context: Context) -> Any:
        """Take the rows of an earlier attempt, or have the function write them; then generate."""
        kept, arguments = self._kept(context), self._arguments()
        rows = kept.read(arguments)
        self._keep = self._about_rows = None
        if rows is None:
            rows = frozen(self._written(context))
            self._keep = partial(kept.write, rows, arguments)
        else:
            self.log.info("The rows are those of an earlier attempt; the function is not called again")
            self._about_rows = ABOUT
        self.inputs = thawed(rows)
        return YandexAIStudioBulkCompletionOperator.execute(self, context)

    def execute_complete(self, context: Context, event: dict[str, Any], **before: Any) -> Any:
        """Go on with the rows that this attempt began with."""
        rows = self._kept(context).read()
        if rows is None:
            return self.execute(context)  # somebody has deleted the state of the task meanwhile
        self.inputs = thawed(rows)
        return YandexAIStudioBulkCompletionOperator.execute_complete(self, context, event, **before)

    def _attempt(self, context: Context) -> Attempt:
        return replace(super()._attempt(context), keep_rows=self._keep, about_rows=self._about_rows)

    def _kept(self, context: Context) -> Kept:
        return Kept(self._store(context), self.hook.clock)

    def _arguments(self) -> str:
        """Return what tells the arguments of the function from others."""
        told, strange = told_apart([self.op_args, self.op_kwargs])
        if strange:
            self.log.warning(
                "Arguments of the function hold what can't be compared (%s). It counts as unchanged, and does not have "
                "the function called again",
                ", ".join(sorted(strange)),
            )
        return told

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
