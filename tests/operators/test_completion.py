"""The operator's attempts, against the emulator: what they submit, remember, return and say."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider.yandex_ai_studio.durability.journal import KEY
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import (
    ConfigurationError,
    ContentFiltered,
    OperationCancelled,
    OperationExpired,
    OperationFailed,
    OperationTimeout,
    RateLimited,
    SubmissionUnknown,
    TriggerEventError,
)
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from support import API_KEY, SteppedTime, Store, TaskInstance, submissions

PROMPT = "Tell me of ducks. «Утки» 🦆 swim."

Context = dict[str, Any]
Attempt = Callable[..., Any]


@pytest.fixture
def attempt(hook: YandexAIStudioHook, context: Context) -> Attempt:
    """Run ``execute`` of a task as one attempt of it; each call is another attempt, in a new process as it were."""

    def execute(**parameters: Any) -> Any:
        return task(hook, **parameters).execute(context)

    return execute


def task(hook: YandexAIStudioHook, **parameters: Any) -> YandexAIStudioCompletionOperator:
    with DAG("dag"):
        operator = YandexAIStudioCompletionOperator(task_id="generate", **{"prompt": PROMPT, **parameters})
    operator.hook = hook
    return operator


def resume(hook: YandexAIStudioHook, context: Context, operation_id: str, outcome: str = "ended") -> str:
    return task(hook).execute_complete(context, {"operation_id": operation_id, "outcome": outcome})


def test_blocking_and_resumed_give_the_same_text_and_xcoms(
    attempt: Attempt,
    deferred: Attempt,
    hook: YandexAIStudioHook,
    context: Context,
    ti: TaskInstance,
    store: Store,
    clock: SteppedTime,
) -> None:
    text = attempt(deferrable=False)
    blocking = dict(ti.xcoms)
    assert blocking["status"] == "final"
    assert blocking["usage"]["total_tokens"] == sum(
        blocking["usage"][name] for name in ("input_tokens", "completion_tokens")
    )
    assert blocking["model_version"]
    store.values.clear()
    ti.xcoms.clear()
    trigger = deferred()
    clock.sleep(4000)
    assert resume(hook, context, trigger.operation_id) == text
    assert ti.xcoms == {**blocking, "operation_id": trigger.operation_id}


def test_without_waiting_the_id_is_returned(attempt: Attempt, ti: TaskInstance, emulator: Emulator) -> None:
    operation_id = attempt(wait_for_completion=False)
    assert [operation["id"] for operation in emulator.operations()] == [operation_id]
    assert ti.xcoms["operation_id"] == operation_id


def test_the_deferral_s_own_timeout_comes_after_the_trigger_s(attempt: Attempt, clock: SteppedTime) -> None:
    with pytest.raises(TaskDeferred) as caught:
        attempt(timeout=600)
    trigger = caught.value.trigger
    assert trigger.deadline == pytest.approx(clock.now + 600, abs=10)
    assert caught.value.timeout > timedelta(seconds=600)


def test_a_retry_finds_the_operation_of_the_first_attempt(deferred: Attempt, emulator: Emulator) -> None:
    first, second = deferred(), deferred()
    assert second.operation_id == first.operation_id
    assert (second.submitted_at, second.deadline) == (first.submitted_at, first.deadline)
    assert submissions(emulator) == 1


def test_a_retry_takes_an_answer_that_is_there(
    deferred: Attempt, attempt: Attempt, emulator: Emulator, clock: SteppedTime
) -> None:
    deferred()
    clock.sleep(4000)
    assert "ducks" in attempt()
    assert submissions(emulator) == 1


@pytest.mark.parametrize("kind", ["operation_error", "operation_empty"])
def test_a_retry_after_a_failed_operation_submits_anew(
    deferred: Attempt, emulator: Emulator, clock: SteppedTime, kind: str
) -> None:
    emulator.fault("completionAsync", kind)
    failed = deferred()
    clock.sleep(4000)
    assert deferred().operation_id != failed.operation_id
    assert submissions(emulator) == 2


@pytest.mark.parametrize("kind", ["operation_error", "operation_empty"])
def test_a_failure_that_was_told_needs_no_look_by_the_next_attempt(
    deferred: Attempt, hook: YandexAIStudioHook, context: Context, emulator: Emulator, clock: SteppedTime, kind: str
) -> None:
    emulator.fault("completionAsync", kind)
    failed = deferred()
    clock.sleep(4000)
    with pytest.raises(OperationFailed):
        resume(hook, context, failed.operation_id)
    emulator.fault("operations.get", "status", status=503, body="", times=None)
    assert deferred().operation_id != failed.operation_id
    assert submissions(emulator) == 2


def test_an_expired_operation_that_was_told_needs_no_look_by_the_next_attempt(
    deferred: Attempt, hook: YandexAIStudioHook, context: Context, emulator: Emulator, clock: SteppedTime
) -> None:
    expired = deferred()
    clock.sleep(timedelta(days=4).total_seconds())
    with pytest.raises(OperationExpired):
        resume(hook, context, expired.operation_id)
    emulator.fault("operations.get", "status", status=503, body="", times=None)
    assert deferred().operation_id != expired.operation_id


def test_a_late_attempt_does_not_strike_out_what_a_newer_one_has_paid_for(
    deferred: Attempt, hook: YandexAIStudioHook, context: Context, emulator: Emulator, clock: SteppedTime
) -> None:
    emulator.fault("completionAsync", "operation_error")
    failed = deferred()
    clock.sleep(4000)
    newer = deferred()
    with pytest.raises(OperationFailed):
        resume(hook, context, failed.operation_id)
    assert deferred().operation_id == newer.operation_id
    assert submissions(emulator) == 2


def test_a_store_that_is_out_of_order_does_not_hide_why_an_operation_failed(
    deferred: Attempt,
    hook: YandexAIStudioHook,
    context: Context,
    emulator: Emulator,
    clock: SteppedTime,
    store: Store,
    capsys: pytest.CaptureFixture[str],
) -> None:
    emulator.fault("completionAsync", "operation_error")
    failed = deferred()
    clock.sleep(4000)
    store.broken = {"delete"}
    with pytest.raises(OperationFailed):
        resume(hook, context, failed.operation_id)
    assert "could not be struck out" in capsys.readouterr().out


def test_a_retry_after_an_expired_operation_submits_anew(
    deferred: Attempt, emulator: Emulator, clock: SteppedTime
) -> None:
    expires = deferred()
    clock.sleep(timedelta(days=4).total_seconds())
    assert deferred().operation_id != expires.operation_id


def test_a_changed_request_cancels_the_operation_of_the_old_one(deferred: Attempt, emulator: Emulator) -> None:
    deferred()
    deferred(prompt="Tell me of geese.")
    assert emulator.stats()["operations"] | {"running": 1, "cancelled": 1} == emulator.stats()["operations"]


def test_while_the_service_is_down_a_retry_goes_on_waiting(deferred: Attempt, emulator: Emulator) -> None:
    first = deferred()
    emulator.fault("operations.get", "status", status=503, body="", times=None)
    assert deferred().operation_id == first.operation_id


@pytest.mark.parametrize("deferrable", [True, False])
def test_a_lost_answer_is_submitted_anew_and_accounted_for(
    attempt: Attempt, emulator: Emulator, capsys: pytest.CaptureFixture[str], deferrable: bool
) -> None:
    emulator.fault("completionAsync", "lost_answer", times=1)
    attempt(wait_for_completion=False, deferrable=deferrable)
    assert submissions(emulator) == 2
    assert "up to one generation may have been billed" in capsys.readouterr().out


def test_lost_answers_are_not_submitted_without_end(attempt: Attempt, emulator: Emulator, store: Store) -> None:
    emulator.fault("completionAsync", "lost_answer", times=None)
    with pytest.raises(Exception, match="may have been taken"):
        attempt()
    assert submissions(emulator) == 3
    assert store.values[KEY]["operation_id"] is None


def test_an_attempt_that_died_inside_the_submission_is_settled_by_the_next(
    attempt: Attempt, store: Store, emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    store.values[KEY] = {"fingerprint": "whatever", "submitted_at": 1.0, "operation_id": None}
    attempt(wait_for_completion=False)
    assert submissions(emulator) == 1
    assert "1970-01-01 00:00:01 UTC" in capsys.readouterr().out


def test_who_asks_to_fail_on_an_unknown_submission_decides_himself(
    attempt: Attempt, emulator: Emulator, store: Store
) -> None:
    emulator.fault("completionAsync", "lost_answer", times=1)
    with pytest.raises(SubmissionUnknown, match=r"^Clear the task"):
        attempt(on_unknown_submission="fail")
    assert submissions(emulator) == 1
    attempt(on_unknown_submission="fail", wait_for_completion=False)
    assert submissions(emulator) == 2


def test_a_refused_submission_leaves_no_suspicion(attempt: Attempt, emulator: Emulator, store: Store) -> None:
    emulator.fault("completionAsync", "status", status=429, body={"code": 8, "message": "quota"}, times=None)
    with pytest.raises(RateLimited):
        attempt(deferrable=False)
    assert store.values == {}


@pytest.mark.parametrize("method", ["get", "set"])
def test_a_journal_that_can_t_be_used_stops_the_attempt_before_it_pays(
    attempt: Attempt, store: Store, emulator: Emulator, method: str
) -> None:
    store.broken = {method}
    with pytest.raises(ConnectionError):
        attempt()
    assert submissions(emulator) == 0


def test_without_a_journal_the_task_works_and_says_what_it_can_t_promise(
    hook: YandexAIStudioHook, ti: TaskInstance, emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    operator = task(hook, wait_for_completion=False)
    operator.execute({"ti": ti})
    assert submissions(emulator) == 1
    assert capsys.readouterr().out.count("task_state_store") == 1


@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ({"kind": "operation_error", "code": 13, "message": "model exploded"}, OperationFailed, "model exploded"),
        ({"kind": "operation_empty"}, OperationFailed, "neither an answer nor an error"),
        ({"kind": "early_error", "code": 8, "message": "no capacity"}, OperationFailed, "no capacity"),
        ({"kind": "operation_error", "code": 1, "message": "cancelled"}, OperationCancelled, "cancelled"),
        ({"kind": "status", "status": 404, "body": {"code": 5, "message": "x"}}, OperationExpired, "3 days"),
    ],
    ids=["error", "empty", "early error", "cancelled", "expired"],
)
def test_an_operation_without_an_answer_fails_the_task_with_its_own_error(
    deferred: Attempt,
    hook: YandexAIStudioHook,
    context: Context,
    emulator: Emulator,
    fault: dict[str, Any],
    error: type[Exception],
    message: str,
) -> None:
    trigger = deferred()
    emulator.fault("operations.get", **fault, times=None)
    with pytest.raises(error, match=message) as caught:
        resume(hook, context, trigger.operation_id)
    assert trigger.operation_id in str(caught.value)


def test_a_timed_out_operation_is_told_how_to_be_found(
    deferred: Attempt, hook: YandexAIStudioHook, context: Context
) -> None:
    trigger = deferred()
    with pytest.raises(OperationTimeout, match="YandexAIStudioOperationSensor"):
        resume(hook, context, trigger.operation_id, "timeout")


def test_an_answer_that_came_after_the_deadline_is_taken(
    deferred: Attempt, hook: YandexAIStudioHook, context: Context, clock: SteppedTime
) -> None:
    trigger = deferred()
    clock.sleep(4000)
    assert "ducks" in resume(hook, context, trigger.operation_id, "timeout")


def test_an_outage_when_the_task_resumes_loses_nothing(
    deferred: Attempt, hook: YandexAIStudioHook, context: Context, emulator: Emulator, clock: SteppedTime
) -> None:
    trigger = deferred()
    clock.sleep(4000)
    emulator.fault("operations.get", "status", status=503, body="<html>", times=6)
    event = {
        "operation_id": trigger.operation_id,
        "outcome": "ended",
        "submitted_at": trigger.submitted_at,
        "deadline": trigger.deadline,
    }
    with pytest.raises(TaskDeferred) as caught:
        task(hook).execute_complete(context, event)
    again = caught.value.trigger
    assert (again.operation_id, again.submitted_at, again.deadline) == (
        trigger.operation_id,
        trigger.submitted_at,
        trigger.deadline,
    )
    assert "ducks" in task(hook).execute_complete(context, event)
    assert submissions(emulator) == 1


def test_a_task_that_is_not_deferrable_never_defers(
    attempt: Attempt, hook: YandexAIStudioHook, context: Context, emulator: Emulator, clock: SteppedTime
) -> None:
    operation_id = attempt(wait_for_completion=False)
    clock.sleep(4000)
    emulator.fault("operations.get", "status", status=503, body="<html>", times=7)
    event = {
        "operation_id": operation_id,
        "outcome": "ended",
        "submitted_at": clock.now - 4000,
        "deadline": clock.now + 60,
    }
    assert "ducks" in task(hook, deferrable=False).execute_complete(context, event)


def test_what_the_triggerer_could_not_ask_about_is_deferred_again_and_holds_no_worker(
    deferred: Attempt, hook: YandexAIStudioHook, context: Context, clock: SteppedTime
) -> None:
    operation_id, slept = deferred().operation_id, len(clock.slept)
    with pytest.raises(TaskDeferred):
        resume(hook, context, operation_id, "refused")
    assert len(clock.slept) == slept


def test_a_stray_404_in_a_retry_pays_for_nothing_again(deferred: Attempt, emulator: Emulator) -> None:
    first = deferred()
    emulator.fault("operations.get", "status", status=404, times=1)
    assert deferred().operation_id == first.operation_id
    assert submissions(emulator) == 1


def test_an_operation_that_is_gone_is_told_once_and_then_submitted_anew(
    deferred: Attempt, hook: YandexAIStudioHook, context: Context, emulator: Emulator
) -> None:
    first = deferred()
    emulator.fault("operations.get", "status", status=404, times=None)
    event = {"operation_id": first.operation_id, "outcome": "expired", "submitted_at": first.submitted_at}
    with pytest.raises(OperationExpired):
        task(hook).execute_complete(context, event)
    assert deferred().operation_id != first.operation_id


def test_a_look_before_the_wait_holds_no_worker(deferred: Attempt, emulator: Emulator, clock: SteppedTime) -> None:
    deferred()
    emulator.fault("operations.get", "status", status=503, body="<html>", times=None)
    before = emulator.stats()["requests"]["operations.get"], len(clock.slept)
    deferred()
    assert emulator.stats()["requests"]["operations.get"] == before[0] + 1
    assert len(clock.slept) == before[1]


def test_a_withheld_answer_fails_and_tells_its_price(
    deferred: Attempt, hook: YandexAIStudioHook, context: Context, ti: TaskInstance, emulator: Emulator
) -> None:
    trigger = deferred()
    answer = {
        "id": trigger.operation_id,
        "done": True,
        "response": {
            "alternatives": [
                {"message": {"role": "assistant", "text": "No."}, "status": "ALTERNATIVE_STATUS_CONTENT_FILTER"}
            ],
            "usage": {"inputTextTokens": "5", "completionTokens": "2", "totalTokens": "7"},
        },
    }
    emulator.fault("operations.get", "status", status=200, body=answer)
    with pytest.raises(ContentFiltered, match="7 tokens"):
        resume(hook, context, trigger.operation_id)
    assert ti.xcoms["status"] == "content_filter"


def test_a_truncated_answer_is_returned_with_a_warning(
    attempt: Attempt, ti: TaskInstance, capsys: pytest.CaptureFixture[str]
) -> None:
    text = attempt(deferrable=False, max_tokens=2)
    assert text
    assert ti.xcoms["status"] == "truncated"
    assert "max_tokens" in capsys.readouterr().out


@pytest.mark.parametrize("event", [None, {}, {"operation_id": "x"}, {"operation_id": "x", "outcome": "odd"}, "done"])
def test_an_event_of_something_else_is_refused_loudly(hook: YandexAIStudioHook, context: Context, event: Any) -> None:
    operator = task(hook)
    with pytest.raises(TriggerEventError, match="operation_id"):
        operator.execute_complete(context, event)


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"prompt": None}, "prompt"),
        ({"prompt": "  "}, "prompt"),
        ({"prompt": None, "messages": [{"role": "boss", "text": "x"}]}, "boss"),
        ({"temperature": 1.1}, "temperature"),
        ({"max_tokens": 0}, "max_tokens"),
        ({"timeout": 0}, "timeout"),
        ({"timeout": timedelta(days=4)}, "timeout"),
        ({"on_unknown_submission": "hope"}, "on_unknown_submission"),
    ],
)
def test_bad_parameters_are_named_before_anything_is_sent(
    attempt: Attempt, emulator: Emulator, parameters: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        attempt(**parameters)
    assert sum(emulator.stats()["requests"].values()) == 0


def test_no_text_of_the_model_and_no_secret_reaches_the_logs(
    attempt: Attempt, capsys: pytest.CaptureFixture[str]
) -> None:
    text = attempt(deferrable=False)
    said = "".join(capsys.readouterr())
    assert "final answer" in said
    assert text not in said
    assert PROMPT not in said
    assert API_KEY not in said


def test_an_operation_id_that_xcom_does_not_take_costs_no_answer(
    hook: YandexAIStudioHook, ti: TaskInstance, clock: SteppedTime, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without a journal, as on Airflow 3.2: another attempt would pay again."""

    class Refusing(TaskInstance):
        def xcom_push(self, key: str, value: Any) -> None:
            raise RuntimeError("the API server restarts")

    context: Any = {"ti": Refusing(), "task_state_store": None}
    with DAG("dag"):
        operator = YandexAIStudioCompletionOperator(task_id="generate", prompt="Tell me of ducks.")
    operator.hook = hook
    with pytest.raises(TaskDeferred) as caught:
        operator.execute(context)
    goes_on = f"The task goes on with operation {caught.value.trigger.operation_id}"
    assert f"can't be written (the API server restarts). {goes_on}" in capsys.readouterr().out
