"""What the tests of all operators share. Each module has an ``attempt`` of its own, which runs its operator once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider.yandex_ai_studio.triggers.operation import YandexAIStudioOperationTrigger


@pytest.fixture
def deferred(attempt: Callable[..., Any]) -> Callable[..., YandexAIStudioOperationTrigger]:
    """Run an attempt that defers, and return its trigger."""

    def execute(**parameters: Any) -> YandexAIStudioOperationTrigger:
        with pytest.raises(TaskDeferred) as caught:
            attempt(**parameters)
        assert isinstance(caught.value.trigger, YandexAIStudioOperationTrigger)
        return caught.value.trigger

    return execute
