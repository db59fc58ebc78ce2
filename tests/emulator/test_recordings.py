"""Requests that the vendor's own SDK sent to the real service, sent to the emulator."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf import json_format
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2 as service

from airflow_provider.yandex_ai_studio.emulator import Emulator

RECORDINGS = Path(__file__).parents[1] / "recordings"


def recorded() -> Iterator[Any]:
    for file in sorted(RECORDINGS.glob("completion_*.json")):
        for number, interaction in enumerate(json.loads(file.read_text())["interactions"]):
            if interaction["request"]["message_type"] == "CompletionRequest":
                yield pytest.param(interaction, id=f"{file.stem}-{number}")


def shape(value: Any) -> Any:
    """Return the names and types of an answer, without what the text decides."""
    if isinstance(value, dict):
        return {name: shape(member) for name, member in value.items() if name != "completionTokensDetails"}
    return [shape(value[0])] if isinstance(value, list) else type(value)


@pytest.fixture(scope="module")
def open_emulator() -> Iterator[Emulator]:
    with Emulator(seconds=0, grpc=True) as running:
        yield running


@pytest.fixture
def rpc_open(open_emulator: Emulator, grpc_client: Any) -> Iterator[Any]:
    with grpc.insecure_channel(open_emulator.grpc_target) as channel:
        yield grpc_client(channel)


@pytest.mark.parametrize("interaction", list(recorded()))
def test_a_recorded_request_gets_an_answer_of_the_recorded_shape(
    open_emulator: Emulator, connect: Any, interaction: Any
) -> None:
    client, request = connect(open_emulator), interaction["request"]["json"]
    if "response_stream" in interaction:
        answer = client.post("/foundationModels/v1/completion", request)
        lines = [json.loads(line)["result"] for line in answer.text.splitlines()]
        assert shape(lines[-1]) == shape(interaction["response_stream"][-1]["json"])
        for line in lines:
            json_format.ParseDict(line, service.CompletionResponse())
    elif interaction["response"]["message_type"] == "Operation":
        answer = client.post("/foundationModels/v1/completionAsync", request)
        assert interaction["response"]["json"].keys() <= answer.json().keys()
    else:
        answer = client.post("/foundationModels/v1/tokenizeCompletion", request)
        assert shape(answer.json()) == shape(interaction["response"]["json"])
    assert answer.status_code == 200


@pytest.mark.parametrize("interaction", list(recorded()))
def test_a_recorded_request_gets_messages_of_the_recorded_shape_over_grpc(rpc_open: Any, interaction: Any) -> None:
    request = interaction["request"]["json"]
    if "response_stream" in interaction:
        answers, real = rpc_open.completion(request), interaction["response_stream"]
        assert shape(json_format.MessageToDict(answers[-1])) == shape(real[-1]["json"])
        assert (len(answers) > 1) == (len(real) > 1)
    elif interaction["response"]["message_type"] == "Operation":
        submitted = json_format.MessageToDict(rpc_open.submission(request))
        assert interaction["response"]["json"].keys() <= submitted.keys()
    else:
        tokens = json_format.MessageToDict(rpc_open.tokenize_completion(request))
        assert shape(tokens) == shape(interaction["response"]["json"])


def test_a_recorded_wait_is_answered_in_messages_of_the_recorded_shape(open_emulator: Emulator, rpc_open: Any) -> None:
    recording = json.loads((RECORDINGS / "completion_run_deferred.json").read_text())["interactions"]
    submitted, running, finished = (interaction["response"]["json"] for interaction in recording)
    operation = rpc_open.submission(recording[0]["request"]["json"])
    read = rpc_open.operation(operation.id)
    # The emulator of this test is done at once, so it shows the first and the last of the recorded states.
    assert submitted.keys() == running.keys() == finished.keys() - {"done", "response"}
    assert shape(json_format.MessageToDict(read)) == shape(finished)
    assert read.response.type_url == finished["response"]["@type"]


@pytest.mark.parametrize("name", ["chat_completions_run", "chat_completions_structured_output_json_schema"])
def test_a_recorded_chat_gets_an_answer_of_the_recorded_shape(open_emulator: Emulator, connect: Any, name: str) -> None:
    (interaction,) = json.loads((RECORDINGS / f"{name}.json").read_text())["interactions"]
    real = interaction["response"]["json"]
    answer = connect(open_emulator).post("/v1/chat/completions", interaction["request"]["json"]).json()
    assert shape(answer) == shape(real)
    assert answer["model"] == real["model"]
    assert answer["id"].startswith("chatcmpl-") == real["id"].startswith("chatcmpl-")


def test_a_finished_operation_holds_what_the_recorded_one_holds(open_emulator: Emulator, connect: Any) -> None:
    recording = json.loads((RECORDINGS / "completion_run_deferred.json").read_text())["interactions"]
    client = connect(open_emulator)
    submitted = client.post("/foundationModels/v1/completionAsync", recording[0]["request"]["json"]).json()
    read = client.operation(submitted["id"]).json()
    assert shape(read) == shape(recording[-1]["response"]["json"])
    assert read["response"]["@type"] == recording[-1]["response"]["json"]["response"]["@type"]


@pytest.mark.parametrize("recording", ["chat_mode", "async_request"])
def test_the_bodies_of_the_curl_guides_are_accepted(open_emulator: Emulator, connect: Any, recording: str) -> None:
    options: dict[str, Any] = {"stream": False, "temperature": 0.6, "maxTokens": "2000"}
    messages = [
        {"role": "system", "text": "You are a smart assistant"},
        {"role": "user", "text": "Hello! How do I prepare for exams?"},
        {"role": "assistant", "text": "Hello! Which subjects are you studying?"},
        {"role": "user", "text": "Mathematics and physics"},
    ]
    if recording == "async_request":
        options |= {"temperature": 0.1, "reasoningOptions": {"mode": "DISABLED"}}
        messages = [
            {"role": "system", "text": "Translate the text"},
            {"role": "user", "text": "To be, or not to be: that is the question."},
        ]
    request = {"modelUri": "gpt://b1gfolder/yandexgpt-lite", "completionOptions": options, "messages": messages}
    client = connect(open_emulator)
    for route in ("completion", "completionAsync"):
        answer = client.post(f"/foundationModels/v1/{route}", request, **{"x-folder-id": "b1gfolder"})
        assert answer.status_code == 200
