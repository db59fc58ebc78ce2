"""The service over HTTP: answers, errors in each of their shapes, and the control routes."""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from airflow_provider.yandex_ai_studio.emulator import Emulator

URI = "gpt://b1gtestfolder/yandexgpt"
TEXT = "To be, or not to be: that is the question."


def test_a_completion_is_wrapped_in_result_with_numbers_as_strings(client: Any) -> None:
    answer = client.complete()
    assert answer.status_code == 200
    assert answer.json() == {
        "result": {
            "alternatives": [{"message": {"role": "assistant", "text": TEXT}, "status": "ALTERNATIVE_STATUS_FINAL"}],
            "usage": {
                "inputTextTokens": "18",
                "completionTokens": "14",
                "totalTokens": "32",
                "completionTokensDetails": {"reasoningTokens": "0"},
            },
            "modelVersion": "emulator",
        }
    }


def test_a_stream_is_lines_that_grow_to_the_final_answer(client: Any) -> None:
    answer = client.complete(completionOptions={"stream": True})
    lines = [json.loads(line)["result"]["alternatives"][0] for line in answer.text.splitlines()]
    assert [line["status"] for line in lines] == ["ALTERNATIVE_STATUS_PARTIAL", "ALTERNATIVE_STATUS_FINAL"]
    assert lines[1]["message"]["text"] == TEXT
    assert TEXT.startswith(lines[0]["message"]["text"])


