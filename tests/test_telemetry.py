"""What monitoring is told: each event once, whichever process sees it, and never at the price of an answer."""

from __future__ import annotations

import asyncio
import logging
import os
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from datetime import timedelta
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from airflow.sdk._shared.observability.metrics.base_stats_logger import NoStatsLogger
from airflow.sdk._shared.observability.metrics.statsd_logger import SafeStatsdLogger
from airflow.sdk.exceptions import AirflowSensorTimeout, AirflowSkipException, TaskDeferralError, TaskDeferred
from airflow.sdk.execution_time.xcom import XCom
from airflow.sdk.observability.stats import Stats as AirflowStats
from airflow.triggers.base import TaskSuccessEvent
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from airflow_provider.yandex_ai_studio import telemetry
from airflow_provider.yandex_ai_studio.bulk.progress import metrics_between
from airflow_provider.yandex_ai_studio.bulk.tally import Tally
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import ContentFiltered, InvalidOutput, OperationFailed, RateLimited
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from airflow_provider.yandex_ai_studio.sensors.operation import YandexAIStudioOperationSensor
from airflow_provider.yandex_ai_studio.triggers.operation import YandexAIStudioOperationTrigger
from bulk_task import BulkTask
from support import API_KEY, CONN_ID, ENDS_IN_TRIGGERER, KEEPS_STATE, SteppedTime, TaskInstance
from waits import Connector, end_of, reads, settings

PROMPT = "Secret plans of the ducks."

Context = dict[str, Any]


