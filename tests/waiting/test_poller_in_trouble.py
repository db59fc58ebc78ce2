"""What keys, gateways and connections do to waits: each ends with its operation or its deadline, nothing else."""

from __future__ import annotations

import asyncio
import itertools
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowNotFoundException

from airflow_provider.yandex_ai_studio.api.models import Operation
from airflow_provider.yandex_ai_studio.client.credentials import ServiceAccountKey
from airflow_provider.yandex_ai_studio.client.triggerer import AsyncClient
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import AuthenticationError, ConfigurationError
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.waiting import decision, link, poller, schedule
from airflow_provider.yandex_ai_studio.waiting.decision import End, Wait
from support import API_KEY, FOLDER
from waits import CONN_ID, HANGS, PATIENCE, Connector, end_of, reads, settings, submit, until, waiting

TRANSPORTS = ("rest", "grpc")


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    """An emulator that speaks gRPC too."""
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=3600, grpc=True) as running:
        yield running


def rotate(emulator: Emulator, old: str, new: str) -> None:
    emulator.add_api_key(new)
    emulator.revoke_api_key(old)


async def told(connector: Connector, operation_id: str, news: Counter[type]) -> None:
    """Wait until an operation has ended, and count what is told meanwhile: troubles by their errors."""
    async for item in poller.watch(CONN_ID, Wait(operation_id, time.time() - 5), connector):
        news[type(item.error if isinstance(item, poller.Trouble) else item)] += 1
        assert not isinstance(item, End) or item.outcome == "ended"


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_rotated_key_costs_no_wait_its_question_under_way(
    hook: YandexAIStudioHook, emulator: Emulator, transport: str
) -> None:
    connector = Connector(settings(emulator, transport=transport))
    slow, others = submit(hook, 15), submit(hook, 45)
    for operation_id in slow:
        emulator.fault("operations.get", "delay", seconds=1.5, operation_id=operation_id, times=None)
    news = Counter[type]()
    tasks = [asyncio.create_task(told(connector, operation_id, news)) for operation_id in (*slow, *others)]
    await until(lambda: reads(emulator) >= 60)
    connector.settings = settings(emulator, "AQVNnext", transport=transport)
    rotate(emulator, API_KEY, "AQVNnext")
    emulator.advance(3600)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*tasks)
    assert news.keys() <= {AuthenticationError, poller.Recovered, End}  # nobody's question broke off
    assert news[End] == 60
    assert all(client.closed for client in connector.clients)
    assert len(connector.clients) <= 4


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_two_rotations_cost_no_wait(hook: YandexAIStudioHook, emulator: Emulator, transport: str) -> None:
    """The new key is in the connection a while after the old one was revoked."""
    connector, age = Connector(settings(emulator, transport=transport)), 20.0
    keys = [API_KEY, "AQVNsecond", "AQVNthird"]
    async with waiting(connector, submit(hook, 100), age=age) as tasks:
        for old, new in itertools.pairwise(keys):
            before = reads(emulator)
            await until(lambda before=before: reads(emulator) >= before + 100)
            rotate(emulator, old, new)
            await asyncio.sleep(1)
            connector.settings = settings(emulator, new, transport=transport)
        emulator.advance(3600)
        async with asyncio.timeout(PATIENCE):
            assert {end.outcome for end in await asyncio.gather(*tasks)} == {"ended"}


async def test_one_401_from_the_issuer_of_tokens_costs_nobody_a_wait(
    hook: YandexAIStudioHook, emulator: Emulator
) -> None:
    key = ServiceAccountKey.of(emulator.create_service_account_key(), where="service_account_json")
    connector = Connector(replace(settings(emulator), credential=key))
    ids = submit(hook, 60)
    emulator.advance(3600)
    emulator.fault("iam.tokens", "status", status=401, times=1)
    async with waiting(connector, ids) as tasks, asyncio.timeout(PATIENCE):
        assert {end.outcome for end in await asyncio.gather(*tasks)} == {"ended"}


