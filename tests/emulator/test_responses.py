"""The Responses API over HTTP: the life of a response, conversations, streams, and what goes wrong on request."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
import requests

from airflow_provider.yandex_ai_studio.emulator import Emulator

MODEL = "gpt://b1gtestfolder/yandexgpt"
TEXT = "To be, or not to be: that is the question."
DAY = 24 * 3600
UUID = r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"
TOOL = {"type": "function", "name": "find", "parameters": {"type": "object", "properties": {"what": {}}}}


def text_of(response: dict[str, Any]) -> str:
    return "".join(part["text"] for item in response["output"] for part in item.get("content", []))


def test_a_response_is_the_whole_documented_object(client: Any) -> None:
    made = client.respond(instructions="Be brief.", temperature=0.8, max_output_tokens=1500).json()
    (message,) = made["output"]
    assert re.fullmatch(UUID, made["id"])
    assert re.fullmatch(UUID, message["id"])
    assert made == {
        "id": made["id"],
        "object": "response",
        "created_at": made["created_at"],
        "status": "completed",
        "background": False,
        "conversation": None,
        "error": None,
        "incomplete_details": None,
        "instructions": "Be brief.",
        "max_output_tokens": 1500,
        "max_tool_calls": None,
        "metadata": None,
        "model": MODEL,
        "output": [
            {
                "id": message["id"],
                "type": "message",
                "role": "assistant",
                "status": "completed",
                "content": [{"type": "output_text", "text": TEXT, "annotations": [], "logprobs": []}],
            }
        ],
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "reasoning": {"effort": None, "summary": None},
        "store": True,
        "temperature": 0.8,
        "text": {"format": {"type": "text"}},
        "tool_choice": "auto",
        "tools": [],
        "top_p": None,
        "truncation": "disabled",
        "usage": {
            "input_tokens": 24,
            "input_tokens_details": {"cached_tokens": 0},
            "output_tokens": 14,
            "output_tokens_details": {"reasoning_tokens": 0},
            "total_tokens": 38,
        },
        "user": None,
    }
    assert client.response(made["id"]).json() == made


def test_a_background_response_is_queued_then_in_progress_then_completed(emulator: Emulator, client: Any) -> None:
    queued = client.respond(background=True).json()
    assert (queued["status"], queued["output"], queued["usage"]) == ("queued", [], None)
    emulator.advance(15)
    running = client.response(queued["id"]).json()
    assert running == {**queued, "status": "in_progress"}
    emulator.advance(45)
    done = client.response(queued["id"]).json()
    assert (done["status"], text_of(done)) == ("completed", TEXT)
    assert done.keys() == queued.keys()
    assert done["usage"]["output_tokens"] == 14


@pytest.mark.parametrize("background", [False, True])
def test_a_response_that_reaches_its_limit_is_incomplete(emulator: Emulator, client: Any, background: bool) -> None:
    made = client.respond(max_output_tokens=3, background=background).json()
    emulator.advance(60)
    cut = client.response(made["id"]).json()
    assert (cut["status"], cut["incomplete_details"]) == ("incomplete", {"reason": "max_output_tokens"})
    assert (text_of(cut), cut["output"][0]["status"], cut["usage"]["output_tokens"]) == ("To be,", "incomplete", 3)


def test_a_background_response_is_cancelled(emulator: Emulator, client: Any) -> None:
    made = client.respond(background=True).json()
    cancelled = client.post(f"/v1/responses/{made['id']}/cancel")
    assert (cancelled.status_code, cancelled.json()) == (200, {**made, "status": "cancelled"})
    emulator.advance(60)
    assert client.response(made["id"]).json() == cancelled.json()
    assert client.post(f"/v1/responses/{made['id']}/cancel").json() == cancelled.json()


def test_cancelling_a_completed_response_returns_its_answer(emulator: Emulator, client: Any) -> None:
    made = client.respond(background=True).json()
    emulator.advance(60)
    assert client.post(f"/v1/responses/{made['id']}/cancel").json() == client.response(made["id"]).json()


def test_a_synchronous_response_can_not_be_cancelled(client: Any) -> None:
    answer = client.post(f"/v1/responses/{client.respond().json()['id']}/cancel")
    message = "Only responses created with the background parameter set to true can be cancelled."
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, message)


def not_found(answer: requests.Response, response_id: str, param: str | None = None) -> bool:
    message = f"Response with id '{response_id}' not found."
    body = {"code": None, "message": message, "param": param, "type": "invalid_request_error"}
    return answer.status_code == 404 and answer.json() == body


def test_a_deleted_response_is_not_found_on_any_route(emulator: Emulator, client: Any) -> None:
    made = client.respond(background=True).json()["id"]
    assert client.delete(f"/v1/responses/{made}").json() == {"id": made, "object": "response", "deleted": True}
    assert not_found(client.response(made), made)
    assert not_found(client.delete(f"/v1/responses/{made}"), made)
    assert not_found(client.post(f"/v1/responses/{made}/cancel"), made)
    assert not_found(client.get(f"/v1/responses/{made}/input_items"), made)
    assert not_found(client.respond(previous_response_id=made), made, "previous_response_id")
    assert emulator.stats()["operations"]["cancelled"] == 1


@pytest.mark.parametrize("background", [False, True])
def test_a_response_is_kept_for_thirty_days(emulator: Emulator, client: Any, background: bool) -> None:
    made = client.respond(background=background).json()["id"]
    emulator.advance(30 * DAY - 5)
    assert client.response(made).status_code == 200
    emulator.advance(10)
    assert not_found(client.response(made), made)


def test_a_response_that_is_not_stored_can_not_be_read_again(client: Any) -> None:
    made = client.respond(store=False).json()
    assert (made["store"], text_of(made)) == (False, TEXT)
    assert not_found(client.response(made["id"]), made["id"])


def test_operations_and_responses_do_not_know_each_others_ids(client: Any) -> None:
    response, operation = client.respond(background=True).json()["id"], client.submit().json()["id"]
    assert client.operation(response).status_code == 404
    assert not_found(client.response(operation), operation)


def test_a_conversation_is_continued_and_billed_whole(client: Any) -> None:
    first = client.respond(input="My name is Osip, and I come from Perm.", instructions="Answer in verse.").json()
    second = client.respond(input="Which town do I come from, please?", previous_response_id=first["id"]).json()
    third = client.respond(input="And what is my name, if you please?", previous_response_id=second["id"]).json()
    assert second["previous_response_id"] == first["id"]
    assert text_of(second) == "Which town do I come from, please?"
    assert second["instructions"] is None
    billed = [made["usage"]["input_tokens"] for made in (first, second, third)]
    assert billed == sorted(set(billed))
    listed = client.get(f"/v1/responses/{third['id']}/input_items").json()["data"]
    assert [item["content"][0]["text"] for item in listed] == ["And what is my name, if you please?"]


def test_input_comes_in_every_documented_form(client: Any) -> None:
    said: list[Any] = [
        {"role": "developer", "content": "Be kind."},
        {"role": "user", "content": [{"type": "input_text", "text": "Hello!"}]},
        {"type": "message", "role": "assistant", "content": "Hello! Which subjects are you studying?"},
        {"role": "user", "content": "Mathematics and physics, mostly."},
    ]
    made = client.respond(input=said)
    assert text_of(made.json()) == "Mathematics and physics, mostly."
    again = client.respond(input=[*said, *made.json()["output"], {"role": "user", "content": TEXT}])
    assert text_of(again.json()) == TEXT


def test_input_items_are_listed_page_by_page_the_last_first(client: Any) -> None:
    said = [{"role": "user", "content": f"sentence number {n}", "id": f"m{n}"} for n in range(5)]
    path = f"/v1/responses/{client.respond(input=said).json()['id']}/input_items"
    page = client.get(path + "?limit=2").json()
    assert page == {
        "object": "list",
        "data": [
            {
                "id": f"m{n}",
                "status": "completed",
                "type": "message",
                "role": "user",
                "content": [{"type": "input_text", "text": f"sentence number {n}"}],
            }
            for n in (4, 3)
        ],
        "has_more": True,
        "first_id": "m4",
        "last_id": "m3",
    }
    rest = client.get(path + "?limit=20&after=m3").json()
    assert ([item["id"] for item in rest["data"]], rest["has_more"]) == (["m2", "m1", "m0"], False)
    assert client.get(path + "?order=asc").json()["first_id"] == "m0"
    for wrong in ("limit=0", "limit=101", "limit=x", "order=up"):
        assert client.get(f"{path}?{wrong}").status_code == 400


@pytest.mark.parametrize("choice", ["required", {"type": "function", "name": "find"}])
def test_a_function_is_called_and_its_output_taken(client: Any, choice: Any) -> None:
    made = client.respond(tools=[TOOL], tool_choice=choice).json()
    (call,) = made["output"]
    assert (call["type"], call["name"], call["status"]) == ("function_call", "find", "completed")
    assert json.loads(call["arguments"]) == {"what": TEXT}
    returned = {"type": "function_call_output", "call_id": call["call_id"], "output": "It was found in the attic."}
    after = client.respond(input=[returned], previous_response_id=made["id"], tools=[TOOL]).json()
    assert text_of(after) == "It was found in the attic."
    whole = client.respond(input=[{"role": "user", "content": TEXT}, call, returned]).json()
    assert text_of(whole) == "It was found in the attic."
    answer = client.respond(input=[returned])
    message = f"No tool call found for function call output with call_id {call['call_id']}."
    assert (answer.status_code, answer.json()["error"]["message"]) == (400, message)


def test_a_model_that_may_call_a_function_answers(client: Any) -> None:
    made = client.respond(tools=[TOOL]).json()
    assert text_of(made) == TEXT
    assert made["tools"] == [{"description": None, "strict": None, **TOOL}]


def test_reasoning_comes_before_the_message_and_is_billed(client: Any) -> None:
    made = client.respond(reasoning={"effort": "low"}).json()
    assert [item["type"] for item in made["output"]] == ["reasoning", "message"]
    assert made["usage"]["output_tokens_details"] == {"reasoning_tokens": 64}
    assert text_of(client.respond(input=[*made["output"], {"role": "user", "content": "x"}]).json()) == "x"


def test_structured_output_is_text_that_fits_the_schema(client: Any) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
    form = {"type": "json_schema", "name": "numbers", "schema": schema, "strict": True}
    made = client.respond(text={"format": form}).json()
    assert json.loads(text_of(made)) == {"n": 0}
    assert made["text"] == {"format": form}
    assert json.loads(text_of(client.respond(text={"format": {"type": "json_object"}}).json())) == {"output": TEXT}


def events_of(answer: requests.Response) -> list[dict[str, Any]]:
    assert answer.headers["Content-Type"] == "text/event-stream"
    assert answer.headers["Cache-Control"] == "no-cache"
    found = []
    for block in answer.text.strip().split("\n\n"):
        name, data = block.split("\n")
        found.append(json.loads(data.removeprefix("data: ")))
        assert name == f"event: {found[-1]['type']}"
    return found


def test_a_stream_tells_the_story_of_a_response(client: Any) -> None:
    events = events_of(client.respond(stream=True))
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "completed",
    ]
    assert [event["sequence_number"] for event in events] == list(range(10))
    assert "".join(event["delta"] for event in events if "delta" in event) == events[6]["text"] == TEXT
    assert (events[0]["response"]["status"], events[0]["response"]["output"]) == ("in_progress", [])
    assert client.response(events[0]["response"]["id"]).json() == events[-1]["response"]


def test_a_stream_ends_as_the_response_does(client: Any) -> None:
    assert events_of(client.respond(stream=True, max_output_tokens=3))[-1]["type"] == "response.incomplete"
    client.post("/_emulator/faults", {"route": "responses.create", "kind": "operation_error"})
    failed = events_of(client.respond(stream=True))
    assert [event["type"] for event in failed] == ["response.created", "response.in_progress", "response.failed"]


def test_a_streamed_function_call_adds_up(client: Any) -> None:
    events = events_of(client.respond(stream=True, tools=[TOOL], tool_choice="required"))
    deltas = [event["delta"] for event in events if event["type"] == "response.function_call_arguments.delta"]
    assert json.loads("".join(deltas)) == {"what": TEXT}
