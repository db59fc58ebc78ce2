"""What of a task is known when its DAG is parsed: its constants. Templates and XComs have no value before it runs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider.yandex_ai_studio.api.output import ModelSchema

if TYPE_CHECKING:
    from airflow.sdk import BaseOperator

JINJA_MARKS = {
    "variable_start_string": "{{",
    "block_start_string": "{%",
    "comment_start_string": "{#",
    "line_statement_prefix": None,
    "line_comment_prefix": None,
}
"""What begins a template, by the option of Jinja that changes it."""


def marks_of(task: BaseOperator) -> Sequence[str]:
    """Return what begins a template in the DAG of a task; where it has none yet, any text may come to be one."""
    dag = task.get_dag()
    if dag is None:
        return ("",)
    given = {**JINJA_MARKS, **(dag.jinja_environment_kwargs or {})}
    return [given[name] for name in JINJA_MARKS if given[name]]


def is_constant(value: Any, marks: Sequence[str]) -> bool:
    """
    Tell whether a parameter is now what it will be when the task runs.

    :param marks: What begins a template.
    """
    match value:
        case str():
            return not any(mark in value for mark in marks)
        case Mapping():
            return all(is_constant(item, marks) for pair in value.items() for item in pair)
        case list() | tuple():
            return all(is_constant(item, marks) for item in value)
    return value is None or isinstance(value, bool | int | float | type | ModelSchema)


def constants_of(parts: Mapping[str, Any], marks: Sequence[str]) -> dict[str, Any]:
    """
    Return the parts of a request that are known; what they could be taken amiss without is filled in, or left out.

    :param parts: The parameters that go into the request, by their names.
    :param marks: What begins a template.
    """
    known = {name: value for name, value in parts.items() if is_constant(value, marks)}
    if not {"prompt", "messages"} <= known.keys() and known.get("messages") is None:
        known["prompt"] = known.get("prompt") or "not known yet"
    if "tools" not in known:
        known.pop("tool_choice", None)
    return {**known, "model": known.get("model") or "not known yet", "folder_id": "not known yet"}


def check_templates(task: BaseOperator, names: Sequence[str]) -> None:
    """
    Refuse texts that Jinja can't read. What begins a template is up to a DAG: where there is none yet, they wait.

    :param names: The parameters that may hold one.
    :raises ConfigurationError: It names the parameter, and the line in it.
    """
    dag, marks = task.get_dag(), marks_of(task)
    found = {name: getattr(task, name) for name in names if not is_constant(getattr(task, name), marks)}
    if dag is None or not found:
        return
    from airflow_provider.yandex_ai_studio.bulk.prompts import compiled  # most DAG files need not pay for Jinja

    environment = task.get_template_env(dag)
    for name, text in found.items():
        if isinstance(text, str):
            compiled(text, name, environment)