async def test_a_404_of_the_issuer_of_tokens_never_means_that_the_operation_is_gone(
    hook: YandexAIStudioHook, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision, "REFUSAL_SECONDS", 0.0)
    key = ServiceAccountKey.of(emulator.create_service_account_key(), where="service_account_json")
    emulator.fault("iam.tokens", "status", status=404, times=None)
    end = await end_of(Connector(replace(settings(emulator), credential=key)), submit(hook)[0])
    assert (end.outcome, type(end.error)) == ("refused", AuthenticationError)


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_client_that_somebody_closes_costs_no_wait(
    hook: YandexAIStudioHook, emulator: Emulator, transport: str
) -> None:
    connector = Connector(settings(emulator, transport=transport))
    ids = submit(hook, 30)
    emulator.fault("operations.get", "delay", seconds=1, times=30)
    async with waiting(connector, ids) as tasks:
        await until(lambda: reads(emulator) >= 20)
        await connector.clients[0].close()
        emulator.advance(3600)
        async with asyncio.timeout(PATIENCE):
            assert {end.outcome for end in await asyncio.gather(*tasks)} == {"ended"}


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_wait_that_is_cancelled_ends_at_once_with_its_question(
    hook: YandexAIStudioHook, emulator: Emulator, transport: str, caplog: pytest.LogCaptureFixture
) -> None:
    connector = Connector(settings(emulator, transport=transport))
    before = asyncio.all_tasks()
    emulator.fault("operations.get", "delay", seconds=HANGS, times=None)
    async with asyncio.timeout(PATIENCE):
        async with waiting(connector, submit(hook, 3)):
            await until(lambda: reads(emulator) >= 3)
        await until(lambda: asyncio.all_tasks() == before)
    assert caplog.messages == []  # it is no trouble
    assert all(client.closed for client in connector.clients)


async def test_a_service_that_hangs_makes_no_end_late(
    hook: YandexAIStudioHook, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "LAST_QUESTION", 0.5)
    connector = Connector(settings(emulator, polls_per_second=40))
    emulator.fault("operations.get", "delay", seconds=HANGS, times=None)

    ends = [end_of(connector, f"d7q{number}", deadline=time.time() + 1 + number / 500) for number in range(500)]
    async with asyncio.timeout(PATIENCE):  # how late each is, the tests in virtual time say
        assert {end.outcome for end in await asyncio.gather(*ends)} == {"timeout"}


async def test_those_without_an_answer_hold_half_of_the_places_at_most(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schedule, "FIRST_PATIENCE", 0.3)
    asked: Counter[str] = Counter()
    under_way: set[str] = set()
    most = 0

    class Hanging(AsyncClient):
        async def send(self, call: Any, **_: Any) -> Any:
            nonlocal most
            operation_id = call.url.rpartition("/")[2]
            asked[operation_id] += 1
            under_way.add(operation_id)
            if min(asked.values()) > 1:
                most = max(most, len(under_way))
            try:
                await asyncio.sleep(HANGS)
            finally:
                under_way.discard(operation_id)

    async def connect() -> AsyncClient:
        return Hanging(settings(emulator, polls_per_second=40))

    async def wait_for(operation_id: str) -> None:
        async for _ in poller.watch(CONN_ID, Wait(operation_id, time.time() - 5), connect):
            pass

    tasks = [asyncio.create_task(wait_for(f"d7q{number}")) for number in range(20)]
    await until(lambda: len(asked) == 20 and min(asked.values()) > 2)
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    assert most == 10


