"""OpenAI's official client against the emulator, with its own models as the judges of every object."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import openai
import pytest
from openai.types.responses import ResponseOutputMessage
from pydantic import BaseModel

from airflow_provider.yandex_ai_studio.emulator import Emulator

KEY, FOLDER = "AQVNsecretsecretsecret", "b1gtestfolder"
MODEL = f"gpt://{FOLDER}/yandexgpt"
TEXT = "To be, or not to be: that is the question."
PARAMETERS = {"type": "object", "properties": {"what": {"type": "string"}}}


class Finding(BaseModel):
    what: str
    count: int


@pytest.fixture
def ai(emulator: Emulator) -> Iterator[openai.OpenAI]:
    """The client takes what does not fit its models, unless it is told not to."""
    url = f"{emulator.url}/v1"
    with openai.OpenAI(
        api_key=KEY, project=FOLDER, base_url=url, max_retries=0, _strict_response_validation=True
    ) as made:
        yield made


def test_a_response_is_created_read_and_deleted(ai: openai.OpenAI) -> None:
    made = ai.responses.create(model=MODEL, input=TEXT, instructions="Be brief.", temperature=0.3, top_p=0.9)
    assert made.output_text == TEXT
    assert isinstance(made.output[0], ResponseOutputMessage)
    assert ai.responses.retrieve(made.id) == made
    assert ai.responses.input_items.list(made.id).data[0].type == "message"
    ai.responses.delete(made.id)
    with pytest.raises(openai.NotFoundError, match="not found") as caught:
        ai.responses.retrieve(made.id)
    assert (caught.value.code, caught.value.type) == (None, "invalid_request_error")


def test_a_background_response_is_waited_for(emulator: Emulator, ai: openai.OpenAI) -> None:
    made = ai.responses.create(model=MODEL, input=TEXT, background=True)
    statuses = [made.status]
    while statuses[-1] != "completed":
        emulator.advance(20)
        statuses.append(ai.responses.retrieve(made.id).status)
    assert statuses == ["queued", "in_progress", "in_progress", "completed"]
    assert ai.responses.retrieve(made.id).output_text == TEXT


def test_a_background_response_is_cancelled_and_no_other(ai: openai.OpenAI) -> None:
    made = ai.responses.create(model=MODEL, input=TEXT, background=True)
    assert ai.responses.cancel(made.id).status == "cancelled"
    assert ai.responses.retrieve(made.id).status == "cancelled"
    with pytest.raises(openai.BadRequestError, match="Only responses created with the background parameter"):
        ai.responses.cancel(ai.responses.create(model=MODEL, input=TEXT).id)


def test_a_response_is_incomplete_or_failed(emulator: Emulator, ai: openai.OpenAI) -> None:
    cut = ai.responses.create(model=MODEL, input=TEXT, max_output_tokens=3)
    assert cut.incomplete_details
    assert (cut.status, cut.incomplete_details.reason) == ("incomplete", "max_output_tokens")
    emulator.fault("responses.create", "operation_error", code=8, message="too many")
    failed = ai.responses.create(model=MODEL, input=TEXT)
    assert failed.error
    assert (failed.status, failed.error.code) == ("failed", "rate_limit_exceeded")


def test_a_response_is_streamed(ai: openai.OpenAI) -> None:
    events = list(ai.responses.create(model=MODEL, input=TEXT, stream=True, reasoning={"effort": "low"}))
    assert "".join(event.delta for event in events if event.type == "response.output_text.delta") == TEXT
    assert events[-1].type == "response.completed"
    with ai.responses.stream(model=MODEL, input=TEXT) as stream:
        assert stream.until_done().get_final_response().output_text == TEXT


@pytest.mark.parametrize("stream", [False, True])
def test_a_function_is_called_and_its_output_taken(ai: openai.OpenAI, stream: bool) -> None:
    asked: dict[str, Any] = {
        "model": MODEL,
        "tools": [{"type": "function", "name": "find", "parameters": PARAMETERS}],
        "input": [{"role": "user", "content": TEXT}],
        "tool_choice": "required",
    }
    made = list(ai.responses.create(**asked, stream=True))[-1].response if stream else ai.responses.create(**asked)
    (call,) = made.output
    returned = {"type": "function_call_output", "call_id": call.call_id, "output": "In the attic, under a hat."}
    after = ai.responses.create(**{**asked, "tool_choice": "auto", "input": [*asked["input"], call, returned]})
    assert after.output_text == "In the attic, under a hat."


def test_structured_output_is_parsed(ai: openai.OpenAI) -> None:
    response = ai.responses.parse(model=MODEL, input=TEXT, text_format=Finding)
    completion = ai.chat.completions.parse(
        model=MODEL, messages=[{"role": "user", "content": TEXT}], response_format=Finding
    )
    assert response.output_parsed == completion.choices[0].message.parsed == Finding(what=TEXT, count=0)


@pytest.mark.parametrize("model", ["yandexgpt", "qwen3-235b-a22b-fp8/latest"])
def test_a_chat_is_completed_whole_and_in_chunks(ai: openai.OpenAI, model: str) -> None:
    asked: dict[str, Any] = {"model": f"gpt://{FOLDER}/{model}", "messages": [{"role": "user", "content": TEXT}]}
    whole = ai.chat.completions.create(**asked)
    assert whole.choices[0].message.content == TEXT
    chunks = list(ai.chat.completions.create(**asked, stream=True))
    assert "".join(choice.delta.content or "" for chunk in chunks for choice in chunk.choices) == TEXT


def test_a_chat_goes_through_a_tool(ai: openai.OpenAI) -> None:
    asked: dict[str, Any] = {
        "model": MODEL,
        "tools": [{"type": "function", "function": {"name": "find", "parameters": PARAMETERS}}],
    }
    question = {"role": "user", "content": TEXT}
    called = ai.chat.completions.create(**asked, messages=[question], tool_choice="required").choices[0].message
    assert called.tool_calls
    returned = {"role": "tool", "tool_call_id": called.tool_calls[0].id, "content": "In the attic, under a hat."}
    after = ai.chat.completions.create(**asked, messages=[question, called, returned])
    assert after.choices[0].message.content == "In the attic, under a hat."


def test_models_are_listed(ai: openai.OpenAI) -> None:
    assert f"{MODEL}/latest" in [model.id for model in ai.models.list()]


def test_errors_have_the_clients_types(emulator: Emulator, ai: openai.OpenAI) -> None:
    with pytest.raises(openai.BadRequestError, match="Failed to parse model URI"):
        ai.responses.create(model="yandexgpt", input=TEXT)
    with pytest.raises(openai.AuthenticationError, match="The token is invalid"):
        ai.with_options(api_key="AQVNanothersecretkey").responses.create(model=MODEL, input=TEXT)
    emulator.fault("responses.create", "status", status=429)
    with pytest.raises(openai.RateLimitError):
        ai.responses.create(model=MODEL, input=TEXT)
