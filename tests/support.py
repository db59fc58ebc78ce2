"""The values and stand-ins that tests share."""

from __future__ import annotations

import json
import time
from datetime import datetime, timedelta
from typing import Any

from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.execution_time import context

from airflow_provider.yandex_ai_studio.emulator import Emulator

ENDS_IN_TRIGGERER = hasattr(BaseXCom, "aset")
"""Whether a task may end in the triggerer: Airflow 3.2 writes no XComs there."""

KEEPS_STATE = hasattr(context, "TaskStateStoreAccessor")
"""Whether a task may keep what its next attempt must know: Airflow 3.2 has no ``task_state_store``."""

API_KEY = "AQVNunit-test-canary-key"
FOLDER = "b1gunittests"
CONN_ID = "yandex_ai_studio_default"


def submissions(emulator: Emulator) -> int:
    """Return how many generations the emulator was asked for."""
    return int(emulator.stats()["submissions"])


class TaskInstance:
    """What a task sees of its own task instance, with its XComs kept as values."""

    dag_id, task_id, run_id, map_index, try_number = "dag", "generate", "run", -1, 1
    max_tries = 0
    start_date: datetime | None = None

    def __init__(self) -> None:
        self.xcoms: dict[str, Any] = {}

    def xcom_push(self, key: str, value: Any) -> None:
        self.xcoms[key] = value

    def xcom_pull(self, *, key: str, map_indexes: int) -> Any:
        assert map_indexes == self.map_index
        return self.xcoms.get(key)


class Store:
    """A task_state_store in memory. ``broken`` names the methods that raise."""

    def __init__(self) -> None:
        self.values: dict[str, Any] = {}
        self.broken: set[str] = set()

    def _check(self, method: str) -> None:
        if method in self.broken:
            raise ConnectionError(f"the state store can't {method}")

    def get(self, key: str) -> Any:
        self._check("get")
        return self.values.get(key)

    def set(self, key: str, value: Any, *, retention: timedelta) -> None:
        self._check("set")
        json.dumps(value)  # it must be plain JSON
        self.values[key] = value

    def delete(self, key: str) -> None:
        self._check("delete")
        self.values.pop(key, None)


class SteppedTime:
    """A clock that only moves when somebody sleeps, and takes the emulator along."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.now = time.time()
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds
        self.emulator.advance(seconds)
