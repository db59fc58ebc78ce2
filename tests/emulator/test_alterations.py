"""Answers that are right and come in another form or at another pace, and services that hang."""

from __future__ import annotations

import gzip
import json
import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from airflow_provider.yandex_ai_studio.emulator import Emulator

REFUSAL = {"type": "message", "role": "assistant", "content": [{"type": "refusal", "refusal": "No."}]}
CALL = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": "{}", "status": "completed"}


def until(condition: Any) -> None:
    patience = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < patience
        time.sleep(0.01)


def test_what_hangs_has_its_effect_and_is_answered_when_the_fault_ends(emulator: Emulator, client: Any) -> None:
    emulator.fault("completionAsync", "hang", seconds=60)
    emulator.fault("operations.get", "hang", seconds=60)
    with ThreadPoolExecutor(2) as threads:
        submitted, read = threads.submit(client.submit), threads.submit(client.operation, "d7q")
        until(lambda: emulator.stats()["requests"]["operations.get"] and emulator.stats()["submissions"])
        assert not submitted.done()
        emulator.end_faults("completionAsync")
        assert submitted.result(5).json()["id"] == emulator.operations()[0]["id"]
        assert not read.done()
        emulator.clear_faults()
        assert read.result(5).status_code == 404


def test_what_hangs_is_answered_at_last_without_any_help(emulator: Emulator, client: Any) -> None:
    emulator.fault("operations.get", "hang", seconds=0.1)
    start = time.monotonic()
    assert client.operation("d7q").status_code == 404
    assert time.monotonic() - start >= 0.1


def test_an_emulator_stops_while_requests_hang() -> None:
    with ThreadPoolExecutor(1) as threads:
        with Emulator() as emulator:
            emulator.fault("models", "hang", seconds=3600)
            hanging = threads.submit(requests.get, f"{emulator.url}/v1/models", timeout=30)
            until(lambda: emulator.stats()["requests"]["models"])
        with pytest.raises(requests.ConnectionError):
            hanging.result(5)


@pytest.mark.parametrize("size", [None, 40])
def test_an_answer_is_cut_where_its_end_was_to_be_told(
    emulator: Emulator, client: Any, make_body: Any, size: int | None
) -> None:
    emulator.fault("completionAsync", "cut", **({} if size is None else {"size": size}))
    url = f"{emulator.url}/foundationModels/v1/completionAsync"
    with client.session.post(url, json=make_body(), stream=True, timeout=5) as answer:
        come = answer.raw.read1(decode_content=False)
        with pytest.raises(requests.exceptions.ChunkedEncodingError):
            _ = answer.content
    (operation,) = emulator.operations()
    assert operation["id"].encode() in come
    assert come.endswith(b"}") is (size is None)
    assert size in (None, len(come))


def test_a_read_may_be_out_of_date(emulator: Emulator, client: Any) -> None:
    native, response = client.submit().json()["id"], client.respond(background=True).json()["id"]
    for route in ("operations.get", "responses.get"):
        emulator.fault(route, "stale", seconds=60, times=2)
    assert (client.operation(native).status_code, client.response(response).status_code) == (404, 404)
    emulator.advance(30)
    assert (client.operation(native).status_code, client.response(response).status_code) == (404, 404)
    emulator.advance(31)
    assert (client.operation(native).json()["done"], client.response(response).json()["status"]) == (True, "completed")
    for route in ("operations.get", "responses.get"):
        emulator.fault(route, "stale", seconds=60.5)
    assert client.operation(native).json()["done"] is False
    assert client.response(response).json()["status"] in ("queued", "in_progress")


def test_a_body_trickles_after_its_first_bytes(emulator: Emulator, client: Any) -> None:
    emulator.fault("completion", "trickle", seconds=0.4)
    start = time.monotonic()
    url = f"{client.url}/foundationModels/v1/completion"
    request = {"modelUri": "gpt://b1gtestfolder/yandexgpt", "messages": [{"role": "user", "text": "Some text."}]}
    with client.session.post(url, json=request, stream=True, timeout=5) as answer:
        pieces = answer.iter_content(None)
        first = next(pieces)
        whole = first + b"".join(pieces)
    assert time.monotonic() - start >= 0.4
    assert 0 < len(first) < len(whole) / 10
    assert json.loads(whole).keys() == {"result"}


