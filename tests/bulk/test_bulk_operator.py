"""A bulk run against the emulator: what it submits, writes and returns, and what becomes of rows that fail."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from airflow.sdk import Asset, AssetAlias
from airflow.sdk.execution_time.context import OutletEventAccessors
from pydantic import BaseModel

from airflow_provider.yandex_ai_studio.bulk.chunks import MOST_TOLD
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import (
    RowsFailed,
)
from bulk_task import BulkTask, file_of, rows_of, texts


def test_a_list_of_texts_gives_the_answers_in_its_order(task: Callable[..., BulkTask]) -> None:
    run = task(inputs=texts(30))
    answers = run.attempt()
    assert len(answers) == 30
    assert all(f"number {number}." in answer for number, answer in enumerate(answers))
    assert (run.submissions, run.refusals) == (30, 0)


def test_a_task_goes_on_where_airflow_has_kept_nothing_but_the_event(task: Callable[..., BulkTask]) -> None:
    run = task(inputs=texts(3))
    run.keeps_kwargs = False  # so does dag.test()
    assert len(run.attempt()) == 3
    assert run.deferrals


@pytest.mark.parametrize("folder", [None, "out"])
def test_the_log_never_tells_of_less_than_before_and_of_no_row_twice(
    task: Callable[..., BulkTask],
    emulator: Emulator,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    folder: str | None,
) -> None:
    emulator.fault("completionAsync", "operation_error", match="number 7.", times=None)
    out = str(tmp_path / folder) if folder else None
    run = task(inputs=texts(120), output_path=out, chunk_size=50, row_retries=0, on_row_error="keep")
    run.emulator_seconds, run.event = (
        6.0,
        {"reason": "in a test"},
    )  # it wakes while operations of each chunk are under way
    run.attempt()
    line = (
        r"(\d+) of 120 rows done(?: \((\d+) to be read again with their chunk\))?, (\d+) running, (\d+) failed; (\d+)"
    )
    told = [[int(number or 0) for number in numbers] for numbers in re.findall(line, capsys.readouterr().out)]
    assert len(run.deferrals) > 2
    assert any(again for _, again, *_ in told)
    for number in (0, 3, 4):  # done, failed, tokens
        assert [line[number] for line in told] == sorted(line[number] for line in told)
    assert all(done + running <= 120 and again <= done for done, again, running, *_ in told)
    done, again, running, failed, tokens = told[-1]
    assert (done, again, running, failed) == (120, 0, 0, 1)
    assert tokens > 0


def test_rows_of_a_file_give_parts_and_a_manifest(task: Callable[..., BulkTask], tmp_path: Path) -> None:
    rows = [{"id": f"r{number}", "text": text, "items": "a field"} for number, text in enumerate(texts(25))]
    run = task(
        inputs=file_of(tmp_path / "in.jsonl", rows),
        prompt="Summarize ({{ row.items }}): {{ row.text }}",
        id_field="id",
        output_path=str(tmp_path / "out"),
        chunk_size=10,
    )
    manifest = run.attempt()
    written = rows_of(tmp_path / "out")
    assert [row["custom_id"] for row in written] == [row["id"] for row in rows]
    assert {row["status"] for row in written} == {"success"}
    assert all(f"number {row['index']}." in row["output"] for row in written)
    assert manifest == json.loads((tmp_path / "out" / "manifest.json").read_text())
    assert manifest["parts"] == [f"part-0000{number}.jsonl" for number in range(3)]
    assert manifest["counts"]["succeeded"] == manifest["request_count"] == 25
    assert manifest["terminal_reason"] == "succeeded"
    assert manifest["usage"]["total_tokens"] == sum(row["usage"]["total_tokens"] for row in written) > 0
    assert manifest["cost"] == pytest.approx(sum(row["cost"] for row in written))


def test_parquet_goes_in_and_out(task: Callable[..., BulkTask], tmp_path: Path) -> None:
    import pyarrow
    import pyarrow.parquet

    table = pyarrow.table({"text": texts(25)})
    pyarrow.parquet.write_table(table, tmp_path / "in.parquet", row_group_size=7)
    out = tmp_path / "out"
    run = task(
        inputs=str(tmp_path / "in.parquet"),
        prompt="{{ row.text }}",
        output_path=str(out),
        output_format="parquet",
        chunk_size=10,
    )
    manifest = run.attempt()
    written = pyarrow.parquet.read_table([out / part for part in manifest["parts"]]).to_pylist()
    assert [row["index"] for row in written] == list(range(25))
    assert all(f"number {row['index']}." in row["output"] for row in written)


def test_a_structured_answer_is_the_value_in_it(task: Callable[..., BulkTask], tmp_path: Path) -> None:
    schema = {"type": "object", "properties": {"topic": {"type": "string"}}, "required": ["topic"]}
    for form in ("jsonl", "parquet"):
        run = task(inputs=texts(3), json_schema=schema, output_path=str(tmp_path / form), output_format=form)
        assert run.attempt()["structured"] is True
    assert {type(row["output"]) for row in rows_of(tmp_path / "jsonl")} == {dict}
    assert all(set(answer) == {"topic"} for answer in task(inputs=texts(3), json_schema=schema).attempt())


def test_an_answer_that_no_xcom_takes_is_asked_again_and_costs_no_other_row(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    said = {"alternatives": [{"message": {"role": "assistant", "text": '{"share": 1e999}'}}]}
    emulator.fault("completionAsync", "operation_answer", body=said, match=texts(3)[1], times=3)
    run = task(inputs=texts(3), json_object=True, on_row_error="keep")
    answers = run.attempt()
    assert json.loads(json.dumps(answers, allow_nan=False)) == answers
    assert [answer is None for answer in answers] == [False, True, False]
    assert run.submissions == 5
    emulator.fault("completionAsync", "operation_answer", body=said, match=texts(3)[1], times=3)
    task(inputs=texts(3), json_object=True, on_row_error="keep", output_path=str(tmp_path)).attempt()
    row = rows_of(tmp_path)[1]
    assert (row["status"], row["output"], row["raw_output"]) == ("invalid_output", None, '{"share": 1e999}')


class Note(BaseModel):
    """The form of an answer."""

    topic: str


def test_a_manifest_names_the_model_that_the_answers_fit(task: Callable[..., BulkTask], tmp_path: Path) -> None:
    manifest = task(inputs=texts(2), json_schema=Note, output_path=str(tmp_path / "out")).attempt()
    assert manifest["output_type_ref"] == f"{Note.__module__}.Note"
    assert all(set(row["output"]) == {"topic"} for row in rows_of(tmp_path / "out"))


def test_identical_requests_are_generated_once(task: Callable[..., BulkTask], tmp_path: Path) -> None:
    inputs = texts(5) + texts(5) + texts(7)
    run = task(inputs=inputs, output_path=str(tmp_path / "out"), chunk_size=4)
    manifest = run.attempt()
    written = rows_of(tmp_path / "out")
    assert run.submissions == 7
    assert [row["index"] for row in written] == list(range(17))
    assert [row["output"] for row in written] == task(inputs=inputs).attempt()
    assert manifest["counts"]["succeeded"] == 17
    assert task(inputs=inputs, deduplicate=False).attempt() == [row["output"] for row in written]
    assert run.submissions == 7 + 7 + 17


def test_a_row_that_fails_is_asked_again_alone(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    emulator.fault("completionAsync", "operation_error", match="Row 7 ", times=2)
    run = task(inputs=texts(20), output_path=str(tmp_path / "out"), chunk_size=10)
    manifest = run.attempt()
    assert manifest["counts"]["succeeded"] == 20
    assert (run.submissions, manifest["repeated_rows"]) == (22, 2)


def test_rows_that_fail_for_good_fail_the_task_after_all_others_and_only_they_are_paid_for_again(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    emulator.fault("completionAsync", "operation_error", match="Row 7 ", times=None)
    run = task(inputs=texts(20), output_path=str(tmp_path / "out"), chunk_size=10, row_retries=1)
    with pytest.raises(RowsFailed, match="1 of 20 rows failed"):
        run.attempt()
    written = rows_of(tmp_path / "out")
    assert [row["status"] for row in written].count("success") == 19
    assert written[7]["error"]["type"] == "operation_failed"
    assert run.submissions == 21
    emulator.clear_faults()
    assert run.attempt()["counts"]["succeeded"] == 20
    assert run.submissions == 22
    assert "number 7." in rows_of(tmp_path / "out")[7]["output"]


def test_without_an_output_another_attempt_also_asks_only_the_failed_rows(
    task: Callable[..., BulkTask], emulator: Emulator
) -> None:
    emulator.fault("completionAsync", "operation_error", match="Row 7 ", times=None)
    run = task(inputs=texts(20), row_retries=0)
    with pytest.raises(RowsFailed):
        run.attempt()
    emulator.clear_faults()
    assert "number 7." in run.attempt()[7]
    assert run.submissions == 21


def test_the_log_says_why_rows_failed_of_many_the_first_ones(
    task: Callable[..., BulkTask], emulator: Emulator, capsys: pytest.CaptureFixture[str]
) -> None:
    emulator.fault("completionAsync", "status", status=400, match="Row 0 ", body={"message": "too rude"})
    emulator.fault("completionAsync", "operation_error", times=None, message="doomed")
    with pytest.raises(RowsFailed, match="the log says why"):
        task(inputs=texts(30), row_retries=0).attempt()
    told = capsys.readouterr().out
    assert re.search(r"Row 0 failed \(refused\): .*too rude", told)
    assert len(re.findall(r"Row \d+ failed \(operation_failed\): .*doomed", told)) == MOST_TOLD
    assert told.count("More rows failed") == 1


def test_failed_rows_can_be_kept(task: Callable[..., BulkTask], emulator: Emulator) -> None:
    emulator.fault("completionAsync", "operation_error", match="Row 7 ", times=None)
    answers = task(inputs=texts(10), row_retries=0, on_row_error="keep").attempt()
    assert [number for number, answer in enumerate(answers) if answer is None] == [7]


def test_a_row_that_the_service_refuses_fails_alone_and_costs_nothing(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    emulator.fault("completionAsync", "status", status=400, match="Row 3 ", times=None)
    run = task(inputs=texts(10), on_row_error="keep", output_path=str(tmp_path / "out"))
    manifest = run.attempt()
    assert manifest["counts"]["errored"] == 1
    assert rows_of(tmp_path / "out")[3]["error"]["type"] == "refused"
    assert run.submissions == 9


def test_too_many_failed_rows_stop_the_run(task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path) -> None:
    emulator.fault("completionAsync", "operation_error", times=None)
    run = task(inputs=texts(600), output_path=str(tmp_path / "out"), chunk_size=50, row_retries=0, max_failed_rows=20)
    with pytest.raises(RowsFailed, match="max_failed_rows"):
        run.attempt()
    assert run.submissions < 400
    assert len(rows_of(tmp_path / "out")) == 600


def test_a_chunk_without_rows_of_its_own_has_no_part_and_is_not_missed(
    task: Callable[..., BulkTask], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = task(inputs=[*texts(2), *texts(2)], chunk_size=2, output_path=str(tmp_path))
    for _ in range(2):
        assert run.attempt()["parts"] == ["part-00000.jsonl", "part-twins-00000.jsonl"]
    assert run.submissions == 2
    assert "is gone" not in capsys.readouterr().out


def test_an_asset_that_the_task_updates_is_told_what_came_of_the_rows(
    task: Callable[..., BulkTask], tmp_path: Path
) -> None:
    folder, other, alias = Asset("answers"), Asset("other"), AssetAlias("alias")
    run = task(inputs=texts(3), output_path=str(tmp_path), outlets=[folder, alias, "a table"])
    events = run.values["outlet_events"] = OutletEventAccessors()
    events[folder].extra["mine"] = 1
    manifest = run.attempt()
    told = events[folder].extra
    assert told.pop("mine") == 1
    assert told == {name: manifest[name] for name in told}
    assert {"result_uri", "counts", "usage", "cost"} <= set(told)
    assert (events[other].extra, events[alias].asset_alias_events) == ({}, [])


def test_a_task_that_returns_its_texts_may_update_an_asset_too(task: Callable[..., BulkTask]) -> None:
    run = task(inputs=texts(3), outlets=[Asset("answers")])
    events = run.values["outlet_events"] = OutletEventAccessors()
    assert len(run.attempt()) == 3
    assert events[Asset("answers")].extra == {}


def test_an_empty_list_ends_well(task: Callable[..., BulkTask], tmp_path: Path) -> None:
    assert task(inputs=[]).attempt() == []
    manifest = task(inputs=[], output_path=str(tmp_path / "out")).attempt()
    assert (manifest["request_count"], manifest["parts"], manifest["terminal_reason"]) == (0, [], "succeeded")
