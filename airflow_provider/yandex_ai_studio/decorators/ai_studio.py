"""The decorator ``@task.yandex_ai_studio``: a function writes the prompt, the operator does the rest."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk.bases.decorator import DecoratedOperator, TaskDecorator, task_decorator_factory
from airflow.sdk.definitions.context import context_merge

from airflow_provider.yandex_ai_studio.api.checks import shape, wrong
from airflow_provider.yandex_ai_studio.decorators.annotation import model_returned_by
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


GIVEN_BY_THE_FUNCTION = ("prompt", "messages")


class DecoratedCompletionOperator(DecoratedOperator, YandexAIStudioCompletionOperator):
    """
    Generate a text from what a function returns: a prompt, or a conversation.

    The function runs on the worker, in each attempt, before anything is submitted. Its arguments are templated, and so
    are the parameters of the operator. What it returns is taken as it is: data in it must not be read as a template.

    :param python_callable: The function. It returns a text, or a list of messages.
    :param json_schema: As for the operator. Default: the pydantic model that the function is annotated to return.
    """

    template_fields: Sequence[str] = (
        *DecoratedOperator.template_fields,
        *(name for name in YandexAIStudioCompletionOperator.template_fields if name not in GIVEN_BY_THE_FUNCTION),
    )
    template_fields_renderers = {
        **YandexAIStudioCompletionOperator.template_fields_renderers,
        **DecoratedOperator.template_fields_renderers,
    }
    custom_operator_name = "@task.yandex_ai_studio"
    written_later = GIVEN_BY_THE_FUNCTION

    def __init__(
        self,
        *,
        python_callable: Callable[..., Any],
        op_args: Collection[Any] | None = None,
        op_kwargs: Mapping[str, Any] | None = None,
        **kwargs: Any,
    ) -> None:
        if given := [name for name in GIVEN_BY_THE_FUNCTION if name in kwargs]:
            raise wrong(
                f"Leave `{given[0]}` out: it is what the function of @task.yandex_ai_studio returns. For many rows, "
                "set bulk=True"
            )
        if kwargs.get("json_schema") is None and not kwargs.get("json_object"):
            kwargs["json_schema"] = model_returned_by(python_callable, bulk=False)
        super().__init__(python_callable=python_callable, op_args=op_args, op_kwargs=op_kwargs, **kwargs)

    def execute(self, context: Context) -> Any:
        """Generate, as the operator does: what a decorated function would do is another thing."""
        return YandexAIStudioCompletionOperator.execute(self, context)

    def begin(self, context: Context) -> Any:
        """Have the function write the prompt, then submit it."""
        for name, value in self._written(context).items():
            setattr(self, name, value)
        return super().begin(context)

    def needs_worker(self) -> bool:
        """Tell whether the answer holds a value to be taken out."""
        return self.form().structured

    def conversation(self) -> None:
        """Return nothing: an attempt that resumes does not know what the function wrote."""

    def _written(self, context: Context) -> dict[str, Any]:
        context_merge(context, self.op_kwargs)
        written = self.python_callable(*self.op_args, **self.determine_kwargs(context))
        if isinstance(written, str):
            return {"prompt": written}
        if isinstance(written, Sequence):
            return {"messages": written}
        raise wrong(
            f"The function {self.python_callable.__name__} of @task.yandex_ai_studio must return a prompt (a text) or "
            f"messages (a list); it returned {shape(written)}"
        )


def yandex_ai_studio_task(
    python_callable: Callable[..., Any] | None = None, *, bulk: bool = False, **kwargs: Any
) -> TaskDecorator:
    """
    Make a task of a function that returns a prompt or messages; the task returns what the model makes of it.

    :param python_callable: The function. Annotated to return a pydantic model, it asks for structured output of that
        form, and the task returns the value.
    :param bulk: The function returns a list of rows or prompts (or the path of a file of rows), and each gets its
        answer. Annotated to return ``list[M]``, it asks for structured output of the form of the pydantic model ``M``.
    :param kwargs: Those of
        :class:`~airflow_provider.yandex_ai_studio.operators.completion.YandexAIStudioCompletionOperator`, but for
        ``prompt`` and ``messages``. With ``bulk``, those of
        :class:`~airflow_provider.yandex_ai_studio.operators.bulk.YandexAIStudioBulkCompletionOperator`, but for
        ``inputs``.
    """
    operator: type[DecoratedOperator] = DecoratedCompletionOperator
    if bulk:
        from airflow_provider.yandex_ai_studio.decorators.bulk import DecoratedBulkCompletionOperator

        operator = DecoratedBulkCompletionOperator
    return task_decorator_factory(python_callable=python_callable, decorated_operator_class=operator, **kwargs)
