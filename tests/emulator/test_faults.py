"""Faults over HTTP: what a client sees of each kind, and what the service has done all the same."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.emulator.state.faults import KINDS, parse


def fault(client: Any, route: str, kind: str, **members: Any) -> None:
    answer = client.post("/_emulator/faults", {"route": route, "kind": kind, **members})
    assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(("status", "code"), [(429, 8), (500, 13), (503, 14), (504, 4), (401, 16), (418, 2)])
def test_a_status_without_a_body_has_the_error_shape_of_its_route(client: Any, status: int, code: int) -> None:
    for route in ("completion", "completionAsync", "operations.get", "models"):
        fault(client, route, "status", status=status)
    answers = [client.complete(), client.submit(), client.operation("d7q"), client.get("/v1/models")]
    assert [answer.status_code for answer in answers] == [status] * 4
    stream, unary, rpc, openai = (answer.json() for answer in answers)
    assert stream["error"]["grpcCode"] == code
    assert (unary["code"], unary["error"]) == (code, unary["message"])
    assert (rpc["code"], rpc["details"][0]["@type"]) == (code, "type.googleapis.com/google.rpc.RequestInfo")
    assert openai["error"].keys() == {"message", "type"}
    assert client.complete().status_code == 200


def test_a_status_carries_its_body_and_headers(client: Any) -> None:
    fault(client, "completion", "status", status=429, body={"code": 8}, headers={"Retry-After": "7"})
    fault(client, "completion", "status", status=502, body="<html>")
    first, second = client.complete(), client.complete()
    assert (first.json(), first.headers["Retry-After"]) == ({"code": 8}, "7")
    assert (second.text, second.headers["Content-Type"]) == ("<html>", "text/html")


def test_a_delayed_answer_is_the_usual_one(client: Any) -> None:
    fault(client, "completion", "delay", seconds=0.1)
    start = time.monotonic()
    assert client.complete().status_code == 200
    assert time.monotonic() - start >= 0.1


def test_a_dropped_request_has_no_effect(emulator: Emulator, client: Any) -> None:
    fault(client, "completionAsync", "drop")
    with pytest.raises(requests.ConnectionError):
        client.submit()
    stats = emulator.stats()
    assert (stats["submissions"], stats["responses"]["completionAsync"]) == (0, {"dropped": 1})


def test_a_lost_answer_has_its_effect(emulator: Emulator, client: Any) -> None:
    fault(client, "completionAsync", "lost_answer")
    with pytest.raises(requests.ConnectionError):
        client.submit()
    stats = emulator.stats()
    assert (stats["submissions"], stats["operations"]["running"]) == (1, 1)
    assert stats["responses"]["completionAsync"] == {"dropped": 1}


@pytest.mark.parametrize(("members", "text"), [({}, "<html>"), ({"body": '{"id": "d7'}, '{"id": "d7')])
def test_garbage_comes_with_status_200(client: Any, members: dict[str, str], text: str) -> None:
    fault(client, "operations.get", "garbage", **members)
    answer = client.operation("d7q")
    assert answer.status_code == 200
    assert answer.text.startswith(text)
    with pytest.raises(ValueError, match=r"Expecting|Unterminated"):
        answer.json()


def test_an_operation_fails_as_told_when_it_was_submitted(emulator: Emulator, client: Any) -> None:
    fault(client, "completionAsync", "operation_error", code=3, message="the text is unethical")
    operation_id = client.submit().json()["id"]
    assert "error" not in client.operation(operation_id).json()
    emulator.advance(60)
    failed = client.operation(operation_id).json()
    assert (failed["done"], failed["error"]["code"], failed["error"]["message"]) == (True, 3, "the text is unethical")
    assert "response" not in failed
    assert emulator.stats()["operations"]["failed"] == 1


def test_an_operation_fails_as_told_when_it_is_read(client: Any) -> None:
    other, operation_id = client.submit().json()["id"], client.submit().json()["id"]
    fault(client, "operations.get", "operation_error", operation_id=operation_id)
    assert client.operation(other).json()["done"] is False
    for _ in range(2):
        assert client.operation(operation_id).json()["error"]["code"] == 13


@pytest.mark.parametrize("route", ["completionAsync", "operations.get"])
def test_an_operation_ends_with_nothing(emulator: Emulator, client: Any, route: str) -> None:
    fault(client, route, "operation_empty")
    operation_id = client.submit().json()["id"]
    emulator.advance(60)
    empty = client.operation(operation_id).json()
    assert empty["done"] is True
    assert not {"error", "response"} & empty.keys()


@pytest.mark.parametrize("route", ["completionAsync", "operations.get"])
def test_an_error_shows_before_the_operation_is_done(emulator: Emulator, client: Any, route: str) -> None:
    fault(client, route, "early_error", message="doomed")
    operation_id = client.submit().json()["id"]
    early = client.operation(operation_id).json()
    assert (early["done"], early["error"]["message"]) == (False, "doomed")
    assert emulator.stats()["operations"]["running"] == 1
    emulator.advance(60)
    assert client.operation(operation_id).json()["done"] is True


def test_a_failed_operation_has_the_details_that_it_is_told_to_have(emulator: Emulator, client: Any) -> None:
    details = [{"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "r"}, {"@type": "x/y.Z", "a": 1}]
    fault(client, "completionAsync", "operation_error", details=details)
    operation_id = client.submit().json()["id"]
    emulator.advance(60)
    assert client.operation(operation_id).json()["error"]["details"] == details


@pytest.mark.parametrize("route", ["completionAsync", "operations.get"])
def test_an_operation_ends_with_another_answer(emulator: Emulator, client: Any, route: str) -> None:
    filtered = [{"message": {"role": "assistant", "text": ""}, "status": "ALTERNATIVE_STATUS_CONTENT_FILTER"}]
    fault(client, route, "operation_answer", body={"alternatives": filtered})
    operation_id = client.submit().json()["id"]
    emulator.advance(60)
    answer = client.operation(operation_id).json()["response"]
    assert (answer["alternatives"], answer["modelVersion"]) == (filtered, "emulator")
    assert answer["usage"]["inputTextTokens"] == "18"
    assert emulator.stats()["operations"]["succeeded"] == 1


def test_a_redirection_is_a_status_with_a_location(client: Any) -> None:
    fault(client, "completionAsync", "status", status=308, headers={"Location": "http://192.0.2.1/elsewhere"}, body="")
    url = f"{client.url}/foundationModels/v1/completionAsync"
    answer = client.session.post(url, json={}, timeout=5, allow_redirects=False)
    assert (answer.status_code, answer.text) == (308, "")
    assert answer.headers["Location"] == "http://192.0.2.1/elsewhere"


def test_a_fault_with_a_probability_hits_some_and_the_same_ones_in_every_run(connect: Any) -> None:
    seen = []
    for _ in range(2):
        with Emulator() as emulator:
            client = connect(emulator)
            fault(client, "operations.get", "status", status=502, probability=0.3, times=None)
            seen.append([client.operation("d7q").status_code for _ in range(40)])
    assert seen[0] == seen[1]
    assert 4 <= seen[0].count(502) <= 20
    assert seen[0].count(404) == 40 - seen[0].count(502)


def test_a_fault_waits_for_the_text_it_matches(client: Any, make_body: Any) -> None:
    fault(client, "completion", "status", status=503, match="poison")
    assert client.complete().status_code == 200
    poisoned = client.post("/foundationModels/v1/completion", make_body("a poison pill"))
    assert poisoned.status_code == 503


def test_a_list_of_faults_is_queued_whole_or_not_at_all(client: Any) -> None:
    good, bad = {"route": "models", "kind": "drop"}, {"route": "models", "kind": "dorp"}
    assert client.post("/_emulator/faults", [good, bad]).status_code == 400
    assert client.get("/v1/models").status_code == 200
    assert client.post("/_emulator/faults", [good, good]).json() == {"queued": 2}


def test_faults_are_cleared(emulator: Emulator, client: Any) -> None:
    fault(client, "completion", "drop", times=None)
    client.session.delete(f"{client.url}/_emulator/faults")
    assert client.complete().status_code == 200
    emulator.fault("completion", "status", status=500)
    emulator.clear_faults()
    assert client.complete().status_code == 200


def test_what_became_of_each_fault_can_be_asked(emulator: Emulator, client: Any) -> None:
    fault(client, "completionAsync", "lost_answer", match="poison")
    fault(client, "completion", "status", status=503, times=2)
    assert client.complete().status_code == 503
    waits, hit = client.get("/_emulator/faults").json()["faults"]
    assert (waits["kind"], waits["match"], waits["times"], waits["hits"]) == ("lost_answer", "poison", 1, [])
    assert (hit["route"], hit["times"], len(hit["hits"])) == ("completion", 1, 1)
    assert client.complete().status_code == 503
    assert (left := emulator.faults()[1])["times"] == 0
    assert hit["hits"][0] == left["hits"][0] < left["hits"][1]
    emulator.clear_faults()
    assert emulator.faults() == []


def test_faults_that_are_ended_hit_no_more_and_are_remembered(emulator: Emulator, client: Any) -> None:
    for route in ("completion", "operations.get"):
        fault(client, route, "status", status=503, times=None)
    assert client.complete().status_code == 503
    assert client.post("/_emulator/faults/end", {"route": "completion"}).status_code == 200
    assert (client.complete().status_code, client.operation("d7q").status_code) == (200, 503)
    emulator.end_faults()
    assert client.operation("d7q").status_code == 404
    assert [(told["times"], len(told["hits"])) for told in emulator.faults()] == [(0, 1), (0, 1)]
    assert client.post("/_emulator/faults/end", {"route": "nowhere"}).status_code == 400


def test_a_fault_of_the_in_process_front_is_checked_as_strictly(emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="kind is 'explode'"):
        emulator.fault("completion", "explode")


def test_every_kind_can_be_queued(client: Any) -> None:
    needed: dict[str, dict[str, Any]] = {
        "status": {"status": 500},
        **{kind: {"seconds": 0} for kind in ("delay", "hang", "trickle", "stale")},
        **{kind: {"body": {}} for kind in ("patch", "operation_answer")},
    }
    for kind in KINDS:
        routes = {"embedded_error": "responses.create", "milliseconds": "responses.create", "stale": "operations.get"}
        route = routes.get(kind, "completionAsync")
        fault(client, route, kind, **needed.get(kind, {}))


def test_the_faults_in_the_documentation_are_accepted() -> None:
    page = (Path(__file__).parents[2] / "docs" / "emulator.md").read_text()
    shown = [parse(json.loads(line))[0].kind for line in page.splitlines() if line.startswith('{"route"')]
    assert set(shown) == set(KINDS)
