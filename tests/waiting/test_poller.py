"""Many waits, one poller: against the emulator, on a real event loop."""

from __future__ import annotations

import asyncio
import contextvars
import time
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api import completion
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.client import credentials, triggerer
from airflow_provider.yandex_ai_studio.client.credentials import ServiceAccountKey
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.client.triggerer import AsyncClient
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.waiting import poller, schedule
from airflow_provider.yandex_ai_studio.waiting.decision import End, Wait
from support import FOLDER, SteppedTime
from waits import CONN_ID, HANGS, PATIENCE, Connector, end_of, reads, settings, submit, until, waiting


@pytest.fixture
def connector(emulator: Emulator) -> Connector:
    return Connector(settings(emulator))


async def test_all_waits_share_one_look_up_and_few_connections(
    hook: YandexAIStudioHook, emulator: Emulator, connector: Connector
) -> None:
    ids = submit(hook, 60)
    opened = emulator.stats()["connections"]["total"]
    async with waiting(connector, ids) as tasks:
        await until(lambda: reads(emulator) >= 60)
        emulator.advance(3600)
        ends = await asyncio.gather(*tasks)
    assert [end.operation.id for end in ends if end.operation] == ids
    assert len(connector.clients) == 1
    assert emulator.stats()["connections"]["total"] - opened <= 20


async def test_the_last_one_out_closes_the_poller(
    hook: YandexAIStudioHook, emulator: Emulator, connector: Connector
) -> None:
    ids = submit(hook, 3)
    loop_tasks = asyncio.all_tasks()
    async with waiting(connector, ids):
        await until(lambda: reads(emulator) >= 3)
    await until(lambda: asyncio.all_tasks() == loop_tasks)
    assert poller._pollers[asyncio.get_running_loop()] == {}
    await until(lambda: emulator.stats()["connections"]["open"] <= 1)  # that of the hook itself


async def test_a_wait_that_begins_while_the_last_one_leaves_is_not_lost(
    hook: YandexAIStudioHook, emulator: Emulator, connector: Connector
) -> None:
    closing, may_close = asyncio.Event(), asyncio.Event()

    class SlowToClose(AsyncClient):
        async def close(self) -> None:
            closing.set()
            await may_close.wait()
            await super().close()

    async def connect() -> AsyncClient:
        return SlowToClose(connector.settings)

    async def wait_for(operation_id: str) -> list[object]:
        return [news async for news in poller.watch(CONN_ID, Wait(operation_id, time.time() - 5), connect)]

    first, second = submit(hook, 2)
    emulator.advance(3600)
    leaving = asyncio.create_task(wait_for(first))
    await closing.wait()
    joining = asyncio.create_task(wait_for(second))
    await until(lambda: reads(emulator) == 2)
    may_close.set()
    for news in await asyncio.gather(leaving, joining):
        assert isinstance(news[-1], End)


async def test_a_cancelled_wait_is_not_asked_about_and_leaves_the_others_alone(
    hook: YandexAIStudioHook, emulator: Emulator, connector: Connector
) -> None:
    first, second = submit(hook, 2)
    async with waiting(connector, [first, second]) as tasks:
        await until(lambda: reads(emulator) >= 2)
        tasks[0].cancel()
        emulator.fault("operations.get", "status", status=403, operation_id=first, times=None)
        await until(lambda: reads(emulator) >= 4)
        emulator.advance(3600)
        assert (await tasks[1]).outcome == "ended"
    assert "403" not in emulator.stats()["responses"]["operations.get"]  # nobody asked about the first one again


async def test_the_budget_is_kept_however_many_wait(hook: YandexAIStudioHook, emulator: Emulator) -> None:
    ids = submit(hook, 40)
    connector = Connector(settings(emulator, polls_per_second=20))
    async with waiting(connector, ids):
        await until(lambda: reads(emulator) >= 60)
    assert emulator.stats()["peak_requests_per_second"]["operations.get"] <= 22