@pytest.mark.parametrize(
    "error",
    [AirflowNotFoundException("The conn_id isn't defined"), ConfigurationError("no folder"), OSError("broken")],
)
async def test_a_look_up_that_fails_is_told_and_tried_again(
    hook: YandexAIStudioHook, emulator: Emulator, error: Exception
) -> None:
    connector = Connector(settings(emulator), failing=error)
    ids = submit(hook, 50)
    emulator.advance(3600)
    news: list[Any] = []

    async def wait_for(operation_id: str) -> None:
        async for item in poller.watch(CONN_ID, Wait(operation_id, time.time() - 5), connector):
            news.append(item)

    tasks = [asyncio.create_task(wait_for(operation_id)) for operation_id in ids]
    await until(lambda: connector.look_ups == 2)
    connector.failing = None
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*tasks)
    assert Counter(type(item) for item in news) == {poller.Trouble: 100, End: 50}
    assert all(str(error) in str(item.error) for item in news if isinstance(item, poller.Trouble))
    assert {item.outcome for item in news if isinstance(item, End)} == {"ended"}
    assert connector.look_ups == 3


async def test_a_stray_401_while_no_look_up_works_takes_nobody_the_client_at_hand(
    hook: YandexAIStudioHook, emulator: Emulator
) -> None:
    connector = Connector(settings(emulator))
    news = Counter[type]()
    tasks = [asyncio.create_task(told(connector, operation_id, news)) for operation_id in submit(hook, 5)]
    await until(lambda: reads(emulator) >= 5)
    connector.failing = AirflowNotFoundException("The conn_id isn't defined")
    emulator.fault("operations.get", "status", status=401, times=1)
    await until(lambda: connector.look_ups == 2)
    emulator.advance(3600)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*tasks)
    assert news.keys() <= {AuthenticationError, poller.Recovered, End}  # the others heard of nothing
    assert (news[AuthenticationError], news[End]) == (1, 5)


async def test_a_slow_look_up_after_a_stray_401_holds_nobody_up(hook: YandexAIStudioHook, emulator: Emulator) -> None:
    connector, ids, before = Connector(settings(emulator)), submit(hook, 8), asyncio.all_tasks()

    async def connect() -> AsyncClient:
        client = await connector()
        if connector.look_ups > 1:
            await asyncio.sleep(HANGS)
        return client

    async def wait_for(operation_id: str) -> list[Any]:
        return [item async for item in poller.watch(CONN_ID, Wait(operation_id, time.time() - 5), connect)]

    tasks = [asyncio.create_task(wait_for(operation_id)) for operation_id in ids]
    await until(lambda: reads(emulator) >= 8)
    emulator.fault("operations.get", "status", status=401, times=1)
    await until(lambda: connector.look_ups == 2)
    emulator.advance(3600)
    async with asyncio.timeout(PATIENCE):
        assert {news[-1].outcome for news in await asyncio.gather(*tasks)} == {"ended"}
    assert connector.look_ups == 2
    assert connector.clients[0].closed
    assert asyncio.all_tasks() == before  # the look-up has ended with the last wait
    await connector.clients[1].close()


async def test_the_client_of_a_slow_look_up_takes_the_place_of_the_one_that_is_refused(
    hook: YandexAIStudioHook, emulator: Emulator
) -> None:
    connector, ids = Connector(settings(emulator)), submit(hook, 3)
    news = Counter[type]()

    async def connect() -> AsyncClient:
        client = await connector()
        await asyncio.sleep(1.0 if connector.look_ups > 1 else 0.0)
        return client

    async def wait_for(operation_id: str) -> None:
        async for item in poller.watch(CONN_ID, Wait(operation_id, time.time() - 5), connect):
            news[type(item)] += 1
            assert not isinstance(item, End) or item.outcome == "ended"

    tasks = [asyncio.create_task(wait_for(operation_id)) for operation_id in ids]
    await until(lambda: reads(emulator) >= 3)
    connector.settings = settings(emulator, "AQVNnext")
    rotate(emulator, API_KEY, "AQVNnext")
    emulator.advance(3600)
    async with asyncio.timeout(PATIENCE):
        await asyncio.gather(*tasks)
    assert news[End] == 3
    assert len(connector.clients) == 2
    assert all(client.closed for client in connector.clients)