@pytest.mark.parametrize("size", [0, 5_000_000])
def test_a_compressed_answer_unpacks_to_the_usual_one(emulator: Emulator, client: Any, size: int) -> None:
    emulator.fault("operations.get", "gzip", size=size)
    operation_id = client.submit().json()["id"]
    url = f"{client.url}/operations/{operation_id}"
    with client.session.get(url, stream=True, timeout=5) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        packed = answer.raw.read(decode_content=False)
    assert len(packed) < 10_000
    assert len(gzip.decompress(packed)) >= size
    assert json.loads(gzip.decompress(packed)) == client.operation(operation_id).json()


def test_a_foreign_answer_has_members_that_nobody_knows_in_another_order(emulator: Emulator, client: Any) -> None:
    emulator.fault("operations.get", "foreign")
    operation_id = client.submit().json()["id"]
    emulator.advance(60)
    foreign, usual = client.operation(operation_id).json(), client.operation(operation_id).json()
    added, *others = foreign
    assert (added, others) == ("notInTheReference", list(reversed(usual)))
    usage = foreign["response"]["usage"]
    assert {name: usage[name] for name in usual["response"]["usage"] if name[0] == "i"} == {"inputTextTokens": "18"}
    assert "notInTheReference" in usage["completionTokensDetails"]


def test_a_patch_changes_adds_and_takes_away_members(emulator: Emulator, client: Any) -> None:
    emulator.fault("completionAsync", "patch", body={"createdAt": "yesterday", "metadata": {"a": 1}, "done": None})
    patched = client.submit().json()
    assert (patched["createdAt"], patched["metadata"]) == ("yesterday", {"a": 1})
    assert "done" not in patched
    usual = client.operation(patched["id"]).json()
    assert {name: usual[name] for name in ("id", "description", "createdBy")}.items() <= patched.items()


def test_a_response_tells_its_time_in_milliseconds(emulator: Emulator, client: Any) -> None:
    for route in ("responses.create", "responses.get"):
        emulator.fault(route, "milliseconds")
    created = client.respond(background=True).json()
    seconds = emulator.operations()[0]["created_at"]
    read, usual = client.response(created["id"]).json(), client.response(created["id"]).json()
    assert created["created_at"] == read["created_at"] == usual["created_at"] * 1000.0
    assert isinstance(created["created_at"], float)
    assert seconds.startswith(time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(usual["created_at"])))


@pytest.mark.parametrize("item", [REFUSAL, CALL])
@pytest.mark.parametrize("route", ["responses.create", "responses.get"])
def test_a_response_ends_with_a_refusal_or_with_calls_alone(
    emulator: Emulator, client: Any, item: dict[str, Any], route: str
) -> None:
    emulator.fault(route, "operation_answer", body={"output": [item]})
    response_id = client.respond(background=True).json()["id"]
    if route == "responses.create":
        assert client.response(response_id).json()["output"] == []
        emulator.advance(60)
    response = client.response(response_id).json()
    assert (response["status"], response["output"]) == ("completed", [item])
    assert response["usage"]["total_tokens"] > 0


@pytest.mark.parametrize(
    ("kind", "members", "complaint"),
    [
        ("patch", {"body": []}, "body"),
        ("operation_answer", {"body": "x"}, "body"),
        ("operation_error", {"details": [{}]}, "details"),
        ("gzip", {"size": -1}, "size"),
        ("drop", {"probability": 0}, "probability"),
        ("hang", {}, "seconds"),
        ("milliseconds", {}, "belongs to"),
    ],
)
def test_a_switch_that_makes_no_sense_is_refused(
    emulator: Emulator, kind: str, members: dict[str, Any], complaint: str
) -> None:
    with pytest.raises(ValueError, match=complaint):
        emulator.fault("operations.get", kind, **members)