@pytest.mark.parametrize(
    ("kind", "fields"),
    [("status", {"status": 401}), ("status", {"status": 404}), ("drop", {})],
    ids=["401", "404", "drop"],
)
async def test_the_budget_is_kept_whatever_is_answered(
    hook: YandexAIStudioHook, emulator: Emulator, kind: str, fields: dict[str, Any]
) -> None:
    key = ServiceAccountKey.of(emulator.create_service_account_key(), where="the test")
    connector = Connector(replace(settings(emulator, polls_per_second=20), credential=key))
    ids = submit(hook, 40)
    emulator.fault("operations.get", kind, times=None, **fields)
    async with waiting(connector, ids):
        await until(lambda: reads(emulator) >= 60)
    assert emulator.stats()["peak_requests_per_second"]["operations.get"] <= 22
    assert emulator.stats()["tokens_issued"] <= connector.look_ups


async def test_the_budget_is_kept_where_each_token_expired(
    hook: YandexAIStudioHook, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "SETTLING", 0.0)
    key = ServiceAccountKey.of(emulator.create_service_account_key(), where="the test")
    connector = Connector(replace(settings(emulator, polls_per_second=20), credential=key))
    ids = submit(hook, 40)
    emulator.fault("operations.get", "status", status=401, times=None)
    async with waiting(connector, ids):
        await until(lambda: reads(emulator) >= 60)
    assert emulator.stats()["peak_requests_per_second"]["operations.get"] <= 22


async def test_a_429_slows_everyone_down_and_ends_no_wait(
    hook: YandexAIStudioHook, emulator: Emulator, connector: Connector
) -> None:
    ids = submit(hook, 10)
    emulator.fault("operations.get", "status", status=429, body={"code": 8, "message": "quota"}, times=5)
    async with waiting(connector, ids) as tasks:
        await until(lambda: reads(emulator) >= 15)
        (shared,) = poller._pollers[asyncio.get_running_loop()].values()
        assert shared._budget is not None
        allowed = shared._budget.rate(asyncio.get_running_loop().time())
        assert allowed <= 0.95 * connector.settings.polls_per_second  # it takes minutes to try for all again
        emulator.advance(3600)
        assert {end.outcome for end in await asyncio.gather(*tasks)} == {"ended"}


async def test_a_long_wait_says_now_and_then_that_it_goes_on(
    hook: YandexAIStudioHook, emulator: Emulator, connector: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "FIRST_REPORT", 1.0)
    (operation_id,) = submit(hook)
    news = []
    async with asyncio.timeout(PATIENCE):
        async for item in poller.watch(CONN_ID, Wait(operation_id, time.time() - 5), connector):
            news.append(item)
            if len(news) == 2:
                emulator.advance(3600)
    assert [type(item) for item in news] == [poller.StillRunning, poller.StillRunning, End]


async def test_a_slow_operation_delays_no_other(
    hook: YandexAIStudioHook, emulator: Emulator, connector: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "FIRST_PATIENCE", HANGS)
    slow, *others = submit(hook, 6)
    emulator.advance(3600)
    emulator.fault("operations.get", "delay", seconds=HANGS, operation_id=slow, times=None)
    async with waiting(connector, [slow, *others]) as tasks:
        async with asyncio.timeout(PATIENCE):
            await asyncio.gather(*tasks[1:])
        assert not tasks[0].done()


@pytest.mark.parametrize(("polls_per_second", "waits"), [(200.0, 100), (4.0, 3)])
async def test_a_dead_endpoint_delays_no_wait_on_the_other(
    hook: YandexAIStudioHook,
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    polls_per_second: float,
    waits: int,
) -> None:
    """Each has half of the budget, however small that is."""
    monkeypatch.setattr(schedule, "FIRST_PATIENCE", HANGS)
    connector = Connector(settings(emulator, polls_per_second=polls_per_second))
    ids = submit(hook, waits)
    emulator.advance(3600)
    emulator.fault("responses.get", "delay", seconds=HANGS, times=None)
    async with waiting(connector, [f"resp-{n}" for n in range(100)], api="responses") as dead:
        await until(lambda: emulator.stats()["requests"]["responses.get"] >= 2)
        await asyncio.sleep(1)  # in which more would go out, if they might
        async with waiting(connector, ids) as alive, asyncio.timeout(PATIENCE):
            assert {end.outcome for end in await asyncio.gather(*alive)} == {"ended"}
        assert not any(task.done() for task in dead)


