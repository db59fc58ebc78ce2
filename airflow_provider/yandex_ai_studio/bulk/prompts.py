"""From a row to its prompt."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider.yandex_ai_studio.api.checks import shape, text, wrong

if TYPE_CHECKING:
    import jinja2


class Row(Mapping[str, Any]):
    """
    A row as a template sees it: ``row.items`` is the field of that name, never a method.

    :param fields: What the row holds.
    """

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, Any]) -> None:
        self._fields = fields

    def __getattribute__(self, name: str) -> Any:
        if name.startswith("_"):
            return object.__getattribute__(self, name)
        raise AttributeError(name)

    def __getitem__(self, name: str) -> Any:
        return self._fields[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


def template(prompt: str, environment: jinja2.Environment, context: Mapping[str, Any]) -> Callable[[Any], str]:
    """
    Return what fills a prompt, given a row.

    :param prompt: A template over ``row``, which sees the task's context too.
    :raises ConfigurationError: It is no template.
    """
    from jinja2 import StrictUndefined, TemplateSyntaxError

    try:
        ready = environment.overlay(undefined=StrictUndefined).from_string(prompt)
    except TemplateSyntaxError as error:
        raise wrong(f"`prompt` is no template: {error.message}") from None
    return lambda row: ready.render({**context, "row": row})


def prompt_of(row: Any, index: int, render: Callable[[Any], str] | None) -> str:
    """
    Return the prompt of a row.

    :param render: Fills the template, given the row; None where the rows are the prompts.
    :raises ConfigurationError: There is none. It names the row and the field, and repeats no text.
    """
    where = f"row {index} of `inputs`"
    if render is None:
        if not isinstance(row, str):
            raise wrong(f"R{where[1:]} is {shape(row)}, and no `prompt` says what to make of it")
        return text(row, where)
    if not isinstance(row, str | Mapping):
        raise wrong(f"R{where[1:]} must be a text or a mapping; it is {shape(row)}")
    from jinja2 import TemplateError, UndefinedError

    try:
        prompt = render(Row(row) if isinstance(row, Mapping) else row)
    except UndefinedError as error:
        raise wrong(f"`prompt` can't be filled for {where}: {_field(str(error))}") from None
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise wrong(f"`prompt` can't be filled for {where} ({type(error).__name__})") from None
    return text(prompt, f"the `prompt` of {where}")


def custom_id_of(row: Any, index: int, field: str | None) -> str:
    """
    Return what a row is called in the output.

    :param field: The field of the row that holds its id; None where rows have none.
    :raises ConfigurationError: The row has no such field, or something in it that is no id.
    """
    if field is None:
        return f"row-{index}"
    value = row.get(field) if isinstance(row, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise wrong(f"Row {index} of `inputs` has {shape(value)} in `{field}`; an id is a text or a whole number")
    return str(value)


def _field(message: str) -> str:
    """Jinja names the field and the kind of the object, never its content."""
    return message.rpartition("object' ")[2] if "object' " in message else message
