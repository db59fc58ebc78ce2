"""What the return annotation of a decorated function asks for."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, get_args, get_origin, get_type_hints

from airflow_provider.yandex_ai_studio.api.checks import wrong


def model_returned_by(function: Callable[..., Any], *, bulk: bool) -> Any:
    """
    Return the pydantic model that a function is annotated to return, or None.

    :param bulk: It returns a list, one for each row.
    """
    function = inspect.unwrap(function)
    returned = getattr(function, "__annotations__", {}).get("return")
    try:
        alone = SimpleNamespace(__annotations__={"return": returned})  # other names may be there for type checkers only
        annotated = get_type_hints(alone, getattr(function, "__globals__", {}))["return"]
    except NameError as error:
        raise wrong(
            f"The function {function.__name__} returns {returned!r}, which is not known when it runs ({error}). Import "
            "it at run time, or give `json_schema`"
        ) from None
    listed: Any = next(iter(get_args(annotated)), None) if get_origin(annotated) is list else None
    model, other = (listed, annotated) if bulk else (annotated, listed)
    if hasattr(other, "model_json_schema"):
        form = f"list[{other.__name__}] with bulk=True" if bulk else f"{other.__name__}, or give bulk=True"
        raise wrong(
            f"Annotate the function {function.__name__} to return {form}: a task returns one value for each row"
        )
    return model if hasattr(model, "model_json_schema") else None
