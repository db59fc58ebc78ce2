"""A value instead of a text: the one that was asked for, or an error that keeps the text."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred
from pydantic import BaseModel, Field

from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError, InvalidOutput
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from support import SteppedTime, Store, TaskInstance, submissions

PROMPT = "Tell me of ducks. «Утки» 🦆 swim."
SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "words": {"type": "integer", "minimum": 3}},
    "required": ["title", "words"],
}

Context = dict[str, Any]
Attempt = Callable[..., Any]


class Note(BaseModel):
    """What a task may ask for instead of a schema."""

    title: str
    words: int = Field(ge=3)


@pytest.fixture
def attempt(hook: YandexAIStudioHook, context: Context) -> Attempt:
    """Run one attempt of a task, which waits on the worker unless told otherwise."""

    def execute(**parameters: Any) -> Any:
        return task(hook, **{"deferrable": False, **parameters}).execute(context)

    return execute


def task(hook: YandexAIStudioHook, **parameters: Any) -> YandexAIStudioCompletionOperator:
    with DAG("dag"):
        operator = YandexAIStudioCompletionOperator(task_id="generate", prompt=PROMPT, **parameters)
    operator.hook = hook
    return operator


def answer(text: str) -> dict[str, Any]:
    """Return a finished operation whose model said this."""
    alternative = {"message": {"role": "assistant", "text": text}, "status": "ALTERNATIVE_STATUS_FINAL"}
    return {"id": "d7q1", "done": True, "response": {"alternatives": [alternative], "modelVersion": "1"}}


@pytest.mark.parametrize("asked", [SCHEMA, Note], ids=["a schema", "a pydantic model"])
def test_structured_output_is_returned_as_the_value(attempt: Attempt, asked: Any) -> None:
    assert attempt(json_schema=asked) == {"title": attempt(), "words": 3}


def test_a_json_object_is_returned_as_the_value(attempt: Attempt) -> None:
    assert attempt(json_object=True) == {"output": attempt()}


def test_a_value_that_was_waited_for_in_the_triggerer_is_the_same(
    attempt: Attempt, hook: YandexAIStudioHook, context: Context, store: Store, clock: SteppedTime
) -> None:
    blocking = attempt(json_schema=Note)
    store.values.clear()
    with pytest.raises(TaskDeferred) as caught:
        task(hook, json_schema=Note).execute(context)
    clock.sleep(4000)
    event = {"operation_id": caught.value.trigger.operation_id, "outcome": "ended"}
    assert task(hook, json_schema=Note).execute_complete(context, event) == blocking


def test_an_answer_that_was_cut_off_is_invalid_kept_and_generated_anew_by_the_next_attempt(
    attempt: Attempt, ti: TaskInstance, store: Store, emulator: Emulator
) -> None:
    with pytest.raises(InvalidOutput, match=r"^Allow more with `max_tokens`"):
        attempt(json_schema=SCHEMA, max_tokens=5)
    assert ti.xcoms["text"].startswith('{"title"')
    assert ti.xcoms["status"] == "truncated"
    assert store.values == {}
    with pytest.raises(InvalidOutput):
        attempt(json_schema=SCHEMA, max_tokens=5)
    assert submissions(emulator) == 2


@pytest.mark.parametrize(
    ("parameters", "said", "reason"),
    [
        ({"json_schema": SCHEMA}, {"title": "secret ducks"}, "required at the whole"),
        ({"json_schema": SCHEMA}, {"title": "secret ducks", "words": 1}, "minimum at words"),
        ({"json_schema": Note}, {"title": "secret ducks", "words": 1}, "greater_than_equal at words"),
        ({"json_schema": Note}, ["secret ducks"], "model_type at the whole"),
        ({"json_object": True}, ["secret ducks"], "a JSON list"),
        ({"json_object": True}, "secret ducks", "a JSON str"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_answer_that_does_not_fit_is_invalid_and_its_text_stays_out_of_the_error(
    attempt: Attempt,
    emulator: Emulator,
    ti: TaskInstance,
    store: Store,
    parameters: dict[str, Any],
    said: Any,
    reason: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    emulator.fault("operations.get", "status", status=200, body=answer(json.dumps(said)))
    with pytest.raises(InvalidOutput, match=reason) as caught:
        attempt(**parameters)
    assert "was billed" in str(caught.value)
    assert "secret" not in str(caught.value) + "".join(capsys.readouterr())
    assert json.loads(ti.xcoms["text"]) == said
    assert store.values == {}


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a": NaN}', '{"a": -Infinity}', "{'a': 1}", "```json\n{}\n```", ""])
def test_what_json_does_not_know_is_invalid(attempt: Attempt, emulator: Emulator, ti: TaskInstance, text: str) -> None:
    emulator.fault("operations.get", "status", status=200, body=answer(text))
    with pytest.raises(InvalidOutput, match="it is not JSON"):
        attempt(json_object=True)
    assert ti.xcoms["text"] == text


def test_a_number_that_no_xcom_takes_is_invalid_and_the_next_attempt_generates_anew(
    attempt: Attempt, emulator: Emulator, ti: TaskInstance, store: Store
) -> None:
    text = '{"share": 1e999}'
    emulator.fault("completionAsync", "operation_answer", body=answer(text)["response"])
    with pytest.raises(InvalidOutput, match="a number that JSON has no form for"):
        attempt(json_object=True)
    assert ti.xcoms["text"] == text
    assert store.values == {}
    assert set(attempt(json_object=True)) == {"output"}
    assert submissions(emulator) == 2


def test_an_end_in_the_triggerer_is_refused_for_a_schema_that_a_template_renders(
    hook: YandexAIStudioHook, context: Context, emulator: Emulator
) -> None:
    """What the DAG file can't know yet is found out before anything is sent."""
    operator = task(hook, json_schema="{{ params.schema }}", end_from_trigger=True)
    operator.json_schema = SCHEMA
    with pytest.raises(ConfigurationError, match="Leave `end_from_trigger` out"):
        operator.execute(context)
    assert sum(emulator.stats()["requests"].values()) == 0
