"""What a sender does around a call: its token, its repetition, what it tells of an error. Alike on each road."""

from __future__ import annotations

import asyncio
import gzip
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api import completion
from airflow_provider.yandex_ai_studio.api.iam import CHECK_MACHINE
from airflow_provider.yandex_ai_studio.client import sending
from airflow_provider.yandex_ai_studio.client.body import MAX_BODY, MAX_ERROR
from airflow_provider.yandex_ai_studio.client.triggerer import AsyncClient
from airflow_provider.yandex_ai_studio.client.worker import Client
from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    PermissionDenied,
    RateLimited,
    RequestError,
    ServiceUnavailable,
)
from airflow_provider.yandex_ai_studio.telemetry import Metric
from service import GOOD, REQUEST, ROADS, Service, ask, settings
from wire import Reply, bomb

pytestmark = pytest.mark.usefixtures("direct")


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("road", ROADS)
def test_a_token_is_used_until_it_is_refused_and_the_call_goes_once_more_with_the_next(
    road: str, serve: Callable[..., Service]
) -> None:
    service = serve(Reply({}, 401), GOOD)
    assert ask(road, settings(f"http://{service.address}")).text == "Quack."
    assert service.authorizations == ["Bearer t1.x", "Bearer t2.x"]


@pytest.mark.parametrize(
    ("reply", "error", "times"),
    [
        (Reply({}, 401), AuthenticationError, 2),
        (Reply({}, 403), PermissionDenied, 1),
        (Reply({}, 402), RequestError, 1),
    ],
    ids=["401", "403", "402"],
)
@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("road", ROADS)
def test_no_call_goes_a_third_time_and_none_but_a_401_a_second(
    road: str, reply: Reply, error: type[RequestError], times: int, serve: Callable[..., Service]
) -> None:
    service = serve(reply)
    with pytest.raises(error):
        ask(road, settings(f"http://{service.address}"))
    assert len(service.authorizations) == service.issued == times


@pytest.mark.parametrize("road", ROADS)
def test_a_token_that_is_refused_when_new_is_not_replaced(road: str, serve: Callable[..., Service]) -> None:
    service = serve(Reply({}, 401), GOOD)
    with pytest.raises(AuthenticationError):
        ask(road, settings(f"http://{service.address}"))
    assert service.authorizations == ["Bearer t1.x"]


@pytest.mark.parametrize("road", ROADS)
def test_a_good_answer_is_asked_for_once_and_with_the_whole_request(road: str, serve: Callable[..., Service]) -> None:
    service = serve(GOOD)
    where = settings(f"http://{service.address}")
    ask(road, where)
    assert service.authorizations == ["Bearer t1.x"]
    call = (completion.stream_completion if road == "stream" else completion.complete)(where.endpoints, REQUEST)
    assert json.loads(service.asked[-1].body) == call.body


@pytest.mark.parametrize("road", ["worker", "triggerer"])
def test_a_token_goes_with_as_many_calls_as_come(road: str, serve: Callable[..., Service]) -> None:
    service = serve(GOOD)
    where = settings(f"http://{service.address}")
    calls = [completion.complete(where.endpoints, REQUEST)] * 3

    async def sent() -> None:
        async with AsyncClient(where) as client:
            for call in calls:
                await client.send(call)

    if road == "triggerer":
        asyncio.run(sent())
    else:
        with Client(where) as client:
            for call in calls:
                client.send(call)
    assert service.authorizations == ["Bearer t1.x"] * 3
    assert service.issued == 1


@pytest.mark.parametrize("road", ["worker", "triggerer"])
def test_a_call_without_a_credential_gets_none_and_its_401_asks_for_none(
    road: str, serve: Callable[..., Service]
) -> None:
    service = serve(Reply({}, 401))
    where = settings(f"http://{service.address}")
    with pytest.raises(AuthenticationError):
        ask(road, where, call=replace(completion.complete(where.endpoints, REQUEST), authorized=False))
    assert service.authorizations == [None]
    assert service.issued == 0


@pytest.mark.parametrize(
    ("road", "place"),
    [*[(road, place) for road in ROADS for place in ("answer", "token")], ("stream", "line")],
)
def test_a_429_shows_its_request_id_and_no_token_and_is_counted_wherever_it_comes(
    road: str, place: str, serve: Callable[..., Service], monkeypatch: pytest.MonkeyPatch
) -> None:
    counted: list[Any] = []
    monkeypatch.setattr(sending, "tell", lambda *metrics, tags: counted.append((*metrics, dict(tags))))
    said = {"error": {"grpcCode": 8, "httpCode": 429, "message": "t1.x or eyJh.eyJp.c2ln may not"}}
    no = Reply(said, 200 if place == "line" else 429, {"x-request-id": "a1b2"})
    service = serve(GOOD if place == "token" else no, tokens=no if place == "token" else None)
    with pytest.raises(RateLimited) as caught:
        ask(road, settings(f"http://{service.address}"))
    assert "eyJ" not in str(caught.value)
    assert "t1.x" not in str(caught.value)
    assert caught.value.request_id == "a1b2"
    assert caught.value.status == 429
    assert counted
    assert all(told == (Metric("rate_limited"), {"conn_id": "studio"}) for told in counted)


