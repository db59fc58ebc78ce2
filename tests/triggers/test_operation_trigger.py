"""The trigger: what it is rebuilt from, what it says, and what it does with an operation."""

from __future__ import annotations

import asyncio
import itertools
import json
import threading
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest
from airflow import __version__ as airflow_version
from airflow.sdk import DAG
from airflow.sdk.execution_time.xcom import XCom
from airflow.triggers.base import TaskSuccessEvent, TriggerEvent

from airflow_provider.yandex_ai_studio.client import retry
from airflow_provider.yandex_ai_studio.client.credentials import ServiceAccountKey
from airflow_provider.yandex_ai_studio.durability import kill
from airflow_provider.yandex_ai_studio.durability.resume import Wakeup, least_deferral
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError
from airflow_provider.yandex_ai_studio.hooks import ai_studio
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.sensors.operation import YandexAIStudioOperationSensor
from airflow_provider.yandex_ai_studio.triggers import bulk as bulk_trigger
from airflow_provider.yandex_ai_studio.triggers import operation as operation_trigger
from airflow_provider.yandex_ai_studio.triggers.bulk import YandexAIStudioBulkTrigger
from airflow_provider.yandex_ai_studio.triggers.operation import YandexAIStudioOperationTrigger
from airflow_provider.yandex_ai_studio.waiting import decision, poller, schedule
from support import API_KEY, FOLDER, TaskInstance
from waits import HANGS, PATIENCE

PROMPT = "Secret plans of the ducks."


def operation(hook: YandexAIStudioHook) -> str:
    return hook.submit_completion(hook.completion_request(prompt=PROMPT)).id


def trigger(operation_id: str, **fields: Any) -> YandexAIStudioOperationTrigger:
    made = YandexAIStudioOperationTrigger(operation_id, submitted_at=time.time() - 5, **fields)
    made.resume_after = 0.0
    return made


def airflow_says(monkeypatch: pytest.MonkeyPatch, state: str | None, discards: bool, found: str | None) -> None:
    """Let Airflow say how the task stands, what a clear does, and which operation the attempt under way has."""
    monkeypatch.setattr(
        "airflow.sdk.execution_time.task_runner.RuntimeTaskInstance.get_task_states",
        lambda **which: {"run": {"generate": state}},
    )
    monkeypatch.setattr(kill, "clear_may_discard", lambda: discards)
    monkeypatch.setattr(XCom, "get_one", lambda **which: found)


async def events_of(trigger: YandexAIStudioOperationTrigger) -> list[TriggerEvent]:
    return [event async for event in trigger.run()]


def said(event: TriggerEvent) -> tuple[str, str]:
    """Return what an event says, after a look at whether it says no more than it should."""
    assert event.payload.keys() == {"operation_id", "outcome", "submitted_at", "deadline", "api", "returns", "asked"}
    return event.payload["operation_id"], event.payload["outcome"]


class Rebuilt(YandexAIStudioOperationTrigger):
    """The trigger of another release: it knows one field more and one less."""

    fields = (*(name for name in YandexAIStudioOperationTrigger.fields if name != "cancel_on_kill"), "priority")

    def __init__(self, operation_id: str, *, priority: str = "normal", **known: Any) -> None:
        super().__init__(operation_id, **known)
        self.priority = priority


def test_a_trigger_is_rebuilt_from_json() -> None:
    original = trigger("d7q1", conn_id="c", deadline=12.5, end_from_trigger=True, cancel_on_kill=True)
    path, fields = original.serialize()
    assert path == "airflow_provider.yandex_ai_studio.triggers.operation.YandexAIStudioOperationTrigger"
    rebuilt = YandexAIStudioOperationTrigger(**json.loads(json.dumps(fields)))
    assert rebuilt.serialize() == original.serialize()


def test_releases_rebuild_each_other_s_triggers() -> None:
    _, newer = Rebuilt("d7q1", priority="high", submitted_at=1.0).serialize()
    assert YandexAIStudioOperationTrigger(**newer).submitted_at == 1.0
    _, older = trigger("d7q1", deadline=2.0, cancel_on_kill=True).serialize()
    assert Rebuilt(**older).deadline == 2.0


