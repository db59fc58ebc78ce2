"""The output of a bulk run, opened by those who read it: pandas, pyarrow, duckdb, and the way common.ai shows."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import duckdb
import pandas
import pyarrow.dataset
import pytest
from airflow.sdk import ObjectStoragePath
from pydantic import BaseModel

from airflow_provider.yandex_ai_studio.emulator import Emulator
from bulk_task import API_KEY, FOLDER, BulkTask

AWKWARD = 'Утка №7 \u2028 is\u0085 "blue",\u2029 {{ no_template }} 🦆.'
"""What some take for the ends of lines."""

PAGE = (Path(__file__).parents[2] / "docs" / "bulk.md").read_text()

OF_COMMON_AI = {
    "schema_version": 1,
    "ordered": False,
    "rejoin_key": "index",
    "request_count": 7,
    "counts": {"succeeded": 6, "errored": 1, "invalid_output": 0, "expired": 0, "cancelled": 0, "missing": 0},
    "terminal_reason": "partial",
    "duplicate_result_count": 0,
    "out_of_range_result_count": 0,
    "structured": False,
    "output_type_ref": None,
}
"""What the manifest of common.ai 1.0.0 says of such rows."""

NAMED_BY_COMMON_AI = {
    "custom_id",
    "index",
    "status",
    "output",
    "raw_output",
    "error",
    "model",
    "usage",
    "finish_reason",
}
"""What its rows hold."""

Rows = list[tuple[str, int, str, Any, Any]]


class Note(BaseModel):
    """The form of an answer."""

    title: str


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=5, seconds_max=20) as running:
        yield running


@pytest.fixture
def manifest_of(emulator: Emulator, connection: None, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Run a task of rows that succeed, fail, and are the same as one of another part; return its manifest."""

    def make(**parameters: Any) -> dict[str, Any]:
        texts = [AWKWARD, "2026-01-05", "5", "Row 3 is doomed.", "Row 4 is blue.", AWKWARD, "5"]
        rows = [{"id": f"00{number}", "text": text} for number, text in enumerate(texts)]
        emulator.fault("completionAsync", "operation_error", match="doomed", times=None)
        task = BulkTask(
            emulator,
            inputs=rows,
            id_field="id",
            prompt="{{ row.text }}",
            chunk_size=2,
            on_row_error="keep",
            output_path=str(tmp_path / "out"),
            **parameters,
        )
        manifest: dict[str, Any] = task.attempt()
        assert len(manifest["parts"]) == 4  # the last chunk has no row of its own
        return manifest

    return make


def answers(output: Callable[[str], Any] = lambda text: text) -> Rows:
    texts = [AWKWARD, "2026-01-05", "5", None, "Row 4 is blue.", AWKWARD, "5"]
    return [
        (f"00{number}", number, "success" if text else "error", output(text) if text else None, None if text else True)
        for number, text in enumerate(texts)
    ]


def told(rows: list[dict[str, Any]]) -> Rows:
    """Return what every reader must see; what is missing is None to some and NaN to others."""
    found = []
    for row in sorted(rows, key=lambda row: row["index"]):
        output, error = (None if isinstance(row[name], float) else row[name] for name in ("output", "error"))
        found.append((row["custom_id"], row["index"], row["status"], output, error and bool(error["message"])))
    return found


def paths(manifest: dict[str, Any]) -> list[str]:
    return [f"{manifest['result_uri']}/{part}" for part in manifest["parts"]]


def shown(reader: str, form: str) -> str:
    """Return how the page on bulk runs says that a reader reads."""
    row = next(line for line in PAGE.splitlines() if line.startswith(f"| {reader} |"))
    return row.split("|")[{"jsonl": 2, "parquet": 3}[form]].strip(" `")


def read(reader: str, manifest: dict[str, Any], form: str) -> Any:
    """Read an output as the page shows it."""
    known = {"pandas": pandas, "pyarrow": pyarrow, "files": paths(manifest)}
    return eval(shown(reader, form), known)


def test_the_loop_of_the_page_reads_answers_by_id(manifest_of: Callable[..., dict[str, Any]]) -> None:
    known: dict[str, Any] = {"manifest": manifest_of(), "json": json, "ObjectStoragePath": ObjectStoragePath}
    exec(PAGE.split("### Reading it")[1].split("```python\n")[1].split("```")[0], known)
    assert known["answers"] == {custom_id: output for custom_id, _, _, output, _ in answers()}


def test_pandas_reads_json_lines(manifest_of: Callable[..., dict[str, Any]]) -> None:
    assert told(read("pandas", manifest_of(), "jsonl").to_dict("records")) == answers()


def test_pandas_reads_values_in_json_lines(manifest_of: Callable[..., dict[str, Any]]) -> None:
    frame = read("pandas", manifest_of(json_schema=Note), "jsonl")
    assert told(frame.to_dict("records")) == answers(lambda text: {"title": text})


def test_duckdb_reads_json_lines(manifest_of: Callable[..., dict[str, Any]]) -> None:
    uri = manifest_of()["result_uri"]
    with duckdb.connect() as database:
        rows = database.sql(shown("duckdb", "jsonl").replace("…", uri)).fetchall()
    names = ("custom_id", "index", "status", "output", "error")
    found = [dict(zip(names, row, strict=True)) for row in rows]
    assert told([{**row, "error": row["error"] and json.loads(row["error"])} for row in found]) == answers()


def test_pyarrow_reads_parquet(manifest_of: Callable[..., dict[str, Any]]) -> None:
    assert told(read("pyarrow", manifest_of(output_format="parquet"), "parquet").to_pylist()) == answers()


def test_pandas_reads_parquet(manifest_of: Callable[..., dict[str, Any]]) -> None:
    frame = read("pandas", manifest_of(output_format="parquet"), "parquet")
    assert told(frame.astype(object).where(frame.notna(), None).to_dict("records")) == answers()
    assert frame["usage"].map(lambda usage: usage["total_tokens"], na_action="ignore").sum() > 0


def test_duckdb_reads_values_in_parquet(manifest_of: Callable[..., dict[str, Any]]) -> None:
    uri = manifest_of(output_format="parquet", json_schema=Note)["result_uri"]
    with duckdb.connect() as database:
        rows = database.sql(
            "select custom_id, index, status, output_json ->> '$.title', error.message is not null or null "
            f"{shown('duckdb', 'parquet').replace('…', uri)} order by index"
        ).fetchall()
    assert rows == answers()


def test_lines_are_lines_to_those_who_split_a_text_as_common_ai_shows(
    manifest_of: Callable[..., dict[str, Any]],
) -> None:
    manifest = manifest_of()
    folder = ObjectStoragePath(manifest["result_uri"])
    lines = [line for part in manifest["parts"] for line in (folder / part).read_text().splitlines() if line]
    rows = [json.loads(line) for line in lines]
    assert told(rows) == answers()
    assert all(set(row) >= NAMED_BY_COMMON_AI for row in rows)
    assert {name: manifest[name] for name in OF_COMMON_AI} == OF_COMMON_AI
