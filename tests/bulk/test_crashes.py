"""A bulk run that is killed again and again ends with each row once, and pays for what was in flight at most."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider.yandex_ai_studio.bulk.folder import Folder
from airflow_provider.yandex_ai_studio.emulator import Emulator
from bulk_task import API_KEY, FOLDER, BulkTask, Killed, rows_of

ROWS = 60
GROUP = 5
"""Submissions of a round at 10 a second."""


def a_run(emulator: Emulator, connect: Callable[..., None], path: Path, rows: int = ROWS) -> BulkTask:
    connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER, "submits_per_second": 10})
    inputs = [f"Row {number} is about ducks that number {number}." for number in range(rows)]
    return BulkTask(emulator, inputs=inputs + inputs[:7], output_path=str(path), chunk_size=20)


@pytest.mark.parametrize("seed", range(12))
def test_a_run_killed_at_any_write_ends_with_each_row_once_and_tells_what_it_may_have_lost(
    connect: Callable[..., None], tmp_path: Path, seed: int, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(seed)
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=5, seconds_max=20, enforce_quotas=True) as emulator:
        for row in chance.sample(range(ROWS), 3):
            emulator.fault("completionAsync", "operation_error", match=f"Row {row} ")
        run = a_run(emulator, connect, tmp_path / "out")
        kills = 0
        while kills < 6:
            run.store.deadly = run.store.writes + chance.randrange(1, 12)
            run.store.after = chance.random() < 0.5
            try:
                run.attempt()
                break
            except Killed:
                kills += 1
            run.store.deadly = None
        run.store.deadly = None
        manifest = run.attempt()
        rows = rows_of(tmp_path / "out")
        assert [row["index"] for row in rows] == list(range(ROWS + 7))
        assert all(f"number {row['index'] % ROWS}." in row["output"] for row in rows)
        lost = manifest["lost_submissions"]
        assert lost <= kills * GROUP
        assert manifest["submissions"] == ROWS + manifest["repeated_rows"]
        assert manifest["submissions"] <= run.submissions <= manifest["submissions"] + lost
        told = capsys.readouterr().out
        assert ("may have been billed without a use" in told) == (lost > 0)


def test_a_run_killed_at_half_and_resumed_submits_two_percent_more_at_most(
    connect: Callable[..., None], tmp_path: Path
) -> None:
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=5, seconds_max=20, enforce_quotas=True) as emulator:
        run = a_run(emulator, connect, tmp_path / "out", rows=300)
        run.store.deadly, run.store.after = 70, False
        while emulator.stats()["submissions"] < 150:
            with pytest.raises(Killed):
                run.attempt()
            run.store.deadly = None if emulator.stats()["submissions"] >= 150 else run.store.writes + 70
        run.store.deadly = None
        assert run.attempt()["counts"]["succeeded"] == 307
        assert run.submissions <= 306


def test_a_part_is_never_seen_half(
    connect: Callable[..., None], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=5) as emulator:
        run = a_run(emulator, connect, tmp_path / "out")
        run.attempt()
        whole = {path.name: path.read_bytes() for path in (tmp_path / "out").glob("part-*")}

        def half(path: Path, data: bytes) -> int:
            with path.open("wb") as file:
                file.write(data[: len(data) // 2])
            raise Killed

        folder = Folder(str(tmp_path / "out"), "jsonl")
        monkeypatch.setattr(Path, "write_bytes", half)
        with pytest.raises(Killed):
            folder.write_part(0, folder.read_part(1))
        assert {path.name: path.read_bytes() for path in (tmp_path / "out").glob("part-*")} == whole


def test_a_part_that_is_written_again_has_the_same_bytes(connect: Callable[..., None], tmp_path: Path) -> None:
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=5) as emulator:
        run = a_run(emulator, connect, tmp_path / "out")
        run.attempt()
        for form in ("jsonl", "parquet"):
            folder = Folder(str(tmp_path / form), form)
            folder.path.mkdir()
            rows = Folder(str(tmp_path / "out"), "jsonl").read_part(0)
            folder.write_part(0, rows)
            once = (tmp_path / form / folder.part_name(0)).read_bytes()
            assert folder.read_part(0) == rows
            folder.write_part(0, folder.read_part(0))
            assert (tmp_path / form / folder.part_name(0)).read_bytes() == once


def test_a_part_that_is_gone_is_generated_anew(connect: Callable[..., None], tmp_path: Path) -> None:
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=5) as emulator:
        run = a_run(emulator, connect, tmp_path / "out")
        run.attempt()
        (tmp_path / "out" / "part-00001.jsonl").unlink()
        assert run.attempt()["counts"]["succeeded"] == ROWS + 7
        assert run.submissions == ROWS + 20


def test_a_task_that_is_cleared_after_it_succeeded_pays_for_nothing(
    connect: Callable[..., None], tmp_path: Path
) -> None:
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=5) as emulator:
        run = a_run(emulator, connect, tmp_path / "out")
        first = run.attempt()
        again = run.attempt()
        assert {**again, "completed_at": None} == {**first, "completed_at": None}
        assert run.submissions == ROWS
