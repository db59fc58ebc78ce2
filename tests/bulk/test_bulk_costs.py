"""What a bulk run may cost: bounds that hold, and estimates that submit nothing."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.bulk.estimate import Estimate
from airflow_provider.yandex_ai_studio.bulk.money import Bounds, Price
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import (
    BudgetExceeded,
    RowsFailed,
)
from bulk_task import API_KEY, FOLDER, BulkTask, rows_of, texts


@pytest.mark.parametrize("bound", [{"max_total_tokens": 4000}, {"max_cost": 1.2}])
def test_a_bound_stops_the_run_before_it_is_passed_and_keeps_all(
    task: Callable[..., BulkTask], tmp_path: Path, bound: dict[str, Any]
) -> None:
    run = task(inputs=texts(300), max_tokens=50, output_path=str(tmp_path / "out"), chunk_size=50, **bound)
    with pytest.raises(BudgetExceeded, match=f"^Raise `{next(iter(bound))}`, and clear") as stopped:
        run.attempt()
    says = rf"`{next(iter(bound))}` is \S+ \w+: (\S+) (\w+) were spent, and the next row may take (\S+) \2\. What was "
    told = re.search(says, str(stopped.value))
    assert told
    spent, row = (float(told[number].replace(",", "")) for number in (1, 3))
    assert spent <= next(iter(bound.values())) < spent + row
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


def test_a_bound_counts_what_may_have_been_billed_without_a_use(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    emulator.fault("completionAsync", "lost_answer", times=8)
    run = task(inputs=texts(200), max_tokens=50, output_path=str(tmp_path / "out"), max_total_tokens=4000)
    with pytest.raises(BudgetExceeded):
        run.attempt()
    used = [row["usage"]["total_tokens"] for row in rows_of(tmp_path / "out") if row["usage"]]
    assert run.submissions == len(used) + 8
    assert run.submissions * min(used) <= 4000


USED = {"inputTextTokens": "60", "completionTokens": "50", "totalTokens": "110"}
WITHHELD = [{"message": {"role": "assistant"}, "status": "ALTERNATIVE_STATUS_CONTENT_FILTER"}]


@pytest.mark.parametrize("output", [True, False])
def test_a_bound_counts_what_rows_that_failed_took_in_earlier_attempts(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path, output: bool
) -> None:
    emulator.fault("completionAsync", "operation_answer", times=None, body={"alternatives": WITHHELD, "usage": USED})
    where = {"output_path": str(tmp_path / "out")} if output else {}
    run = task(inputs=texts(4), max_tokens=50, max_total_tokens=700, **where)
    with pytest.raises(RowsFailed):
        run.attempt()
    for _ in range(2):
        with pytest.raises(BudgetExceeded):
            run.attempt()
    assert run.submissions * 110 <= 700


def test_a_bound_counts_operations_that_took_too_long(connect: Callable[..., None], tmp_path: Path) -> None:
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=600) as emulator:
        connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER})
        emulator.fault("completionAsync", "operation_answer", times=None, body={"usage": USED})
        where = {"output_path": str(tmp_path / "out"), "chunk_size": 1}  # each has its part before the next is asked
        run = BulkTask(emulator, inputs=texts(12), max_tokens=50, max_total_tokens=400, timeout=60, **where)
        run.emulator_seconds = 60.0
        with pytest.raises(BudgetExceeded, match=r"up to [0-9]+ tokens may have been without a use"):
            run.attempt()
        run.clock.sleep(700)
        with pytest.raises(BudgetExceeded):
            run.attempt()
        assert run.submissions * 110 <= 400
        run.parameters.pop("max_total_tokens")
        run.parameters["timeout"] = 7200
        assert run.attempt()["counts"]["succeeded"] == run.submissions == 12


def test_a_bound_remembers_the_longest_answer_over_stretches_and_attempts(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    used = {"inputTextTokens": "20", "completionTokens": "9000", "totalTokens": "9020"}
    full = {"code": 8, "message": "quota ai.textGenerationAsyncRequestsPerHour.count exceeded"}
    emulator.fault("completionAsync", "status", status=429, after=2, times=2, body=full)
    emulator.fault("completionAsync", "operation_answer", times=None, body={"usage": used})
    run = task(inputs=texts(40), output_path=str(tmp_path / "out"), max_total_tokens=60_000, chunk_size=2)
    with pytest.raises(BudgetExceeded):
        run.attempt()
    assert len(run.deferrals) > 1
    assert run.submissions * 9020 <= 60_000
    with pytest.raises(BudgetExceeded):
        run.attempt()
    assert run.submissions * 9020 <= 60_000


def test_a_bound_counts_instructions_and_schema_for_what_is_under_way(
    task: Callable[..., BulkTask], emulator: Emulator, tmp_path: Path
) -> None:
    """The service counts a token for each character, the most that it may."""
    schema = {"type": "object", "properties": {"title": {"type": "string", "description": "x" * 400}}}
    said = "Be brief. " * 50
    tokens = 500 + len(json.dumps(schema)) + 60
    used = {"inputTextTokens": str(tokens), "completionTokens": "50", "totalTokens": str(tokens + 50)}
    alternatives = [{"message": {"role": "assistant", "text": "{}"}, "status": "ALTERNATIVE_STATUS_FINAL"}]
    emulator.fault(
        "completionAsync", "operation_answer", times=None, body={"alternatives": alternatives, "usage": used}
    )
    where = {"output_path": str(tmp_path / "out")}
    run = task(
        inputs=texts(40),
        instructions=said,
        json_schema=schema,
        max_tokens=50,
        max_total_tokens=9000,
        chunk_size=5,
        **where,
    )
    with pytest.raises(BudgetExceeded):
        run.attempt()
    assert 5 < run.submissions <= 9000 // (tokens + 50)


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
    assert f"about {says['input_tokens']:,} tokens in, by 30 rows counted; at most 30,000 out;" in told
    assert f"{says['cost_at_most']:.2f} RUB in all at most. Nothing was submitted." in told


def test_an_estimate_without_bound_and_price_says_what_it_takes_for_granted(
    task: Callable[..., BulkTask], capsys: pytest.CaptureFixture[str]
) -> None:
    says = task(inputs=texts(3), estimate=True, model="yandexgpt-lite").attempt()
    assert (says["output_tokens_at_most"], says["cost_at_most"]) == (6000, None)
    told = capsys.readouterr().out
    assert "2,000 for each answer" in told
    assert "no cost: that needs a price of 'yandexgpt-lite' in the mode 'async' in `prices` of the connection" in told


def test_an_estimate_of_one_row_is_told_in_words() -> None:
    told = Estimate(1, 1, 1, 5, 2000, Bounds(price=Price(0.2, 0.4, "RUB"))).line()
    assert told == (
        "1 request for 1 row; about 5 tokens in, by 1 row counted; at most 2,000 out (`max_tokens` is not "
        "set: 2,000 for each answer); 0.001000 RUB for the input, 0.80 RUB in all at most. Nothing was submitted."
    )
