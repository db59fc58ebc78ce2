"""Whose an output is, where two runs want it at one time."""

from __future__ import annotations

import errno
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk.io import attach
from fsspec.implementations.memory import MemoryFileSystem

from airflow_provider.yandex_ai_studio.bulk import storage
from airflow_provider.yandex_ai_studio.bulk.folder import OWNER, SETTLED_AFTER, Folder
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError
from bulk_task import BulkTask, rows_of, texts


def no_wait(_: float) -> None:
    raise AssertionError("nobody waits for a file of this machine")


def test_of_two_runs_that_find_a_folder_free_at_one_time_the_first_one_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = Folder(str(tmp_path / "out"), "jsonl"), Folder(str(tmp_path / "out"), "jsonl")
    write_first = storage.write_first

    def faster(*claim: Any) -> bool:
        monkeypatch.undo()
        one.claim("a", 1, no_wait)
        return write_first(*claim)

    monkeypatch.setattr(storage, "write_first", faster)
    with pytest.raises(ConfigurationError, match="Give each set a folder of its own"):
        other.claim("b", 1, no_wait)
    assert one.owner() == "a"
    assert [path.name for path in (tmp_path / "out").iterdir()] == [OWNER]
    one.claim("a", 1, no_wait)


def test_a_folder_that_is_another_s_by_now_is_not_claimed(tmp_path: Path) -> None:
    one, other = Folder(str(tmp_path / "out"), "jsonl"), Folder(str(tmp_path / "out"), "jsonl")
    assert one.check("a")
    assert other.check("b")
    one.claim("a", 1, no_wait)
    with pytest.raises(ConfigurationError, match="Give each set a folder of its own"):
        other.claim("b", 1, no_wait)
    assert one.owner() == "a"


def test_on_a_file_system_without_links_a_claim_is_looked_at_again_as_on_object_storage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> None:
        raise OSError(errno.EOPNOTSUPP, "no links here")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    folder = Folder(str(tmp_path / "out"), "jsonl")
    waited: list[float] = []
    folder.claim("a", 1, waited.append)
    assert (folder.owner(), waited) == ("a", [SETTLED_AFTER])
    assert [path.name for path in (tmp_path / "out").iterdir()] == [OWNER]

    def meanwhile(_: float) -> None:
        (tmp_path / "new" / OWNER).write_text('{"fingerprint": "b"}')

    with pytest.raises(ConfigurationError, match="Give each set a folder of its own"):
        Folder(str(tmp_path / "new"), "jsonl").claim("a", 1, meanwhile)


def test_a_run_writes_nothing_more_where_another_one_has_taken_its_folder(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    out = tmp_path / "out"
    run = task(inputs=texts(10), output_path=str(out))
    wait = run._wait

    def taken(trigger: Any) -> None:
        wait(trigger)
        (out / OWNER).write_text('{"fingerprint": "another"}')

    run._wait = taken  # type: ignore[method-assign]
    with pytest.raises(ConfigurationError, match="another run has taken"):
        run.attempt()
    assert [path.name for path in out.iterdir()] == [OWNER]


def test_a_run_whose_folder_is_taken_at_its_end_writes_no_manifest(
    task: Callable[..., BulkTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run = task(inputs=texts(4), output_path=str(out))
    write = Folder.write_part

    def taken(folder: Folder, *part: Any) -> None:
        write(folder, *part)
        (out / OWNER).write_text('{"fingerprint": "another"}')

    monkeypatch.setattr(Folder, "write_part", taken)
    with pytest.raises(ConfigurationError, match="another run has taken"):
        run.attempt()
    assert not (out / "manifest.json").exists()


@pytest.mark.parametrize("path", ["None", " None ", "  ", ""])
def test_a_path_that_a_template_made_of_nothing_is_no_folder_and_no_wish_for_none(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, path: str
) -> None:
    monkeypatch.chdir(tmp_path)
    run = task(inputs=texts(2), output_path=path)
    with pytest.raises(ConfigurationError, match="Give `output_path` a folder, or leave it out"):
        run.attempt()
    rendered = task(inputs=texts(2), output_path="{{ ti.xcom_pull('path') }}")
    make = rendered.operator

    def rendered_operator() -> Any:
        operator = make()
        operator.output_path = path
        return operator

    rendered.operator = rendered_operator  # type: ignore[method-assign]
    with pytest.raises(ConfigurationError, match="Give `output_path` a folder, or leave it out"):
        rendered.attempt()
    assert (list(tmp_path.iterdir()), run.submissions) == ([], 0)


def test_an_output_on_any_file_system_that_is_known_is_read_as_one_on_disk_is(
    task: Callable[..., BulkTask], tmp_path: Path
) -> None:
    memory = MemoryFileSystem()
    attach("memory", fs=memory)
    manifest = task(inputs=texts(5), output_path="memory://bucket/out", chunk_size=2).attempt()
    folder = Folder("memory://bucket/out", "jsonl")
    rows = [row for number in range(3) for row in folder.read_part(number)]
    memory.rm("/bucket", recursive=True)
    task(inputs=texts(5), output_path=str(tmp_path / "out"), chunk_size=2).attempt()
    assert [row["output"] for row in rows] == [row["output"] for row in rows_of(tmp_path / "out")]
    assert manifest["parts"] == [f"part-0000{number}.jsonl" for number in range(3)]
