"""What is refused before anything is paid for, and inputs that change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider.yandex_ai_studio.bulk import storage
from airflow_provider.yandex_ai_studio.bulk.folder import OWNER
from airflow_provider.yandex_ai_studio.bulk.storage import reason_of
from airflow_provider.yandex_ai_studio.exceptions import (
    ConfigurationError,
    YandexAIStudioError,
)
from bulk_task import BulkTask, file_of, rows_of, texts

SECRET = "a private text"


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        (
            {"inputs": [{"text": SECRET}, {"other": SECRET}], "prompt": "{{ row.text }}"},
            ["Row 1 of `inputs` has no field `text`, which `prompt` names; it has other"],
        ),
        (
            {"inputs": [{"text": SECRET}, {"text": None}], "prompt": "Of {{ row.text | trim }}"},
            ["Row 1 of `inputs` has nothing in `text`, which `prompt` names: leave such rows out", "row.text or ''"],
        ),
        ({"inputs": [{"text": SECRET}], "prompt": "x{{ text }}"}, ["Write {{ row.text }} in `prompt`", "row 0"]),
        ({"inputs": [{"text": SECRET}], "prompt": "x{{ nosuch }}"}, ["`prompt` can't be filled", "nosuch"]),
        ({"inputs": [{"text": None}], "id_field": "id"}, ["Row 0 of `inputs` has no field `id`, which `id_field`"]),
        ({"inputs": [{"id": None}], "id_field": "id"}, ["Row 0 of `inputs` has None in `id`"]),
        ({"inputs": [{"text": SECRET}, {"text": " "}], "prompt": "{{ row.text }}"}, ["row 1", "`prompt`", "empty"]),
        ({"inputs": [SECRET, ""]}, ["ow 1", "empty"]),
        ({"inputs": [{"text": SECRET}]}, ["Set `prompt`, e.g. {{ row.text }}: row 0", "keys ['text']"]),
        ({"inputs": [{"id": 1}, {"id": 1}], "prompt": "x{{ row.id }}", "id_field": "id"}, ["Rows 0 and 1", "`id`"]),
        ({"inputs": [{"a": SECRET}], "prompt": "{{ row.a }}", "id_field": "id"}, ["Row 0", "`id`"]),
        ({"inputs": [{"id": "a\ud800"}], "prompt": "x{{ row.id }}", "id_field": "id"}, ["half a character"]),
        ({"inputs": [{"id": "\ud800"}], "prompt": "{{ 'x' }}", "id_field": "id"}, ["Mend `id` of row 0", "half a"]),
        ({"inputs": __file__ + ".parquet"}, ["There is no file"]),
        ({"inputs": [SECRET], "prompt": "{{ row"}, ["Mend the template in `prompt`, line 1: unexpected end"]),
        ({"inputs": [SECRET], "output_path": "/proc/nowhere"}, ["can't be written (No such file or directory)"]),
        ({"inputs": [SECRET] * 1001, "deduplicate": False}, ["`output_path`", "1001"]),
        ({"inputs": "/nowhere/in.jsonl"}, ["no file"]),
        ({"inputs": "/dev/null/in.jsonl"}, ["Let the worker read", "which `inputs` names: Not a directory"]),
        ({"inputs": "/dev/null/in.parquet"}, ["Let the worker read", "which `inputs` names: Not a directory"]),
        ({"inputs": "/nowhere/in.csv"}, ["`inputs`"]),
        ({"inputs": {"a": SECRET}}, ["`inputs`"]),
        ({"inputs": "s3://lake/in.jsonl"}, ["Install apache-airflow-providers-amazon[s3fs]", "`inputs`", "s3://"]),
        ({"inputs": [SECRET], "output_path": "gs://lake/out"}, ["Install apache-airflow-providers-google", "gs://"]),
        ({"inputs": [SECRET], "output_path": "foo://lake/out"}, ["Install", "`output_path`", "foo://"]),
        ({"inputs": [SECRET], "row_retries": -1}, ["`row_retries`"]),
        ({"inputs": [SECRET], "temperature": 7}, ["`temperature`"]),
        ({"inputs": [SECRET], "estimate": "yes"}, ["`estimate` must be True or False"]),
        ({"inputs": [SECRET], "max_cost": 0}, ["`max_cost`"]),
        (
            {"inputs": [SECRET], "max_cost": 1, "model": "other"},
            [
                "Add a price of 'other' in the mode 'async' in `prices` of the connection 'yandex",
                "leave `max_cost` out",
            ],
        ),
    ],
)
def test_bad_input_is_refused_before_anything_is_paid_for(
    task: Callable[..., BulkTask], parameters: dict[str, Any], said: list[str]
) -> None:
    run = task(**parameters)
    with pytest.raises(ConfigurationError) as caught:
        run.attempt()
    assert [part for part in said if part not in str(caught.value)] == []
    assert SECRET not in str(caught.value)
    assert "Nothing was sent" in str(caught.value)
    assert caught.value.__cause__ is None  # one traceback
    assert caught.value.__suppress_context__ or caught.value.__context__ is None
    assert run.submissions == 0


@pytest.mark.parametrize("content", [b"", b"no parquet"])
def test_a_file_that_is_no_parquet_is_refused(task: Callable[..., BulkTask], tmp_path: Path, content: bytes) -> None:
    (tmp_path / "in.parquet").write_bytes(content)
    with pytest.raises(ConfigurationError, match="which `inputs` names: it can't be read as Parquet"):
        task(inputs=str(tmp_path / "in.parquet")).attempt()


def test_a_row_may_be_the_text_none_where_a_prompt_may_not(task: Callable[..., BulkTask]) -> None:
    assert "None" in task(inputs=["Very good.", "None"]).attempt()[1]
    rows = [{"text": "Very good."}, {"text": " None "}]
    assert "None" in task(inputs=rows, prompt="{{ row.text }}").attempt()[1]


def test_an_id_may_be_a_uuid(task: Callable[..., BulkTask], tmp_path: Path) -> None:
    rows = [{"id": UUID(int=number), "text": text} for number, text in enumerate(texts(2))]
    task(inputs=rows, prompt="{{ row.text }}", id_field="id", output_path=str(tmp_path / "out")).attempt()
    assert [row["custom_id"] for row in rows_of(tmp_path / "out")] == [str(row["id"]) for row in rows]


@pytest.mark.parametrize("row", ["42", "[1, 2]", "'quoted'", "0x1F"])
def test_a_prompt_is_a_text_though_its_dag_renders_native_objects(task: Callable[..., BulkTask], row: str) -> None:
    run = task(inputs=[{"text": row}], prompt="{{ row.text }}")
    run.dag["render_template_as_native_obj"] = True
    (answer,) = run.attempt()
    assert row in answer


def test_rows_are_data_and_never_templates(task: Callable[..., BulkTask]) -> None:
    run = task(inputs=["Say {{ 6 * 7 }} ducks."])
    operator = run.operator()
    operator.render_template_fields({"ti": None})  # type: ignore[typeddict-item]
    assert operator.inputs == ["Say {{ 6 * 7 }} ducks."]


def test_a_field_of_a_row_outside_the_prompt_is_refused_with_where_it_belongs(task: Callable[..., BulkTask]) -> None:
    operator = task(inputs=[{"lang": "ru"}], prompt="x{{ row.lang }}", instructions="In {{ row.lang }}.").operator()
    with pytest.raises(ConfigurationError, match="Name fields of a row in `prompt` only"):
        operator.render_template_fields({"ti": None})  # type: ignore[typeddict-item]


def test_an_output_of_another_set_of_requests_is_left_alone(task: Callable[..., BulkTask], tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    task(inputs=texts(3), output_path=out).attempt()
    other = task(inputs=texts(4), output_path=out)
    with pytest.raises(ConfigurationError, match=r"another set of requests.*\{\{ run_id \}\}"):
        other.attempt()
    assert other.submissions == 3


def test_the_same_requests_in_another_run_are_paid_for_again_with_a_warning(
    task: Callable[..., BulkTask], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = str(tmp_path / "out")
    run = task(inputs=texts(3), output_path=out)
    run.attempt()
    run.attempt()
    assert run.submissions == 3
    assert "paid for again" not in capsys.readouterr().out
    assert task(inputs=texts(3), output_path=out).attempt()["counts"]["succeeded"] == 3
    assert run.submissions == 6
    assert f"{out} holds the answers of another run" in capsys.readouterr().out


def test_inputs_that_change_under_the_run_are_noticed(task: Callable[..., BulkTask], tmp_path: Path) -> None:
    rows = [{"text": f"Ducks number {number:03d}."} for number in range(300)]  # lines of one length
    path = tmp_path / "in.jsonl"
    run = task(inputs=file_of(path, rows), prompt="{{ row.text }}", output_path=str(tmp_path / "out"), chunk_size=50)
    slept = run.clock.sleep

    def change(seconds: float) -> None:
        file_of(path, rows[::-1])
        slept(seconds)

    run.clock.sleep = change  # type: ignore[method-assign]
    with pytest.raises(ConfigurationError, match="were changed while"):
        run.attempt()


def test_without_a_state_store_nothing_is_paid_for(task: Callable[..., BulkTask]) -> None:
    run = task(inputs=texts(3))
    with pytest.raises(ConfigurationError, match=r"3\.3"):
        run.operator().execute({})
    assert run.submissions == 0


def test_a_folder_that_was_only_claimed_holds_nothing_that_is_paid_for_again(
    task: Callable[..., BulkTask], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    task(inputs=texts(3), output_path=str(out)).attempt()
    for path in out.iterdir():
        if path.name != OWNER:
            path.unlink()
    task(inputs=texts(3), output_path=str(out)).attempt()
    assert "another run" not in capsys.readouterr().out


def test_a_storage_that_fails_in_its_own_way_is_told_with_what_it_said_and_asked_again_by_a_retry(
    task: Callable[..., BulkTask], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class SlowDown(Exception):
        """As a library of an object storage raises it."""

    def refuse(*_: Any, **__: Any) -> None:
        raise SlowDown("private details")

    monkeypatch.setattr(storage, "make", refuse)
    run = task(inputs=[SECRET], output_path=str(tmp_path / "out"))
    with pytest.raises(YandexAIStudioError, match=r"can't be written for now \(SlowDown\)\.\n") as caught:
        run.attempt()
    assert isinstance(caught.value.__cause__, SlowDown)
    assert not isinstance(caught.value, AirflowFailException)


def test_a_storage_says_why_in_words_where_it_has_some() -> None:
    assert reason_of(OSError(13, "Permission denied", "/out")) == "Permission denied"
    assert (
        reason_of(PermissionError("The key does not exist in our records.")) == "The key does not exist in our records"
    )
    assert reason_of(PermissionError()) == "PermissionError"
