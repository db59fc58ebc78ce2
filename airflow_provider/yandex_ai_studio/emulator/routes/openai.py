"""What the routes of the OpenAI-compatible APIs have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_provider.yandex_ai_studio.emulator.access import check_folder
from airflow_provider.yandex_ai_studio.emulator.generation.completion import Completion, complete
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend
from airflow_provider.yandex_ai_studio.emulator.wire import models, rules
from airflow_provider.yandex_ai_studio.emulator.wire.errors import ApiError, Code


def check(backend: Backend, model: str, found: Iterator[str]) -> None:
    """Refuse what the service would refuse.

    :param found: what is wrong with the request besides its model.

    :raises ApiError: naming the first problem.
    """
    try:
        check_folder(backend, rules.folder_of(model))
    except ValueError as error:
        raise ApiError(Code.INVALID_ARGUMENT, str(error)) from None
    unserved = None if backend.settings.lenient else models.problem(model, native=False)
    for problem in (*([unserved] if unserved else ()), *found):
        raise ApiError(Code.INVALID_ARGUMENT, problem)


def completed(backend: Backend, model: str, native: dict[str, Any]) -> Completion:
    """Answer the native form of a request.

    :raises ApiError: when it asks for a JSON schema that no value can be built for, or says more than the model reads.
    """
    try:
        completion = complete(native)
    except ValueError as error:
        raise ApiError(Code.INVALID_ARGUMENT, str(error)) from None
    problem = models.context_problem(model, completion.input_tokens)
    if problem and not backend.settings.lenient:
        raise ApiError(Code.INVALID_ARGUMENT, problem)
    return completion
