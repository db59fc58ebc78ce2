"""A service that is slow, full, out of order or of another opinion."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.bulk.finish import COUNTS
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import (
    BadRequest,
    PermissionDenied,
    RowsFailed,
    ServiceUnavailable,
)
from bulk_task import API_KEY, FOLDER, BulkTask, rows_of, texts


def test_a_service_that_refuses_every_row_ends_the_run(task: Callable[..., BulkTask], emulator: Emulator) -> None:
    emulator.fault("completionAsync", "status", status=400, times=None)
    with pytest.raises(BadRequest):
        task(inputs=texts(200)).attempt()
    assert emulator.stats()["requests"]["completionAsync"] < 60
    emulator.clear_faults()
    emulator.fault("completionAsync", "status", status=403, times=None)
    with pytest.raises(PermissionDenied):
        task(inputs=texts(200)).attempt()


def test_few_rows_that_are_all_refused_alike_fail_without_a_retry_and_are_asked_again_after_a_clear(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    emulator.fault("completionAsync", "status", status=400, times=3)
    run = task(inputs=texts(2), output_path=str(tmp_path / "out"))
    with pytest.raises(BadRequest, match="Correct the request"):
        run.attempt()
    assert {row["error"]["type"] for row in rows_of(tmp_path / "out")} == {"refused"}
    run.parameters["on_row_error"] = "keep"
    assert run.attempt()["counts"] == {**dict.fromkeys(COUNTS, 0), "succeeded": 1, "errored": 1}


def test_a_few_rows_that_are_refused_are_kept_where_rows_that_fail_are(
    task: Callable[..., BulkTask], emulator: Emulator
) -> None:
    emulator.fault("completionAsync", "status", status=400, times=None)
    assert task(inputs=texts(2), on_row_error="keep").attempt() == [None, None]


def test_an_unknown_submission_is_counted_and_made_again(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    emulator.fault("completionAsync", "lost_answer", match="Row 3 ")
    run = task(inputs=texts(10), output_path=str(tmp_path / "out"))
    assert run.attempt()["lost_submissions"] == 1
    assert run.submissions == 11
    assert "1 row of chunk 0 may have been billed without a use" in capsys.readouterr().out


def test_the_quota_of_a_second_is_never_met(task: Callable[..., BulkTask], tmp_path: Path) -> None:
    run = task(inputs=texts(300), output_path=str(tmp_path / "out"))
    began = run.clock.now
    run.attempt()
    assert run.refusals == 0
    assert run.emulator.stats()["responses"]["operations.get"].get("429", 0) == 0
    assert run.clock.now - began < 1.2 * (30 + 20)


def test_a_429_slows_down_and_fails_nothing(task: Callable[..., BulkTask], emulator: Emulator) -> None:
    emulator.fault("completionAsync", "status", status=429, times=15, after=10)
    run = task(inputs=texts(40))
    assert None not in run.attempt()
    assert (run.submissions, run.refusals) == (40, 15)


def test_a_pace_above_the_quota_adapts_to_it(connect: Callable[..., None], emulator: Emulator, tmp_path: Path) -> None:
    connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER, "submits_per_second": 40})
    run = BulkTask(emulator, inputs=texts(300), output_path=str(tmp_path / "out"))
    began = run.clock.now
    assert run.attempt()["counts"]["succeeded"] == run.submissions == 300
    assert run.refusals < 150
    assert run.clock.now - began < 1.3 * (30 + 20)


@pytest.mark.parametrize(
    ("status", "asked", "least", "most"), [(429, "40", 40, 60), (503, "40", 40, 70), (429, "86400", 60, 90)]
)
def test_no_row_is_submitted_before_the_service_asks_for_it_nor_much_later(
    task: Callable[..., BulkTask], emulator: Emulator, status: int, asked: str, least: float, most: float
) -> None:
    emulator.fault("completionAsync", "status", status=status, headers={"Retry-After": asked}, times=3)
    run = task(inputs=texts(3))
    began = run.clock.now
    run.attempt()
    first = min(datetime.fromisoformat(each["created_at"]).timestamp() for each in emulator.operations())
    assert least <= first - began <= most
    assert run.submissions == 3


def test_a_read_that_meets_a_429_waits_for_its_turn_and_gives_nothing_up(
    task: Callable[..., BulkTask], emulator: Emulator
) -> None:
    run = task(inputs=texts(100))
    wait = run._wait

    def crowd(trigger: Any) -> None:
        wait(trigger)
        run.event = {"reason": "in a test", "chunks": [0]}
        if len(run.deferrals) == 1:
            emulator.fault("operations.get", "status", status=429, times=40, after=30)

    run._wait = crowd  # type: ignore[method-assign]
    assert None not in run.attempt()
    assert len(run.deferrals) == 1


def test_a_worker_that_meets_nothing_but_429_does_not_wait_for_its_turn_for_ever(
    task: Callable[..., BulkTask], emulator: Emulator
) -> None:
    run = task(inputs=texts(20))
    wait = run._wait
    worked = []

    def full(trigger: Any) -> None:
        worked.append(run.clock.now)
        wait(trigger)
        emulator.clear_faults()
        worked.append(run.clock.now)
        if len(run.deferrals) == 1:
            emulator.fault("operations.get", "status", status=429, times=None)

    run._wait = full  # type: ignore[method-assign]
    assert None not in run.attempt()
    assert len(run.deferrals) == 2
    assert 15 < worked[2] - worked[1] < 30


def test_a_service_out_of_order_keeps_no_worker(task: Callable[..., BulkTask], emulator: Emulator) -> None:
    emulator.fault("completionAsync", "status", status=503, times=60)
    run = task(inputs=texts(20))
    assert None not in run.attempt()
    assert run.submissions == 20
    assert any(deferral.trigger.wake_at for deferral in run.deferrals)


@pytest.mark.parametrize(
    ("host", "patience", "cause"),
    [
        (lambda emulator: emulator.url.replace("http://", "https://"), 300, "does not speak TLS"),
        (lambda _: "http://127.0.0.1:1", 1800, "connection refused"),
    ],
    ids=["no TLS", "nobody there"],
)
def test_a_service_that_is_never_reached_is_waited_for_until_a_time_that_a_warning_names(
    connect: Callable[..., None],
    emulator: Emulator,
    capsys: pytest.CaptureFixture[str],
    host: Callable[[Emulator], str],
    patience: int,
    cause: str,
) -> None:
    connect(host=host(emulator), password=API_KEY, extra={"folder_id": FOLDER})
    run = BulkTask(emulator, inputs=texts(3), timeout=1800)
    for _ in range(2):  # each attempt has its own patience
        began = run.clock.now
        with pytest.raises(ServiceUnavailable, match=cause):
            run.attempt()
        assert patience < run.clock.now - began < patience + 150
    said = capsys.readouterr().out
    assert cause in said
    until = datetime.strptime(said.rpartition("every 2 minutes, until ")[2][:23], "%Y-%m-%d %H:%M:%S %Z")
    assert patience - 1 < until.replace(tzinfo=UTC).timestamp() - began < patience + 30


def test_an_operation_that_takes_too_long_fails_its_row_and_another_attempt_takes_its_answer(
    connect: Callable[..., None], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=600) as emulator:
        connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER})
        run = BulkTask(emulator, inputs=texts(5), timeout=60, output_path=str(tmp_path / "out"))
        run.emulator_seconds = 60.0
        with pytest.raises(RowsFailed):
            run.attempt()
        assert {row["error"]["type"] for row in rows_of(tmp_path / "out")} == {"timeout"}
        assert capsys.readouterr().out.count("failed (timeout): Operation") == 5
        run.clock.sleep(600)
        assert run.attempt()["counts"]["succeeded"] == 5
        assert run.submissions == 5


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_one_look_that_fails_decides_nothing(task: Callable[..., BulkTask], emulator: Emulator, status: int) -> None:
    emulator.fault("operations.get", "status", status=status, times=3)
    run = task(inputs=texts(30))
    assert None not in run.attempt()
    assert run.submissions == 30


@pytest.mark.parametrize("output", [None, "out"])
def test_reads_that_fail_now_and_then_are_made_again_on_the_worker(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path, output: str | None
) -> None:
    for number in range(40):
        emulator.fault("operations.get", "status", status=(500, 503, 404)[number % 3], after=7 * number, times=1)
    run = task(inputs=texts(150), output_path=output and str(tmp_path / output))
    answers = run.attempt()
    assert (answers["counts"]["succeeded"] if output else len(answers)) == run.submissions == 150
    assert len(run.deferrals) <= 2
    reads = emulator.stats()["responses"]["operations.get"]
    assert sum(count for status, count in reads.items() if status != "200") > 20


@pytest.mark.parametrize("output", [None, "out"])
def test_a_worker_that_can_t_read_what_the_triggerer_can_is_started_ever_more_seldom(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path, output: str | None
) -> None:
    emulator.fault("operations.get", "status", status=503, times=None)
    run = task(inputs=texts(10), timeout=7200, output_path=output and str(tmp_path / output))
    with pytest.raises(RowsFailed, match="10 of 10"):
        run.attempt()
    assert 5 < len(run.deferrals) < 80  # two for each try: the trigger must see that they have ended
    emulator.clear_faults()
    answers = run.attempt()
    assert (answers["counts"]["succeeded"] if output else len(answers)) == run.submissions == 10


def test_a_read_that_fails_alone_ends_a_stretch_only_after_a_while(
    task: Callable[..., BulkTask], emulator: Emulator
) -> None:
    run = task(inputs=texts(10))
    wait = run._wait

    def one_fails(trigger: Any) -> None:
        wait(trigger)
        if len(run.deferrals) == 1:
            broken = emulator.operations()[3]["id"]
            emulator.fault("operations.get", "status", status=500, operation_id=broken, times=3)

    run._wait = one_fails  # type: ignore[method-assign]
    assert None not in run.attempt()
    assert len(run.deferrals) == 1


def test_a_refusal_that_the_trigger_met_again_and_again_fails_the_attempt(
    task: Callable[..., BulkTask], emulator: Emulator
) -> None:
    emulator.fault("operations.get", "status", status=403, times=None)
    run = task(inputs=texts(10))
    run.event = {"reason": "The service refuses", "refused": True}
    with pytest.raises(PermissionDenied):
        run.attempt()
    emulator.clear_faults()
    assert None not in run.attempt()
    assert run.submissions == 10


def test_a_refusal_that_the_trigger_met_is_over_once_a_read_is_answered(
    task: Callable[..., BulkTask], emulator: Emulator
) -> None:
    run = task(inputs=texts(100))
    wait = run._wait

    def refused(trigger: Any) -> None:
        wait(trigger)
        if len(run.deferrals) == 1:
            emulator.fault("operations.get", "status", status=403, after=40)
            run.event = {"reason": "The service refuses", "refused": True}

    run._wait = refused  # type: ignore[method-assign]
    assert None not in run.attempt()
    assert emulator.stats()["responses"]["operations.get"]["403"] == 1


@pytest.mark.parametrize("status", [401, 404, 429, 503])
def test_one_look_that_fails_after_the_timeout_does_not_make_an_operation_late(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path, status: int
) -> None:
    run = task(inputs=texts(20), timeout=600, on_row_error="keep", output_path=str(tmp_path / "out"))

    def miss(trigger: Any) -> None:
        run.clock.sleep(620)
        if len(run.deferrals) == 1:
            broken, stumbles = (emulator.operations()[number]["id"] for number in (0, 7))
            emulator.fault("operations.get", "status", status=503, operation_id=broken, times=None)
            emulator.fault("operations.get", "status", status=status, operation_id=stumbles)

    run._wait = miss  # type: ignore[method-assign]
    assert run.attempt()["counts"]["errored"] == 1
    (failed,) = [row for row in rows_of(tmp_path / "out") if row["status"] != "success"]
    assert (failed["error"]["operation_id"], failed["error"]["type"]) == (emulator.operations()[0]["id"], "timeout")
    assert "could not be read until `timeout` had passed" in failed["error"]["message"]
    assert "503" in failed["error"]["message"]


def test_an_operation_that_is_gone_for_good_is_replaced(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    run = task(inputs=texts(10), output_path=str(tmp_path / "out"))
    wait = run._wait

    def lose_one(trigger: Any) -> None:
        gone = emulator.operations()[3]["id"]
        if not run.event.get("expired"):
            emulator.fault("operations.get", "status", status=404, operation_id=gone, times=None)
            run.event = {"reason": "in a test", "expired": [gone]}
        wait(trigger)

    run._wait = lose_one  # type: ignore[method-assign]
    assert run.attempt()["counts"]["succeeded"] == 10
    assert run.submissions == 11


def test_the_last_operation_that_is_gone_is_replaced_though_no_other_is_left_to_tell_by(
    task: Callable[..., BulkTask], emulator: Emulator
) -> None:
    run = task(inputs=texts(1))
    wait = run._wait

    def lose_it(trigger: Any) -> None:
        wait(trigger)
        run.event = None
        if len(run.deferrals) == 1:
            gone = emulator.operations()[0]["id"]
            emulator.fault("operations.get", "status", status=404, operation_id=gone, times=None)
            run.event = {"reason": "in a test", "expired": [gone]}

    run._wait = lose_it  # type: ignore[method-assign]
    assert len(run.attempt()) == 1
    assert run.submissions == 2
    assert len(run.deferrals) <= 3


@pytest.mark.parametrize("output", [None, "out"])
def test_operations_that_are_all_gone_at_once_are_not_paid_for_again(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path, output: str | None
) -> None:
    """A gateway that has lost its route says so of each, for longer than the trigger has patience."""
    run = task(inputs=texts(30), chunk_size=10, output_path=str(tmp_path / output) if output else None)
    wait = run._wait

    def lose_the_way(trigger: Any) -> None:
        wait(trigger)
        if len(run.deferrals) == 1:
            emulator.fault("operations.get", "status", status=404, times=None)
        if len(run.deferrals) < 4:
            run.event = {
                "reason": "in a test",
                "chunks": [0, 1, 2],
                "expired": [operation["id"] for operation in emulator.operations()],
            }
        else:
            emulator.clear_faults()

    run._wait = lose_the_way  # type: ignore[method-assign]
    answers = run.attempt()
    assert (answers["counts"]["succeeded"] if output else len(answers)) == run.submissions == 30
    assert len(run.deferrals) >= 4


def test_a_chunk_with_an_operation_that_runs_on_is_not_read_at_each_wakeup(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    run = task(inputs=texts(60), output_path=str(tmp_path / "out"), chunk_size=20)
    wait, reads = run._wait, []

    def note(trigger: Any) -> None:
        reads.append(emulator.stats()["requests"].get("operations.get", 0))
        wait(trigger)
        run.event = {"reason": "in a test", "chunks": [] if len(reads) < 4 else [0, 1, 2]}

    run._wait = note  # type: ignore[method-assign]
    assert run.attempt()["counts"]["succeeded"] == 60
    assert len(reads) == 4
    assert reads[0] == reads[-1]
