"""The list of models."""

from __future__ import annotations

from airflow_provider.yandex_ai_studio.emulator.access import FOLDER_MISSING, named_folder
from airflow_provider.yandex_ai_studio.emulator.request import Answer, Request
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend
from airflow_provider.yandex_ai_studio.emulator.wire.errors import ApiError, Code

_MODELS = (
    "aliceai-llm/latest",
    "gpt-oss-120b/latest",
    "gpt-oss-20b/latest",
    "gemma-3-27b-it/latest",
    "qwen3-235b-a22b-fp8/latest",
    "yandexgpt-lite/latest",
    "yandexgpt-lite/rc",
    "yandexgpt/latest",
    "yandexgpt/rc",
)


def list_models(backend: Backend, request: Request) -> Answer:
    """Return the models of a folder, as many as the recorded list has: newer ones are served as well."""
    folder = named_folder(request.headers)
    if folder is None:
        raise ApiError(Code.INVALID_ARGUMENT, FOLDER_MISSING)
    data = [
        {"id": f"gpt://{folder}/{model}", "object": "model", "owned_by": "yandex", "created": 0} for model in _MODELS
    ]
    return Answer.of_json({"object": "list", "data": data})
