"""What the routes of the OpenAI-compatible APIs have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from airflow_provider.yandex_ai_studio.emulator.access import check_folder
from airflow_provider.yandex_ai_studio.emulator.generation.completion import Completion, complete
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend
from airflow_provider.yandex_ai_studio.emulator.wire import rules
from airflow_provider.yandex_ai_studio.emulator.wire.errors import ApiError, Code


def check(backend: Backend, model: str, problems: Iterator[str]) -> None:
    """Refuse what the service would refuse.

    :raises ApiError: naming the first problem.
    """
    try:
        check_folder(backend, rules.folder_of(model))
    except ValueError as error:
        raise ApiError(Code.INVALID_ARGUMENT, str(error)) from None
    for problem in problems:
        raise ApiError(Code.INVALID_ARGUMENT, problem)


def completed(native: dict[str, Any]) -> Completion:
    """Answer the native form of a request.

    :raises ApiError: when it asks for a JSON schema that no value can be built for.
    """
    try:
        return complete(native)
    except ValueError as error:
        raise ApiError(Code.INVALID_ARGUMENT, str(error)) from None
