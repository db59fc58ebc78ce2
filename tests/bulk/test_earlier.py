"""What another attempt takes up of the state and the output that an earlier one has left, whatever of it is gone."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import Asset

from airflow_provider.yandex_ai_studio.bulk.folder import MANIFEST, OWNER
from airflow_provider.yandex_ai_studio.bulk.ledger import KEY
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError, RowsFailed
from bulk_task import API_KEY, FOLDER, BulkTask, Killed, rows_of, texts

OTHERS = [f"Other rows, number {number}." for number in range(8)]


def kill_once(run: BulkTask, when: Callable[[str, Any], bool]) -> None:
    """Run an attempt that is killed right after a write."""
    write = run.store.set

    def deadly(key: str, value: Any, **how: Any) -> None:
        write(key, value, **how)
        if when(key, value):
            raise Killed

    run.store.set = deadly  # type: ignore[method-assign]
    with pytest.raises(Killed):
        run.attempt()
    run.store.set = write  # type: ignore[method-assign]


def test_what_was_submitted_for_other_rows_is_never_taken_for_these(
    task: Callable[..., BulkTask], tmp_path: Path
) -> None:
    run = task(inputs=texts(8), chunk_size=4)
    run.attempt()
    del run.store.values[KEY]  # its chunks stay
    run.parameters["inputs"] = OTHERS
    assert all(other in answer for other, answer in zip(OTHERS, run.attempt(), strict=True))
    assert run.submissions == 16
    del run.store.values[KEY]
    run.parameters["output_path"] = str(tmp_path / "out")
    assert run.attempt()["counts"]["succeeded"] == 8
    assert run.submissions == 24


def test_what_was_submitted_under_other_instructions_is_never_taken_for_these(task: Callable[..., BulkTask]) -> None:
    run = task(inputs=texts(8), chunk_size=4)
    run.attempt()
    del run.store.values[KEY]
    run.parameters["instructions"] = "Answer in French."
    run.attempt()
    assert run.submissions == 16


@pytest.mark.parametrize("output", [None, "out"])
def test_a_longer_timeout_of_another_attempt_holds_after_its_deferral_too(
    connect: Callable[..., None], tmp_path: Path, output: str | None
) -> None:
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=600) as emulator:
        connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER})
        run = BulkTask(emulator, inputs=texts(6), timeout=60, output_path=output and str(tmp_path / output))
        if output:
            kill_once(run, lambda _, value: bool(value.get("verdicts")) and not value.get("done"))
        else:
            with pytest.raises(RowsFailed, match="6 of 6"):
                run.attempt()
        run.parameters["timeout"] = 7200
        answers = run.attempt()
        assert (answers["counts"]["succeeded"] if output else len(answers)) == run.submissions == 6


def test_a_chunk_that_was_done_without_the_head_knowing_has_its_failed_rows_asked_again(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    emulator.fault("completionAsync", "operation_error", match="Row 3 ", times=3)
    run = task(inputs=texts(10), chunk_size=5, output_path=str(tmp_path / "out"))
    kill_once(run, lambda key, value: key == f"{KEY}_0" and value["done"])
    before = run.submissions
    assert run.attempt()["counts"]["succeeded"] == 10
    assert run.submissions <= max(before, 12) + 1


def test_rows_that_are_the_same_stay_so_when_the_store_has_forgotten_them(
    task: Callable[..., BulkTask], tmp_path: Path
) -> None:
    run = task(inputs=[*texts(8), *texts(3)], chunk_size=4, output_path=str(tmp_path / "out"))
    run.attempt()
    for number in range(3):
        del run.store.values[f"{KEY}_{number}"]
    manifest = run.attempt()
    assert manifest["counts"]["succeeded"] == len(rows_of(tmp_path / "out")) == 11
    assert run.submissions == 8


def test_a_failed_row_is_asked_again_alone_though_the_store_has_forgotten_its_chunk(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    emulator.fault("completionAsync", "operation_error", match="Row 7 ", times=1)
    run = task(inputs=texts(8), row_retries=0, output_path=str(tmp_path / "out"))
    with pytest.raises(RowsFailed):
        run.attempt()
    del run.store.values[f"{KEY}_0"]
    manifest = run.attempt()
    assert (manifest["counts"]["succeeded"], manifest["submissions"], run.submissions) == (8, 9, 9)


def test_a_part_that_is_gone_while_its_chunk_is_open_again_is_generated_anew(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    emulator.fault("completionAsync", "operation_error", match="Row 3 ", times=1)
    run = task(inputs=texts(10), row_retries=0, output_path=str(tmp_path / "out"))
    with pytest.raises(RowsFailed):
        run.attempt()
    kill_once(run, lambda key, value: key == f"{KEY}_0" and bool(value.get("intent")))
    (tmp_path / "out" / "part-00000.jsonl").unlink()
    assert run.attempt()["counts"]["succeeded"] == 10


def test_what_a_part_that_is_gone_has_cost_stays_counted(task: Callable[..., BulkTask], tmp_path: Path) -> None:
    run = task(inputs=texts(4), output_path=str(tmp_path / "out"))
    first = run.attempt()
    (tmp_path / "out" / "part-00000.jsonl").unlink()
    again = run.attempt()
    assert again["submissions"] == run.submissions == 8
    assert again["usage"]["total_tokens"] == 2 * first["usage"]["total_tokens"]
    assert again["counts"] == first["counts"]


@pytest.mark.parametrize("open_again", [False, True])
def test_an_output_that_is_not_where_it_was_is_not_paid_for_again(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path, *, open_again: bool
) -> None:
    emulator.fault("completionAsync", "operation_error", match="Row 3 ", times=1)
    run = task(inputs=texts(10), row_retries=0, output_path=str(tmp_path / "out"))
    with pytest.raises(RowsFailed):
        run.attempt()
    if open_again:
        kill_once(run, lambda key, value: key == f"{KEY}_0" and bool(value.get("intent")))
    shutil.move(tmp_path / "out", tmp_path / "elsewhere")
    before = run.submissions
    with pytest.raises(ConfigurationError, match=f"Restore the folder .* or delete '{KEY}'"):
        run.attempt()
    assert (run.submissions, (tmp_path / "out").exists()) == (before, False)
    shutil.move(tmp_path / "elsewhere", tmp_path / "out")
    assert run.attempt()["counts"]["succeeded"] == 10
    assert run.submissions == 11
    shutil.rmtree(tmp_path / "out")
    del run.store.values[KEY]
    assert run.attempt()["counts"]["succeeded"] == 10
    assert run.submissions == 21


def test_parts_are_not_paid_for_again_where_only_the_name_of_their_owner_is_gone(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    """Some tools that move files skip names with an underscore."""
    emulator.fault("completionAsync", "operation_error", match="Row 3 ", times=1)
    run = task(inputs=texts(10), row_retries=0, output_path=str(tmp_path / "out"))
    with pytest.raises(RowsFailed):
        run.attempt()
    for name in (OWNER, MANIFEST):
        (tmp_path / "out" / name).unlink()
    assert run.attempt()["counts"]["succeeded"] == 10
    assert run.submissions == 11


def during_the_deferral(run: BulkTask, change: Callable[[], None]) -> None:
    """Change something while the task is deferred for the first time."""
    wait = run._wait

    def changing(trigger: Any) -> None:
        wait(trigger)
        if len(run.deferrals) == 1:
            change()

    run._wait = changing  # type: ignore[method-assign]


@pytest.mark.parametrize("output", [None, "out"])
def test_parameters_that_change_while_the_task_is_deferred_are_refused_and_nothing_is_mixed(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path, output: str | None
) -> None:
    emulator.fault("completionAsync", "status", status=429, after=12, times=6, body={"code": 8, "message": "PerHour"})
    run = task(inputs=texts(30), temperature=0.1, chunk_size=10, output_path=output and str(tmp_path / output))
    during_the_deferral(run, lambda: run.parameters.update(temperature=0.9, model="yandexgpt-lite"))
    with pytest.raises(ConfigurationError, match="Restore `model`, `temperature`, and clear"):
        run.attempt()
    before = run.submissions
    assert before < 30
    run.parameters["temperature"] = 0.1
    del run.parameters["model"]
    answers = run.attempt()
    assert (answers["counts"]["succeeded"] if output else len(answers)) == run.submissions == 30


@pytest.mark.parametrize("model", [None, "yandexgpt-lite"])
@pytest.mark.parametrize("output", [None, "out"])
def test_another_folder_of_the_connection_gives_up_nothing_that_was_paid_for(
    task: Callable[..., BulkTask],
    emulator: Emulator,
    connect: Callable[..., None],
    tmp_path: Path,
    model: str | None,
    output: str | None,
) -> None:
    emulator.fault("completionAsync", "status", status=429, after=12, times=6, body={"code": 8, "message": "PerHour"})
    emulator.fault("completionAsync", "operation_error", match="Row 2 ", times=1)
    run = task(inputs=texts(20), model=model, row_retries=0, output_path=output and str(tmp_path / output))

    def name(folder: str) -> None:
        connect(host=emulator.url, password=API_KEY, extra={"folder_id": folder})

    during_the_deferral(run, lambda: name("b1ganother"))
    with pytest.raises(RowsFailed):  # the service does not have the model there
        run.attempt()
    assert run.submissions == 12
    name(FOLDER)
    answers = run.attempt()
    assert (answers["counts"]["succeeded"] if output else len(answers)) == 20
    assert run.submissions == 21


def test_an_asset_and_an_output_that_come_while_the_task_is_deferred_lose_no_answer(
    task: Callable[..., BulkTask], tmp_path: Path
) -> None:
    run = task(inputs=texts(3), outlets=[Asset("answers")])
    during_the_deferral(run, lambda: run.parameters.update(output_path=str(tmp_path / "out")))
    assert len(run.attempt()) == run.submissions == 3


@pytest.mark.parametrize("output", [None, "out"])
def test_instructions_that_render_differently_each_time_stay_those_that_the_attempt_began_with(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path, output: str | None
) -> None:
    """Those of another time would be refused."""
    emulator.fault("completionAsync", "status", status=429, after=12, times=6, body={"code": 8, "message": "PerHour"})
    run = task(
        inputs=texts(30), instructions="It is 9:00.", chunk_size=10, output_path=output and str(tmp_path / output)
    )
    during_the_deferral(run, lambda: run.parameters.update(instructions="It is 9:05."))
    answers = run.attempt()
    assert (answers["counts"]["succeeded"] if output else len(answers)) == run.submissions == 30


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"temperature": 0.7}, "temperature"),
        ({"max_tokens": 99}, "max_tokens"),
        ({"reasoning": "enabled_hidden"}, "reasoning"),
        ({"json_object": True}, "json_object"),
        ({"json_schema": {"type": "object"}}, "json_schema"),
        ({"id_field": "id"}, "id_field"),
    ],
)
def test_each_parameter_of_a_request_is_told_by_its_name(
    task: Callable[..., BulkTask], change: dict[str, Any], name: str
) -> None:
    run = task(inputs=[{"id": 1, "text": "A duck."}], prompt="{{ row.text }}")
    during_the_deferral(run, lambda: run.parameters.update(change))
    with pytest.raises(ConfigurationError, match=f"Restore `{name}`, and clear"):
        run.attempt()


@pytest.mark.parametrize("output", [None, "out"])
@pytest.mark.parametrize("deferred", [False, True])
def test_a_run_goes_on_with_the_model_that_it_began_with_where_the_connection_s_default_is_another_by_now(
    task: Callable[..., BulkTask],
    emulator: Emulator,
    connect: Callable[..., None],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    output: str | None,
    *,
    deferred: bool,
) -> None:
    emulator.fault("completionAsync", "operation_error", match="Row 3 ", times=1)
    run = task(inputs=texts(20), row_retries=int(deferred), output_path=output and str(tmp_path / output))
    extra = {"folder_id": FOLDER, "model": "yandexgpt-lite"}

    def another_default() -> None:
        connect(host=emulator.url, password=API_KEY, extra=extra)

    if deferred:
        during_the_deferral(run, another_default)
    else:
        with pytest.raises(RowsFailed):
            run.attempt()
        another_default()
    answers = run.attempt()
    assert (answers["counts"]["succeeded"] if output else len(answers)) == 20
    assert run.submissions == 21
    assert "goes on with gpt://b1gunittests/yandexgpt, with which it began" in capsys.readouterr().out
    if output:
        assert answers["model_id"] == "gpt://b1gunittests/yandexgpt"
        run.parameters["inputs"], run.parameters["output_path"] = texts(3), str(tmp_path / "new")
        assert run.attempt()["model_id"] == "gpt://b1gunittests/yandexgpt-lite"


def test_a_model_that_the_task_names_is_part_of_what_it_asks(task: Callable[..., BulkTask]) -> None:
    run = task(inputs=texts(3), model="yandexgpt")
    run.attempt()
    run.parameters["model"] = "yandexgpt-lite"
    run.attempt()
    assert run.submissions == 6


def test_a_chunk_whose_record_is_gone_is_told_to_be_paid_for_again(
    task: Callable[..., BulkTask], capsys: pytest.CaptureFixture[str]
) -> None:
    run = task(inputs=texts(10), chunk_size=5)
    during_the_deferral(run, lambda: run.store.delete(f"{KEY}_0"))
    assert len(run.attempt()) == 10
    assert run.submissions == 15
    del run.store.values[f"{KEY}_1"]
    assert len(run.attempt()) == 10
    assert run.submissions == 20
    told = capsys.readouterr().out
    for number in range(2):
        assert told.count(f"The state of chunk {number} is gone: its rows are asked, and paid for, again") == 1


@pytest.mark.parametrize("output", [None, "out"])
def test_rows_that_are_the_same_as_others_are_paid_for_once_though_the_records_that_knew_are_gone(
    task: Callable[..., BulkTask], tmp_path: Path, output: str | None
) -> None:
    run = task(inputs=texts(6) * 2, chunk_size=4, output_path=output and str(tmp_path / output))

    def lose() -> None:
        run.store.delete(f"{KEY}_1")
        if output is None:  # else this one is done
            run.store.delete(f"{KEY}_2")

    during_the_deferral(run, lose)
    answers = run.attempt()
    assert (answers["counts"]["succeeded"] if output else len(answers)) == 12
    assert run.submissions == 6 + 2


def test_other_requests_are_told_to_be_others_or_those_of_another_release(
    task: Callable[..., BulkTask], capsys: pytest.CaptureFixture[str]
) -> None:
    run = task(inputs=texts(3))
    run.attempt()
    run.store.values[KEY]["fingerprint"] = "by another recipe"
    run.attempt()
    assert "have changed, or another release of this package tells them apart" in capsys.readouterr().out


def test_a_chunk_that_was_begun_and_no_more_is_not_told_to_be_paid_for_again(
    task: Callable[..., BulkTask], capsys: pytest.CaptureFixture[str]
) -> None:
    run = task(inputs=texts(10), chunk_size=5)
    kill_once(run, lambda key, value: key == KEY and value["opened"] == 1)
    assert len(run.attempt()) == run.submissions == 10
    assert "is gone" not in capsys.readouterr().out


def test_an_answer_that_is_read_again_in_each_attempt_is_counted_once(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    used = {"inputTextTokens": "100", "completionTokens": "900", "totalTokens": "1000"}
    said = {"alternatives": ["odd"], "usage": used}
    emulator.fault("completionAsync", "operation_answer", body=said, match="Row 3 ", times=None)
    run = task(inputs=texts(5), on_row_error="keep", output_path=str(tmp_path / "out"))
    spent = [run.attempt()["usage"] for _ in range(3)]
    assert spent[0]["total_tokens"] > 1000
    assert spent == [spent[0]] * 3
    assert (run.submissions, rows_of(tmp_path / "out")[3]["error"]["type"]) == (5, "unreadable")
