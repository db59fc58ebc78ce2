"""The trigger of a bulk run: what it is rebuilt from, and when it wakes its task."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from typing import Any

import pytest
from airflow.triggers.base import TriggerEvent

from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.triggers.bulk import YandexAIStudioBulkTrigger
from airflow_provider.yandex_ai_studio.waiting import decision
from support import API_KEY, FOLDER, TaskInstance


def operations(hook: YandexAIStudioHook, count: int) -> list[list[Any]]:
    request = hook.completion_request(prompt="Secret plans of the ducks.")
    return [[hook.submit_completion(request).id, time.time() - 5] for _ in range(count)]


async def event_of(trigger: YandexAIStudioBulkTrigger) -> str:
    (event,) = [event async for event in trigger.run()]
    assert isinstance(event, TriggerEvent)
    assert event.payload.keys() == {"reason", "expired", "refused", "chunks"}
    return str(event.payload["reason"])


def test_a_trigger_is_rebuilt_from_json_and_by_another_release() -> None:
    original = YandexAIStudioBulkTrigger({"0": [["d7q1", 1.5]]}, "c", wake_at=12.5, timeout=60.0)
    path, fields = original.serialize()
    assert path == "airflow_provider.yandex_ai_studio.triggers.bulk.YandexAIStudioBulkTrigger"
    rebuilt = YandexAIStudioBulkTrigger(**json.loads(json.dumps(fields)), priority="high")
    assert rebuilt.serialize() == original.serialize()


async def test_it_wakes_when_all_operations_of_one_chunk_have_ended(
    hook: YandexAIStudioHook, emulator: Emulator
) -> None:
    first, second = operations(hook, 3), operations(hook, 2)
    for operation_id, _ in second:
        emulator.fault("operations.get", "operation_error", operation_id=operation_id, times=None)
    (event,) = [event async for event in YandexAIStudioBulkTrigger({"3": first, "4": second}).run()]
    assert event.payload["chunks"] == [4]


async def test_one_operation_that_runs_on_keeps_it_waiting_until_it_is_time(
    hook: YandexAIStudioHook, emulator: Emulator
) -> None:
    ended, runs = operations(hook, 2)
    emulator.fault("operations.get", "operation_error", operation_id=ended[0], times=None)
    began = time.time()
    trigger = YandexAIStudioBulkTrigger({"0": [ended, runs]}, wake_at=began + 1.5)
    assert await event_of(trigger) == "It is time to go on"
    assert time.time() - began >= 1.5


async def test_it_waits_for_the_quota_alone() -> None:
    began = time.time()
    assert await event_of(YandexAIStudioBulkTrigger(wake_at=began + 0.2)) == "It is time to go on"
    assert time.time() - began >= 0.2


async def test_an_operation_past_its_time_counts_as_ended(hook: YandexAIStudioHook) -> None:
    assert "chunk 0" in await event_of(YandexAIStudioBulkTrigger({"0": operations(hook, 2)}, timeout=5.0))


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decision, "REFUSAL_SECONDS", 1.0)


@pytest.mark.usefixtures("impatient")
async def test_a_refusal_that_stays_wakes_the_task(hook: YandexAIStudioHook, emulator: Emulator) -> None:
    waits = operations(hook, 2)
    emulator.fault("operations.get", "status", status=403, times=None)
    assert await event_of(YandexAIStudioBulkTrigger({"0": waits})) == "The service refuses to answer"


@pytest.mark.usefixtures("impatient")
async def test_operations_that_the_service_does_not_know_are_named(
    hook: YandexAIStudioHook, emulator: Emulator
) -> None:
    ((known, at),) = operations(hook, 1)
    emulator.fault("operations.get", "status", status=404, operation_id=known, times=None)
    (event,) = [event async for event in YandexAIStudioBulkTrigger({"0": [[known, at]]}).run()]
    assert event.payload["expired"] == [known]


@pytest.mark.usefixtures("impatient")
async def test_a_connection_that_can_t_be_read_wakes_the_task(connect: Callable[..., None]) -> None:
    connect(host="http://127.0.0.1:1", password=API_KEY, extra={"folder_id": FOLDER, "nonsense": 1})
    trigger = YandexAIStudioBulkTrigger({"0": [["d7q1", time.time()]]})
    assert await event_of(trigger) == "The service refuses to answer"


async def test_a_task_stays_deferred_until_the_scheduler_has_seen_its_worker_go(ti: TaskInstance) -> None:
    trigger = YandexAIStudioBulkTrigger(wake_at=time.time())
    trigger.task_instance = ti  # type: ignore[assignment]
    trigger.resume_after = 0.5
    began = time.time()
    await event_of(trigger)
    assert time.time() - began >= 0.5


async def test_a_trigger_that_is_taken_away_leaves_no_wait_behind(hook: YandexAIStudioHook, emulator: Emulator) -> None:
    running = asyncio.create_task(event_of(YandexAIStudioBulkTrigger({"0": operations(hook, 3)})))
    await asyncio.sleep(0.3)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    await asyncio.sleep(0.1)
    before = emulator.stats()["requests"].get("operations.get", 0)
    await asyncio.sleep(1.5)
    assert emulator.stats()["requests"].get("operations.get", 0) == before
