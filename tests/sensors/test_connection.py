"""A sensor's connection that is edited, wrong or not there while it waits."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider.yandex_ai_studio.durability.resume import LAST_PAUSES
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError, ConnectionNotFound
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.sensors.operation import YandexAIStudioOperationSensor
from airflow_provider.yandex_ai_studio.waiting.decision import REFUSAL_SECONDS
from support import API_KEY, CONN_ID, FOLDER, SteppedTime

Context = dict[str, Any]
NEW_KEY = "AQVNunit-test-new-key"


@pytest.fixture
def process(operation_id: str, clock: SteppedTime) -> Iterator[Callable[..., YandexAIStudioOperationSensor]]:
    """Make the sensor of a process of its own, which looks the connection up for itself."""
    hooks: list[YandexAIStudioHook] = []

    def make(**parameters: Any) -> YandexAIStudioOperationSensor:
        with DAG("dag"):
            sensor = YandexAIStudioOperationSensor(task_id="wait", operation_id=operation_id, **parameters)
        sensor.hook = YandexAIStudioHook(clock=lambda: clock.now, sleep=clock.sleep)
        hooks.append(sensor.hook)
        return sensor

    yield make
    for hook in hooks:
        if client := vars(hook).get("_client"):
            client.close()


@pytest.fixture(params=["typo", "not found"])
def wreck(
    request: pytest.FixtureRequest, emulator: Emulator, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> Callable[[], None]:
    def begin() -> None:
        if request.param == "typo":
            connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER, "modl": "x"})
        else:
            monkeypatch.delenv(f"AIRFLOW_CONN_{CONN_ID.upper()}")

    return begin


def test_a_sensor_that_pokes_asks_with_the_new_key_of_its_connection(
    process: Any, context: Context, emulator: Emulator, connect: Callable[..., None], clock: SteppedTime
) -> None:
    sensor = process(deferrable=False)
    assert not sensor.poke(context)
    emulator.rotate_api_key(NEW_KEY)
    connect(host=emulator.url, password=NEW_KEY, extra={"folder_id": FOLDER})
    for _ in range(2):
        clock.sleep(2000)
        poked = sensor.poke(context)
    assert "ducks" in poked.xcom_value


@pytest.mark.parametrize("mode", ["poke", "reschedule"])
def test_a_connection_that_is_wrong_or_not_there_at_one_poke_ends_no_sensor(
    process: Any,
    context: Context,
    emulator: Emulator,
    connect: Callable[..., None],
    clock: SteppedTime,
    wreck: Callable[[], None],
    mode: str,
) -> None:
    sensor = process(deferrable=False, mode=mode)
    wreck()
    assert not sensor.poke(context)
    connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER})
    clock.sleep(4000)
    again = sensor if mode == "poke" else process(deferrable=False, mode=mode)
    assert "ducks" in again.poke(context).xcom_value


def test_a_connection_that_stays_so_ends_a_sensor_that_pokes_after_five_minutes(
    process: Any, context: Context, clock: SteppedTime, wreck: Callable[[], None]
) -> None:
    sensor, began = process(deferrable=False), clock.now
    wreck()

    def poke_again_and_again() -> None:
        while not sensor.poke(context):
            clock.sleep(60)

    with pytest.raises((ConfigurationError, ConnectionNotFound)):
        poke_again_and_again()
    assert REFUSAL_SECONDS <= clock.now - began < REFUSAL_SECONDS + 120


@pytest.mark.parametrize("wreck", ["typo"], indirect=True)
def test_a_connection_that_is_wrong_at_the_first_look_is_given_the_five_minutes_of_the_trigger(
    process: Any, context: Context, wreck: Callable[[], None]
) -> None:
    wreck()
    with pytest.raises(TaskDeferred):
        process().execute(context)


def test_a_connection_that_is_not_there_at_the_first_look_is_looked_for_a_moment(
    process: Any, context: Context, clock: SteppedTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    sensor = process()
    found, missing = sensor.hook._looked_up, [1, 1]

    def looked_up() -> Any:
        if missing:
            missing.pop()
            raise ConnectionNotFound("a secrets backend hiccups")
        return found()

    monkeypatch.setattr(sensor.hook, "_looked_up", looked_up)
    with pytest.raises(TaskDeferred):
        sensor.execute(context)
    monkeypatch.delenv(f"AIRFLOW_CONN_{CONN_ID.upper()}")
    began = clock.now
    with pytest.raises(ConnectionNotFound):
        process().execute(context)
    assert clock.now - began == pytest.approx(sum(LAST_PAUSES), abs=0.01)