async def test_the_event_says_that_it_ended_and_never_what_the_model_wrote(
    hook: YandexAIStudioHook, emulator: Emulator
) -> None:
    operation_id = operation(hook)
    emulator.advance(3600)
    (event,) = await events_of(trigger(operation_id))
    assert said(event) == (operation_id, "ended")


@pytest.mark.parametrize("map_index", [-1, 7])
async def test_a_final_answer_ends_the_task_with_the_xcoms_that_no_worker_has_written_yet(
    hook: YandexAIStudioHook, emulator: Emulator, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch, map_index: int
) -> None:
    written: dict[str, Any] = {}
    ti.map_index = map_index

    async def aset(key: str, value: Any, **where: Any) -> None:
        assert where == {"dag_id": ti.dag_id, "task_id": ti.task_id, "run_id": ti.run_id, "map_index": map_index}
        written[key] = value

    monkeypatch.setattr(XCom, "aset", aset, raising=False)  # Airflow 3.2 has none
    operation_id = operation(hook)
    emulator.advance(3600)
    waiting = trigger(operation_id, end_from_trigger=True)
    waiting.task_instance = ti  # type: ignore[assignment]
    (event,) = await events_of(waiting)
    assert isinstance(event, TaskSuccessEvent)
    answer = hook.get_operation(operation_id).generation
    assert answer is not None
    assert written == {
        "return_value": answer.text,
        "usage": {**answer.usage.as_dict(), "try_number": 1},
        "model_version": answer.model_version,
        "status": "final",
    }


@pytest.mark.parametrize("status", ["TRUNCATED_FINAL", "CONTENT_FILTER", "TOOL_CALLS", "UNSPECIFIED"])
async def test_an_answer_that_is_not_final_resumes_on_a_worker_and_no_xcom_is_written(
    hook: YandexAIStudioHook, emulator: Emulator, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch, status: str
) -> None:
    written: list[str] = []

    async def aset(key: str, **what: Any) -> None:
        written.append(key)

    monkeypatch.setattr(XCom, "aset", aset, raising=False)  # Airflow 3.2 has none
    operation_id = operation(hook)
    alternative = {"message": {"role": "assistant", "text": "Half a"}, "status": f"ALTERNATIVE_STATUS_{status}"}
    answer = {"id": operation_id, "done": True, "response": {"alternatives": [alternative], "modelVersion": "1"}}
    emulator.fault("operations.get", "status", status=200, body=answer, times=None)
    waiting = trigger(operation_id, end_from_trigger=True)
    waiting.task_instance = ti  # type: ignore[assignment]
    (event,) = await events_of(waiting)
    assert not isinstance(event, TaskSuccessEvent)
    assert said(event) == (operation_id, "ended")
    assert written == []