async def test_operations_that_hang_hold_up_the_others_for_a_first_question_only(
    hook: YandexAIStudioHook, emulator: Emulator, connector: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Whoever got no answer once would hold his place for ever: half of the places stay with the others.
    monkeypatch.setattr(schedule, "patience", lambda unanswered: HANGS if unanswered else 0.5)
    hanging, alive = submit(hook, 20), submit(hook, 20)
    for operation_id in hanging:
        emulator.fault("operations.get", "delay", seconds=HANGS, operation_id=operation_id, times=None)
    emulator.advance(3600)
    async with waiting(connector, hanging) as stuck:
        await until(lambda: reads(emulator) >= 20 + 10)
        monkeypatch.setattr(schedule, "patience", lambda unanswered: HANGS)  # who is alive may be slow
        async with waiting(connector, alive) as tasks, asyncio.timeout(PATIENCE):
            await asyncio.gather(*tasks)
        assert not any(task.done() for task in stuck)


async def test_a_slow_service_is_given_more_time_until_it_answers(
    hook: YandexAIStudioHook, emulator: Emulator, connector: Connector, monkeypatch: pytest.MonkeyPatch
) -> None:
    unanswered: list[int] = []

    def patience(times: int) -> float:
        unanswered.append(times)
        return 0.1 if times < 2 else 30.0

    monkeypatch.setattr(schedule, "patience", patience)
    (operation_id,) = submit(hook)
    emulator.advance(3600)
    emulator.fault("operations.get", "delay", seconds=HANGS, times=2)
    async with asyncio.timeout(PATIENCE):
        assert (await end_of(connector, operation_id)).outcome == "ended"
    assert unanswered == [0, 1, 2]  # what each of these gives, test_schedule says


async def test_nothing_is_left_of_waits_that_ended_failed_or_were_cancelled(
    hook: YandexAIStudioHook, emulator: Emulator, connector: Connector
) -> None:
    loop_tasks = asyncio.all_tasks()
    for _ in range(5):
        done, running = submit(hook), submit(hook, 3)
        emulator.fault("operations.get", "drop", operation_id=running[0], times=None)
        async with waiting(connector, running):
            before = reads(emulator)
            emulator.fault("operations.get", "status", status=403, operation_id=running[1], times=None)
            await until(lambda before=before: reads(emulator) >= before + 3)
        emulator.advance(3600)
        emulator.clear_faults()
        assert (await end_of(connector, done[0])).outcome == "ended"
        await until(lambda: asyncio.all_tasks() == loop_tasks)
        assert poller._pollers[asyncio.get_running_loop()] == {}
    await until(lambda: emulator.stats()["connections"]["open"] <= 1)  # that of the hook itself


async def test_waits_that_ended_before_their_deadlines_are_not_kept_until_then(
    hook: YandexAIStudioHook, emulator: Emulator, connector: Connector
) -> None:
    (operation_id,) = submit(hook)
    deadline = time.time() + 86_400
    async with waiting(connector, [operation_id], deadline=deadline):
        for _ in range(5):
            async with waiting(connector, [operation_id] * 50, deadline=deadline):
                pass
        (shared,) = poller._pollers[asyncio.get_running_loop()].values()
        assert len(shared._deadlines) <= 205


async def test_troubles_are_told_at_a_sane_rate_and_recovery_once(
    hook: YandexAIStudioHook, emulator: Emulator, connector: Connector
) -> None:
    (operation_id,) = submit(hook)
    emulator.fault("operations.get", "status", status=503, body="<html>", times=2)
    news = []
    async with asyncio.timeout(PATIENCE):
        async for item in poller.watch(CONN_ID, Wait(operation_id, time.time() - 5), connector):
            news.append(item)
            if isinstance(item, poller.Recovered):
                emulator.advance(3600)
    assert [type(item) for item in news] == [poller.Trouble, poller.Trouble, poller.Recovered, End]


async def test_a_wait_whose_deadline_passed_is_asked_about_once_more(
    hook: YandexAIStudioHook, emulator: Emulator, connector: Connector
) -> None:
    (operation_id,) = submit(hook)
    assert (await end_of(connector, operation_id, deadline=time.time() - 60)).outcome == "timeout"
    emulator.advance(3600)
    assert (await end_of(connector, operation_id, deadline=time.time() - 60)).outcome == "ended"


async def test_an_operation_that_is_gone_ends_the_wait(connector: Connector) -> None:
    assert (await end_of(connector, "d7qneverwas", age=4 * 86_400)).outcome == "expired"


async def test_a_thousand_waits_over_an_expiry_cost_one_exchange(
    emulator: Emulator, clock: SteppedTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "SETTLING", 0.0)  # no time passes for the client
    key = ServiceAccountKey.of(emulator.create_service_account_key(), where="service_account_json")
    connected = Settings(key, Endpoints.at(emulator.url), FOLDER)
    async with AsyncClient(connected) as client:
        request = CompletionRequest.of(model="yandexgpt", folder_id=FOLDER, prompt="Hello.")
        operation = await client.send(completion.submit_completion(connected.endpoints, request))
        issued = emulator.stats()["tokens_issued"]
        emulator.advance(13 * 3600)  # the token that the client holds has expired, unknown to it
        asks = [client.send(completion.get_operation(connected.endpoints, operation.id)) for _ in range(1000)]
        assert all(seen.done for seen in await asyncio.gather(*asks))
    assert emulator.stats()["tokens_issued"] == issued + 1


@pytest.mark.parametrize("fault", [{"status": 429}, {"status": 500}, {"status": 429, "headers": {"Retry-After": "60"}}])
async def test_an_issuer_of_tokens_that_is_full_is_not_asked_for_each_wait(
    hook: YandexAIStudioHook, emulator: Emulator, monkeypatch: pytest.MonkeyPatch, fault: dict[str, Any]
) -> None:
    monkeypatch.setattr(triggerer, "EXCHANGE_PAUSE", 0.0 if "headers" in fault else HANGS)
    key = ServiceAccountKey.of(emulator.create_service_account_key(), where="the test")
    connector = Connector(replace(settings(emulator), credential=key))
    emulator.fault("iam.tokens", "status", times=None, **fault)
    news: list[Any] = []

    async def wait_for(operation_id: str) -> None:
        async for item in poller.watch(CONN_ID, Wait(operation_id, time.time() - 5), connector):
            news.append(item)

    tasks = [asyncio.create_task(wait_for(operation_id)) for operation_id in submit(hook, 10)]
    await until(lambda: len(news) >= 10)
    assert emulator.stats()["requests"]["iam.tokens"] == 1
    assert {(type(item.error).__name__, item.error.arrived) for item in news} == {
        ("RateLimited" if fault["status"] == 429 else "ServiceUnavailable", False)
    }
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)


async def test_what_the_poller_logs_does_not_land_in_the_task_that_came_first(
    hook: YandexAIStudioHook, emulator: Emulator, connector: Connector
) -> None:
    task_of_log: contextvars.ContextVar[str] = contextvars.ContextVar("task_of_log", default="triggerer")
    seen: list[str] = []

    class Listening(Connector):
        async def __call__(self) -> AsyncClient:
            seen.append(task_of_log.get())
            return await super().__call__()

    (operation_id,) = submit(hook)
    emulator.advance(3600)
    task_of_log.set("the first task")
    await end_of(Listening(connector.settings), operation_id)
    assert seen == ["triggerer"]
