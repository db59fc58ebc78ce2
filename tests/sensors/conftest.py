"""What the tests of the sensor share: an operation that something else submitted, and a sensor that waits for it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.sensors.operation import YandexAIStudioOperationSensor


@pytest.fixture
def operation_id(hook: YandexAIStudioHook) -> str:
    return hook.submit_completion(hook.completion_request(prompt="Tell me of ducks.")).id


@pytest.fixture
def sensor(hook: YandexAIStudioHook, operation_id: str) -> Callable[..., YandexAIStudioOperationSensor]:
    def make(**parameters: Any) -> YandexAIStudioOperationSensor:
        with DAG("dag"):
            made = YandexAIStudioOperationSensor(task_id="wait", **{"operation_id": operation_id, **parameters})
        made.hook = hook
        return made

    return make
