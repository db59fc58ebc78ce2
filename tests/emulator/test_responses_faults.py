"""Responses that count, and responses that go wrong on request."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from airflow_provider.yandex_ai_studio.emulator import Emulator


def test_background_responses_count_as_operations_and_the_others_as_generations(
    emulator: Emulator, client: Any
) -> None:
    client.respond()
    client.submit()
    made = client.respond(background=True, input="x" * 300).json()["id"]
    stats = emulator.stats()
    assert (stats["submissions"], stats["generations"], stats["operations"]["running"]) == (2, 3, 2)
    listed = emulator.operations()[1]
    assert (listed["id"], listed["state"], listed["prompt_head"]) == (made, "running", "x" * 200)
    emulator.advance(60)
    assert emulator.stats()["operations"]["succeeded"] == 2


@pytest.mark.parametrize(
    ("code", "word"), [(3, "invalid_prompt"), (8, "rate_limit_exceeded"), (13, "server_error"), (14, "server_error")]
)
@pytest.mark.parametrize("background", [False, True])
def test_a_response_fails_as_told(emulator: Emulator, client: Any, background: bool, code: int, word: str) -> None:
    emulator.fault("responses.create", "operation_error", code=code, message="doomed")
    made = client.respond(background=background)
    emulator.advance(60)
    failed = client.response(made.json()["id"]).json()
    assert made.status_code == 200
    assert (failed["status"], failed["error"]) == ("failed", {"code": word, "message": "doomed"})
    assert (failed["output"], failed["usage"]) == ([], None)
    assert emulator.stats()["operations"]["failed"] == int(background)


def test_a_response_fails_as_told_when_it_is_read(emulator: Emulator, client: Any) -> None:
    other, made = (client.respond(background=True).json()["id"] for _ in range(2))
    emulator.fault("responses.get", "operation_error", operation_id=made)
    assert client.response(other).json()["status"] == "queued"
    for _ in range(2):
        assert client.response(made).json()["status"] == "failed"


def test_a_response_is_completed_with_nothing(emulator: Emulator, client: Any) -> None:
    emulator.fault("responses.create", "operation_empty")
    made = client.respond(background=True).json()["id"]
    emulator.advance(60)
    empty = client.response(made).json()
    assert (empty["status"], empty["output"], empty["error"]) == ("completed", [], None)


def test_an_error_stands_in_place_of_a_response_with_status_200(emulator: Emulator, client: Any) -> None:
    message = "number of input tokens must be no more than 32768, got 56832"
    made = client.respond(background=True).json()["id"]
    for route, ask in (("responses.create", client.respond), ("responses.get", lambda: client.response(made))):
        emulator.fault(route, "embedded_error", message=message)
        answer = ask()
        assert answer.status_code == 200
        assert answer.json() == {"error": {"code": "model_call_error", "message": message}, "output": []}
        assert ask().json()["error"] is None


def test_a_lost_answer_leaves_a_response_that_nobody_knows(emulator: Emulator, client: Any) -> None:
    emulator.fault("responses.create", "lost_answer")
    emulator.fault("responses.create", "drop")
    for _ in range(2):
        with pytest.raises(requests.ConnectionError):
            client.respond(background=True)
    assert emulator.stats()["submissions"] == 1


def test_a_planted_status_has_the_shape_of_the_openai_api(emulator: Emulator, client: Any) -> None:
    made = client.respond().json()["id"]
    emulator.fault("responses.get", "status", status=429, headers={"Retry-After": "1"})
    refused = client.response(made)
    assert (refused.status_code, refused.headers["Retry-After"]) == (429, "1")
    assert refused.json() == {"error": {"message": "Too Many Requests", "type": "invalid_request_error"}}
    emulator.fault("responses.get", "status", status=404)
    assert client.response(made).json().keys() == {"code", "message", "param", "type"}
