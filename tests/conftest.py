"""What all tests share."""

from __future__ import annotations

import atexit
import json
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

# Airflow reads its configuration when it is imported: give it a home of its own before that.
_home = tempfile.TemporaryDirectory(prefix="airflow-home-")
os.environ.setdefault("AIRFLOW_HOME", _home.name)
atexit.register(_home.cleanup)
os.environ["AIRFLOW__CORE__LOAD_EXAMPLES"] = "False"
os.environ["AIRFLOW__CORE__UNIT_TEST_MODE"] = "False"

import pytest
from hypothesis import Phase, settings

from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from support import API_KEY, CONN_ID, FOLDER, SteppedTime, Store, TaskInstance

# A run means the same everywhere: the same examples each time, and no verdict by wall clock.
settings.register_profile("steady", derandomize=True, deadline=None, database=None)
# Where most runs are red, as in `make test-mutants`, nobody waits for the smallest example.
settings.register_profile("unshrunk", settings.get_profile("steady"), phases=[Phase.explicit, Phase.generate])
settings.load_profile("steady")


@pytest.fixture
def ti() -> TaskInstance:
    return TaskInstance()


@pytest.fixture
def store() -> Store:
    return Store()


@pytest.fixture
def context(ti: TaskInstance, store: Store) -> dict[str, Any]:
    """The context of an attempt; another attempt of the same task gets the same store."""
    return {"ti": ti, "task_state_store": store}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator whose operations take an hour of its own time: ``advance`` ends them."""
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=3600) as running:
        yield running


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Set the default Airflow connection, as an administrator would through the environment."""

    def set_connection(**fields: Any) -> None:
        connection = {"conn_type": "yandex_ai_studio", **fields}
        monkeypatch.setenv(f"AIRFLOW_CONN_{CONN_ID.upper()}", json.dumps(connection))

    return set_connection


@pytest.fixture
def connection(emulator: Emulator, connect: Callable[..., None]) -> None:
    """The default Airflow connection leads to the emulator."""
    connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER})


@pytest.fixture
def clock(emulator: Emulator) -> SteppedTime:
    return SteppedTime(emulator)


@pytest.fixture
def hook(connection: None, clock: SteppedTime) -> Iterator[YandexAIStudioHook]:
    """A hook that lives in stepped time: to wait an hour takes it no time."""
    hook = YandexAIStudioHook(clock=lambda: clock.now, sleep=clock.sleep)
    yield hook
    hook.get_conn().close()


@pytest.fixture
def recordings() -> Path:
    """The recorded exchanges with the real service."""
    return Path(__file__).parent / "recordings"