async def test_a_look_up_that_never_comes_back_makes_no_end_late(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(poller, "LAST_QUESTION", 0.5)

    async def connect() -> AsyncClient:
        await asyncio.sleep(3600)
        raise AssertionError

    news = [item async for item in poller.watch(CONN_ID, Wait("d7q1", time.time(), time.time() + 0.5), connect)]
    assert news == [End("timeout")]


async def test_a_look_up_that_hangs_is_given_up_and_tried_again(
    hook: YandexAIStudioHook, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link, "LOOK_UP_PATIENCE", 0.2)
    connector, (operation_id,) = Connector(settings(emulator)), submit(hook)
    emulator.advance(3600)
    look_ups = itertools.count()

    async def connect() -> AsyncClient:
        if next(look_ups) == 0:
            await asyncio.sleep(3600)
        return await connector()

    async with asyncio.timeout(PATIENCE):
        news = [item async for item in poller.watch(CONN_ID, Wait(operation_id, time.time() - 5), connect)]
    assert [type(item) for item in news] == [poller.Trouble, End]


async def test_a_connection_that_stays_wrong_ends_its_waits_but_one_that_is_not_found_does_not(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(decision, "REFUSAL_SECONDS", 0.1)
    monkeypatch.setattr(decision, "REFUSALS", 2)
    wrong = ConfigurationError("no credential")
    assert (await end_of(Connector(settings(emulator), failing=wrong), "d7q1")) == End("refused", error=wrong)
    lost = Connector(settings(emulator), failing=AirflowNotFoundException("isn't defined"))
    async with waiting(lost, ["d7q1"]) as (task,):
        await until(lambda: lost.look_ups == 3)
        assert not task.done()


async def test_a_poller_that_broke_tells_its_waits_and_takes_no_more(
    hook: YandexAIStudioHook, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector = Connector(settings(emulator))
    ids = submit(hook, 2)
    emulator.advance(3600)

    async def broken(self: poller.OperationPoller, budget: object) -> int:
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(poller.OperationPoller, "_round", broken)
        async with waiting(connector, ids) as tasks:
            for task in tasks:
                with pytest.raises(poller.PollerStopped):
                    await task
    assert (await end_of(connector, ids[0])).outcome == "ended"


async def test_a_question_that_breaks_in_an_unforeseen_way_ends_its_wait_and_no_other(
    hook: YandexAIStudioHook, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    connector, settle = Connector(settings(emulator)), poller.OperationPoller._settle
    broken, sound = submit(hook, 2)
    emulator.advance(3600)

    def breaking(self: poller.OperationPoller, entry: Any, seen: Any) -> float | None:
        if entry.wait.operation_id == broken:
            raise ZeroDivisionError
        return settle(self, entry, seen)

    monkeypatch.setattr(poller.OperationPoller, "_settle", breaking)
    async with asyncio.timeout(PATIENCE), waiting(connector, [broken, sound]) as tasks:
        with pytest.raises(ZeroDivisionError):
            await tasks[0]
        assert (await tasks[1]).outcome == "ended"


async def test_a_wait_that_begins_just_when_the_poller_breaks_gets_a_new_one(
    hook: YandexAIStudioHook, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    (operation_id,) = submit(hook)
    emulator.advance(3600)
    connector, begun = Connector(settings(emulator)), []

    async def broken(self: poller.OperationPoller, budget: object) -> int:
        patched.undo()
        begun.append(asyncio.create_task(end_of(connector, operation_id)))
        raise ZeroDivisionError

    with monkeypatch.context() as patched:
        patched.setattr(poller.OperationPoller, "_round", broken)
        with pytest.raises(poller.PollerStopped):
            await end_of(connector, operation_id)
    async with asyncio.timeout(PATIENCE):
        assert (await begun[0]).outcome == "ended"


async def test_a_gateway_s_404_or_403_ends_no_wait(hook: YandexAIStudioHook, emulator: Emulator) -> None:
    connector = Connector(settings(emulator))
    for status in (404, 403, 400):
        (operation_id,) = submit(hook)
        emulator.advance(3600)
        emulator.fault("operations.get", "status", status=status, times=2)
        end = await end_of(connector, operation_id)
        assert isinstance(end.operation, Operation)
        emulator.clear_faults()
