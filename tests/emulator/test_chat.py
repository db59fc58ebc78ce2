"""Chat completions over HTTP: answers, streams and tools, as the vendor's SDK recorded them."""

from __future__ import annotations

import json
from typing import Any

import pytest
import requests

from airflow_provider.yandex_ai_studio.emulator import Emulator

MODEL = "gpt://b1gtestfolder/yandexgpt"
HOSTED = "gpt://b1gtestfolder/qwen3-235b-a22b-fp8/latest"
TEXT = "To be, or not to be: that is the question."
TOOL = {
    "type": "function",
    "function": {"name": "find", "parameters": {"type": "object", "properties": {"what": {}}}, "strict": None},
}


def chunks_of(answer: requests.Response) -> list[dict[str, Any]]:
    assert answer.headers["Content-Type"] == "text/event-stream"
    *chunks, last = (block.removeprefix("data: ") for block in answer.text.strip().split("\n\n"))
    assert last == "[DONE]"
    return [json.loads(chunk) for chunk in chunks]


def test_a_chat_completion_has_the_recorded_form(client: Any) -> None:
    answer = client.chat().json()
    assert answer == {
        "id": answer["id"],
        "object": "chat.completion",
        "created": answer["created"],
        "model": MODEL,
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 18, "total_tokens": 32, "completion_tokens": 14},
    }


def test_the_vendors_own_models_stream_text_from_the_first_chunk_to_the_last(client: Any) -> None:
    chunks = chunks_of(client.chat(stream=True))
    assert [chunk["choices"] for chunk in chunks] == [
        [{"index": 0, "delta": {"role": "assistant", "content": "To be, or not to be:"}}],
        [{"index": 0, "delta": {"content": " that is the question."}, "finish_reason": "stop"}],
    ]
    assert {(chunk["object"], chunk["id"]) for chunk in chunks} == {("chat.completion.chunk", chunks[0]["id"])}
    assert not any("usage" in chunk for chunk in chunks)


def test_hosted_models_frame_the_text_and_close_with_the_usage(client: Any) -> None:
    chunks = chunks_of(client.chat(stream=True, model=HOSTED))
    first, *_, end, usage = chunks
    assert first["choices"] == [{"index": 0, "delta": {"role": "assistant"}}]
    assert end["choices"] == [{"index": 0, "delta": {}, "finish_reason": "stop"}]
    assert (usage["choices"], usage["usage"]["total_tokens"]) == ([], 32)
    texts = [choice["delta"].get("content", "") for chunk in chunks for choice in chunk["choices"]]
    assert "".join(texts) == TEXT
    assert (first["model"], first["id"][:9]) == ("gpt://qwen3-235b-a22b-fp8/latest", "chatcmpl-")


@pytest.mark.parametrize("limit", ["max_tokens", "max_completion_tokens"])
def test_an_answer_that_reaches_its_limit_says_so(client: Any, limit: str) -> None:
    (choice,) = client.chat(**{limit: 3}).json()["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("To be,", "length")
    assert chunks_of(client.chat(stream=True, **{limit: 3}))[-1]["choices"][0]["finish_reason"] == "length"


@pytest.mark.parametrize("choice", ["required", {"type": "function", "function": {"name": "find"}}])
def test_a_tool_call_is_named_after_its_function(client: Any, choice: Any) -> None:
    (answer,) = client.chat(tools=[TOOL], tool_choice=choice).json()["choices"]
    call = {"name": "find", "arguments": f'{{"what":"{TEXT}"}}'}
    assert answer == {
        "index": 0,
        "message": {
            "role": "assistant",
            "content": "",
            "tool_calls": [{"index": 0, "id": "find", "type": "function", "function": call}],
        },
        "finish_reason": "tool_calls",
    }
    (chunk,) = chunks_of(client.chat(tools=[TOOL], tool_choice=choice, stream=True))
    assert chunk["choices"][0]["delta"]["tool_calls"] == answer["message"]["tool_calls"]


def test_what_a_tool_returned_is_answered_from(client: Any) -> None:
    question = {"role": "user", "content": "What is 7@8?"}
    called = client.chat(messages=[question], tools=[TOOL], tool_choice="required").json()["choices"][0]["message"]
    del called["content"]  # As the SDK sends it.
    returned = {"role": "tool", "content": "The result of 7@8 is -5.", "tool_call_id": "find"}
    answer = client.chat(messages=[question, called, returned], tools=[TOOL]).json()
    assert answer["choices"][0]["message"]["content"] == "The result of 7@8 is -5."


def test_messages_come_in_every_documented_form(client: Any) -> None:
    messages = [
        {"role": "developer", "content": "Be kind."},
        {"role": "assistant", "content": "Hello!", "refusal": None},
        {"role": "user", "content": [{"type": "text", "text": TEXT}], "name": "hamlet"},
    ]
    assert client.chat(messages=messages).json()["choices"][0]["message"]["content"] == TEXT


def test_structured_output_is_text_that_fits_the_schema(client: Any) -> None:
    schema = {"type": "object", "properties": {"n": {"type": "integer"}}}
    form = {"type": "json_schema", "json_schema": {"name": "numbers", "schema": schema}}
    assert client.chat(response_format=form).json()["choices"][0]["message"]["content"] == '{"n": 0}'
    answer = client.chat(response_format={"type": "json_object"}).json()
    assert json.loads(answer["choices"][0]["message"]["content"]) == {"output": TEXT}


def test_reasoning_is_billed(client: Any) -> None:
    usage = client.chat(reasoning_effort="high").json()["usage"]
    assert usage["completion_tokens_details"] == {"reasoning_tokens": 64}


def test_a_chat_completion_counts_as_a_generation(emulator: Emulator, client: Any) -> None:
    client.chat()
    client.chat(stream=True)
    stats = emulator.stats()
    assert (stats["generations"], stats["submissions"]) == (2, 0)
    assert stats["responses"]["chat.completions"] == {"200": 2}


def test_a_chat_completion_goes_wrong_on_request(emulator: Emulator, client: Any) -> None:
    emulator.fault("chat.completions", "status", status=503)
    emulator.fault("chat.completions", "lost_answer")
    refused = client.chat()
    assert refused.json() == {"error": {"message": "Service Unavailable", "type": "server_error"}}
    with pytest.raises(requests.ConnectionError):
        client.chat()
    assert emulator.stats()["generations"] == 1
