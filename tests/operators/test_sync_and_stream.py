"""Short answers without an operation: synchronous, and as a stream that is read along."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.sdk import DAG

from airflow_provider.yandex_ai_studio.api.models import Generation
from airflow_provider.yandex_ai_studio.client import credentials
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import (
    ConfigurationError,
    ContentFiltered,
    InvalidOutput,
    ServiceUnavailable,
)
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.operators import completion
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from support import API_KEY, FOLDER, SteppedTime, Store, TaskInstance

PROMPT = "Ducks of the northern lakes swim in wide and patient circles every single morning of the year. «Утки» 🦆"

SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}, "words": {"type": "integer", "minimum": 3}},
    "required": ["title", "words"],
}


def run(hook: YandexAIStudioHook, **parameters: Any) -> tuple[Any, dict[str, Any]]:
    """Run one attempt of a task of its own; return its value and its XComs."""
    with DAG("dag"):
        operator = YandexAIStudioCompletionOperator(task_id="generate", prompt=PROMPT, **parameters)
    operator.hook = hook
    ti = TaskInstance()
    value = operator.execute({"ti": ti, "task_state_store": Store()})
    return value, ti.xcoms


def read(hook: YandexAIStudioHook) -> Iterator[Generation]:
    return hook.stream_completion(hook.completion_request(prompt=PROMPT))


@pytest.mark.parametrize("stream", [False, True], ids=["at once", "as a stream"])
def test_a_synchronous_task_returns_what_an_asynchronous_one_does(
    hook: YandexAIStudioHook, emulator: Emulator, stream: bool
) -> None:
    text, xcoms = run(hook, deferrable=False)
    assert run(hook, mode="sync", stream=stream) == (text, {k: v for k, v in xcoms.items() if k != "operation_id"})
    assert emulator.stats()["submissions"] == 1
    assert emulator.stats()["generations"] == 2


def test_a_synchronous_answer_is_not_told_of_as_that_of_operation_none(
    hook: YandexAIStudioHook, capsys: pytest.CaptureFixture[str]
) -> None:
    run(hook, mode="sync")
    said = "".join(capsys.readouterr())
    assert "The synchronous call: final answer" in said
    assert "None:" not in said


def test_each_generation_of_a_stream_holds_all_of_the_text_so_far(hook: YandexAIStudioHook) -> None:
    *partial, last = read(hook)
    assert len(partial) > 1
    assert {generation.status for generation in partial} == {"partial"}
    texts = [generation.text for generation in [*partial, last]]
    assert all(later.startswith(earlier) and later != earlier for earlier, later in itertools.pairwise(texts))
    assert last == hook.complete(hook.completion_request(prompt=PROMPT))
    assert last.status == "final"


def test_a_stream_tells_the_log_how_far_it_is_and_not_what_it_says(
    hook: YandexAIStudioHook, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(completion, "PROGRESS_SECONDS", 0.0)
    text, _ = run(hook, mode="sync", stream=True)
    said = "".join(capsys.readouterr())
    assert said.count("So far") > 1
    assert text[:20] not in said


def test_a_stream_is_refused_in_asynchronous_mode(hook: YandexAIStudioHook, emulator: Emulator) -> None:
    with pytest.raises(ConfigurationError, match="mode='sync'"):
        run(hook, stream=True)
    assert sum(emulator.stats()["requests"].values()) == 0


@pytest.mark.parametrize("stream", [False, True], ids=["at once", "as a stream"])
@pytest.mark.parametrize("status", [429, 503])
def test_what_was_surely_not_generated_is_asked_for_again(
    hook: YandexAIStudioHook, emulator: Emulator, clock: SteppedTime, status: int, stream: bool
) -> None:
    emulator.fault("completion", "status", status=status, times=2)
    assert run(hook, mode="sync", stream=stream)[0]
    assert len(clock.slept) == 2
    assert emulator.stats()["generations"] == 1


@pytest.mark.parametrize("stream", [False, True], ids=["at once", "as a stream"])
@pytest.mark.parametrize(
    ("fault", "generations"),
    [
        ({"kind": "status", "status": 500}, 0),
        ({"kind": "drop"}, 0),
        ({"kind": "garbage"}, 0),
        ({"kind": "lost_answer"}, 1),
    ],
    ids=["500", "drop", "garbage", "lost_answer"],
)
def test_what_may_have_been_generated_is_not_asked_for_again(
    hook: YandexAIStudioHook, emulator: Emulator, fault: dict[str, Any], generations: int, stream: bool
) -> None:
    emulator.fault("completion", **fault)
    with pytest.raises(ServiceUnavailable) as caught:
        run(hook, mode="sync", stream=stream)
    assert caught.value.arrived
    assert emulator.stats()["requests"]["completion"] == 1
    assert emulator.stats()["generations"] == generations


def test_a_slow_answer_is_waited_for_no_longer_than_the_connection_says(
    emulator: Emulator, connect: Callable[..., None]
) -> None:
    connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER, "timeout": 0.2})
    emulator.fault("completion", "delay", seconds=20)
    hook = YandexAIStudioHook()
    with pytest.raises(ServiceUnavailable, match=r"did not answer in time .* It may have been taken"):
        run(hook, mode="sync")
    assert emulator.stats()["requests"]["completion"] == 1
    hook.get_conn().close()


def test_a_synchronous_answer_of_another_form_is_invalid(hook: YandexAIStudioHook) -> None:
    assert run(hook, mode="sync", json_schema=SCHEMA)[0]["words"] == 3
    with pytest.raises(InvalidOutput, match="was billed"):
        run(hook, mode="sync", json_schema=SCHEMA, max_tokens=5)


def test_a_synchronous_answer_that_is_withheld_fails(hook: YandexAIStudioHook, emulator: Emulator) -> None:
    withheld = {"message": {"role": "assistant", "text": "No."}, "status": "ALTERNATIVE_STATUS_CONTENT_FILTER"}
    body = {"result": {"alternatives": [withheld], "usage": {"totalTokens": "7"}}}
    emulator.fault("completion", "status", status=200, body=body)
    with pytest.raises(ContentFiltered, match="7 tokens"):
        run(hook, mode="sync")


def test_another_attempt_of_a_synchronous_task_pays_again(hook: YandexAIStudioHook, emulator: Emulator) -> None:
    for _ in range(2):
        run(hook, mode="sync")
    assert emulator.stats()["generations"] == 2
    assert emulator.stats()["submissions"] == 0


def test_a_stream_is_opened_with_a_new_token_where_the_old_one_expired(
    emulator: Emulator,
    connect: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(credentials, "SETTLING", 0.0)  # no time passes for the client
    key = emulator.create_service_account_key()
    connect(host=emulator.url, extra={"folder_id": FOLDER, "service_account_json": json.dumps(key)})
    hook = YandexAIStudioHook()
    assert [*read(hook)][-1].status == "final"
    emulator.advance(13 * 3600)
    assert [*read(hook)][-1].status == "final"
    assert emulator.stats()["tokens_issued"] == 2
    hook.get_conn().close()
