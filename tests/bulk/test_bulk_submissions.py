"""Submissions that meet a service, a gateway, a quota or a connection in trouble; and what they may cost."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowException, AirflowTaskTimeout

from airflow_provider.yandex_ai_studio.bulk.ledger import KEY
from airflow_provider.yandex_ai_studio.bulk.reception import LOSSES, STRANGER_REFUSALS
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    ConfigurationError,
    NotFound,
    PermissionDenied,
    RateLimited,
    RowsFailed,
    ServiceUnavailable,
)
from bulk_task import API_KEY, FOLDER, BulkTask, rows_of, texts

SUBMIT, QUESTION = "completionAsync", "tokenizeCompletion"
CONNECTION = "AIRFLOW_CONN_YANDEX_AI_STUDIO_DEFAULT"


def requests(emulator: Emulator, route: str) -> int:
    return int(emulator.stats()["requests"].get(route, 0))


def test_a_gateway_that_loses_each_answer_costs_a_few_generations_and_the_attempt(
    task: Callable[..., BulkTask], emulator: Emulator
) -> None:
    emulator.fault(SUBMIT, "lost_answer", times=None)
    run = task(inputs=texts(200))
    with pytest.raises(
        ServiceUnavailable, match=r"(?s)^Retry the task.* 11 of 11 .*up to 11 generations may have been"
    ):
        run.attempt()
    assert run.submissions == LOSSES + 1
    assert requests(emulator, QUESTION) == LOSSES + 1 - 5  # before each but the first group
    emulator.clear_faults()
    assert None not in run.attempt()
    assert run.submissions == LOSSES + 1 + 200


def test_a_row_whose_answers_get_lost_is_submitted_three_times_and_holds_no_other_up(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    emulator.fault(SUBMIT, "lost_answer", times=None, match="Row 3 ")
    run = task(inputs=texts(40), output_path=str(tmp_path / "out"))
    with pytest.raises(RowsFailed):
        run.attempt()
    assert run.submissions == 39 + 3
    (failed,) = [row for row in rows_of(tmp_path / "out") if row["status"] != "success"]
    assert (failed["index"], failed["error"]["type"]) == (3, "unknown_submission")
    assert "up to 3 generations may have been billed" in failed["error"]["message"]
    emulator.clear_faults()
    assert run.attempt()["counts"]["succeeded"] == 40


def test_a_tokenizer_that_is_out_of_order_holds_up_no_service_that_takes_submissions(
    task: Callable[..., BulkTask], emulator: Emulator
) -> None:
    emulator.fault(QUESTION, "status", status=503, times=None)
    emulator.fault(SUBMIT, "lost_answer", after=7)
    run = task(inputs=texts(40))
    began = run.clock.now
    assert None not in run.attempt()
    assert 1800 < run.clock.now - began < 5400
    assert run.submissions == 41


def poisoned(count: int, every: int) -> list[str]:
    return [f"{text} poison" if number % every == 0 else text for number, text in enumerate(texts(count))]


def test_rows_that_always_get_a_500_fail_alone_and_the_others_are_delivered(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    emulator.fault(SUBMIT, "status", status=500, times=None, match="poison")
    run = task(inputs=poisoned(40, 7), on_row_error="keep", output_path=str(tmp_path / "out"))
    for lost in (14, 14 + 11):
        manifest = run.attempt()
        assert (manifest["counts"]["succeeded"], manifest["counts"]["errored"]) == (34, 6)
        assert manifest["lost_submissions"] == lost
    failed = [row for row in rows_of(tmp_path / "out") if row["status"] != "success"]
    assert {row["error"]["type"] for row in failed} == {"unknown_submission"}
    del run.parameters["on_row_error"]
    with pytest.raises(RowsFailed):
        run.attempt()
    emulator.clear_faults()
    assert run.attempt()["counts"]["succeeded"] == run.submissions == 40


def test_what_was_taken_is_delivered_where_too_many_answers_get_lost(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    emulator.fault(SUBMIT, "lost_answer", times=None, after=30)
    run = task(inputs=texts(100), chunk_size=20, on_row_error="keep", output_path=str(tmp_path / "out"))
    with pytest.raises(ServiceUnavailable, match="14 of 44"):
        run.attempt()
    counts = json.loads((tmp_path / "out" / "manifest.json").read_text())["counts"]
    assert (counts["succeeded"], counts["errored"], counts["missing"]) == (30, 10, 60)
    emulator.clear_faults()
    assert run.attempt()["counts"]["succeeded"] == 100
    assert run.submissions == 30 + 14 + 70


def test_no_row_is_asked_again_after_too_many_answers_got_lost(connect: Callable[..., None]) -> None:
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=300) as emulator:
        connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER})
        emulator.fault(SUBMIT, "status", status=500, times=None, match="poison")
        emulator.fault(SUBMIT, "operation_error", match="Row 1 ")
        run = BulkTask(emulator, inputs=poisoned(40, 3), on_row_error="keep")
        run.emulator_seconds = 300.0
        answers = run.attempt()
        assert (answers.count(None), answers[1], run.submissions) == (14 + 1, None, 26)


def test_rows_that_always_get_a_500_hold_up_no_chunk_after_theirs(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    emulator.fault(SUBMIT, "status", status=500, times=None, match="poison")
    rows = [*poisoned(15, 1), *texts(80)[15:]]
    run = task(inputs=rows, chunk_size=20, on_row_error="keep", output_path=str(tmp_path / "out"))
    with pytest.raises(ServiceUnavailable, match="11 of 11"):
        run.attempt()
    counts = run.attempt()["counts"]
    assert (counts["succeeded"], counts["errored"], run.submissions) == (65, 15, 65)


def test_a_service_that_answers_502_to_everything_is_not_asked_to_generate(
    task: Callable[..., BulkTask], emulator: Emulator
) -> None:
    for route in (SUBMIT, QUESTION):
        emulator.fault(route, "status", status=502, times=None)
    run = task(inputs=texts(200), timeout=1800)
    with pytest.raises(ServiceUnavailable, match="count the tokens"):
        run.attempt()
    assert requests(emulator, SUBMIT) == 5
    assert requests(emulator, QUESTION) > 10
    assert len(run.deferrals) > 10


@pytest.mark.parametrize("status", [401, 403, 404, 502, 503])
def test_one_stray_answer_to_a_submission_ends_nothing(
    task: Callable[..., BulkTask], emulator: Emulator, status: int
) -> None:
    emulator.fault(SUBMIT, "status", status=status, body="<html>", after=7)
    run = task(inputs=texts(20))
    assert None not in run.attempt()
    assert run.submissions == 20


@pytest.mark.parametrize(("status", "error"), [(401, AuthenticationError), (403, PermissionDenied), (404, NotFound)])
def test_an_account_that_is_refused_from_the_start_is_told_within_a_minute(
    task: Callable[..., BulkTask], emulator: Emulator, status: int, error: type[Exception]
) -> None:
    emulator.fault(SUBMIT, "status", status=status, times=None)
    run = task(inputs=texts(100))
    began = run.clock.now
    with pytest.raises(error):
        run.attempt()
    assert run.clock.now - began < 60
    assert requests(emulator, SUBMIT) == 5 + STRANGER_REFUSALS - 1


def test_a_refusal_in_the_middle_is_borne_for_five_minutes_and_keeps_no_worker(
    task: Callable[..., BulkTask], emulator: Emulator
) -> None:
    emulator.fault(SUBMIT, "status", status=403, times=None, after=10)
    run = task(inputs=texts(100))
    began = run.clock.now
    with pytest.raises(PermissionDenied):
        run.attempt()
    assert 300 < run.clock.now - began < 600
    assert run.deferrals
    assert requests(emulator, SUBMIT) < 30
    emulator.clear_faults()
    assert None not in run.attempt()
    assert run.submissions == 100


def test_a_gateway_that_answers_now_so_and_now_otherwise_keeps_no_worker(
    task: Callable[..., BulkTask], emulator: Emulator
) -> None:
    for number in range(30):
        emulator.fault(SUBMIT, "status", status=(503, 403)[number % 2], body="<html>", after=10)
    run = task(inputs=texts(20))
    assert None not in run.attempt()
    assert len([pause for pause in run.deferrals if pause.trigger.wake_at]) > 15
    assert (run.submissions, round(max(run.clock.slept))) == (20, 120)


def test_a_key_that_is_rotated_while_a_run_submits_is_looked_up_anew(
    task: Callable[..., BulkTask], emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = task(inputs=texts(40))
    write = run.store.set

    def rotate(key: str, value: Any, **how: Any) -> None:
        write(key, value, **how)
        if run.store.writes == 8:
            emulator.rotate_api_key("AQVNanother-key")
            known = json.loads(os.environ[CONNECTION])
            monkeypatch.setenv(CONNECTION, json.dumps({**known, "password": "AQVNanother-key"}))

    monkeypatch.setattr(run.store, "set", rotate)
    assert None not in run.attempt()
    assert run.submissions == 40
    assert emulator.stats()["responses"][SUBMIT]["401"] <= 5  # one group's


def test_a_key_that_cannot_be_read_leaves_no_suspicion(
    connect: Callable[..., None], emulator: Emulator, tmp_path: Path
) -> None:
    key = emulator.create_service_account_key()
    broken = {**key, "private_key": key["private_key"].replace("A", "B")}
    extra = {"folder_id": FOLDER, "service_account_json": broken}
    connect(host=emulator.url, extra=extra)
    run = BulkTask(emulator, inputs=texts(20), output_path=str(tmp_path / "out"))
    with pytest.raises(ConfigurationError, match="private key"):
        run.attempt()
    connect(host=emulator.url, extra={**extra, "service_account_json": key})
    manifest = run.attempt()
    assert (manifest["submissions"], manifest["lost_submissions"], run.submissions) == (20, 0, 20)


def test_a_connection_that_is_not_found_for_a_moment_ends_no_run_that_resumes(
    task: Callable[..., BulkTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = task(inputs=texts(10))
    wait, known = run._wait, os.environ[CONNECTION]

    def hiccup(trigger: Any) -> None:
        wait(trigger)
        monkeypatch.delenv(CONNECTION)
        sleep = run.clock.sleep

        def back(seconds: float) -> None:
            sleep(seconds)
            monkeypatch.setenv(CONNECTION, known)

        monkeypatch.setattr(run.clock, "sleep", back)

    monkeypatch.setattr(run, "_wait", hiccup)
    assert None not in run.attempt()
    assert run.submissions == 10


def test_nothing_but_429_is_told_as_it_is_tried_ever_less_and_ends_the_attempt_after_a_day(
    task: Callable[..., BulkTask], emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    emulator.fault(SUBMIT, "status", status=429, times=None, body={"code": 8, "message": "limit on generations"})
    run = task(inputs=texts(30), timeout=600)
    began = run.clock.now
    with pytest.raises(RateLimited):
        run.attempt()
    assert 24 * 3600 < run.clock.now - began < 25 * 3600
    assert len(run.deferrals) < 100
    told = capsys.readouterr().out
    assert "HTTP 429: limit on generations" in told
    assert "quota of submissions an hour is spent" not in told


def test_a_run_that_is_stopped_waits_for_no_quota(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    emulator.fault(SUBMIT, "operation_error", match="Row 1 ")
    emulator.fault(SUBMIT, "status", status=429, times=None, after=6, body={"code": 8, "message": "PerHour"})
    run = task(inputs=texts(30), row_retries=0, max_failed_rows=0, output_path=str(tmp_path / "out"))
    began = run.clock.now
    with pytest.raises(RowsFailed, match="max_failed_rows"):
        run.attempt()
    assert run.clock.now - began < 1500  # one pause: it is not known before that a row has failed


def test_a_quota_of_an_hour_that_the_service_names_is_told_as_that(
    task: Callable[..., BulkTask], emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    body = {"code": 8, "message": "quota ai.textGenerationAsyncRequestsPerHour.count exceeded"}
    emulator.fault(SUBMIT, "status", status=429, times=5, body=body)
    run = task(inputs=texts(30))
    assert None not in run.attempt()
    assert "The quota of submissions an hour is spent: waiting without a worker" in capsys.readouterr().out
    assert run.submissions == 30


def test_a_clock_that_is_set_back_lets_no_worker_wait_for_it(
    task: Callable[..., BulkTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = task(inputs=texts(30))
    write = run.store.set

    def set_back(key: str, value: Any, **how: Any) -> None:
        write(key, value, **how)
        if run.store.writes == 6:
            run.clock.now -= 600

    monkeypatch.setattr(run.store, "set", set_back)
    assert None not in run.attempt()
    assert max(run.clock.slept[:-1]) <= 30  # what the trigger waits for included


class Gate:
    """What stands before the writes of a store, each counted from 1."""

    def __init__(self, run: BulkTask, monkeypatch: pytest.MonkeyPatch, before: Callable[[int, str, Any], None]) -> None:
        write, self.writes = run.store.set, 0

        def gated(key: str, value: Any, **how: Any) -> None:
            self.writes += 1
            before(self.writes, key, value)
            write(key, value, **how)

        monkeypatch.setattr(run.store, "set", gated)


@pytest.mark.parametrize("broken", range(1, 16))
def test_a_write_of_the_state_that_fails_for_a_moment_costs_nothing(
    task: Callable[..., BulkTask],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    broken: int,
) -> None:
    run = task(inputs=texts(20), output_path=str(tmp_path / "out"), chunk_size=10)

    def fail(number: int, key: str, value: Any) -> None:
        if broken <= number < broken + 4:
            raise ConnectionError("the database restarts")

    assert Gate(run, monkeypatch, fail)
    manifest = run.attempt()
    assert (manifest["counts"]["succeeded"], manifest["lost_submissions"], run.submissions) == (20, 0, 20)
    told = capsys.readouterr().out
    assert told.count("can't be read or written (the database restarts)") == 1
    assert told.count("can be read and written again") == 1


def test_a_read_of_the_state_that_fails_for_a_moment_ends_no_run_that_resumes(
    task: Callable[..., BulkTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    run = task(inputs=texts(10))
    wait, sleep = run._wait, run.clock.sleep

    def hiccup(trigger: Any) -> None:
        wait(trigger)
        run.store.broken = {"get"}

    def mend(seconds: float) -> None:
        sleep(seconds)
        run.store.broken = set()

    monkeypatch.setattr(run, "_wait", hiccup)
    monkeypatch.setattr(run.clock, "sleep", mend)
    assert None not in run.attempt()


def test_a_state_that_cannot_be_written_ends_the_attempt_and_the_log_names_what_was_paid_for(
    task: Callable[..., BulkTask],
    emulator: Emulator,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = task(inputs=texts(20))
    down = [True]

    def fail(number: int, key: str, value: Any) -> None:
        if down[0] and emulator.stats()["submissions"] >= 10:
            raise ConnectionError("the disk is full")

    assert Gate(run, monkeypatch, fail)
    began = run.clock.now
    with pytest.raises(ConnectionError):
        run.attempt()
    assert run.submissions == 10
    assert 60 < run.clock.now - began < 120
    told = capsys.readouterr().out
    assert all(f"{operation['id']} (row " in told for operation in emulator.operations()[5:])
    down[0] = False
    assert None not in run.attempt()
    assert run.submissions == 25


@pytest.mark.parametrize("cut_off_at", ["the answers", "the write"])
def test_an_attempt_that_is_cut_off_in_a_group_writes_down_what_was_taken(
    task: Callable[..., BulkTask], emulator: Emulator, monkeypatch: pytest.MonkeyPatch, cut_off_at: str
) -> None:
    from airflow_provider.yandex_ai_studio.bulk.pool import Group

    run, outcomes = task(inputs=texts(20)), Group.outcomes
    cut = [False]

    def cut_off(group: Group) -> Any:
        submits = run.store.values[f"{KEY}_0"].get("intent")
        if submits and not cut[0]:
            cut[0] = True
            raise AirflowTaskTimeout
        return outcomes(group)

    def fail(number: int, key: str, value: Any) -> None:
        if emulator.stats()["submissions"] == 10 and not cut[0]:
            cut[0] = True
            raise AirflowTaskTimeout

    if cut_off_at == "the answers":
        monkeypatch.setattr(Group, "outcomes", cut_off)
    else:
        assert Gate(run, monkeypatch, fail)
    with pytest.raises(AirflowTaskTimeout):
        run.attempt()
    assert None not in run.attempt()
    assert run.submissions == 20


def test_a_group_whose_attempt_is_cut_off_begins_no_request_and_waits_for_those_it_has_begun() -> None:
    import threading
    from concurrent.futures import CancelledError

    from airflow_provider.yandex_ai_studio.bulk.pool import AT_ONCE, Pool

    go, begun, told, pool = threading.Event(), [], [], Pool()

    def ask(item: int) -> Any:
        begun.append(item)
        go.wait(10)
        return item

    group = pool.start(ask, range(20))
    while len(begun) < AT_ONCE:
        pass
    end = threading.Thread(target=lambda: told.extend(group.cut_short()))
    end.start()
    while not group._requests[-1].cancelled():
        pass
    assert not told
    go.set()
    end.join()
    pool.close()
    assert told[:AT_ONCE] == list(range(AT_ONCE))
    assert [type(outcome) for outcome in told[AT_ONCE:]] == [CancelledError] * (20 - AT_ONCE)
    assert len(begun) == AT_ONCE


def test_an_attempt_that_is_cut_off_as_it_writes_an_intent_leaves_no_suspicion(
    task: Callable[..., BulkTask], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = task(inputs=texts(20))
    write, cut = run.store.set, [False]

    def cut_off(key: str, value: Any, **how: Any) -> None:
        write(key, value, **how)
        if value.get("intent") and not cut[0]:
            cut[0] = True
            raise AirflowTaskTimeout

    monkeypatch.setattr(run.store, "set", cut_off)
    with pytest.raises(AirflowTaskTimeout):
        run.attempt()
    assert run.submissions == 0
    assert None not in run.attempt()
    assert run.submissions == 20
    assert "may have been billed" not in capsys.readouterr().out


def test_a_worker_that_can_t_begin_its_threads_submits_nothing(
    task: Callable[..., BulkTask], monkeypatch: pytest.MonkeyPatch
) -> None:
    import threading

    run, start, begun = task(inputs=texts(20)), threading.Thread.start, []

    def refuse(thread: threading.Thread) -> None:
        if thread.name.startswith("ThreadPoolExecutor"):
            begun.append(thread)
            if len(begun) == 3:
                raise RuntimeError("can't start new thread")
        start(thread)

    monkeypatch.setattr(threading.Thread, "start", refuse)
    with pytest.raises(RuntimeError, match="can't start new thread"):
        run.attempt()
    assert run.submissions == 0
    assert None not in run.attempt()
    assert run.submissions == 20


def test_answers_that_get_lost_for_half_a_minute_do_not_use_up_the_three_tries_of_one_row(
    task: Callable[..., BulkTask], emulator: Emulator
) -> None:
    run = task(inputs=texts(1))
    began, sleep = run.clock.now, run.clock.sleep
    emulator.fault(SUBMIT, "status", status=500, times=None)

    def mended_after_a_while(seconds: float) -> None:
        sleep(seconds)
        if run.clock.now - began > 30:
            emulator.clear_faults()

    run.clock.sleep = mended_after_a_while  # type: ignore[method-assign]
    assert len(run.attempt()) == run.submissions == 1


def test_it_is_said_that_a_free_question_fails_where_nothing_was_submitted(
    task: Callable[..., BulkTask], emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    emulator.fault(SUBMIT, "lost_answer", times=1)
    emulator.fault(QUESTION, "status", status=503, times=20)
    assert len(task(inputs=texts(10)).attempt()) == 10
    said = capsys.readouterr().out
    assert "A question that is free gets no answer" in said
    assert "takes no submissions" not in said
    assert "It is tried again with one row" not in said


def test_an_attempt_that_is_told_to_end_leaves_what_it_submitted_in_this_hour_to_the_next(
    task: Callable[..., BulkTask],
) -> None:
    run = task(inputs=texts(60))
    make, sleep = run.operator, run.clock.sleep
    operators: list[Any] = []

    def killed_after_a_while(seconds: float) -> None:
        sleep(seconds)
        if run.submissions >= 20:
            operators[-1].on_kill()

    def doomed() -> Any:
        operators.append(make())
        return operators[-1]

    run.clock.sleep, run.operator = killed_after_a_while, doomed  # type: ignore[method-assign]
    with pytest.raises(AirflowException, match="was told to end"):
        run.attempt()
    assert sum(run.store.values[KEY]["hour"].values()) == run.submissions >= 20
