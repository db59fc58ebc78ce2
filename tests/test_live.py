"""The same scenarios on the emulator and, where credentials are in the environment, on the real service.

``YANDEX_API_KEY`` and ``YANDEX_FOLDER_ID`` open the real service; its tests are marked ``live``, and cost a few tokens.
Assertions hold for any model: what a text says is not looked at. Where the service is free to do one thing or another,
the emulator is not, and is held to the one that it does.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from contextlib import nullcontext
from typing import Any

import pytest
from airflow.sdk import DAG
from pydantic import BaseModel

from airflow_provider.yandex_ai_studio.answers.outcome import CANCELLED
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import AuthenticationError, BadRequest, NotFound
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from airflow_provider.yandex_ai_studio.operators.responses import YandexAIStudioResponseOperator
from airflow_provider.yandex_ai_studio.waiting.decision import Wait
from support import API_KEY, FOLDER, Store, TaskInstance

REAL_KEY, REAL_FOLDER = os.environ.get("YANDEX_API_KEY"), os.environ.get("YANDEX_FOLDER_ID")
TARGETS = ["emulator", *([pytest.param("service", marks=pytest.mark.live)] if REAL_KEY and REAL_FOLDER else [])]
PROMPT = "Name three birds that can swim, in one sentence. Ducks, geese and swans would do, for instance."
PATIENCE = 600.0
"""Seconds that the real service may take for one short answer."""

Open = Any


class Bird(BaseModel):
    """What the model is asked for."""

    name: str
    swims: bool


@pytest.fixture(params=TARGETS)
def real(request: pytest.FixtureRequest) -> bool:
    """Whether the real service answers."""
    return bool(request.param == "service")


@pytest.fixture
def opened(real: bool, connect: Open) -> Iterator[YandexAIStudioHook]:
    """A hook in real time, on the emulator or the real service."""
    with nullcontext() if real else Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=1.5) as emulator:
        connect(
            host=emulator.url if emulator else None,
            password=REAL_KEY if real else API_KEY,
            extra={"folder_id": REAL_FOLDER if real else FOLDER, "model": "yandexgpt-lite"},
        )
        hook = YandexAIStudioHook()
        yield hook
        if "_client" in vars(hook):
            hook.get_conn().close()


def run(operator: Any, hook: YandexAIStudioHook) -> tuple[Any, dict[str, Any]]:
    """Run one attempt; return its value and its XComs."""
    operator.hook = hook
    ti = TaskInstance()
    value = operator.execute({"ti": ti, "task_state_store": Store()})
    return value, ti.xcoms


def test_the_test_button(opened: YandexAIStudioHook) -> None:
    works, said = opened.test_connection()
    assert works, said


def test_models(opened: YandexAIStudioHook) -> None:
    models = opened.list_models()
    folder = opened.settings.folder_id
    assert f"gpt://{folder}/yandexgpt-lite/latest" in models
    assert all("://" in model for model in models)


def test_the_tokenizer(opened: YandexAIStudioHook) -> None:
    short, long = (opened.count_tokens(opened.completion_request(prompt=PROMPT * n)) for n in (1, 3))
    # Three times the prompt is three times its tokens, less what is counted once for each request.
    assert 10 < short < 2 * short < long <= 3 * short


def test_a_synchronous_completion(opened: YandexAIStudioHook) -> None:
    generation = opened.complete(opened.completion_request(prompt=PROMPT, temperature=0, max_tokens=100))
    assert generation.text
    assert generation.status == "final"
    assert generation.model_version
    usage = generation.usage
    assert 10 < usage.input_tokens < 200
    assert 0 < usage.completion_tokens <= 100
    assert usage.total_tokens == usage.input_tokens + usage.completion_tokens


def test_a_stream(opened: YandexAIStudioHook) -> None:
    *partial, last = opened.stream_completion(opened.completion_request(prompt=PROMPT, temperature=0, max_tokens=100))
    assert {generation.status for generation in partial} == {"partial"}
    assert last.status == "final"
    lengths = [len(generation.text) for generation in [*partial, last]]
    assert lengths == sorted(lengths)
    assert lengths[0] < lengths[-1]


def test_an_answer_that_is_cut_off(opened: YandexAIStudioHook) -> None:
    generation = opened.complete(opened.completion_request(prompt=PROMPT, max_tokens=3))
    assert generation.status == "truncated"
    assert 0 < generation.usage.completion_tokens <= 3
    assert len(generation.text) < len(PROMPT)


def test_an_asynchronous_completion(opened: YandexAIStudioHook) -> None:
    operation = opened.submit_completion(opened.completion_request(prompt=PROMPT, max_tokens=100))
    assert not operation.done
    assert opened.get_operation(operation.id).id == operation.id
    end = opened.wait_for_operation(Wait(operation.id, time.time(), time.time() + PATIENCE))
    assert end.outcome == "ended"
    assert end.operation is not None
    assert (end.operation.id, end.operation.done, end.operation.error) == (operation.id, True, None)
    generation = end.operation.generation
    assert generation is not None
    assert generation.text
    assert 0 < generation.usage.completion_tokens <= 100
    assert opened.get_operation(operation.id) == end.operation


def test_structured_output(opened: YandexAIStudioHook) -> None:
    with DAG("dag"):
        operator = YandexAIStudioCompletionOperator(
            task_id="generate", prompt=PROMPT, json_schema=Bird, deferrable=False, timeout=PATIENCE
        )
    value, xcoms = run(operator, opened)
    assert value.keys() == {"name", "swims"}
    assert isinstance(Bird.model_validate(value, strict=True).name, str)
    assert xcoms["status"] == "final"
    assert xcoms["operation_id"]


def test_a_response_in_the_background_and_one_that_goes_on_from_it(opened: YandexAIStudioHook) -> None:
    with DAG("dag"):
        first = YandexAIStudioResponseOperator(
            task_id="first", prompt=PROMPT, deferrable=False, max_tokens=100, timeout=PATIENCE
        )
        second = YandexAIStudioResponseOperator(
            task_id="second", prompt="Which of them is the largest?", background=False, max_tokens=100
        )
    text, xcoms = run(first, opened)
    assert text
    second.previous_response_id = xcoms["operation_id"]
    answer, grown = run(second, opened)
    assert answer
    assert grown["usage"]["input_tokens"] > xcoms["usage"]["input_tokens"]


@pytest.mark.parametrize("api", ["completion", "responses"])
def test_what_was_cancelled_has_no_answer_and_what_was_not_has_one(
    opened: YandexAIStudioHook, real: bool, api: Any
) -> None:
    """Whether the service cancels text generation is nowhere documented; whatever it does must be understood."""
    if api == "completion":
        operation = opened.submit_completion(opened.completion_request(prompt=PROMPT, max_tokens=100))
    else:
        operation = opened.create_response(opened.response_request(prompt=PROMPT, background=True))
    try:
        assert opened.cancel_operation(operation.id, api).id == operation.id
        refused = False
    except (BadRequest, NotFound):
        refused = True
    end = opened.wait_for_operation(Wait(operation.id, time.time(), time.time() + PATIENCE, api=api))
    assert end.outcome == "ended"
    assert end.operation is not None
    cancelled = end.operation.error is not None and end.operation.error.code in CANCELLED
    assert cancelled is (end.operation.generation is None)
    assert not (refused and cancelled)
    assert real or cancelled


def test_a_wrong_model_and_a_wrong_key_are_typed_errors(opened: YandexAIStudioHook, connect: Open) -> None:
    with pytest.raises(BadRequest):
        opened.complete(opened.completion_request(prompt=PROMPT, model="gpt://"))
    settings = opened.settings
    connect(
        host=settings.endpoints.llm if "127.0.0.1" in settings.endpoints.llm else None,
        password="AQVNwrong",
        extra={"folder_id": settings.folder_id},
    )
    wrong = YandexAIStudioHook()
    works, said = wrong.test_connection()
    assert not works
    assert "Check the credential" in said
    assert "AQVNwrong" not in said
    with pytest.raises(AuthenticationError):
        wrong.count_tokens(wrong.completion_request(prompt=PROMPT))
    wrong.get_conn().close()