class Stats:
    """Stands for Airflow's metrics. ``broken`` is what they raise."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()
        self.times: list[timedelta] = []
        self.tags: dict[str, list[dict[str, str]]] = {}
        self.broken: Exception | None = None

    def incr(self, name: str, count: int, *, tags: dict[str, str]) -> None:
        self._note(name, tags)
        self.counts[self._short(name)] += count

    def timing(self, name: str, dt: timedelta, *, tags: dict[str, str]) -> None:
        self._note(name, tags)
        self.times.append(dt)

    def _short(self, name: str) -> str:
        assert name.startswith("yandex_ai_studio.")
        return name.removeprefix("yandex_ai_studio.")

    def _note(self, name: str, tags: dict[str, str]) -> None:
        if self.broken:
            raise self.broken
        self.tags.setdefault(self._short(name), []).append(dict(tags))

    def of(self, *names: str) -> dict[str, int]:
        """Return counts by name, zeros included."""
        return {name: self.counts[name] for name in names}


@pytest.fixture
def stats(monkeypatch: pytest.MonkeyPatch) -> Stats:
    recorder = Stats()
    monkeypatch.setattr("airflow.sdk.observability.stats.Stats", recorder)
    monkeypatch.setattr(telemetry, "_ready_in", os.getpid())
    return recorder


@pytest.fixture
def span() -> Iterator[Any]:
    """The span of a task, as a worker and a triggerer have one where Airflow traces."""
    with TracerProvider().get_tracer("test").start_as_current_span("worker.generate") as span:
        yield span


def task(hook: YandexAIStudioHook, **parameters: Any) -> YandexAIStudioCompletionOperator:
    with DAG("dag"):
        operator = YandexAIStudioCompletionOperator(task_id="generate", **{"prompt": PROMPT, **parameters})
    operator.hook = hook
    return operator


def deferred(hook: YandexAIStudioHook, context: Context, **parameters: Any) -> YandexAIStudioOperationTrigger:
    with pytest.raises(TaskDeferred) as caught:
        task(hook, **parameters).execute(context)
    assert isinstance(caught.value.trigger, YandexAIStudioOperationTrigger)
    return caught.value.trigger


def resume(hook: YandexAIStudioHook, context: Context, operation_id: str, **parameters: Any) -> Any:
    event = {"operation_id": operation_id, "outcome": "ended", "submitted_at": hook.clock() - 30}
    return task(hook, **parameters).resume_execution("execute_complete", {"event": event}, context)


def sensor(hook: YandexAIStudioHook, operation_id: str, **parameters: Any) -> YandexAIStudioOperationSensor:
    with DAG("dag"):
        made = YandexAIStudioOperationSensor(task_id="wait", operation_id=operation_id, **parameters)
    made.hook = hook
    return made


async def end_in_triggerer(
    trigger: YandexAIStudioOperationTrigger, monkeypatch: pytest.MonkeyPatch
) -> tuple[list[Any], dict[str, Any]]:
    """Let a trigger run to its end; return its events and the XComs that it wrote."""
    written: dict[str, Any] = {}

    async def write(**xcom: Any) -> None:
        written[xcom["key"]] = xcom["value"]

    monkeypatch.setattr(XCom, "aset", write, raising=False)
    trigger.task_instance = TaskInstance()  # type: ignore[assignment]
    trigger.resume_after = 0.0
    trigger.end_from_trigger = True
    return [event async for event in trigger.run()], written


ONE_ANSWER = {"submitted": 1, "found": 0, "succeeded": 1, "failed": 0}


def test_a_task_that_resumes_on_a_worker_is_counted_once(
    hook: YandexAIStudioHook, context: Context, ti: TaskInstance, clock: SteppedTime, stats: Stats
) -> None:
    operation_id = deferred(hook, context, model="yandexgpt-lite/rc").operation_id
    assert stats.of(*ONE_ANSWER) == {**ONE_ANSWER, "succeeded": 0}
    clock.sleep(4000)
    resume(hook, context, operation_id, model="yandexgpt-lite/rc")
    assert stats.of(*ONE_ANSWER) == ONE_ANSWER
    usage = ti.xcoms["usage"]
    assert stats.of("tokens.input", "tokens.output") == {
        "tokens.input": usage["input_tokens"],
        "tokens.output": usage["completion_tokens"],
    }
    assert stats.times == [timedelta(seconds=30)]
    whose = {"conn_id": CONN_ID, "model": "yandexgpt-lite/rc"}
    named = ("submitted", "succeeded", "tokens.input", "tokens.output", "waited")
    assert [stats.tags[name] for name in named] == [[whose]] * 5


@pytest.mark.skipif(not ENDS_IN_TRIGGERER, reason="Airflow 3.2: no task ends in the triggerer")
async def test_a_task_that_ends_in_the_triggerer_is_counted_once(
    hook: YandexAIStudioHook,
    context: Context,
    emulator: Emulator,
    stats: Stats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    trigger = deferred(hook, context)
    trigger.submitted_at -= 60  # type: ignore[operator]
    emulator.advance(4000)
    events, written = await end_in_triggerer(trigger, monkeypatch)
    assert [type(event) for event in events] == [TaskSuccessEvent]
    assert stats.of(*ONE_ANSWER) == ONE_ANSWER
    assert stats.counts["tokens.output"] == written["usage"]["completion_tokens"]
    assert [stats.tags[name] for name in ("submitted", "succeeded", "waited")] == [
        [{"conn_id": CONN_ID, "model": "yandexgpt"}]
    ] * 3
    assert 60 <= stats.times[0].total_seconds() < 120


async def test_a_trigger_of_another_release_counts_without_a_model(
    hook: YandexAIStudioHook,
    context: Context,
    emulator: Emulator,
    stats: Stats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    _, fields = deferred(hook, context).serialize()
    del fields["model"]
    emulator.advance(4000)
    await end_in_triggerer(YandexAIStudioOperationTrigger(**fields), monkeypatch)
    assert stats.tags["succeeded"] == [{"conn_id": CONN_ID}]


@pytest.mark.skipif(not KEEPS_STATE, reason="Airflow 3.2: no attempt knows of another")
def test_what_a_retry_finds_again_is_not_submitted_again(
    hook: YandexAIStudioHook, context: Context, clock: SteppedTime, stats: Stats
) -> None:
    first, second = deferred(hook, context), deferred(hook, context)
    assert first.operation_id == second.operation_id
    clock.sleep(4000)
    task(hook).execute(context)  # a third attempt finds the answer
    assert stats.of(*ONE_ANSWER) == {**ONE_ANSWER, "found": 2}


def test_an_answer_that_was_there_when_its_task_was_cleared_is_not_counted_again(
    hook: YandexAIStudioHook, context: Context, ti: TaskInstance, clock: SteppedTime, stats: Stats
) -> None:
    operation_id = deferred(hook, context).operation_id
    clock.sleep(4000)
    text = resume(hook, context, operation_id)
    before = dict(stats.counts)
    ti.max_tries += 1  # what a clear does
    assert task(hook).execute(context) == text
    assert stats.counts == Counter({**before, "found": 1, "reads": stats.counts["reads"]})


def test_a_cleared_task_that_still_waits_is_counted_when_its_answer_comes(
    hook: YandexAIStudioHook, context: Context, ti: TaskInstance, clock: SteppedTime, stats: Stats
) -> None:
    deferred(hook, context)
    ti.max_tries += 1
    operation_id = deferred(hook, context).operation_id
    clock.sleep(4000)
    resume(hook, context, operation_id)
    assert stats.of(*ONE_ANSWER) == {**ONE_ANSWER, "found": 1}


def test_a_call_without_an_operation_counts_like_one(hook: YandexAIStudioHook, context: Context, stats: Stats) -> None:
    task(hook, mode="sync").execute(context)
    assert stats.of(*ONE_ANSWER, "reads") == {**ONE_ANSWER, "reads": 0}
    assert len(stats.times) == 1


def test_the_sensor_counts_the_answer_and_the_operator_the_submission(
    hook: YandexAIStudioHook, context: Context, clock: SteppedTime, stats: Stats
) -> None:
    operation_id = task(hook, wait_for_completion=False).execute(context)
    assert stats.of(*ONE_ANSWER) == {**ONE_ANSWER, "succeeded": 0}
    clock.sleep(4000)
    sensor(hook, operation_id).execute(context)
    assert stats.of(*ONE_ANSWER) == ONE_ANSWER
    assert stats.tags["succeeded"] == [{"conn_id": CONN_ID}]


def test_a_failure_is_counted_by_its_reason(
    hook: YandexAIStudioHook, context: Context, emulator: Emulator, clock: SteppedTime, stats: Stats
) -> None:
    emulator.fault("completionAsync", "operation_error", code=13)
    operation_id = deferred(hook, context).operation_id
    clock.sleep(4000)
    with pytest.raises(OperationFailed):
        resume(hook, context, operation_id)
    assert stats.of(*ONE_ANSWER) == {**ONE_ANSWER, "succeeded": 0, "failed": 1}
    assert stats.tags["failed"] == [{"conn_id": CONN_ID, "model": "yandexgpt", "reason": "OperationFailed"}]


def test_a_deferral_that_airflow_ends_is_a_failure_too(
    hook: YandexAIStudioHook, context: Context, stats: Stats
) -> None:
    with pytest.raises(TaskDeferralError):
        task(hook).resume_execution("__fail__", {"error": "Trigger failure"}, context)
    assert [tags["reason"] for tags in stats.tags["failed"]] == ["TaskDeferralError"]


def test_a_failed_sensor_is_counted_once_and_a_skipped_one_never(
    hook: YandexAIStudioHook, context: Context, clock: SteppedTime, emulator: Emulator, stats: Stats
) -> None:
    operation_id = task(hook, wait_for_completion=False).execute(context)
    late = {"operation_id": operation_id, "outcome": "timeout", "submitted_at": clock.now, "deadline": clock.now}
    with pytest.raises(AirflowSensorTimeout):
        sensor(hook, operation_id).resume_execution("execute_complete", {"event": late}, context)
    assert [tags["reason"] for tags in stats.tags["failed"]] == ["AirflowSensorTimeout"]
    with pytest.raises(AirflowSkipException):
        sensor(hook, operation_id, soft_fail=True).resume_execution("execute_complete", {"event": late}, context)
    emulator.fault("operations.get", "operation_error", code=13)
    with pytest.raises(AirflowSkipException):
        sensor(hook, operation_id, soft_fail=True).execute(context)
    assert stats.counts["failed"] == 1


@pytest.mark.parametrize(
    ("fault", "parameters", "error"),
    [
        ({"alternatives": [{"status": "ALTERNATIVE_STATUS_CONTENT_FILTER"}]}, {}, ContentFiltered),
        ({}, {"json_schema": {"type": "array"}}, InvalidOutput),
    ],
    ids=["withheld", "of another form"],
)
def test_an_answer_that_is_of_no_use_was_billed_all_the_same(
    hook: YandexAIStudioHook,
    context: Context,
    emulator: Emulator,
    clock: SteppedTime,
    stats: Stats,
    fault: dict[str, Any],
    parameters: dict[str, Any],
    error: type[Exception],
) -> None:
    answer = fault or {"alternatives": [{"message": {"role": "assistant", "text": "no array"}}]}
    emulator.fault("completionAsync", "operation_answer", body=answer)
    operation_id = deferred(hook, context, **parameters).operation_id
    clock.sleep(4000)
    with pytest.raises(error):
        resume(hook, context, operation_id, **parameters)
    assert stats.of(*ONE_ANSWER) == {**ONE_ANSWER, "succeeded": 0, "failed": 1}
    assert stats.counts["tokens.input"] > 0


def test_each_429_on_a_worker_is_counted(hook: YandexAIStudioHook, emulator: Emulator, stats: Stats) -> None:
    emulator.fault("completionAsync", "status", status=429, times=2)
    hook.submit_completion(hook.completion_request(prompt=PROMPT))
    assert stats.counts["rate_limited"] == emulator.stats()["responses"]["completionAsync"]["429"] == 2
    assert stats.tags["rate_limited"] == [{"conn_id": CONN_ID}] * 2


async def test_the_poller_counts_its_reads_by_rounds_and_each_429(
    hook: YandexAIStudioHook, emulator: Emulator, stats: Stats
) -> None:
    ids = [hook.submit_completion(hook.completion_request(prompt=PROMPT)).id for _ in range(30)]
    emulator.advance(4000)
    emulator.fault("operations.get", "status", status=429)
    waits = [end_of(Connector(settings(emulator)), operation_id) for operation_id in ids]
    for wait in waits:
        await wait
    assert stats.counts["reads"] == reads(emulator) == 31
    assert stats.counts["rate_limited"] == 1


async def test_a_round_of_the_poller_is_counted_at_once(
    hook: YandexAIStudioHook, emulator: Emulator, stats: Stats
) -> None:
    ids = [hook.submit_completion(hook.completion_request(prompt=PROMPT)).id for _ in range(40)]
    emulator.advance(4000)
    connector = Connector(settings(emulator))
    await asyncio.gather(*(end_of(connector, operation_id) for operation_id in ids))
    assert stats.counts["reads"] == reads(emulator) == 40
    assert len(stats.tags["reads"]) < 10


def test_airflow_s_own_metrics_take_what_is_told() -> None:
    """What they refuse would be swallowed."""
    taken: list[Any] = []

    class Backend:
        def incr(self, stat: str, count: int = 1, rate: float = 1, *, tags: Any = None) -> None:
            taken.append((stat, count, tags))

        def timing(self, stat: str, dt: timedelta, *, tags: Any = None) -> None:
            taken.append((stat, dt, tags))

    parameters = signature(AirflowStats.initialize).parameters
    legacy = {"export_legacy_names": True} if "export_legacy_names" in parameters else {}
    AirflowStats.initialize(factory=Backend, **legacy)
    try:
        metrics = telemetry.Metric("failed", 3, reason="expired"), telemetry.Metric("waited", 1.5)
        telemetry.tell(*metrics, telemetry.Metric("reads", 0), tags={"conn_id": "c"})
    finally:
        AirflowStats.initialize(factory=NoStatsLogger, **legacy)
    assert taken == [
        ("yandex_ai_studio.failed", 3, {"conn_id": "c", "reason": "expired"}),
        ("yandex_ai_studio.waited", timedelta(seconds=1.5), {"conn_id": "c"}),
    ]


@pytest.fixture
def influxdb() -> Iterator[list[str]]:
    """Airflow's StatsD with tags in InfluxDB's style; what it sends."""
    sent: list[str] = []

    class Client:
        def incr(self, stat: str, count: int, rate: float) -> None:
            sent.append(stat)

    parameters = signature(AirflowStats.initialize).parameters
    legacy = {"export_legacy_names": True} if "export_legacy_names" in parameters else {}
    client: Any = Client()
    backend = SafeStatsdLogger(client, influxdb_tags_enabled=True, statsd_influxdb_enabled=True)
    AirflowStats.initialize(factory=lambda: backend, **legacy)
    yield sent
    AirflowStats.initialize(factory=NoStatsLogger, **legacy)


def test_a_tag_is_one_that_influxdb_takes_whatever_a_connection_is_called(
    influxdb: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        telemetry.tell(telemetry.Metric("submitted"), tags=telemetry.tags_of("my conn,x=1", "gpt://b1g/утка/rc@7"))
        telemetry.tell(telemetry.Metric("failed", reason="E" * 250), tags=telemetry.tags_of("c" * 250, "m" * 250))
    first, second = influxdb
    assert first == "yandex_ai_studio.submitted,conn_id=my_conn_x_1,model=____/rc_7"
    assert len(second) < 250
    assert caplog.records == []


@pytest.mark.parametrize("model", [{"name": "yandexgpt"}, ["yandexgpt"], 5, "", None])
@pytest.mark.parametrize("how", ["resumed", "deferred"])
def test_a_model_that_renders_to_no_text_fails_no_attempt_that_has_paid(
    hook: YandexAIStudioHook, context: Context, clock: SteppedTime, stats: Stats, model: Any, how: str
) -> None:
    operation_id = deferred(hook, context).operation_id
    made = task(hook)
    made.model = model
    event = {"operation_id": operation_id, "outcome": "ended", "submitted_at": hook.clock() - 30}
    if how == "deferred":
        with pytest.raises(TaskDeferred):
            made.resume_execution("execute_complete", {"event": {**event, "outcome": "broken"}}, context)
        return
    clock.sleep(4000)
    assert "ducks" in made.resume_execution("execute_complete", {"event": event}, context)
    assert stats.of(*ONE_ANSWER) == ONE_ANSWER
    assert stats.tags["succeeded"][0]["conn_id"] == CONN_ID


async def test_an_event_loop_waits_for_no_backend_and_loses_no_count(monkeypatch: pytest.MonkeyPatch) -> None:
    taken: list[tuple[str, int]] = []
    threads: list[threading.Thread] = []
    found = threading.Event()

    class Backend:
        def incr(self, stat: str, count: int = 1, rate: float = 1, *, tags: Any = None) -> None:
            taken.append((stat, count))

    def slow() -> Any:
        threads.append(threading.current_thread())
        assert found.wait(30)  # a host that is looked up
        return Backend()

    parameters = signature(AirflowStats.initialize).parameters
    legacy = {"export_legacy_names": True} if "export_legacy_names" in parameters else {}
    AirflowStats.initialize(factory=slow, **legacy)
    monkeypatch.setattr(telemetry, "_ready_in", None)
    try:
        for count in (1, 2):
            telemetry.tell(telemetry.Metric("reads", count))
        assert taken == []
        found.set()
        telemetry._thread_of(os.getpid()).submit(lambda: None).result(30)
        telemetry.tell(telemetry.Metric("reads", 3))
    finally:
        found.set()
        AirflowStats.initialize(factory=NoStatsLogger, **legacy)
    assert taken == [("yandex_ai_studio.reads", count) for count in (1, 2, 3)]
    assert len(threads) == 1
    assert threads[0] is not threading.main_thread()


def test_a_worker_hands_over_at_once(stats: Stats, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(telemetry, "_ready_in", None)
    telemetry.tell(telemetry.Metric("reads", 3))
    assert stats.counts["reads"] == 3


async def test_a_process_that_was_forked_makes_its_own_backend_ready(
    stats: Stats, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(telemetry, "_ready_in", os.getpid() + 1)
    handed: list[Any] = []

    class Thread:
        def submit(self, *call: Any) -> None:
            handed.append(call)

    monkeypatch.setattr(telemetry, "_thread_of", lambda process: Thread())
    telemetry.tell(telemetry.Metric("reads", 3))
    assert (len(handed), stats.counts["reads"]) == (1, 0)


def test_a_broken_backend_costs_no_answer(
    hook: YandexAIStudioHook, context: Context, clock: SteppedTime, emulator: Emulator, stats: Stats
) -> None:
    stats.broken = OSError("nobody listens")
    operation_id = deferred(hook, context).operation_id
    clock.sleep(4000)
    assert "ducks" in resume(hook, context, operation_id)
    assert "ducks" in sensor(hook, operation_id).execute(context)
    emulator.fault("completionAsync", "status", status=429)
    with pytest.raises(RateLimited):
        hook.get_conn().send(_submission(hook), repeat=False)


def _submission(hook: YandexAIStudioHook) -> Any:
    from airflow_provider.yandex_ai_studio.api import completion

    return completion.submit_completion(hook.settings.endpoints, hook.completion_request(prompt=PROMPT))


async def test_a_broken_backend_ends_no_trigger_and_no_poller(
    hook: YandexAIStudioHook,
    context: Context,
    emulator: Emulator,
    stats: Stats,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    stats.broken = OSError("nobody listens")
    trigger = deferred(hook, context)
    emulator.advance(4000)
    events, written = await end_in_triggerer(trigger, monkeypatch)
    assert [type(event) for event in events] == [TaskSuccessEvent]
    assert "ducks" in written["return_value"]


def test_broken_tags_hide_no_failure() -> None:
    def broken() -> Any:
        raise KeyError

    with pytest.raises(OperationFailed), telemetry.telling_failures(broken):
        raise OperationFailed("It failed.", operation_id="d7q1", code=13)


def test_rows_of_a_bulk_run_are_counted_once_whatever_happens_between(
    emulator: Emulator, connection: None, stats: Stats, tmp_path: Path
) -> None:
    bulk = BulkTask(
        emulator,
        inputs=[f"Tell me of row {n}." for n in range(20)],
        output_path=tmp_path.as_uri(),
        chunk_size=4,
        row_retries=1,
    )
    bulk.emulator_seconds = 4000
    emulator.fault("completionAsync", "operation_error", code=13, match="row 7.", times=3)
    with pytest.raises(Exception, match="1 of 20 rows failed"):
        bulk.attempt()
    assert stats.of("submitted", "succeeded", "failed") == {"submitted": 21, "succeeded": 19, "failed": 1}
    assert stats.tags["failed"] == [{"conn_id": CONN_ID, "model": "yandexgpt", "reason": "error"}]
    manifest = bulk.attempt()
    assert stats.of("submitted", "succeeded", "failed") == {"submitted": 23, "succeeded": 20, "failed": 1}
    assert stats.counts["submitted"] == bulk.submissions == manifest["submissions"]
    assert stats.counts["tokens.input"] == manifest["usage"]["input_tokens"]
    assert stats.counts["tokens.output"] == manifest["usage"]["completion_tokens"]


def test_returned_rows_are_counted_once(emulator: Emulator, connection: None, stats: Stats) -> None:
    bulk = BulkTask(emulator, inputs=[f"Tell me of row {n}." for n in range(6)], chunk_size=2)
    bulk.emulator_seconds = 4000
    assert len(bulk.attempt()) == 6
    assert bulk.deferrals
    assert stats.of("submitted", "succeeded", "failed") == {"submitted": 6, "succeeded": 6, "failed": 0}
    assert stats.counts["tokens.output"] > 0


def test_rows_that_fail_a_task_without_an_output_are_counted(
    emulator: Emulator, connection: None, stats: Stats
) -> None:
    emulator.fault("completionAsync", "operation_error", code=13, match="row 3.", times=2)
    bulk = BulkTask(emulator, inputs=[f"Tell me of row {n}." for n in range(6)], chunk_size=2, row_retries=1)
    bulk.emulator_seconds = 4000
    with pytest.raises(Exception, match="1 of 6 rows failed"):
        bulk.attempt()
    assert stats.of("submitted", "succeeded", "failed") == {"submitted": 7, "succeeded": 0, "failed": 1}
    assert stats.tags["failed"] == [{"conn_id": CONN_ID, "model": "yandexgpt", "reason": "error"}]
    bulk.attempt()
    assert stats.of("submitted", "succeeded", "failed") == {"submitted": 8, "succeeded": 6, "failed": 1}


def test_a_row_that_fails_again_failed_once() -> None:
    before, after = Tally((3, 1, 0, 0, 0, 0)), Tally((3, 1, 0, 0, 0, 0), submissions=2)
    assert [metric for metric in metrics_between(before, after) if metric.value] == [telemetry.Metric("submitted", 2)]


def test_the_span_of_a_task_says_what_was_asked_and_what_came_of_it_and_no_word_of_either(
    hook: YandexAIStudioHook, context: Context, clock: SteppedTime, ti: TaskInstance, span: Any
) -> None:
    operation_id = deferred(hook, context).operation_id
    asked = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": "yandex_ai_studio",
        "gen_ai.request.model": "yandexgpt",
        "gen_ai.response.id": operation_id,
    }
    assert span.attributes == asked
    clock.sleep(4000)
    text = resume(hook, context, operation_id)
    usage = ti.xcoms["usage"]
    assert span.attributes == {
        **asked,
        "gen_ai.response.finish_reasons": ("stop",),
        "gen_ai.usage.input_tokens": usage["input_tokens"],
        "gen_ai.usage.output_tokens": usage["completion_tokens"],
    }
    told = str(dict(span.attributes))
    assert not any(secret in told for secret in (PROMPT, text, API_KEY, "b1gunittests"))


async def test_the_span_of_a_trigger_says_the_same(
    hook: YandexAIStudioHook, context: Context, emulator: Emulator, span: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    trigger = deferred(hook, context)
    emulator.advance(4000)
    with TracerProvider().get_tracer("test").start_as_current_span("trigger.generate") as own:
        await end_in_triggerer(trigger, monkeypatch)
    assert own.attributes.keys() == {  # type: ignore[attr-defined]
        "gen_ai.operation.name",
        "gen_ai.provider.name",
        "gen_ai.request.model",
        "gen_ai.response.id",
        "gen_ai.response.finish_reasons",
        "gen_ai.usage.input_tokens",
        "gen_ai.usage.output_tokens",
    }


def test_a_failure_is_in_the_span_by_its_type(
    hook: YandexAIStudioHook, context: Context, emulator: Emulator, clock: SteppedTime, span: Any
) -> None:
    emulator.fault("completionAsync", "operation_error", code=13, message="about ducks")
    operation_id = deferred(hook, context).operation_id
    clock.sleep(4000)
    with pytest.raises(OperationFailed):
        resume(hook, context, operation_id)
    assert span.attributes["error.type"] == "OperationFailed"
    assert "ducks" not in str(dict(span.attributes))


def test_a_span_that_breaks_costs_no_answer(
    hook: YandexAIStudioHook, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> Any:
        raise RuntimeError("no span")

    monkeypatch.setattr(trace, "get_current_span", broken)
    assert "ducks" in task(hook, mode="sync").execute(context)


def test_nobody_imports_opentelemetry_for_a_span(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "opentelemetry.trace")
    telemetry.describe({"gen_ai.operation.name": "chat"})
    assert "opentelemetry.trace" not in sys.modules


def test_a_dag_file_does_not_pay_for_metrics() -> None:
    code = (
        "import sys\n"
        "import airflow_provider.yandex_ai_studio.telemetry\n"
        "print([name for name in sys.modules if 'observability.stats' in name])"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "[]\n"


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt://b1gfolder/yandexgpt-lite/rc", "yandexgpt-lite/rc"),
        ("gpt://b1gfolder/yandexgpt", "yandexgpt"),
        ("yandexgpt", "yandexgpt"),
        ("gpt://", "gpt://"),
    ],
)
def test_a_model_is_told_without_its_folder(model: str, name: str) -> None:
    assert telemetry.name_of(model) == name
