"""Attempts of the Responses operator, against the emulator: in the background, and at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import requests
from airflow.sdk import DAG

from airflow_provider.yandex_ai_studio.durability.journal import KEY
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import (
    AnswerRefused,
    AnswerUnreadable,
    ContentFiltered,
    OperationCancelled,
    OperationExpired,
    OperationFailed,
)
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from airflow_provider.yandex_ai_studio.operators.responses import YandexAIStudioResponseOperator
from support import API_KEY, FOLDER, SteppedTime, Store, TaskInstance, submissions

PROMPT = "Tell me of ducks. «Утки» 🦆 swim."
CUT, FILTERED = {"reason": "max_output_tokens"}, {"reason": "content_filter"}

Context = dict[str, Any]
Attempt = Callable[..., Any]


@pytest.fixture
def attempt(hook: YandexAIStudioHook, context: Context) -> Attempt:
    """Run one attempt of a task; each call is another one, in a new process as it were."""

    def execute(**parameters: Any) -> Any:
        return task(hook, **parameters).execute(context)

    return execute


def task(hook: YandexAIStudioHook, **parameters: Any) -> YandexAIStudioResponseOperator:
    with DAG("dag"):
        operator = YandexAIStudioResponseOperator(task_id="generate", **{"prompt": PROMPT, **parameters})
    operator.hook = hook
    return operator


def resume(hook: YandexAIStudioHook, context: Context, response_id: str, **parameters: Any) -> Any:
    event = {"operation_id": response_id, "outcome": "ended", "api": "responses"}
    return task(hook, **parameters).execute_complete(context, event)


def shown(status: str, **members: Any) -> dict[str, Any]:
    """Return a response as the service may show it."""
    return {"id": "1e5ee267", "object": "response", "status": status, "created_at": 1, "output": [], **members}


def said(text: str) -> dict[str, Any]:
    return {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": text}]}


def test_a_response_is_what_a_completion_is(
    attempt: Attempt, hook: YandexAIStudioHook, ti: TaskInstance, emulator: Emulator
) -> None:
    text = attempt(deferrable=False)
    completed = hook.complete(hook.completion_request(prompt=PROMPT))
    assert text == completed.text
    assert ti.xcoms == {
        "operation_id": emulator.operations()[0]["id"],
        "usage": {**completed.usage.as_dict(), "try_number": 1},
        "model_version": hook.completion_request(prompt=PROMPT).model_uri,
        "status": "final",
    }


def test_each_option_reaches_the_service(attempt: Attempt, emulator: Emulator) -> None:
    options = {"instructions": "Be brief.", "temperature": "0.2", "max_tokens": "50", "json_schema": {"type": "string"}}
    response_id = attempt(wait_for_completion=False, model="qwen3-235b-a22b-fp8", **options)
    headers = {"Authorization": f"Api-Key {API_KEY}", "OpenAI-Project": FOLDER}
    taken = requests.get(f"{emulator.url}/v1/responses/{response_id}", headers=headers, timeout=5).json()
    assert taken["model"] == f"gpt://{FOLDER}/qwen3-235b-a22b-fp8"
    assert (taken["instructions"], taken["temperature"], taken["max_output_tokens"]) == ("Be brief.", 0.2, 50)
    assert taken["text"]["format"]["schema"] == {"type": "string"}


def test_waiting_on_the_worker_in_the_triggerer_and_at_once_give_the_same(
    attempt: Attempt,
    deferred: Attempt,
    hook: YandexAIStudioHook,
    context: Context,
    ti: TaskInstance,
    store: Store,
    clock: SteppedTime,
) -> None:
    told = []
    told.append((attempt(deferrable=False), {**ti.xcoms, "operation_id": None}))
    store.values.clear()
    response_id = deferred().operation_id
    clock.sleep(4000)
    told.append((resume(hook, context, response_id), {**ti.xcoms, "operation_id": None}))
    told.append((attempt(background=False), {**ti.xcoms, "operation_id": None}))
    assert told[0] == told[1] == told[2]


def test_the_api_goes_along_in_journal_trigger_and_wait(deferred: Attempt, store: Store) -> None:
    trigger = deferred()
    assert trigger.serialize()[1]["api"] == "responses"
    assert store.values[KEY]["api"] == "responses"
    assert store.values[KEY]["operation_id"] == trigger.operation_id


def test_a_retry_finds_the_response_of_the_first_attempt(
    deferred: Attempt, attempt: Attempt, emulator: Emulator, clock: SteppedTime
) -> None:
    first, second = deferred(), deferred()
    assert (second.operation_id, second.deadline) == (first.operation_id, first.deadline)
    clock.sleep(4000)
    assert "ducks" in attempt()
    assert submissions(emulator) == 1


@pytest.mark.parametrize("kind", ["operation_error", "operation_empty"])
def test_a_retry_after_a_failed_response_submits_anew(
    deferred: Attempt, emulator: Emulator, clock: SteppedTime, kind: str
) -> None:
    emulator.fault("responses.create", kind)
    failed = deferred()
    clock.sleep(4000)
    assert deferred().operation_id != failed.operation_id
    assert submissions(emulator) == 2


def test_a_lost_answer_is_submitted_anew_and_accounted_for(
    attempt: Attempt, emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    emulator.fault("responses.create", "lost_answer")
    attempt(wait_for_completion=False)
    assert submissions(emulator) == 2
    assert "up to one generation may have been billed" in capsys.readouterr().out


def test_a_task_that_changed_its_api_cancels_what_it_submitted_before(
    deferred: Attempt, hook: YandexAIStudioHook, context: Context, emulator: Emulator
) -> None:
    deferred()
    with DAG("dag"):
        other = YandexAIStudioCompletionOperator(task_id="generate", prompt=PROMPT, wait_for_completion=False)
    other.hook = hook
    other.execute(context)
    assert emulator.stats()["operations"] | {"running": 1, "cancelled": 1} == emulator.stats()["operations"]
    assert emulator.stats()["requests"]["responses.cancel"] == 1


@pytest.mark.parametrize("status", ["queued", "in_progress"])
def test_a_response_that_is_not_done_is_waited_for(
    deferred: Attempt, emulator: Emulator, clock: SteppedTime, status: str
) -> None:
    first = deferred()
    emulator.fault("responses.get", "status", status=200, body=shown(status))
    assert deferred().operation_id == first.operation_id


@pytest.mark.parametrize(
    ("response", "error", "message"),
    [
        (shown("failed", error={"code": "server_error", "message": "exploded"}), OperationFailed, "exploded"),
        (shown("failed"), OperationFailed, "failed"),
        (shown("cancelled"), OperationCancelled, "cancelled"),
        (shown("incomplete", incomplete_details=CUT), OperationFailed, CUT["reason"]),
        (shown("incomplete", incomplete_details=CUT, output=[{"type": "reasoning"}]), OperationFailed, CUT["reason"]),
        (shown("incomplete", incomplete_details=FILTERED), ContentFiltered, "withheld"),
        (shown("incomplete", incomplete_details=FILTERED, output=[said("No.")]), ContentFiltered, "withheld"),
        (shown("completed"), OperationFailed, "neither an answer nor an error"),
    ],
    ids=[
        "failed",
        "failed without a reason",
        "cancelled",
        "incomplete",
        "nothing but reasoning",
        "withheld",
        "withheld in part",
        "empty",
    ],
)
def test_a_response_without_an_answer_fails_the_task_with_its_own_error(
    deferred: Attempt,
    hook: YandexAIStudioHook,
    context: Context,
    emulator: Emulator,
    response: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    response_id = deferred().operation_id
    emulator.fault("responses.get", "status", status=200, body={**response, "id": response_id})
    with pytest.raises(error, match=message) as caught:
        resume(hook, context, response_id)
    assert response_id in str(caught.value)


def test_a_response_that_is_gone_has_expired_after_thirty_days(
    deferred: Attempt, hook: YandexAIStudioHook, context: Context, clock: SteppedTime
) -> None:
    response_id = deferred().operation_id
    clock.sleep(29 * 86400)
    assert "ducks" in resume(hook, context, response_id)
    clock.sleep(2 * 86400)
    with pytest.raises(OperationExpired, match="30 days"):
        resume(hook, context, response_id)


def test_an_incomplete_answer_is_returned_as_truncated(attempt: Attempt, ti: TaskInstance) -> None:
    assert attempt(deferrable=False, max_tokens=2)
    assert ti.xcoms["status"] == "truncated"


def test_reasoning_in_the_output_is_not_part_of_the_text(
    deferred: Attempt, hook: YandexAIStudioHook, context: Context, emulator: Emulator
) -> None:
    output = [{"type": "reasoning", "summary": [{"text": "Hm."}]}, said("Ducks "), said("swim.")]
    response_id = deferred().operation_id
    emulator.fault("responses.get", "status", status=200, body=shown("completed", output=output))
    assert resume(hook, context, response_id) == "Ducks swim."


def test_a_submission_whose_time_is_in_milliseconds_is_a_submission(
    attempt: Attempt, emulator: Emulator, store: Store
) -> None:
    taken = shown("queued", created_at=1758556157206.0)
    emulator.fault("responses.create", "status", status=200, body=taken, times=None)
    assert attempt(wait_for_completion=False) == "1e5ee267"
    assert store.values[KEY]["operation_id"] == "1e5ee267"
    assert emulator.stats()["requests"]["responses.create"] == 1


@pytest.mark.parametrize(
    ("content", "error"),
    [
        ({"type": "refusal", "refusal": "I won't."}, AnswerRefused),
        ({"type": "output_text", "text": 5}, AnswerUnreadable),
    ],
    ids=["refused", "unreadable"],
)
def test_what_is_no_answer_is_not_paid_for_again(
    deferred: Attempt,
    attempt: Attempt,
    hook: YandexAIStudioHook,
    context: Context,
    ti: TaskInstance,
    emulator: Emulator,
    content: dict[str, Any],
    error: type[Exception],
) -> None:
    response_id = deferred().operation_id
    body = shown("completed", output=[{"type": "message", "content": [content]}])
    emulator.fault("responses.get", "status", status=200, body=body, times=None)
    with pytest.raises(error):
        resume(hook, context, response_id)
    assert ti.xcoms.get("text") == content.get("refusal")
    with pytest.raises(error):
        attempt()
    assert submissions(emulator) == 1


@pytest.mark.parametrize("parameters", [{}, {"json_schema": {"type": "object"}}], ids=["a text", "structured"])
def test_calls_of_tools_alone_are_an_answer(
    deferred: Attempt,
    hook: YandexAIStudioHook,
    context: Context,
    ti: TaskInstance,
    emulator: Emulator,
    parameters: dict[str, Any],
) -> None:
    response_id = deferred(**parameters).operation_id
    call = {"type": "function_call", "call_id": "c1", "name": "weather", "arguments": '{"city": "Moscow"}'}
    emulator.fault("responses.get", "status", status=200, body=shown("completed", output=[call]))
    assert resume(hook, context, response_id, **parameters) == ""
    assert ti.xcoms["tool_calls"] == [{"name": "weather", "arguments": {"city": "Moscow"}}]
    assert ti.xcoms["status"] == "tool_calls"
