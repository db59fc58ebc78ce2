"""The end of a run by value: the rows that are returned, the parts that are still to be written, and the manifest."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from airflow_provider.yandex_ai_studio.api.models import Usage
from airflow_provider.yandex_ai_studio.bulk import finish
from airflow_provider.yandex_ai_studio.bulk.folder import OWNER
from airflow_provider.yandex_ai_studio.bulk.ledger import KEY
from airflow_provider.yandex_ai_studio.bulk.result import Result
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError, RowsFailed
from bulk_scene import MODEL, NOW, PRICE, Scene

GOOD = Result("success", "Quack.", model="v1", usage=Usage(10, 5, 15, 1), finish_reason="final")


def test_rows_that_are_returned_are_in_the_order_of_the_inputs() -> None:
    scene = Scene(["a", "b", "a", "c", "b", "a"], chunk_size=2)
    chunks = scene.begun()
    for opened in chunks.open.values():
        opened.answers = {row: Result("success", f"{opened.chunk.number}-{row}") for row in opened.chunk.asked}
    rows = finish.rows_in_order(chunks)
    assert [row["output"] for row in rows] == ["0-0", "0-1", "0-0", "1-1", "0-1", "0-0"]
    assert [row["index"] for row in rows] == [*range(6)]
    assert [row["custom_id"] for row in rows] == [f"row-{index}" for index in range(6)]


def test_a_row_without_a_place_shifts_no_answer_to_another_row() -> None:
    scene = Scene(3)
    chunks = scene.begun()
    chunks.open[0].answers = {0: GOOD, 2: GOOD}
    with pytest.raises(RowsFailed, match="2 rows have a place in the result, and 3 were given"):
        finish.rows_in_order(chunks)


ABOUT = {"llm_conn_id": "studio", "model_id": MODEL}


def test_the_end_of_a_run_writes_all_that_is_still_to_be_written_and_the_manifest_last(tmp_path: Path) -> None:
    rows = ["a", "b", "a", "b", "c", "a", "d", "a", "e"]
    scene = Scene(rows, chunk_size=2, output=tmp_path, price=PRICE)
    chunks = scene.chunks()
    assert scene.folder
    for opened in (chunks.begin_next(), chunks.begin_next()):
        for row in opened.chunk.asked:
            opened.chunk.submitted(row, f"op{row}", NOW)
            opened.answers[row] = GOOD
    manifest = finish.write_end(chunks, scene.folder, ABOUT, PRICE, NOW + 60)
    assert [row["index"] for row in scene.folder.read_part("twins-00000")] == [2, 5]
    assert [row["index"] for row in scene.folder.read_part("twins-00001")] == [7, 3]
    assert [row["custom_id"] for row in scene.folder.read_part("twins-00001")] == ["row-7", "row-3"]
    assert manifest == {
        "schema_version": 1,
        "batch_id": scene.plan.fingerprint[:32],
        "adapter": "yandex_ai_studio",
        **ABOUT,
        "result_uri": str(tmp_path),
        "parts": [
            "part-00000.jsonl",
            "part-00002.jsonl",
            "part-00003.jsonl",
            "part-00004.jsonl",
            "part-twins-00000.jsonl",
            "part-twins-00001.jsonl",
        ],
        "output_format": "jsonl",
        "request_count": 9,
        "counts": {
            "succeeded": 6,
            "errored": 0,
            "invalid_output": 0,
            "expired": 0,
            "cancelled": 0,
            "missing": 3,
        },
        "duplicate_result_count": 0,
        "out_of_range_result_count": 0,
        "ordered": False,
        "rejoin_key": "index",
        "custom_id_prefix": "row",
        "terminal_reason": "partial",
        "submitted_at": "2027-01-15T08:00:00+00:00",
        "completed_at": "2027-01-15T08:01:00+00:00",
        "usage": Usage(20, 10, 30, 2).as_dict(),
        "cost": 40.0,
        "currency": "RUB",
        "submissions": 2,
        "lost_submissions": 0,
        "repeated_rows": 0,
        "fingerprint": scene.plan.fingerprint,
    }
    assert json.loads((tmp_path / "manifest.json").read_text()) == manifest


def test_a_result_with_more_or_fewer_rows_than_were_given_has_no_manifest(tmp_path: Path) -> None:
    scene = Scene(["a", "b", "a"], chunk_size=2, output=tmp_path)
    chunks = scene.begun()
    assert scene.folder
    finish.close_all(chunks)
    del scene.store.values[f"{KEY}_1"]  # the store has forgotten that the third row is the same as the first
    with pytest.raises(RowsFailed, match="2 rows have a place in the result, and 3 were given"):
        finish.write_end(chunks, scene.folder, {}, None, NOW)
    assert not (tmp_path / "manifest.json").exists()


def test_an_end_that_another_run_has_taken_the_folder_of_writes_nothing(tmp_path: Path) -> None:
    scene = Scene(["a", "a"], chunk_size=1, output=tmp_path)
    chunks = scene.begun()
    assert scene.folder
    finish.close_all(chunks)
    (tmp_path / OWNER).write_text('{"fingerprint": "another"}')
    with pytest.raises(ConfigurationError, match="another run has taken"):
        finish.write_end(chunks, scene.folder, {}, None, NOW)
    assert sorted(path.name for path in tmp_path.iterdir()) == [OWNER, "part-00000.jsonl", "part-00001.jsonl"]


def test_a_row_that_no_other_is_the_same_as_has_its_place_in_its_own_part_alone(tmp_path: Path) -> None:
    scene = Scene(["a", "b", "a"], chunk_size=2, output=tmp_path)
    (tmp_path / OWNER).write_text(json.dumps({"fingerprint": scene.plan.fingerprint}))
    assert scene.folder
    manifest = finish.write_end(scene.begun(), scene.folder, {}, None, NOW)
    assert [row["index"] for row in scene.folder.read_part("twins-00000")] == [2]
    assert manifest["parts"] == ["part-00000.jsonl", "part-twins-00000.jsonl"]
