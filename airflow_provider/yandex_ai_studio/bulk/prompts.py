"""From a row to its prompt."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any
from uuid import UUID

from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError, Undefined, UndefinedError

from airflow_provider.yandex_ai_studio.api.checks import shape, text, wrong
from airflow_provider.yandex_ai_studio.api.words import within

if TYPE_CHECKING:
    import jinja2

SHOWN = 40
"""How many names of fields an error lists, and how many characters of each."""


class NothingThere(UndefinedError):
    """Nothing was to be written. It says the name of the field, if it is one of the row's own, and nothing else."""


class Nothing(Undefined):
    """
    What a template sees of a field that holds None: nothing that can be written.

    It is false, ``none`` and not ``defined``, so that a template may ask for it, and give something in its place. A
    list that is written whole shows it as what it is.

    :param name: Of the field, if it is one of the row's own.
    """

    __slots__ = ()

    def __init__(self, name: str = "") -> None:
        super().__init__(hint=name, name=name, exc=NothingThere)

    @property
    def _undefined_message(self) -> str:
        return self._undefined_hint or ""

    def __repr__(self) -> str:
        return "None"

    def __eq__(self, other: object) -> bool:
        return other is None or isinstance(other, Nothing)

    def __ne__(self, other: object) -> bool:
        return not self == other

    __hash__ = Undefined.__hash__
    __str__ = __iter__ = __len__ = Undefined._fail_with_undefined_error


def _seen(value: Any) -> Any:
    """Return what a template sees of a value deeper in a row: nothing there must not be written by any filter."""
    if value is None:
        return Nothing()
    if type(value) in (list, tuple):
        return type(value)(_seen(item) for item in value)
    return value


def _is_none(value: Any) -> bool:
    return value is None or isinstance(value, Nothing)


def _written(value: Any) -> Any:
    """Return what ``{{ … }}`` writes. A list or a mapping is data, whatever it holds; None in one is nothing."""
    if value is None:
        raise NothingThere
    return value


def _plain(value: Any) -> Any:
    """Return what JSON is made of in place of what a template sees."""
    if isinstance(value, Row):
        return dict(value._fields)
    if not isinstance(value, Nothing):
        raise TypeError(type(value).__name__)
    return None


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
        value = self._fields[name]
        return Nothing(name) if value is None else value

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
    strict = environment.overlay(undefined=StrictUndefined, finalize=environment.finalize or _written)
    strict.tests = {**environment.tests, "none": _is_none}
    how = {"default": _plain, **environment.policies["json.dumps_kwargs"]}
    strict.policies = {**environment.policies, "json.dumps_kwargs": how}
    if environment.finalize is None:  # else the DAG says what is written in place of nothing
        by_name, by_key = strict.getattr, strict.getitem  # what `a.b` and `a["b"]` come to in a template
        strict.getattr = lambda obj, attribute: _seen(by_name(obj, attribute))  # type: ignore[method-assign]
        strict.getitem = lambda obj, argument: _seen(by_key(obj, argument))  # type: ignore[method-assign]
    ready = compiled(prompt, "prompt", strict)
    return lambda row: ready.render({**context, "row": row})


def compiled(source: str, parameter: str, environment: jinja2.Environment) -> jinja2.Template:
    """
    Return the template that a parameter holds.

    :raises ConfigurationError: It is none.
    """
    try:
        return environment.from_string(source)
    except TemplateSyntaxError as error:
        said = within(error.message or "it can't be read")
        raise wrong(f"Mend the template in `{parameter}`, line {error.lineno}: {said}") from None


def prompt_of(row: Any, index: int, render: Callable[[Any], str] | None) -> str:
    """
    Return the prompt of a row.

    :param render: Fills the template, given the row; None where the rows are the prompts.
    :raises ConfigurationError: There is none. It names the row and the field, and repeats no text.
    """
    where = f"row {index} of `inputs`"
    if render is None:
        if not isinstance(row, str):
            raise wrong(f"Set `prompt`, e.g. {{{{ row.text }}}}: {where} is {shape(row)}, and no text")
        return text(row, where, may_be_none=True)  # a row is data: somebody has answered so
    if not isinstance(row, str | Mapping):
        raise wrong(f"R{where[1:]} must be a text or a mapping; it is {shape(row)}")
    try:
        prompt = render(Row(row) if isinstance(row, Mapping) else row)
    except NothingThere as error:
        field = error.message
        what = f"in `{field}`, which `prompt` names" if field else "(None) in a value that `prompt` writes"
        instead = f"row.{field}" if field else "…"
        raise wrong(
            f"R{where[1:]} has nothing {what}: leave such rows out, or write {{{{ {instead} or '' }}}}"
        ) from None
    except UndefinedError as error:
        raise wrong(_unknown(str(error), row, where)) from None
    except (TemplateError, ArithmeticError, LookupError, TypeError, ValueError) as error:
        raise wrong(f"`prompt` can't be filled for {where} ({type(error).__name__})") from None
    return text(prompt, f"the `prompt` of {where}", may_be_none=True)


def custom_id_of(row: Any, index: int, field: str | None) -> str:
    """
    Return what a row is called in the output.

    :param field: The field of the row that holds its id; None where rows have none.
    :raises ConfigurationError: The row has no such field, or something in it that is no id.
    """
    if field is None:
        return f"row-{index}"
    if isinstance(row, Mapping) and field not in row:
        raise wrong(f"Row {index} of `inputs` has no field `{field}`, which `id_field` names; it has {_names(row)}")
    value = row.get(field) if isinstance(row, Mapping) else None
    if isinstance(value, bool) or not isinstance(value, str | int | UUID) or value == "":
        raise wrong(f"Row {index} of `inputs` has {shape(value)} in `{field}`; an id is a text or a whole number")
    return text(str(value), f"`{field}` of row {index} of `inputs`", may_be_none=True)


def _unknown(message: str, row: Any, where: str) -> str:
    """Say what a template names that is not there. Jinja names it and the kind of the object, never its content."""
    of_row = re.fullmatch(r"'.*\bRow object' has no attribute '(.*)'", message)
    if of_row and isinstance(row, Mapping):
        return f"R{where[1:]} has no field `{of_row[1]}`, which `prompt` names; it has {_names(row)}"
    name = re.fullmatch(r"'(\w+)' is undefined", message)
    if name and isinstance(row, Mapping) and name[1] in row:
        return f"Write {{{{ row.{name[1]} }}}} in `prompt`: `{name[1]}` is a field of {where}"
    said = message.rpartition("object' ")[2] if "object' " in message else message
    return f"`prompt` can't be filled for {where}: {said}"


def _names(row: Mapping[str, Any]) -> str:
    names = [str(name) for name in row]
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return (", ".join(name[:SHOWN] for name in names[:SHOWN]) or "none") + more