def test_an_operation_goes_from_submitted_to_finished(emulator: Emulator, client: Any) -> None:
    submitted = client.submit().json()
    assert re.fullmatch(r"d7q[a-z0-9]{17}", submitted["id"])
    assert submitted == {
        "id": submitted["id"],
        "description": "Async GPT Completion",
        "createdAt": submitted["createdAt"],
        "createdBy": submitted["createdBy"],
        "modifiedAt": submitted["createdAt"],
        "done": False,
        "metadata": None,
    }
    assert client.operation(submitted["id"]).json() == submitted
    emulator.advance(60)
    finished = client.operation(submitted["id"]).json()
    assert finished.keys() == {"done", "response", "id", "description", "createdAt", "createdBy", "modifiedAt"}
    assert finished["response"]["alternatives"][0]["message"]["text"] == TEXT
    assert finished["modifiedAt"] > finished["createdAt"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_running_operation_is_cancelled_under_both_verbs(emulator: Emulator, client: Any, method: str) -> None:
    operation_id = client.submit().json()["id"]
    answer = client.session.request(method, f"{client.url}/operations/{operation_id}:cancel")
    assert answer.status_code == 200
    assert answer.json()["done"] is True
    assert answer.json()["error"] == {"code": 1, "message": "Operation was cancelled", "details": []}
    emulator.advance(60)
    assert client.operation(operation_id).json() == answer.json()


def test_cancelling_a_finished_operation_returns_its_answer(emulator: Emulator, client: Any) -> None:
    operation_id = client.submit().json()["id"]
    emulator.advance(60)
    finished = client.operation(operation_id).json()
    assert client.post(f"/operations/{operation_id}:cancel").json() == finished


def test_an_unknown_or_expired_operation_is_not_found(emulator: Emulator, client: Any) -> None:
    operation_id = client.submit().json()["id"]
    emulator.advance(3 * 24 * 3600)
    for missing in (operation_id, "d7qnever"):
        for answer in (client.operation(missing), client.post(f"/operations/{missing}:cancel")):
            assert answer.status_code == 404
            assert (answer.json()["code"], answer.json()["message"]) == (5, f"Operation '{missing}' not found")


def test_the_tokenizer_counts_what_a_completion_is_billed_for(client: Any, make_body: Any) -> None:
    tokens = client.post("/foundationModels/v1/tokenizeCompletion", make_body()).json()["tokens"]
    assert tokens[0] == {"id": "1", "text": "<s>", "special": True}
    assert client.complete().json()["result"]["usage"]["inputTextTokens"] == str(len(tokens))
    text = client.post("/foundationModels/v1/tokenize", {"modelUri": URI, "text": "Привет, мир"}).json()
    assert [token["text"] for token in text["tokens"]] == ["<s>", "Приве", "т", ",", "▁мир", "[SEP]"]


def test_every_answer_carries_the_ids_for_the_vendors_support(client: Any) -> None:
    for answer in (client.complete(), client.operation("d7qnever"), client.get("/v1/models")):
        assert re.fullmatch(r"[0-9a-f-]{36}", answer.headers["x-request-id"])
        assert re.fullmatch(r"([0-9a-f]{16}):[0-9a-f]{16}:\1:1", answer.headers["x-server-trace-id"])


INVALID: list[tuple[dict[str, Any], str]] = [
    ({"modelUri": "yandexgpt"}, "Failed to parse model URI"),
    ({"modelUri": None}, "Failed to parse model URI"),
    ({"modelUri": "gpt://b1gtestfolder"}, "Failed to parse model URI"),
    ({"modelUri": "art://b1gtestfolder/yandex-art"}, "Failed to parse model URI"),
    ({"modelUri": "gpt://b1gtestfolder/yandexgpt/latest/more"}, "Failed to parse model URI"),
    ({"messages": []}, "messages must not be empty"),
    ({"messages": [{"role": "owner", "text": "x"}]}, "invalid message role 'owner'"),
    ({"messages": [{"text": "x"}]}, "invalid message role ''"),
    ({"messages": [{"role": "user", "text": ""}]}, "text length is 0, which is outside the range (0, 100000]"),
    ({"messages": [{"role": "user"}]}, "text length is 0, which is outside the range (0, 100000]"),
    (
        {"messages": [{"role": "user", "text": "x" * 100_001}]},
        "text length is 100001, which is outside the range (0, 100000]",
    ),
    ({"completionOptions": {"temperature": 1.1}}, "temperature is 1.1, which is outside the range [0, 1]"),
    ({"completionOptions": {"temperature": "NaN"}}, "temperature is nan, which is outside the range [0, 1]"),
    ({"completionOptions": {"maxTokens": "0"}}, "max tokens is 0, it must be greater than zero"),
    ({"toolChoice": {"mode": "REQUIRED"}}, "tool choice requires a call, but there are no tools"),
    ({"toolChoice": {"functionName": "f"}}, "tool choice names 'f', which is not among the tools"),
    ({"jsonSchema": {"schema": {"$ref": "#/no"}}}, "the schema refers to '#/no', which it does not have"),
]


@pytest.mark.parametrize(("members", "message"), INVALID)
def test_an_invalid_request_is_refused_on_every_completion_route(
    emulator: Emulator, client: Any, members: dict[str, Any], message: str
) -> None:
    now, later = client.complete(**members), client.submit(**members)
    assert (now.status_code, later.status_code) == (400, 400)
    assert now.json()["error"]["message"].endswith(message)
    assert later.json()["message"].endswith(message)
    assert emulator.stats()["generations"] == 0


@pytest.mark.parametrize("uri", [URI, URI + "/rc", URI + "/latest@tuned", "ds://bt12tuned"])
def test_a_model_uri_may_name_a_branch_or_a_tuned_model(client: Any, uri: str) -> None:
    assert client.complete(modelUri=uri).status_code == 200


def test_an_asynchronous_request_can_not_be_streamed(client: Any) -> None:
    answer = client.submit(completionOptions={"stream": True})
    assert (answer.status_code, answer.json()["code"]) == (400, 3)


def test_a_completion_fails_with_a_stream_error_that_names_the_session(client: Any, make_body: Any) -> None:
    request = make_body(messages=[{"role": "x", "text": "x"}])
    answer = client.post("/foundationModels/v1/completion", request, **{"x-client-request-id": "mine"})
    request_id = answer.headers["x-request-id"]
    session = f"internal_id={request_id}&request_id={request_id}&client_request_id=mine&folder_id=b1gtestfolder"
    assert answer.json() == {
        "error": {
            "grpcCode": 3,
            "httpCode": 400,
            "message": f"Error in session {session}: invalid message role 'x'",
            "httpStatus": "Bad Request",
            "details": [],
        }
    }


@pytest.mark.parametrize("route", ["completion", "completionAsync", "tokenize", "tokenizeCompletion"])
def test_a_body_that_can_not_be_decoded_fails_alike_on_every_native_route(client: Any, route: str) -> None:
    for sent in (b'{"modelUri": }', b'{"prompt": "x"}', b"\xff", b""):
        answer = client.session.post(f"{client.url}/foundationModels/v1/{route}", data=sent)
        assert answer.status_code == 400
        assert answer.json().keys() == {"error", "code", "message", "details"}
        assert answer.json()["error"] == answer.json()["message"]


def test_a_wrong_path_or_method_is_counted_and_refused(emulator: Emulator, client: Any) -> None:
    assert client.get("/foundationModels/v1/completion").status_code == 405
    assert client.post("/foundationModels/v2/completion", {}).status_code == 404
    assert emulator.stats()["requests"]["unknown"] == 1


def test_stats_account_for_everything(emulator: Emulator, client: Any) -> None:
    cancelled, _ = (client.submit().json()["id"] for _ in range(2))
    client.post(f"/operations/{cancelled}:cancel")
    emulator.advance(60)
    client.submit()
    client.complete()
    client.complete(modelUri="x")
    stats = client.get("/_emulator/stats").json()
    assert stats == emulator.stats()
    assert stats["requests"]["completionAsync"] == 3
    assert stats["responses"]["completion"] == {"200": 1, "400": 1}
    assert (stats["submissions"], stats["generations"], stats["tokens_issued"]) == (3, 4, 0)
    assert stats["operations"] == {"running": 1, "succeeded": 1, "failed": 0, "cancelled": 1, "expired": 0}
    assert stats["connections"] == {"open": 1, "total": 1, "peak": 1}
    assert 1 <= stats["peak_requests_per_second"]["completionAsync"] <= 3
    assert stats["peak_requests_per_second"]["all"] >= stats["peak_requests_per_second"]["completionAsync"]


def test_operations_are_listed_with_what_they_were_asked(emulator: Emulator, client: Any, make_body: Any) -> None:
    prompt = "ё" * 300
    operation_id = client.post("/foundationModels/v1/completionAsync", make_body(prompt)).json()["id"]
    (listed,) = client.get("/_emulator/operations").json()["operations"]
    assert (listed["id"], listed["state"], listed["ended_at"]) == (operation_id, "running", None)
    assert (listed["prompt_head"], len(listed["prompt_sha256"])) == ("ё" * 200, 64)
    assert listed["options"] == {name: value for name, value in make_body(prompt).items() if name != "messages"}
    emulator.advance(60)
    (listed,) = emulator.operations()
    assert listed["state"] == "succeeded"
    assert listed["ended_at"] > listed["created_at"]


@pytest.mark.parametrize(
    ("path", "sent"),
    [
        ("faults", {"route": "models"}),
        ("clock", {"seconds": 5}),
        ("clock", {"advance_seconds": "5"}),
        ("clock", {"advance_seconds": -5}),
        ("clock", [5]),
        ("api-keys", {"revoke": 5}),
        ("service-account-keys", {"seconds": 5}),
    ],
)
def test_the_control_routes_refuse_what_they_do_not_understand(client: Any, path: str, sent: Any) -> None:
    answer = client.post(f"/_emulator/{path}", sent)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_wrong_control_route_says_so(client: Any) -> None:
    assert client.get("/_emulator/clock").status_code == 404


def test_the_clock_is_advanced_over_http(client: Any) -> None:
    operation_id = client.submit().json()["id"]
    client.post("/_emulator/clock", {"advance_seconds": 60})
    assert client.operation(operation_id).json()["done"] is True


def test_a_key_made_over_http_is_the_key_file(client: Any) -> None:
    assert client.post("/_emulator/service-account-keys", {"token_seconds": 60}).json()["key_algorithm"] == "RSA_2048"


def test_quotas_are_enforced_when_asked_for(connect: Any) -> None:
    with Emulator(seconds=0, enforce_quotas=True) as emulator:
        client = connect(emulator)
        answers = [client.submit() for _ in range(11)]
        assert [answer.status_code for answer in answers] == [200] * 10 + [429]
        message = "ai.textGenerationAsyncCompletionRequestsPerSecond.rate rate quota limit exceed: allowed 10 requests"
        assert answers[-1].json() == {"error": message, "code": 8, "message": message, "details": []}
        emulator.advance(1)
        assert client.submit().status_code == 200
        assert emulator.stats()["submissions"] == 11


def test_ten_completions_may_run_at_a_time(make_body: Any) -> None:
    with Emulator(latency=0.2, enforce_quotas=True) as emulator, ThreadPoolExecutor(11) as threads:

        def complete(_: int) -> requests.Response:
            headers = {"Authorization": "Api-Key k"}
            url = f"{emulator.url}/foundationModels/v1/completion"
            return requests.post(url, json=make_body(), headers=headers, timeout=5)

        refused = [answer for answer in threads.map(complete, range(11)) if answer.status_code != 200]
    message = "ai.textGenerationCompletionSessionsCount.count gauge quota limit exceed: allowed 10 requests"
    assert [answer.json()["error"]["message"] for answer in refused] == [message]
    assert refused[0].json()["error"]["httpStatus"] == "Too Many Requests"
