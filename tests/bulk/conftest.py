"""What the tests of bulk runs share: a service with quotas, and a task that uses it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.emulator import Emulator
from bulk_task import API_KEY, FOLDER, BulkTask

PRICES = {
    "currency": "RUB",
    "yandexgpt": {"async": {"input": 0.2, "output": 0.4}, "sync": {"input": 9.0, "output": 9.0}},
}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=5, seconds_max=20, enforce_quotas=True) as running:
        yield running


@pytest.fixture
def task(emulator: Emulator, connect: Callable[..., None]) -> Callable[..., BulkTask]:
    extra = {"folder_id": FOLDER, "prices": PRICES, "submits_per_second": 10}
    connect(host=emulator.url, password=API_KEY, extra=extra)

    def make(**parameters: Any) -> BulkTask:
        return BulkTask(emulator, **parameters)

    return make
