"""A bulk run against the emulator: what it submits, writes and returns, and what it refuses before anything is paid."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import (
    BadRequest,
    BudgetExceeded,
    ConfigurationError,
    PermissionDenied,
    RowsFailed,
)
from bulk_task import API_KEY, FOLDER, BulkTask, rows_of

PRICES = {
    "currency": "RUB",
    "yandexgpt": {"async": {"input": 0.2, "output": 0.4}, "sync": {"input": 9.0, "output": 9.0}},
}


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=5, seconds_max=20, enforce_quotas=True) as running:
        yield running


@pytest.fixture
def task(emulator: Emulator, connect: Callable[..., None]) -> Callable[..., BulkTask]:
    extra = {"folder_id": FOLDER, "prices": PRICES, "submits_per_second": 10}
    connect(host=emulator.url, password=API_KEY, extra=extra)

    def make(**parameters: Any) -> BulkTask:
        return BulkTask(emulator, **parameters)

    return make


def texts(count: int) -> list[str]:
    return [f"Row {number} is about ducks that number {number}." for number in range(count)]


def file_of(path: Path, rows: list[Any]) -> str:
    path.write_text("".join(json.dumps(row) + "\n\n" for row in rows))
    return str(path)


def test_a_list_of_texts_gives_the_answers_in_its_order(task: Callable[..., BulkTask]) -> None:
    run = task(inputs=texts(30))
    answers = run.attempt()
    assert len(answers) == 30
    assert all(f"number {number}." in answer for number, answer in enumerate(answers))
    assert (run.submissions, run.refusals) == (30, 0)


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


def test_a_service_that_refuses_every_row_ends_the_run(task: Callable[..., BulkTask], emulator: Emulator) -> None:
    emulator.fault("completionAsync", "status", status=400, times=None)
    with pytest.raises(BadRequest):
        task(inputs=texts(200)).attempt()
    assert emulator.stats()["requests"]["completionAsync"] < 60
    emulator.clear_faults()
    emulator.fault("completionAsync", "status", status=403, times=None)
    with pytest.raises(PermissionDenied):
        task(inputs=texts(200)).attempt()


def test_too_many_failed_rows_stop_the_run(task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path) -> None:
    emulator.fault("completionAsync", "operation_error", times=None)
    run = task(inputs=texts(600), output_path=str(tmp_path / "out"), chunk_size=50, row_retries=0, max_failed_rows=20)
    with pytest.raises(RowsFailed, match="max_failed_rows"):
        run.attempt()
    assert run.submissions < 400
    assert len(rows_of(tmp_path / "out")) == 600


def test_an_unknown_submission_is_counted_and_made_again(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    emulator.fault("completionAsync", "lost_answer", match="Row 3 ")
    run = task(inputs=texts(10), output_path=str(tmp_path / "out"))
    assert run.attempt()["lost_submissions"] == 1
    assert run.submissions == 11
    assert "1 row of chunk 0 may have been billed without a use" in capsys.readouterr().out


def test_the_quota_of_a_second_is_never_met(task: Callable[..., BulkTask], tmp_path: Path) -> None:
    run = task(inputs=texts(300), output_path=str(tmp_path / "out"))
    began = run.clock.now
    run.attempt()
    assert run.refusals == 0
    assert run.emulator.stats()["responses"]["operations.get"].get("429", 0) == 0
    assert run.clock.now - began < 1.2 * (30 + 20)


def test_a_429_slows_down_and_fails_nothing(task: Callable[..., BulkTask], emulator: Emulator) -> None:
    emulator.fault("completionAsync", "status", status=429, times=15, after=10)
    run = task(inputs=texts(40))
    assert None not in run.attempt()
    assert (run.submissions, run.refusals) == (40, 15)


def test_a_pace_above_the_quota_adapts_to_it(connect: Callable[..., None], emulator: Emulator, tmp_path: Path) -> None:
    connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER, "submits_per_second": 40})
    run = BulkTask(emulator, inputs=texts(300), output_path=str(tmp_path / "out"))
    began = run.clock.now
    assert run.attempt()["counts"]["succeeded"] == run.submissions == 300
    assert run.refusals < 150
    assert run.clock.now - began < 1.3 * (30 + 20)


def test_a_service_out_of_order_keeps_no_worker(task: Callable[..., BulkTask], emulator: Emulator) -> None:
    emulator.fault("completionAsync", "status", status=503, times=60)
    run = task(inputs=texts(20))
    assert None not in run.attempt()
    assert run.submissions == 20
    assert any(deferral.trigger.wake_at for deferral in run.deferrals)


def test_an_operation_that_takes_too_long_fails_its_row_and_another_attempt_takes_its_answer(
    connect: Callable[..., None], tmp_path: Path
) -> None:
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=600) as emulator:
        connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER})
        run = BulkTask(emulator, inputs=texts(5), timeout=60, output_path=str(tmp_path / "out"))
        run.emulator_seconds = 60.0
        with pytest.raises(RowsFailed):
            run.attempt()
        assert {row["error"]["type"] for row in rows_of(tmp_path / "out")} == {"timeout"}
        run.clock.sleep(600)
        assert run.attempt()["counts"]["succeeded"] == 5
        assert run.submissions == 5


@pytest.mark.parametrize("bound", [{"max_total_tokens": 4000}, {"max_cost": 1.2}])
def test_a_bound_stops_the_run_before_it_is_passed_and_keeps_all(
    task: Callable[..., BulkTask], tmp_path: Path, bound: dict[str, Any]
) -> None:
    run = task(inputs=texts(300), max_tokens=50, output_path=str(tmp_path / "out"), chunk_size=50, **bound)
    with pytest.raises(BudgetExceeded, match="Raise"):
        run.attempt()
    manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
    written = rows_of(tmp_path / "out")
    assert len(written) == 300
    first = run.submissions
    assert 0 < first == manifest["counts"]["succeeded"] < 300
    assert manifest["usage"]["total_tokens"] <= bound.get("max_total_tokens", 10**9)
    assert manifest["cost"] <= bound.get("max_cost", 10**9)
    assert manifest["counts"]["missing"] == 300 - first
    for name in bound:
        run.parameters.pop(name)
    assert run.attempt()["counts"]["succeeded"] == run.submissions == 300


def test_an_estimate_submits_nothing_and_is_near(task: Callable[..., BulkTask], tmp_path: Path) -> None:
    run = task(inputs=texts(300) * 2, max_tokens=10, estimate=True)
    says = run.attempt()
    assert run.submissions == 0
    assert (says["rows"], says["requests"]) == (600, 300)
    assert 0 < says["sampled_rows"] <= 50
    assert says["output_tokens_at_most"] == 3000
    assert 0 < says["input_cost"] < says["cost_at_most"] == pytest.approx(says["input_cost"] + 1.2)
    run.parameters.update(estimate=False, output_path=str(tmp_path / "out"))
    used = run.attempt()["usage"]["input_tokens"]
    assert says["input_tokens"] == pytest.approx(used, rel=0.1)


def test_an_estimate_is_a_dry_run_and_says_what_each_side_costs(
    task: Callable[..., BulkTask], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = task(inputs=texts(30), max_tokens=1000, estimate=True, output_path=str(tmp_path / "out"))
    says = run.attempt()
    assert not (tmp_path / "out").exists()
    assert run.store.writes == 0
    asked = {name: times for name, times in run.emulator.stats()["requests"].items() if times}
    assert asked == {"tokenizeCompletion": 30}
    assert says["sampled_rows"] == 30
    assert says["input_cost"] == pytest.approx(0.2 * says["input_tokens"] / 1000)  # the price of the asynchronous mode
    assert says["cost_at_most"] - says["input_cost"] == pytest.approx(0.4 * 30)
    told = capsys.readouterr().out
    assert f"{says['input_tokens']} tokens of input, by 30 rows that were counted; 30000 of output at most;" in told
    assert f"{says['cost_at_most']:.2f} RUB in all at most. Nothing was submitted." in told


def test_an_estimate_without_bound_and_price_says_what_it_takes_for_granted(
    task: Callable[..., BulkTask], capsys: pytest.CaptureFixture[str]
) -> None:
    says = task(inputs=texts(3), estimate=True, model="yandexgpt-lite").attempt()
    assert (says["output_tokens_at_most"], says["cost_at_most"]) == (6000, None)
    told = capsys.readouterr().out
    assert "with 2000 for an answer" in told
    assert "no cost, for the connection's `prices`" in told


def test_an_empty_list_ends_well(task: Callable[..., BulkTask], tmp_path: Path) -> None:
    assert task(inputs=[]).attempt() == []
    manifest = task(inputs=[], output_path=str(tmp_path / "out")).attempt()
    assert (manifest["request_count"], manifest["parts"], manifest["terminal_reason"]) == (0, [], "succeeded")


SECRET = "a private text"


@pytest.mark.parametrize(
    ("parameters", "said"),
    [
        ({"inputs": [{"text": SECRET}, {"other": SECRET}], "prompt": "{{ row.text }}"}, ["row 1", "'text'"]),
        ({"inputs": [{"text": SECRET}, {"text": " "}], "prompt": "{{ row.text }}"}, ["row 1", "`prompt`", "empty"]),
        ({"inputs": [SECRET, ""]}, ["ow 1", "empty"]),
        ({"inputs": [{"text": SECRET}]}, ["Row 0", "`prompt`"]),
        ({"inputs": [{"id": 1}, {"id": 1}], "prompt": "x{{ row.id }}", "id_field": "id"}, ["Rows 0 and 1", "`id`"]),
        ({"inputs": [{"a": SECRET}], "prompt": "{{ row.a }}", "id_field": "id"}, ["Row 0", "`id`"]),
        ({"inputs": [SECRET], "prompt": "{{ row"}, ["`prompt` is no template"]),
        ({"inputs": [SECRET], "output_path": "/proc/nowhere"}, ["can't be written"]),
        ({"inputs": [SECRET] * 1001, "deduplicate": False}, ["`output_path`", "1001"]),
        ({"inputs": "/nowhere/in.jsonl"}, ["no file"]),
        ({"inputs": "/nowhere/in.csv"}, ["`inputs`"]),
        ({"inputs": {"a": SECRET}}, ["`inputs`"]),
        ({"inputs": [SECRET], "row_retries": -1}, ["`row_retries`"]),
        ({"inputs": [SECRET], "temperature": 7}, ["`temperature`"]),
        ({"inputs": [SECRET], "max_cost": 0}, ["`max_cost`"]),
        ({"inputs": [SECRET], "max_cost": 1, "model": "other"}, ["`max_cost`", "`prices`"]),
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
    assert run.submissions == 0


def test_rows_are_data_and_never_templates(task: Callable[..., BulkTask]) -> None:
    run = task(inputs=["Say {{ 6 * 7 }} ducks."])
    operator = run.operator()
    operator.render_template_fields({"ti": None})  # type: ignore[typeddict-item]
    assert operator.inputs == ["Say {{ 6 * 7 }} ducks."]


def test_an_output_of_another_set_of_requests_is_left_alone(task: Callable[..., BulkTask], tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    task(inputs=texts(3), output_path=out).attempt()
    other = task(inputs=texts(4), output_path=out)
    with pytest.raises(ConfigurationError, match="another set of requests"):
        other.attempt()
    assert other.submissions == 3


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


@pytest.mark.parametrize("status", [401, 403, 404, 500])
def test_one_look_that_fails_decides_nothing(task: Callable[..., BulkTask], emulator: Emulator, status: int) -> None:
    emulator.fault("operations.get", "status", status=status, times=3)
    run = task(inputs=texts(30))
    assert None not in run.attempt()
    assert run.submissions == 30


def test_a_refusal_that_the_trigger_met_again_and_again_fails_the_attempt(
    task: Callable[..., BulkTask], emulator: Emulator
) -> None:
    emulator.fault("operations.get", "status", status=403, times=None)
    run = task(inputs=texts(10))
    run.event = {"reason": "The service refuses", "refused": True}
    with pytest.raises(PermissionDenied):
        run.attempt()
    emulator.clear_faults()
    assert None not in run.attempt()
    assert run.submissions == 10


def test_an_operation_that_is_gone_for_good_is_replaced(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    run = task(inputs=texts(10), output_path=str(tmp_path / "out"))
    wait = run._wait

    def lose_one(trigger: Any) -> None:
        gone = emulator.operations()[3]["id"]
        if not run.event.get("expired"):
            emulator.fault("operations.get", "status", status=404, operation_id=gone, times=None)
            run.event = {"reason": "in a test", "expired": [gone]}
        wait(trigger)

    run._wait = lose_one  # type: ignore[method-assign]
    assert run.attempt()["counts"]["succeeded"] == 10
    assert run.submissions == 11


def test_a_chunk_with_an_operation_that_runs_on_is_not_read_at_each_wakeup(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    run = task(inputs=texts(60), output_path=str(tmp_path / "out"), chunk_size=20)
    wait, reads = run._wait, []

    def note(trigger: Any) -> None:
        reads.append(emulator.stats()["requests"].get("operations.get", 0))
        wait(trigger)
        run.event = {"reason": "in a test", "chunks": [] if len(reads) < 4 else [0, 1, 2]}

    run._wait = note  # type: ignore[method-assign]
    assert run.attempt()["counts"]["succeeded"] == 60
    assert len(reads) == 4
    assert reads[0] == reads[-1]
