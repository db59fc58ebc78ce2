"""What an attempt makes of its end, by value: an answer, or the error that says what to do."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api.models import Usage
from airflow_provider.yandex_ai_studio.bulk import attempt as module
from airflow_provider.yandex_ai_studio.bulk.attempt import KEPT
from airflow_provider.yandex_ai_studio.bulk.folder import MANIFEST
from airflow_provider.yandex_ai_studio.bulk.money import Bounds
from airflow_provider.yandex_ai_studio.bulk.progress import metrics_between
from airflow_provider.yandex_ai_studio.bulk.tally import Tally
from airflow_provider.yandex_ai_studio.durability import advice
from airflow_provider.yandex_ai_studio.exceptions import (
    BadRequest,
    BudgetExceeded,
    ConfigurationError,
    PermissionDenied,
    RowsFailed,
    ServiceUnavailable,
)
from bulk_scene import LOST, MODEL, NOW, PRICE, WRONG, World, done, failed


@pytest.mark.parametrize(("discards", "how"), [(False, "clear the task"), (True, "clear the task and keep its state")])
def test_a_bound_that_is_reached_says_what_to_raise_and_keeps_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, discards: bool, how: str
) -> None:
    monkeypatch.setattr(advice, "clear_may_discard", lambda: discards)
    world = World(2, output=tmp_path)
    with pytest.raises(
        BudgetExceeded,
        match=rf"^Raise `max_total_tokens`, and {how}: the next row could go beyond it\.\n`max_total_tokens`",
    ) as stopped:
        world.attempt(limits={"bounds": Bounds(tokens=1)}).begin()
    assert str(stopped.value).endswith(KEPT)
    assert (tmp_path / MANIFEST).exists()


def test_too_many_lost_answers_end_an_attempt_as_what_they_are() -> None:
    world = World(30)
    world.sends = {row: [LOST] * 9 for row in range(30)}
    with pytest.raises(ServiceUnavailable, match="11 of 11"):
        world.attempt().begin()


@pytest.mark.parametrize("output", [True, False])
def test_rows_that_failed_fail_the_task_unless_they_are_to_be_kept(tmp_path: Path, output: bool) -> None:
    world = World(3, output=tmp_path if output else None)
    world.looks = {"op1": [failed("op1")]}
    where = f"see their `error` in {tmp_path}" if output else "the log says why they failed"
    with pytest.raises(RowsFailed) as error:
        world.attempt(limits={"row_retries": 0}).begin()
    assert str(error.value) == (
        f"Look at the rows that failed ({where}): another attempt asks them again, and pays for them again.\n"
        f"1 of 3 rows failed. {KEPT}"
    )
    if not output:
        assert world.chunk_written()["ids"].keys() == {"0", "2"}  # another attempt looks at no failure twice
    kept = world.attempt(keep_failed=True, limits={"row_retries": 0}).begin()
    assert kept["counts"]["errored"] == 1 if output else kept == ["Quack.", None, "Quack."]


def test_a_run_that_is_stopped_by_its_failures_says_so_though_rows_are_kept(tmp_path: Path) -> None:
    world = World(20, output=tmp_path)
    world.sends = {0: [WRONG], 1: [WRONG]}
    with pytest.raises(RowsFailed) as error:
        world.attempt(keep_failed=True, limits={"max_failed_rows": 1}).begin()
    assert "\n2 of 20 rows failed. No more were submitted, because of `max_failed_rows`. What was" in str(error.value)


def test_rows_that_were_all_refused_alike_are_told_in_the_words_of_the_service() -> None:
    world = World(3)
    world.sends = {row: [WRONG] for row in range(3)}
    with pytest.raises(BadRequest, match="It is too long"):
        world.attempt().begin()
    world = World(3)
    world.sends = {row: [WRONG] for row in range(3)}
    assert world.attempt(keep_failed=True).begin() == [None] * 3


def test_the_head_is_written_down_before_a_task_waits() -> None:
    world = World(2)
    world.runs_on(0)
    world.looks["op1"] = [done("op1", used=Usage(1, 77, 78))]
    world.attempt().begin()
    assert world.written.hour
    assert world.written.reception["taken"] == 2


def test_monitoring_is_told_of_the_end_with_the_rows_and_the_tokens(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[Any] = []
    shown: list[Any] = []
    monkeypatch.setattr(module, "tell", lambda *metrics, tags: told.append((metrics, tags)))
    monkeypatch.setattr(module, "describe", shown.append)
    World(2).attempt().begin()
    ((metrics, tags),) = told
    counted = {metric.name: metric.value for metric in metrics if metric.value and metric.reason is None}
    assert counted["succeeded"] == 2
    assert tags == module.tags_of("studio", MODEL)
    assert shown == [{**module.request_attributes(MODEL), **module.usage_attributes(20, 10)}]


def test_rows_that_nobody_asked_though_nothing_stopped_the_run_have_failed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It can't be; should it be, no answer is missed in silence."""
    monkeypatch.setattr(module.Run, "go", lambda _: None)
    with pytest.raises(RowsFailed, match="2 of 2 rows failed"):
        World(2, output=tmp_path).attempt().begin()


def test_each_row_says_what_it_has_cost(tmp_path: Path) -> None:
    world = World(1, output=tmp_path)
    manifest = world.attempt(limits={"bounds": Bounds(price=PRICE)}).begin()
    (row,) = [json.loads(line) for line in (tmp_path / "part-00000.jsonl").read_text().splitlines()]
    assert row["cost"] == manifest["cost"] == PRICE.of(Usage(10, 5, 15)) == 20.0


def stop_after(world: World, submissions: int) -> Any:
    """Return what ends an attempt once so much was submitted."""

    def check() -> None:
        if len(world.submitted()) >= submissions:
            raise ConfigurationError("The end.")

    return check


def test_what_an_attempt_that_breaks_off_has_submitted_counts_for_the_next_one() -> None:
    world = World(3)
    world.sends = {2: [PermissionDenied("No.", arrived=False)] * 9}
    with pytest.raises(ConfigurationError):
        world.attempt(check=stop_after(world, 3)).begin()
    assert world.written.hour == {str(int(NOW // 60)): 2}


def test_monitoring_is_told_of_failures_of_rows_that_are_not_returned(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for output in (None, tmp_path):
        told: list[Any] = []
        monkeypatch.setattr(module, "tell", lambda *metrics, tags, told=told: told.append((metrics, tags)))
        world = World(2, output=output)
        world.looks = {"op1": [failed("op1")]}
        with pytest.raises(RowsFailed):
            world.attempt(limits={"row_retries": 0}).begin()
        expected = (metrics_between(Tally(), Tally((0, 1, 0, 0, 0, 0))), module.tags_of("studio", MODEL))
        assert (told == [expected]) is (output is None)