async def test_xcoms_that_can_t_be_written_here_are_left_to_a_worker(
    hook: YandexAIStudioHook, emulator: Emulator, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def aset(**what: Any) -> None:
        raise ConnectionError("the API server is down")

    monkeypatch.setattr(XCom, "aset", aset, raising=False)  # Airflow 3.2 has none
    operation_id = operation(hook)
    emulator.advance(3600)
    waiting = trigger(operation_id, end_from_trigger=True)
    waiting.task_instance = ti  # type: ignore[assignment]
    (event,) = await events_of(waiting)
    assert said(event) == (operation_id, "ended")


async def test_the_log_says_until_when_a_task_waits_and_that_it_still_does(
    hook: YandexAIStudioHook, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(schedule, "FIRST_REPORT", 0.0)
    operation_id = operation(hook)
    deadline = datetime.now(UTC).replace(microsecond=0) + timedelta(seconds=3)
    await events_of(trigger(operation_id, deadline=deadline.timestamp()))
    said = capsys.readouterr().out
    assert f"Waiting for operation {operation_id} until {deadline:%Y-%m-%d %H:%M:%S} UTC at the latest" in said
    assert f"Operation {operation_id} still runs, 0:00:0" in said


@pytest.mark.parametrize("kind", ["operation_error", "operation_empty", "early_error"])
async def test_a_failure_always_resumes_on_the_worker(
    hook: YandexAIStudioHook, emulator: Emulator, ti: TaskInstance, kind: str
) -> None:
    operation_id = operation(hook)
    emulator.fault("operations.get", kind, times=None)
    waiting = trigger(operation_id, end_from_trigger=True)
    waiting.task_instance = ti  # type: ignore[assignment]
    (event,) = await events_of(waiting)
    assert said(event) == (operation_id, "ended")


@pytest.mark.parametrize("made", [YandexAIStudioOperationTrigger, YandexAIStudioBulkTrigger])
def test_a_task_stays_deferred_for_as_long_as_this_airflow_needs_to_see_its_worker_go(
    made: type[YandexAIStudioOperationTrigger | YandexAIStudioBulkTrigger],
) -> None:
    """Of 50 tasks that resumed within seconds, the scheduler failed 8: it had not seen their workers end."""
    assert made.resume_after == least_deferral(airflow_version) >= 5.0


@pytest.mark.parametrize("outcome", ["ended", "broken", "can't be written here"])
async def test_a_task_that_resumes_stays_deferred_until_the_scheduler_has_seen_its_worker_go(
    hook: YandexAIStudioHook, emulator: Emulator, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch, outcome: str
) -> None:
    async def aset(**what: Any) -> None:
        raise ConnectionError("the API server is down")

    def stopped(*_: Any) -> Any:
        raise poller.PollerStopped

    operation_id = operation(hook)
    emulator.advance(3600)
    waiting = trigger(operation_id, end_from_trigger=outcome == "can't be written here")
    waiting.task_instance = ti  # type: ignore[assignment]
    waiting.resume_after = 0.5
    monkeypatch.setattr(XCom, "aset", aset, raising=False)  # Airflow 3.2 has none
    if outcome == "broken":
        monkeypatch.setattr(poller, "watch", stopped)
    began = time.time()
    assert said((await events_of(waiting))[0]) == (operation_id, "broken" if outcome == "broken" else "ended")
    assert time.time() - began >= 0.5


@pytest.mark.parametrize(("returns", "stays"), [(0, 0.3), (1, 0.6), (2, 1.2)])
@pytest.mark.parametrize("why", ["its clock is ahead", "it breaks", "it alone sees the end"])
async def test_a_triggerer_that_sends_a_wait_back_in_vain_does_so_after_twice_the_time(
    hook: YandexAIStudioHook,
    emulator: Emulator,
    ti: TaskInstance,
    monkeypatch: pytest.MonkeyPatch,
    why: str,
    returns: int,
    stays: float,
) -> None:
    def stopped(*_: Any) -> Any:
        raise poller.PollerStopped

    monkeypatch.setattr(poller, "LAST_QUESTION", 0.1)
    if why == "it breaks":
        monkeypatch.setattr(poller, "watch", stopped)
    deadline = time.time() - 600
    waiting = trigger(operation(hook), returns=returns, deadline=deadline)
    if why == "it alone sees the end":
        emulator.advance(3600)
        deadline = waiting.deadline = None
    waiting.task_instance = ti  # type: ignore[assignment]
    waiting.resume_after = 0.3
    began = time.monotonic()
    (event,) = await events_of(waiting)
    assert stays <= time.monotonic() - began
    outcomes = {"its clock is ahead": "timeout", "it breaks": "broken", "it alone sees the end": "ended"}
    assert event.payload["outcome"] == outcomes[why]
    assert (event.payload["deadline"], event.payload["returns"]) == (deadline, returns + 1)


async def test_an_end_is_told_while_a_wait_stays_longer(
    hook: YandexAIStudioHook, emulator: Emulator, ti: TaskInstance
) -> None:
    operation_id = operation(hook)
    emulator.advance(3600)
    waiting = trigger(operation_id, returns=9, deadline=time.time() - 600)
    waiting.task_instance = ti  # type: ignore[assignment]
    async with asyncio.timeout(5):
        assert said((await events_of(waiting))[0]) == (operation_id, "ended")


@pytest.mark.parametrize("made", ["operation", "bulk"])
async def test_a_clock_that_is_set_back_keeps_no_end_from_being_told(
    hook: YandexAIStudioHook,
    emulator: Emulator,
    ti: TaskInstance,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    made: str,
) -> None:
    operation_id = operation(hook)
    emulator.advance(3600)
    readings = itertools.chain([time.time()], itertools.repeat(time.time() - 3600))
    clock = SimpleNamespace(time=lambda: next(readings), monotonic=time.monotonic)
    monkeypatch.setattr(operation_trigger, "time", clock)
    monkeypatch.setattr(bulk_trigger, "time", clock)
    waiting = trigger(operation_id) if made == "operation" else YandexAIStudioBulkTrigger({"0": [[operation_id, 0.0]]})
    waiting.task_instance = ti  # type: ignore[assignment]
    waiting.resume_after = 0.1
    async with asyncio.timeout(5):
        assert len([event async for event in waiting.run()]) == 1
    assert " -" not in capsys.readouterr().out.partition("after")[2].partition(" s")[0]


async def test_a_connection_that_stays_wrong_resumes_on_the_worker_which_says_why(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(decision, "REFUSALS", 2)
    monkeypatch.setattr(decision, "REFUSAL_SECONDS", 0.0)
    monkeypatch.setenv("AIRFLOW_CONN_YANDEX_AI_STUDIO_DEFAULT", '{"conn_type": "yandex_ai_studio"}')
    (event,) = await events_of(trigger("d7q1"))
    assert said(event) == ("d7q1", "refused")


@pytest.mark.parametrize("operation_id", [None, 123, "", "None", "..", ["d7q1"], "d7q1\n", "no such thing"])
async def test_what_is_no_id_resumes_at_once_on_the_worker_which_does_not_retry(
    hook: YandexAIStudioHook, ti: TaskInstance, capsys: pytest.CaptureFixture[str], operation_id: Any
) -> None:
    """A template that is rendered in the triggerer may give anything."""
    async with asyncio.timeout(PATIENCE):
        (event,) = await events_of(trigger(operation_id))
    assert said(event) == (operation_id, "refused")
    assert "is not an operation id" in capsys.readouterr().out
    with DAG("dag"):
        sensor = YandexAIStudioOperationSensor(task_id="wait", operation_id="{{ params.id }}", start_from_trigger=True)
    with pytest.raises(ConfigurationError, match="Give `operation_id` the id of an operation"):
        sensor.execute_complete({"ti": ti}, json.loads(json.dumps(event.payload)))  # type: ignore[typeddict-item]


async def test_a_wait_that_breaks_is_not_told_as_a_refusal_of_the_service(monkeypatch: pytest.MonkeyPatch) -> None:
    def stopped(*_: Any) -> Any:
        raise poller.PollerStopped

    monkeypatch.setattr(poller, "watch", stopped)
    (event,) = await events_of(trigger("d7q1"))
    assert said(event) == ("d7q1", "broken")
    assert Wakeup.of(event.payload).outcome == "broken"


async def test_neither_kwargs_nor_logs_hold_a_secret_or_a_text(
    hook: YandexAIStudioHook, emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    operation_id = operation(hook)
    emulator.fault("operations.get", "status", status=401, body={"code": 16, "message": f"Unknown api key '{API_KEY}'"})
    emulator.advance(3600)
    waiting = trigger(operation_id)
    await events_of(waiting)
    said = "".join(capsys.readouterr()) + repr(waiting)
    assert operation_id in said
    assert "401" in said
    assert API_KEY not in said
    assert PROMPT not in said


@pytest.mark.parametrize(
    ("state", "discards", "found", "cancelled"),
    [
        ("failed", False, None, 1),
        ("deferred", False, None, 0),
        (None, False, None, 0),
        ("failed", True, None, 1),
        ("deferred", True, "its own", 0),
        ("deferred", True, "another", 1),
    ],
)
async def test_a_kill_cancels_only_what_nobody_will_come_for(
    hook: YandexAIStudioHook,
    emulator: Emulator,
    ti: TaskInstance,
    monkeypatch: pytest.MonkeyPatch,
    state: str | None,
    discards: bool,
    found: str | None,
    cancelled: int,
) -> None:
    killed = trigger(operation(hook), cancel_on_kill=True)
    killed.task_instance = ti  # type: ignore[assignment]
    airflow_says(monkeypatch, state, discards, killed.operation_id if found == "its own" else found)
    await killed.on_kill()
    assert emulator.stats()["operations"]["cancelled"] == cancelled


@pytest.mark.parametrize(
    ("route", "fault"),
    [
        ("connection", {}),
        ("operations.get", {"kind": "drop"}),
        ("operations.cancel", {"kind": "drop"}),
        *(("operations.get", {"kind": "status", "status": status}) for status in (400, 401, 403, 404, 429, 503)),
        *(("operations.cancel", {"kind": "status", "status": status}) for status in (400, 401, 404, 429, 503)),
    ],
)
async def test_a_kill_cancels_though_one_look_or_request_or_look_up_fails(
    hook: YandexAIStudioHook,
    emulator: Emulator,
    ti: TaskInstance,
    monkeypatch: pytest.MonkeyPatch,
    route: str,
    fault: dict[str, Any],
) -> None:
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.01)
    airflow_says(monkeypatch, "failed", False, None)
    killed = trigger(operation(hook), cancel_on_kill=True)
    killed.task_instance = ti  # type: ignore[assignment]
    look_up, failures = YandexAIStudioHook.get_async_conn, [] if fault else [OSError("the backend hiccups")]

    async def hiccup(self: YandexAIStudioHook) -> Any:
        if failures:
            raise failures.pop()
        return await look_up(self)

    monkeypatch.setattr(YandexAIStudioHook, "get_async_conn", hiccup)
    if fault:
        emulator.fault(route, **fault)
    await killed.on_kill()
    assert emulator.stats()["operations"]["cancelled"] == 1


@pytest.mark.parametrize("failing", [OSError("the backend is gone"), ConfigurationError("no folder"), ValueError()])
async def test_a_kill_that_can_t_cancel_says_which_operation_goes_on(
    hook: YandexAIStudioHook,
    ti: TaskInstance,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    failing: Exception,
) -> None:
    async def look_up(self: YandexAIStudioHook) -> Any:
        raise failing

    monkeypatch.setattr(retry, "FIRST_DELAY", 0.01)
    airflow_says(monkeypatch, "failed", False, None)
    killed = trigger(operation(hook), cancel_on_kill=True)
    killed.task_instance = ti  # type: ignore[assignment]
    monkeypatch.setattr(YandexAIStudioHook, "get_async_conn", look_up)
    await killed.on_kill()
    said = capsys.readouterr().out
    told = str(failing) or "ValueError"
    if not isinstance(failing, ConfigurationError):
        told = f"The Airflow connection can't be looked up: {told}"
    assert f"Operation {killed.operation_id} is not cancelled ({told})" in said
    assert "It may run to its end, and be billed" in said


async def test_a_mark_of_many_tasks_cancels_all_with_one_client_and_one_token_and_signs_for_it_beside_the_event_loop(
    emulator: Emulator,
    connect: Callable[..., None],
    ti: TaskInstance,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Each kill had its own, and signed on the event loop: of 300 none was cancelled, and the loop stood for 30 s."""
    signed: list[threading.Thread] = []
    sign = ServiceAccountKey.signed_jwt

    def signed_jwt(key: ServiceAccountKey, now: float) -> str:
        signed.append(threading.current_thread())
        return sign(key, now)

    monkeypatch.setattr(ServiceAccountKey, "signed_jwt", signed_jwt)
    airflow_says(monkeypatch, "failed", False, None)
    extra = {"folder_id": FOLDER, "polls_per_second": 100}
    connect(host=emulator.url, password=API_KEY, extra=extra)
    hook = YandexAIStudioHook()
    killed = [trigger(operation(hook), cancel_on_kill=True) for _ in range(60)]
    key = json.dumps(emulator.create_service_account_key())
    connect(host=emulator.url, extra={**extra, "service_account_json": key})
    for each in killed:
        each.task_instance = ti  # type: ignore[assignment]
    await asyncio.gather(*(each.on_kill() for each in killed))
    stats = emulator.stats()
    assert stats["operations"]["cancelled"] == 60
    assert stats["tokens_issued"] == 1
    assert (stats["requests"]["operations.get"], stats["requests"]["operations.cancel"]) == (60, 60)
    assert len(signed) == 1
    assert signed[0] is not threading.current_thread()
    assert capsys.readouterr().out.count("asked the service to cancel operation") == 60


async def test_a_service_that_hangs_holds_a_kill_within_the_time_that_airflow_gives_it(
    hook: YandexAIStudioHook,
    emulator: Emulator,
    ti: TaskInstance,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(ai_studio, "CANCEL_PATIENCE", 1.0)
    airflow_says(monkeypatch, "failed", False, None)
    killed = trigger(operation(hook), cancel_on_kill=True)
    killed.task_instance = ti  # type: ignore[assignment]
    emulator.fault("operations.cancel", "delay", seconds=HANGS, times=None)
    async with asyncio.timeout(PATIENCE):
        await killed.on_kill()
    assert "is not cancelled (TimeoutError)" in capsys.readouterr().out


async def test_a_cancellation_that_hangs_once_is_asked_for_again(
    hook: YandexAIStudioHook, emulator: Emulator, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One attempt gets half of the time, so that there is a second one."""
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(ai_studio, "CANCEL_PATIENCE", 3.0)
    airflow_says(monkeypatch, "failed", False, None)
    killed = trigger(operation(hook), cancel_on_kill=True)
    killed.task_instance = ti  # type: ignore[assignment]
    emulator.fault("operations.cancel", "delay", seconds=HANGS, times=1)
    await killed.on_kill()
    assert emulator.stats()["operations"]["cancelled"] == 1


async def test_a_look_that_hangs_takes_no_kill_its_time(
    hook: YandexAIStudioHook, emulator: Emulator, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(retry, "FIRST_DELAY", 0.01)
    monkeypatch.setattr(schedule, "FIRST_PATIENCE", 0.2)
    monkeypatch.setattr(ai_studio, "CANCEL_PATIENCE", 3.0)
    airflow_says(monkeypatch, "failed", False, None)
    killed = trigger(operation(hook), cancel_on_kill=True)
    killed.task_instance = ti  # type: ignore[assignment]
    emulator.fault("operations.get", "delay", seconds=HANGS, times=None)
    await killed.on_kill()
    assert emulator.stats()["operations"]["cancelled"] == 1


async def test_a_cleared_task_that_begins_late_still_decides(
    hook: YandexAIStudioHook, emulator: Emulator, ti: TaskInstance, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kill, "FIRST_DELAY", 0.01)
    killed = trigger(operation(hook), cancel_on_kill=True)
    killed.task_instance = ti  # type: ignore[assignment]
    airflow_says(monkeypatch, None, True, None)
    with pytest.raises(TimeoutError):  # as Airflow cuts it off
        await asyncio.wait_for(killed.on_kill(), 0.2)
    assert emulator.stats()["operations"]["cancelled"] == 0
    airflow_says(monkeypatch, "running", True, "another")
    await asyncio.gather(*operation_trigger._settling)
    assert emulator.stats()["operations"]["cancelled"] == 1


async def test_a_kill_of_a_wait_for_somebody_else_s_operation_cancels_nothing(
    hook: YandexAIStudioHook, emulator: Emulator, ti: TaskInstance
) -> None:
    killed = trigger(operation(hook))
    killed.task_instance = ti  # type: ignore[assignment]
    await killed.on_kill()
    assert emulator.stats()["requests"]["operations.cancel"] == 0
