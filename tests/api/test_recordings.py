"""What the service really said, as the vendor's SDK recorded it, is understood as it was meant."""

import json
from pathlib import Path

import pendulum
import pytest

from airflow_provider.yandex_ai_studio.api import completion
from airflow_provider.yandex_ai_studio.api.call import Answer, result_of
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.models import Generation, Message, Operation, Usage

RECORDINGS = {
    path.stem: json.loads(path.read_text("utf-8")) for path in Path(__file__).parents[1].glob("recordings/*.json")
}

REQUEST = CompletionRequest("gpt://b1g/yandexgpt", (Message("user", "ping"),))
COMPLETE = completion.complete(Endpoints(), REQUEST)
GET = completion.get_operation(Endpoints(), "d7qqr3frkl81js0udlr9")

STATUSES = {"ALTERNATIVE_STATUS_PARTIAL": "partial", "ALTERNATIVE_STATUS_FINAL": "final"}


def interactions(*, message_type):
    """Return (name, message) of everything that was recorded as an answer of this type."""
    found = []
    for name, recording in sorted(RECORDINGS.items()):
        for exchange in recording["interactions"]:
            for answer in [*exchange.get("response_stream", []), exchange.get("response", {})]:
                if answer.get("message_type") == message_type:
                    found.append(pytest.param(answer["json"], id=f"{name}-{len(found)}"))
    return found


def requests_of(name):
    return [exchange["request"]["json"] for exchange in RECORDINGS[name]["interactions"]]


def told(call, message):
    return result_of(call, Answer(200, json.dumps(message, ensure_ascii=False).encode(), {}))


def meant_by(completion):
    """Say what a recorded completion means, in a second reading that is independent of the package's."""
    (alternative,) = completion["alternatives"]
    usage = {name: int(value) for name, value in completion["usage"].items() if name != "completionTokensDetails"}
    return Generation(
        text=alternative["message"]["text"],
        status=STATUSES[alternative["status"]],
        usage=Usage(usage["inputTextTokens"], usage["completionTokens"], usage["totalTokens"]),
        model_version=completion["modelVersion"],
    )


def test_all_kinds_of_recordings_are_here_with_their_origin():
    assert len(RECORDINGS) == 8
    assert len(interactions(message_type="CompletionResponse")) == 26
    assert len(interactions(message_type="Operation")) == 3
    assert len(interactions(message_type="TokenizeResponse")) == 1
    for recording in RECORDINGS.values():
        assert recording["provenance"].startswith("yandex-cloud/yandex-ai-studio-sdk (Apache-2.0)")


@pytest.mark.parametrize("completion", interactions(message_type="CompletionResponse"))
def test_a_recorded_completion_is_understood_bare_wrapped_and_as_an_operation(completion):
    assert told(COMPLETE, completion) == meant_by(completion)
    assert told(COMPLETE, {"result": completion}) == meant_by(completion)
    operation = told(GET, {"id": "d7q1", "done": True, "response": completion})
    assert operation == Operation("d7q1", "completion", done=True, generation=meant_by(completion))


def test_a_recorded_structured_answer_is_the_json_that_was_sent():
    (exchange,) = RECORDINGS["completion_structured_output_simple_json"]["interactions"]
    generation = told(COMPLETE, exchange["response_stream"][0]["json"])
    assert generation == Generation('{"output": "5, 4, 1"}', "final", Usage(25, 12, 37), "09.02.2025")


def test_the_recorded_life_of_an_operation_is_understood():
    submitted, running, done = (
        exchange["response"]["json"] for exchange in RECORDINGS["completion_run_deferred"]["interactions"]
    )
    created = pendulum.datetime(2024, 6, 6, 12, 45, 48)
    fresh = Operation("d7qqr3frkl81js0udlr9", "completion", created_at=created, modified_at=created.add(seconds=1))
    assert told(completion.submit_completion(Endpoints(), REQUEST), submitted) == fresh
    assert told(GET, running) == fresh
    assert told(GET, done) == Operation(
        "d7qqr3frkl81js0udlr9",
        "completion",
        done=True,
        generation=meant_by(done["response"]),
        created_at=created,
        modified_at=created.add(seconds=4),
    )
    assert told(GET, done).generation.usage == Usage(15, 107, 122)
    assert told(GET, done).generation.text.startswith("**Ping** — это утилита")


def test_an_operation_of_nothing_but_its_id_is_still_running():
    """So was an image operation recorded."""
    assert told(GET, {"id": "fbvt38u3kmbosuqp10bg"}) == Operation("fbvt38u3kmbosuqp10bg", "completion")


def test_recorded_tokens_are_counted():
    (exchange,) = RECORDINGS["completion_tokenize"]["interactions"]
    assert told(completion.count_tokens(Endpoints(), REQUEST), exchange["response"]["json"]) == 15


@pytest.mark.parametrize("recorded", requests_of("completion_chat") + requests_of("completion_run"))
def test_the_same_conversation_is_asked_for_as_it_was_recorded(recorded):
    request = CompletionRequest.of(model=recorded["modelUri"], folder_id=None, messages=recorded["messages"])
    body = dict(completion.submit_completion(Endpoints(), request).body)
    assert body.pop("completionOptions") == {"stream": False}  # the default, which a recorded message omits
    assert body | {"completionOptions": {}} == recorded
