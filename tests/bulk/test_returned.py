"""A run without an output: its answers are nowhere but in the memory of a worker, until the task returns them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.bulk.chunks import MOST_OPEN, Chunks
from airflow_provider.yandex_ai_studio.bulk.run import Run
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import RowsFailed
from bulk_task import BulkTask, texts


@pytest.mark.parametrize(("rows", "chunk_size"), [(60, 20), (300, 250)])
def test_a_run_of_several_chunks_is_read_in_one_stretch_once_all_have_ended(
    task: Callable[..., BulkTask], rows: int, chunk_size: int
) -> None:
    run = task(inputs=texts(rows), chunk_size=chunk_size)
    run.most_stretches = 4
    answers = run.attempt()
    assert all(f"number {number}." in answer for number, answer in enumerate(answers))
    assert (len(answers), run.submissions) == (rows, rows)
    assert len(run.deferrals) == 1
    assert set(run.deferrals[0].trigger.chunks) == {"0"}


def test_rows_that_are_asked_again_are_waited_for_together(task: Callable[..., BulkTask], emulator: Emulator) -> None:
    emulator.fault("completionAsync", "operation_error", match="Row 3", times=8)
    run = task(inputs=texts(60), chunk_size=20)
    run.most_stretches = 6
    assert len(run.attempt()) == 60
    assert run.submissions == 68


def test_a_run_that_meets_the_quota_of_an_hour_wakes_up_to_submit_and_returns_all_rows(
    task: Callable[..., BulkTask], emulator: Emulator
) -> None:
    emulator.fault("completionAsync", "status", status=429, after=30, times=6, body={"code": 8, "message": "PerHour"})
    run = task(inputs=texts(60), chunk_size=20)
    run.most_stretches = 6
    assert len(run.attempt()) == run.submissions == 60
    assert (run.deferrals[0].trigger.chunks, run.deferrals[-1].trigger.wake_at) == ({}, None)


def test_no_row_is_left_out_however_many_chunks_there_are(task: Callable[..., BulkTask]) -> None:
    rows = 3 * (MOST_OPEN + 7) - 1
    run = task(inputs=texts(rows), chunk_size=3)
    answers = run.attempt()
    assert [f"number {number}." in answers[number] for number in range(rows)] == [True] * rows


@pytest.mark.parametrize("output", [None, "out"])
def test_a_row_without_a_place_is_an_error_and_never_a_shorter_result(
    task: Callable[..., BulkTask], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: str | None
) -> None:
    run = task(inputs=[*texts(6), *texts(2)], chunk_size=4, output_path=output and str(tmp_path / output))
    found = Chunks.far_twins
    with monkeypatch.context() as patch:
        patch.setattr(Chunks, "far_twins", lambda _: {})
        with pytest.raises(RowsFailed, match="6 rows have a place in the result, and 8 were given"):
            run.attempt()
    assert Chunks.far_twins is found
    answered: Any = run.attempt()
    assert (answered["counts"]["succeeded"] if output else len(answered)) == 8
    assert run.submissions == 6


@pytest.mark.parametrize("output", [None, "out"])
def test_a_row_that_was_never_asked_though_nothing_stopped_the_run_is_an_error(
    task: Callable[..., BulkTask], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, output: str | None
) -> None:
    run = task(inputs=texts(6), output_path=output and str(tmp_path / output))
    with monkeypatch.context() as patch:
        patch.setattr(Run, "go", lambda _: None)
        with pytest.raises(RowsFailed):
            run.attempt()
    run.attempt()
    assert run.submissions == 6
