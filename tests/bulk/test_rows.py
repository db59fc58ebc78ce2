"""The rows of a bulk run, read in chunks and each chunk again: from lists and small files."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from airflow.sdk import ObjectStoragePath

from airflow_provider.yandex_ai_studio.bulk.rows import (
    InMemory,
    JsonLines,
    Parquet,
    Source,
    pyarrow_parquet,
    source_of,
    suffix_of,
)
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError

ROWS = [{"text": f"Утка {number}"} for number in range(7)]
NOTHING_SENT = r"\nNothing was sent to the service\.$"


def in_memory(_: Path) -> Source:
    return source_of(ROWS)


def json_lines(folder: Path) -> Source:
    """Lines of which some are empty, and the last one does not end."""
    lines = [json.dumps(row, ensure_ascii=False) for row in ROWS]
    (folder / "rows.jsonl").write_text("\n" + "\n  \n".join(lines), encoding="utf-8")
    return source_of(str(folder / "rows.jsonl"))


def parquet(folder: Path) -> Source:
    """Groups of rows that are no chunks."""
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(ROWS), folder / "rows.parquet", row_group_size=3)
    return source_of(ObjectStoragePath(f"file://{folder}/rows.parquet"))


@pytest.mark.parametrize("source", [in_memory, json_lines, parquet])
@pytest.mark.parametrize("size", [1, 2, 3, 4, 7, 8])
def test_each_row_is_in_one_chunk_and_each_chunk_can_be_read_again(
    source: Callable[[Path], Source], size: int, tmp_path: Path
) -> None:
    chunks = list(source(tmp_path).chunks(size))
    expected = [ROWS[first : first + size] for first in range(0, 7, size)]
    assert [rows for _, rows in chunks] == expected
    again, numbers = source(tmp_path), range(len(chunks))
    for number in [*numbers, *reversed(numbers), *numbers]:
        assert again.chunk(number, size, chunks[number][0]) == expected[number]


def test_a_chunk_is_found_by_its_first_row_or_its_first_byte(tmp_path: Path) -> None:
    assert [place for place, _ in source_of(ROWS).chunks(3)] == [0, 3, 6]
    (tmp_path / "rows.ndjson").write_bytes('1\n\n"Утка"\n3\n'.encode())
    assert list(source_of(str(tmp_path / "rows.ndjson")).chunks(1)) == [(0, [1]), (2, ["Утка"]), (14, [3])]
    assert [place for place, _ in parquet(tmp_path).chunks(3)] == [0, 3, 6]


def test_no_rows_are_no_chunks(tmp_path: Path) -> None:
    (tmp_path / "rows.jsonl").write_bytes(b"\n")
    pyarrow.parquet.write_table(pyarrow.table({"text": pyarrow.array([], pyarrow.string())}), tmp_path / "rows.parquet")
    for inputs in ([], str(tmp_path / "rows.jsonl"), str(tmp_path / "rows.parquet")):
        assert list(source_of(inputs).chunks(3)) == []


def test_chunks_of_parquet_that_follow_one_another_are_read_in_one_pass(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    passes: list[int] = []
    chunks = Parquet.chunks
    monkeypatch.setattr(Parquet, "chunks", lambda self, size: passes.append(size) or chunks(self, size))
    source = parquet(tmp_path)
    for number in (0, 1, 3):
        source.chunk(number, 2, number * 2)
    assert passes == [2]
    assert source.chunk(1, 2, 2) == ROWS[2:4]
    assert passes == [2, 2]
    assert source.chunk(2, 3, 6) == ROWS[6:]
    assert passes == [2, 2, 3]
    assert source.chunk(5, 3, 15) == []
    assert source.chunk(1, 3, 3) == ROWS[3:6]


@pytest.mark.parametrize(
    ("inputs", "kind"),
    [
        (ROWS, InMemory),
        (tuple(ROWS), InMemory),
        ("/in/rows.jsonl", JsonLines),
        ("file:///in/rows.ndjson", JsonLines),
        ("/in/rows.parquet", Parquet),
        (ObjectStoragePath("file:///in/rows.jsonl"), JsonLines),
    ],
)
def test_where_rows_come_from_is_told_by_the_type_or_the_name(inputs: Any, kind: type) -> None:
    assert type(source_of(inputs)) is kind


def test_a_path_keeps_the_connection_that_it_was_given() -> None:
    path = ObjectStoragePath("file:///in/rows.jsonl", conn_id="mine")
    source = source_of(path)
    assert isinstance(source, JsonLines)
    assert source._path is path


@pytest.mark.parametrize(
    ("inputs", "shape"),
    [
        ({"a": 1}, r"a mapping with the keys \['a'\]"),
        (b"rows", "a value of the type bytes"),
        (5, "a value of the type int"),
        ({"a"}, "a value of the type set"),
        (None, "None"),
    ],
)
def test_what_is_no_list_and_no_path_is_named(inputs: Any, shape: str) -> None:
    with pytest.raises(ConfigurationError, match=rf"^Give `inputs` a list, .*: it is {shape}\.{NOTHING_SENT}"):
        source_of(inputs)


@pytest.mark.parametrize("path", ["rows.csv", "rows", "rows.jsonl.gz", "rows.JSONL"])
def test_a_file_of_another_kind_is_refused_without_its_name_which_may_be_a_prompt(path: str) -> None:
    for refuse in (suffix_of, source_of):
        with pytest.raises(
            ConfigurationError, match=rf"ends in \.jsonl, \.ndjson, \.parquet, .*{NOTHING_SENT}"
        ) as refused:
            refuse(f"/in/{path}")
        assert path not in str(refused.value)


@pytest.mark.parametrize("suffix", [".jsonl", ".ndjson", ".parquet"])
def test_the_end_of_a_file_s_name_says_what_is_in_it(suffix: str) -> None:
    assert suffix_of(f"s3://bucket/rows{suffix}") == suffix


@pytest.mark.parametrize("suffix", [".jsonl", ".parquet"])
def test_a_file_that_is_gone_is_named(suffix: str, tmp_path: Path) -> None:
    path = str(tmp_path / f"rows{suffix}")
    with pytest.raises(ConfigurationError, match=rf"There is no file '.*{path}', which `inputs` names\.{NOTHING_SENT}"):
        list(source_of(path).chunks(3))


@pytest.mark.parametrize(
    ("line", "at"),
    [
        (b"{", " at column 2"),
        (b'{"a": secret}', " at column 7"),
        (b'"a", "secret"', " at column 4"),
        (b'{"a": "\xff secret"}', " at byte 8, which is no UTF-8"),
        (b"[" * 100_000, ""),
        (b"1" * 5000, ""),
    ],
)
def test_a_line_that_is_no_json_is_named_by_its_number_and_column(line: bytes, at: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    path.write_bytes(b"1\n\n2\n3\n \n" + line + b"\n")
    source = source_of(str(path))
    where = rf"line 6 of '.*{path}' \(row 3 of `inputs`\)"
    with pytest.raises(ConfigurationError, match=rf"^Mend {where}: it is not JSON{at}\.{NOTHING_SENT}"):
        list(source.chunks(2))
    with pytest.raises(ConfigurationError, match=rf"^Mend row 3 of `inputs`: it is not JSON{at}\.{NOTHING_SENT}"):
        source.chunk(1, 2, 5)


def test_parquet_is_read_where_pyarrow_is_and_says_so_where_it_is_not(monkeypatch: pytest.MonkeyPatch) -> None:
    assert pyarrow_parquet("`inputs`") is pyarrow.parquet
    monkeypatch.setitem(sys.modules, "pyarrow.parquet", None)
    with pytest.raises(ConfigurationError, match=rf"Parquet in `inputs` needs pyarrow: .*\[parquet\].*{NOTHING_SENT}"):
        list(source_of("/in/rows.parquet").chunks(3))


def test_a_file_system_that_is_not_there_is_told_of_the_inputs() -> None:
    with pytest.raises(ConfigurationError, match="`inputs`"):
        source_of("nowhere://bucket/rows.jsonl")
