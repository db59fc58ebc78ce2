"""
An operation id that is rendered in the triggerer, where a task starts without a worker.

Airflow 3.3 renders templates there, but one form of ``xcom_pull`` hangs for ever: that without ``map_indexes``. What
would hang is turned into the form that works, or refused when the DAG is parsed.
"""

from __future__ import annotations

import re
from typing import Any

from airflow.sdk import XComArg
from airflow.sdk.definitions.mappedoperator import MappedOperator
from airflow.sdk.definitions.xcom_arg import PlainXComArg

from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError

_XCOM_PULL = re.compile(r"xcom_pull\s*\(((?:[^()]|\([^()]*\))*)\)")


def template_for_the_triggerer(operation_id: Any) -> str:
    """
    Return the template of an operation id in a form that the triggerer can render.

    :param operation_id: A constant, a template, or the output of one task.
    :raises ConfigurationError: The triggerer could not render it; the message says what to write instead.
    """
    if isinstance(operation_id, PlainXComArg) and not isinstance(operation_id.operator, MappedOperator):
        return _pull(operation_id.operator.task_id, operation_id.key)
    if isinstance(operation_id, XComArg) or not isinstance(operation_id, str):
        raise ConfigurationError(
            "Give `operation_id` as a constant, a template, or the `.output` of a task that is not mapped;\n"
            "or leave start_from_trigger out: then a worker renders it. The triggerer can't render anything else."
        )
    for arguments in _XCOM_PULL.findall(operation_id):
        if "map_indexes" not in arguments:
            raise ConfigurationError(
                f"Write xcom_pull({arguments}, map_indexes=-1), or give the `.output` of the task.\n"
                f"With start_from_trigger=True, xcom_pull({arguments}) would hang in the triggerer."
            )
    return operation_id


def _pull(task_id: str, key: str) -> str:
    return f"{{{{ ti.xcom_pull(task_ids={task_id!r}, key={key!r}, map_indexes=-1) }}}}"