@pytest.mark.parametrize("road", ROADS)
def test_a_token_that_can_t_be_had_is_a_call_that_was_never_sent(road: str, serve: Callable[..., Service]) -> None:
    service = serve(GOOD, tokens=Reply({}, 500))
    with pytest.raises(ServiceUnavailable) as caught:
        ask(road, settings(f"http://{service.address}"))
    assert not caught.value.arrived
    assert service.authorizations == []


@pytest.mark.parametrize(
    ("status", "error"),
    [
        *[(status, AuthenticationError) for status in (400, 401, 403, 404, 405)],
        *[(status, ServiceUnavailable) for status in (302, 303, 408, 500, 501, 503)],
        (429, RateLimited),
    ],
)
@pytest.mark.parametrize("road", ROADS)
def test_what_the_issuer_of_tokens_answers_is_no_answer_about_what_the_token_is_for(
    road: str, status: int, error: type[RequestError], serve: Callable[..., Service]
) -> None:
    service = serve(GOOD, tokens=Reply({"message": "No."}, status))
    with pytest.raises(error) as caught:
        ask(road, settings(f"http://{service.address}"))
    assert type(caught.value) is error
    assert (caught.value.status, caught.value.arrived) == (status, False)
    assert str(caught.value).startswith(CHECK_MACHINE) is (status in (400, 401, 403, 404, 405, 501))
    assert service.authorizations == []


@pytest.mark.parametrize("road", ROADS)
def test_what_makes_no_sense_was_an_answer_all_the_same(road: str, serve: Callable[..., Service]) -> None:
    with pytest.raises(ServiceUnavailable, match="HTTP 200 and something") as caught:
        ask(road, settings(f"http://{serve(Reply(b'<html>')).address}"))
    assert caught.value.status == 200
    assert caught.value.arrived


@pytest.mark.parametrize("road", ROADS)
def test_an_answer_may_come_compressed(road: str, serve: Callable[..., Service]) -> None:
    service = serve(Reply(gzip.compress(GOOD.content), headers={"Content-Encoding": "gzip"}))
    assert ask(road, settings(f"http://{service.address}")).text == "Quack."


@pytest.mark.parametrize("status", [200, 299])
@pytest.mark.parametrize("road", ["worker", "triggerer"])
def test_an_answer_is_read_as_a_whole(road: str, status: int, serve: Callable[..., Service]) -> None:
    service = serve(Reply(b" " * MAX_ERROR + GOOD.content, status))
    assert ask(road, settings(f"http://{service.address}")).text == "Quack."


@pytest.mark.parametrize("status", [300, 500])
@pytest.mark.parametrize("road", ROADS)
def test_of_an_error_no_more_is_read_than_says_what_it_is(
    road: str, status: int, serve: Callable[..., Service]
) -> None:
    service = serve(Reply(bomb(MAX_BODY // 2**20 + 1), status, {"Content-Encoding": "gzip"}))
    with pytest.raises(ServiceUnavailable, match=f"HTTP {status}"):
        ask(road, settings(f"http://{service.address}"))


@pytest.mark.parametrize("road", ["worker", "stream"])
def test_a_worker_repeats_what_passes_after_growing_pauses_and_gives_up(
    road: str, serve: Callable[..., Service]
) -> None:
    service, slept = serve(Reply({}, 503), Reply({}, 503), GOOD), list[float]()
    where = settings(f"http://{service.address}")
    assert ask(road, where, sleep=slept.append, repeat=True).text == "Quack."
    first, second = slept
    assert 0.5 <= first <= 1 <= second <= 2
    service.replies = [Reply({}, 503)]
    with pytest.raises(ServiceUnavailable):
        ask(road, where, sleep=slept.append, repeat=True)
    assert len(slept) == 2 + 5
    assert len(service.authorizations) == 3 + 6


def test_a_worker_repeats_unless_it_is_told_not_to(serve: Callable[..., Service]) -> None:
    service = serve(Reply({}, 503), Reply({"id": "d7q1"}))
    where = settings(f"http://{service.address}")
    with Client(where, sleep=lambda _: None) as client:
        assert client.send(completion.get_operation(where.endpoints, "d7q1")).id == "d7q1"
    service.replies = [Reply({}, 503)]
    with pytest.raises(ServiceUnavailable):
        ask("worker", where, repeat=False)
    assert len(service.authorizations) == 3


@pytest.mark.parametrize("road", ["worker", "stream"])
def test_what_may_have_been_taken_is_not_repeated(road: str, serve: Callable[..., Service]) -> None:
    service = serve(Reply({}, 500), GOOD)
    with pytest.raises(ServiceUnavailable):
        ask(road, settings(f"http://{service.address}"), repeat=True)
    assert len(service.authorizations) == 1
