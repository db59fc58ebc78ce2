"""One stretch on a worker, by value: when it ends, what it waits for, and what it tells meanwhile."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.bulk import run as module
from airflow_provider.yandex_ai_studio.bulk.chunks import Chunks
from airflow_provider.yandex_ai_studio.bulk.money import Bounds
from airflow_provider.yandex_ai_studio.bulk.progress import metrics_between
from airflow_provider.yandex_ai_studio.bulk.run import Pause, Run
from airflow_provider.yandex_ai_studio.bulk.tally import Tally
from airflow_provider.yandex_ai_studio.bulk.wakeup import Wakeup
from bulk_scene import AWAY, FULL_HOUR, LOST, MODEL, NOW, PRICE, USED, WRONG, Scene, done, failed, taken

BEGAN = (NOW - 100.0, 2)


def run_of(scene: Scene, chunks: Chunks, *, wakeup: Wakeup | None = None, check: Any = None, **limits: Any) -> Run:
    return Run(
        chunks,
        hook=scene.hook,
        base=scene.base,
        limits=scene.limits(**limits),
        began=BEGAN,
        wakeup=wakeup or Wakeup(),
        check=check or (lambda: None),
        log=scene.log,
    )


def all_run(scene: Scene, rows: int) -> None:
    """Let no operation end."""
    scene.looks = {f"op{row}": [taken(f"op{row}")] for row in range(rows)}


def test_a_run_ends_when_each_row_has_its_answer_and_lets_its_threads_go() -> None:
    scene = Scene(12)
    chunks, before = scene.chunks(), threading.active_count()
    assert run_of(scene, chunks).go() is None
    assert [chunks.open[0].answers[row].output for row in range(12)] == ["Quack."] * 12
    assert threading.active_count() == before
    assert scene.now - NOW < 3


def test_a_chunk_is_closed_as_soon_as_it_is_complete(tmp_path: Path) -> None:
    scene = Scene(6, chunk_size=2, output=tmp_path)
    scene.looks = {"op0": [taken("op0")]}
    chunks = scene.chunks()
    pause = run_of(scene, chunks).go()
    assert (list(chunks.open), list(chunks.head.done)) == ([0], [1, 2])
    assert pause == Pause(BEGAN, {0: [("op0", NOW), ("op1", NOW)]}, None, "2 operations are under way", {})


def test_a_task_waits_by_chunk_for_the_operations_that_are_not_read_yet(tmp_path: Path) -> None:
    scene = Scene(4, chunk_size=2, output=tmp_path)
    all_run(scene, 4)
    pause = run_of(scene, scene.chunks()).go()
    assert pause
    assert pause.waits == {0: [("op0", NOW), ("op1", NOW)], 1: [("op2", NOW + 0.5), ("op3", NOW + 0.5)]}
    assert (pause.wake_at, pause.why) == (None, "4 operations are under way")


def test_rows_that_are_returned_are_waited_for_together() -> None:
    scene = Scene(4, chunk_size=2)
    all_run(scene, 4)
    pause = run_of(scene, scene.chunks()).go()
    assert pause
    assert pause.waits.keys() == {0}
    assert [known for known, _ in pause.waits[0]] == ["op0", "op1", "op2", "op3"]


def test_one_operation_is_told_as_one_and_what_was_read_is_handed_on() -> None:
    scene = Scene(2)
    all_run(scene, 1)
    chunks = scene.chunks()
    opened = chunks.begin_next()
    opened.chunk.submitted(0, "op0", NOW - 50)
    opened.chunk.submitted(1, "op1", NOW - 60)  # it is read first
    pause = run_of(scene, chunks).go()
    assert pause == Pause(
        BEGAN,
        {0: [("op0", NOW - 50)]},
        None,
        "1 operation is under way",
        {"0": Tally((1, 0, 0, 0, 0, 0), USED).value()},
    )


def test_no_more_is_watched_than_the_database_bears(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WATCHED", 3)
    scene = Scene(6, chunk_size=2, output=tmp_path)
    all_run(scene, 6)
    pause = run_of(scene, scene.chunks()).go()
    assert pause
    assert {number: [known for known, _ in each] for number, each in pause.waits.items()} == {
        0: ["op0", "op1"],
        1: ["op2"],
    }
    assert pause.why == "6 operations are under way"


def test_a_quota_is_waited_for_beside_chunks_that_may_end_meanwhile(tmp_path: Path) -> None:
    scene = Scene(6, chunk_size=2, output=tmp_path, per_second=4.0)
    all_run(scene, 6)
    scene.sends = {3: [FULL_HOUR]}
    pause = run_of(scene, scene.chunks()).go()
    assert pause
    assert pause.waits == {0: [("op0", NOW), ("op1", NOW)]}  # of the second one a row waits for the quota itself
    assert (pause.why, pause.wake_at) == ("The quota of submissions an hour is spent", scene.now + 1200)


def test_rows_that_are_returned_are_not_read_before_the_quota_opens() -> None:
    scene = Scene(6, chunk_size=2, per_second=4.0)
    all_run(scene, 6)
    scene.sends = {3: [FULL_HOUR]}
    pause = run_of(scene, scene.chunks()).go()
    assert pause
    assert pause == Pause(BEGAN, {}, scene.now + 1200, "The quota of submissions an hour is spent", {})


def test_what_ended_and_can_t_be_read_is_waited_for_or_what_comes_sooner(tmp_path: Path) -> None:
    scene = Scene(2, output=tmp_path)
    scene.looks = {"op0": [AWAY]}
    chunks = scene.begun(ago=10.0)
    pause = run_of(scene, chunks, wakeup=Wakeup(chunks=(0,))).go()
    seen = {"0": Tally((1, 0, 0, 0, 0, 0), USED).value()}
    why = "Operations have ended, and this worker gets no answer about them"
    assert pause == Pause(BEGAN, {}, scene.now + 60.0, why, seen)
    for after, sooner in ((30.0, "a quota"), (90.0, why)):
        run = run_of(scene, chunks)
        run._harvesting.pause, run._submitting.pause = (NOW + 60, why), (NOW + after, "a quota")
        assert run._pause() == Pause(BEGAN, {}, NOW + min(60, after), sooner, seen)
    run._submitting.pause = None
    chunks.open.clear()
    assert run._pause() is None  # it was read after all
    run._pool.close()


def test_the_pause_ends_no_sooner_than_an_operation_may_take() -> None:
    assert Pause(BEGAN, {}, None, "", {}).ends_at(NOW, 600) == NOW + 600
    assert Pause(BEGAN, {}, NOW + 50, "", {}).ends_at(NOW, 600) == NOW + 600
    assert Pause(BEGAN, {}, NOW + 900, "", {}).ends_at(NOW, 600) == NOW + 900


def test_between_its_rounds_a_worker_sleeps_as_long_as_nothing_is_to_do() -> None:
    scene = Scene(12)
    all_run(scene, 12)
    run_of(scene, scene.chunks()).go()
    assert scene.slept == [0, pytest.approx(0.5), 0, pytest.approx(0.5), 0]


def test_an_attempt_ends_between_two_groups_where_it_must() -> None:
    class End(Exception):
        pass

    scene, checks = Scene(20), []

    def check() -> None:
        checks.append(len(scene.submitted()))
        if len(checks) == 4:
            raise End

    before = threading.active_count()
    with pytest.raises(End):
        run_of(scene, scene.chunks(), check=check).go()
    assert checks == [0, 5, 5, 10]
    assert threading.active_count() == before
    assert len(scene.lines) == 2  # at the beginning, and what has come of it


def test_no_row_is_asked_again_once_the_run_is_stopped() -> None:
    scene = Scene(3)
    scene.sends, scene.looks = {0: [WRONG]}, {"op1": [failed("op1")]}
    chunks = scene.chunks()
    run = run_of(scene, chunks, max_failed_rows=0)
    assert run.go() is None
    assert run.stopped == "max_failed_rows"
    assert sorted(scene.submitted()) == [0, 1, 2]
    assert chunks.open[0].answers[1].status == "error"


def test_the_log_hears_of_what_is_lost_and_of_what_is_asked_again() -> None:
    scene = Scene(2)
    scene.sends, scene.looks = {0: [LOST]}, {"op1": [failed("op1"), done("op1")]}
    assert run_of(scene, scene.chunks()).go() is None
    told = " ".join(scene.lines)
    assert "1 row of chunk 0 may have been billed without a use." in told
    assert "Row 1: operation_failed. It is asked again (1 of 1)." in told


def test_what_stops_a_run_and_what_all_rows_were_refused_with_is_told() -> None:
    scene = Scene(2)
    scene.sends = {0: [WRONG], 1: [WRONG]}
    run = run_of(scene, scene.chunks())
    assert run.go() is None
    assert (run.refused_alike, run.stopped) == (WRONG, None)


def test_the_log_hears_of_the_progress_each_half_minute_and_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    monkeypatch.setattr(module, "tell", lambda *metrics, tags: told.append((metrics, tags)))
    scene = Scene(5)
    scene.looks = {"op0": [AWAY] * 3 + [done("op0")]}
    chunks = scene.chunks()
    opened = chunks.begin_next()
    opened.chunk.submitted(0, "op0", NOW - 500)
    opened.chunk.conclude(1, "error", None, USED)
    chunks.recall({"0": Tally((1, 0, 0, 0, 0, 0), USED).value()})
    run = run_of(scene, chunks, bounds=Bounds(price=PRICE))
    run._tell()
    assert scene.lines == [
        "2 of 5 rows done (1 to be read again with their chunk), 0 running, 1 failed; 30 tokens; 40.00 RUB; "
        "2 rows done before this attempt"
    ]
    scene.now += 29.9
    run._tell()
    assert len(scene.lines) == 1
    scene.now += 0.1
    run._tell()
    assert len(scene.lines) == 2
    run._tell(force=True)
    assert len(scene.lines) == 3
    run._pool.close()
    assert told[0][0] == metrics_between(Tally(), Tally(spent=USED, submissions=1))
    assert [each[0] for each in told][1:] == [metrics_between(Tally(), Tally())] * 2
    assert all(each[1] == module.tags_of("studio", MODEL) for each in told)


def test_the_pace_is_that_of_the_attempt() -> None:
    scene = Scene(1000, chunk_size=1000)
    chunks = scene.begun()
    for row in range(102):
        chunks.open[0].chunk.conclude(row, "error", None, USED)
    run = run_of(scene, chunks)
    run._tell()
    run._pool.close()
    assert scene.lines[0].endswith("3600 rows an hour, 15 min left")
