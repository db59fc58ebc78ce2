"""Each round of reads by value: what is looked at when, what comes of it, and what a worker waits for."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.models import Message, Usage
from airflow_provider.yandex_ai_studio.api.output import Output
from airflow_provider.yandex_ai_studio.bulk.harvesting import LAST_FEW
from airflow_provider.yandex_ai_studio.bulk.wakeup import Wakeup
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError, NotFound, PermissionDenied
from bulk_scene import AWAY, DENIED, FULL, LOST, MODEL, NO_KEY, NOW, TIMEOUT, USED, Scene, done, failed, taken

GONE = NotFound("It is not known.", arrived=False)
RETENTION = 3 * 86400.0


def looks(scene: Scene) -> list[str]:
    seen = [deed[1] for deed in scene.did]
    assert all(deed == ("look", deed[1], False) for deed in scene.did)
    scene.did.clear()
    return seen


def test_an_answer_is_kept_in_memory_and_the_ledger_is_spared() -> None:
    scene = Scene(3)
    chunks = scene.begun(ago=10.0)
    harvesting, writes = scene.harvesting(chunks), scene.ledger.writes
    assert harvesting.next(NOW) == 0
    assert looks(scene) == ["op0"]  # whether it is worth to look at the others
    assert harvesting.next(NOW) == pytest.approx(0.5)
    scene.sleep(0.5)
    assert harvesting.next(NOW) == 0
    assert looks(scene) == ["op1", "op2"]
    assert harvesting.next(NOW) is None
    assert {row: answer.output for row, answer in chunks.open[0].answers.items()} == dict.fromkeys(range(3), "Quack.")
    assert (chunks.head.longest_answer, scene.ledger.writes, scene.lines) == (5, writes, [])
    assert harvesting.pause is None


def test_reads_keep_the_budget_of_the_connection() -> None:
    scene = Scene(50, polls=10.0)
    chunks = scene.begun(ago=10.0)
    chunks.open[0].narrow = False
    harvesting = scene.harvesting(chunks)
    rounds = []
    while (delay := harvesting.next(NOW)) is not None:
        if delay:
            scene.sleep(delay)
        else:
            rounds.append(len(looks(scene)))
    assert rounds == [5] * 10
    assert sum(scene.slept) == pytest.approx(4.5, abs=0.6)


def test_a_round_takes_from_the_next_chunks_what_the_first_one_leaves() -> None:
    scene = Scene(12, chunk_size=4, polls=10.0)
    chunks = scene.begun(ago=10.0)
    for opened in chunks.open.values():
        opened.narrow = False
    scene.harvesting(chunks).next(NOW)
    assert looks(scene) == ["op0", "op1", "op2", "op3", "op4"]
    assert scene.harvesting(chunks).next(NOW) == 0
    assert looks(scene) == ["op5", "op6", "op7", "op8", "op9"]


def test_an_operation_that_runs_has_its_chunk_looked_at_later_and_only_at_its_oldest() -> None:
    scene = Scene(6, chunk_size=3)
    scene.looks = {"op0": [taken("op0")]}
    chunks = scene.begun(ago=100.0)
    harvesting = scene.harvesting(chunks)
    harvesting.next(NOW)
    assert looks(scene) == ["op0", "op3"]
    assert (chunks.open[0].look_at, chunks.open[0].narrow, chunks.open[1].narrow) == (NOW + 10.0, True, False)
    scene.sleep(0.5)
    harvesting.next(NOW + 9.9)
    assert looks(scene) == ["op4", "op5"]
    assert harvesting.next(NOW + 9.9) is None
    scene.sleep(0.5)
    assert harvesting.next(NOW + 10.0) == 0
    assert looks(scene) == ["op0"]


def test_what_the_trigger_saw_running_is_not_read_but_what_waits_there_is_asked() -> None:
    scene = Scene(9, chunk_size=3, output=Path("unused"))
    chunks = scene.begun(ago=10.0)
    chunks.open[2].chunk.ids.pop(1)
    scene.harvesting(chunks, wakeup=Wakeup(chunks=(0,))).next(NOW)
    assert [opened.look_at for opened in chunks.open.values()] == [0.0, math.inf, 0.0]
    assert looks(scene) == ["op0", "op6"]


@pytest.mark.parametrize("wakeup", [Wakeup(), Wakeup(chunks=())])
def test_rows_that_are_returned_are_all_read_whatever_the_trigger_saw(wakeup: Wakeup) -> None:
    scene = Scene(6, chunk_size=3)
    scene.harvesting(scene.begun(ago=10.0), wakeup=wakeup).next(NOW)
    assert looks(scene) == ["op0", "op3"]


# -- what came of an operation


def test_a_generation_that_failed_is_asked_again_as_often_as_it_may_and_told() -> None:
    scene = Scene(6, chunk_size=3)
    scene.looks = {"op4": [failed("op4")], "again": [failed("again")]}
    chunks = scene.begun(ago=10.0)
    opened = chunks.open[1]
    opened.narrow = False
    harvesting = scene.harvesting(chunks)
    harvesting.next(NOW)
    assert (opened.chunk.waiting, opened.chunk.failures, opened.answers.keys()) == ([1], {1: 1}, {0, 2})
    assert scene.chunk_written(1)["failures"] == {"1": 1}
    assert scene.lines == ["Row 4: operation_failed. It is asked again (1 of 1)."]
    opened.chunk.submitted(1, "again", NOW)
    scene.sleep(0.5)
    harvesting.next(NOW + 0.5)
    assert opened.answers[1].status == "error"
    assert scene.lines[1].startswith("Row 4 failed (operation_failed): ")
    assert opened.chunk.waiting == []


def test_an_answer_of_the_wrong_form_is_asked_again_and_stays_paid_for() -> None:
    base = CompletionRequest(MODEL, (Message("user", "-"),), output=Output(json_object=True))
    scene = Scene(1, base=base)
    chunks = scene.begun(ago=10.0)
    scene.harvesting(chunks).next(NOW)
    assert (chunks.open[0].chunk.waiting, chunks.tally().spent, chunks.tally().repeated) == ([0], USED, 1)
    assert chunks.head.longest_answer == 5


@pytest.mark.parametrize(("how", "retries"), [({"stops": True}, 1), ({"row_retries": 0}, 0)])
def test_no_row_is_asked_again_where_the_run_must_stop_or_none_is_to_be(how: dict[str, Any], retries: int) -> None:
    scene = Scene(1)
    scene.looks = {"op0": [failed("op0")]}
    chunks = scene.begun(ago=10.0)
    scene.harvesting(chunks, **how).next(NOW)
    assert (chunks.open[0].answers[0].status, chunks.open[0].chunk.waiting) == ("error", [])


def test_an_answer_that_no_repetition_mends_is_final() -> None:
    scene = Scene(1)
    scene.looks = {"op0": [done("op0", status="content_filter")]}
    chunks = scene.begun(ago=10.0)
    scene.harvesting(chunks).next(NOW)
    assert chunks.open[0].answers[0].error
    assert chunks.open[0].chunk.waiting == []


def test_the_longest_answer_stays_the_longest() -> None:
    scene = Scene(2)
    scene.looks = {"op0": [done("op0", used=Usage(1, 70, 71))]}
    chunks = scene.begun(ago=10.0)
    chunks.open[0].narrow = False
    scene.harvesting(chunks).next(NOW)
    assert chunks.head.longest_answer == 70


def test_an_operation_that_failed_though_it_is_not_called_done_has_ended() -> None:
    scene = Scene(1)
    ended = failed("op0")
    scene.looks = {"op0": [type(ended)("op0", "completion", error=ended.error)]}
    chunks = scene.begun(ago=10.0)
    scene.harvesting(chunks, row_retries=0).next(NOW)
    assert chunks.open[0].answers[0].error


EXPIRED = Wakeup(expired=("op0",))


@pytest.mark.parametrize(
    ("ago", "wakeup", "others", "found", "is_gone"),
    [
        (10.0, Wakeup(), 1, True, False),
        (10.0, Wakeup(expired=("op1",)), 1, True, False),
        (10.0, EXPIRED, LAST_FEW, True, True),
        (10.0, EXPIRED, LAST_FEW, False, False),  # whoever has lost the way says the same of all
        (10.0, EXPIRED, LAST_FEW - 1, False, True),  # there are no more to tell by
        (RETENTION + 1, Wakeup(), 0, True, True),
    ],
)
def test_an_operation_is_gone_where_the_trigger_says_so_and_others_are_found_or_it_is_older_than_results_are_kept(
    ago: float, wakeup: Wakeup, others: int, found: bool, is_gone: bool
) -> None:
    scene = Scene(1 + others)
    scene.looks = {"op0": [GONE]} | ({} if found else {f"op{number}": [GONE] for number in range(1, 1 + others)})
    chunks = scene.begun(ago=ago)
    chunks.open[0].narrow = False
    scene.harvesting(chunks, wakeup=wakeup, timeout=9 * RETENTION).next(NOW)
    assert (chunks.open[0].chunk.waiting == [0]) is is_gone
    if is_gone:
        assert scene.chunk_written()["failures"] == {"0": 1}
        assert scene.lines == ["Row 0: expired. It is asked again (1 of 1)."]


def test_a_row_whose_operation_is_gone_for_good_names_it() -> None:
    scene = Scene(2)
    scene.looks = {"op1": [GONE]}
    chunks = scene.begun(ago=10.0)
    harvesting = scene.harvesting(chunks, wakeup=Wakeup(expired=("op1",)), row_retries=0)
    harvesting.next(NOW)
    scene.sleep(1.0)
    harvesting.next(NOW)  # the other one was found in the round before
    error = chunks.open[0].answers[1].error
    assert error
    assert (error["type"], error["operation_id"]) == ("expired", "op1")


@pytest.mark.parametrize("first", [done("op0"), failed("op0"), GONE, AWAY, FULL, taken("op0")])
@pytest.mark.parametrize("ago", [10.0, TIMEOUT])
def test_whatever_comes_of_one_operation_the_others_of_its_round_are_taken(first: Any, ago: float) -> None:
    scene = Scene(3)
    scene.looks = {"op0": [first]}
    chunks = scene.begun(ago=ago)
    chunks.open[0].narrow = False
    scene.harvesting(chunks, wakeup=Wakeup(expired=("op0",))).next(NOW)
    assert chunks.open[0].answers.keys() >= {1, 2}


def test_an_operation_that_takes_too_long_is_concluded_and_kept_for_another_attempt() -> None:
    scene = Scene(4, chunk_size=2)
    scene.looks = {f"op{row}": [taken(f"op{row}")] for row in range(4)}
    chunks = scene.begun(ago=TIMEOUT)
    chunks.open[1].chunk.ids[0] = ("op2", NOW - TIMEOUT + 1)
    chunks.open[1].chunk.ids[1] = ("op3", NOW)
    scene.harvesting(chunks).next(NOW)
    assert scene.chunk_written()["verdicts"].keys() == {"0"}
    status, error = chunks.open[0].chunk.verdicts[0]
    assert (status, error and error["type"], error and error["operation_id"]) == ("error", "timeout", "op0")
    assert "runs on after `timeout`" in str(error)
    assert chunks.open[0].chunk.ids[0] == ("op0", NOW - TIMEOUT)
    assert chunks.open[1].chunk.verdicts == {}
    assert scene.lines[0].startswith("Row 0 failed (timeout)")
    assert chunks.tally().spent == Usage()
    assert chunks.open[0].look_at == 0.0  # the next one of the chunk is looked at without delay


def test_an_operation_that_could_not_be_read_until_it_took_too_long_is_told_as_that() -> None:
    scene = Scene(1)
    scene.looks = {"op0": [AWAY]}
    chunks = scene.begun(ago=TIMEOUT)
    harvesting = scene.harvesting(chunks)
    harvesting.next(NOW)
    assert chunks.open[0].chunk.verdicts == {}  # a moment's trouble decides nothing
    scene.sleep(16)
    harvesting.next(scene.now)
    _, error = chunks.open[0].chunk.verdicts[0]
    assert "could not be read until `timeout` had passed; another attempt takes its answer. It is down." in str(error)


# -- a service that does not answer


@pytest.mark.parametrize("error", [AWAY, LOST, DENIED, NO_KEY, GONE, ConfigurationError("A key can't be read.")])
def test_a_look_that_fails_is_repeated_on_this_worker_ever_later_and_then_put_off(error: Exception) -> None:
    scene = Scene(1)
    scene.looks = {"op0": [error]}
    chunks = scene.begun(ago=10.0)
    harvesting = scene.harvesting(chunks)
    asked = []
    while (delay := harvesting.next(NOW)) is not None:
        if not delay:
            asked.append(scene.now - NOW)
        scene.sleep(delay)
    assert asked == pytest.approx([0, 1, 3, 7, 11, 15, 19])
    assert (chunks.open[0].chunk.verdicts, harvesting.pause) == ({}, None)
    assert chunks.open[0].look_at == scene.now + max(1.0, (10 + 19) / 10)


def test_an_answer_forgives_the_silence_before_it() -> None:
    scene = Scene(1)
    scene.looks = {"op0": [AWAY, AWAY, taken("op0"), AWAY, AWAY]}
    harvesting = scene.harvesting(scene.begun(ago=10.0))
    delays = []
    for _ in range(5):
        scene.sleep(60.0 if len(delays) == 2 else 5.0)
        harvesting._chunks.open[0].look_at = 0.0
        assert harvesting.next(scene.now) == 0
        delays.append(harvesting.next(scene.now + 99999))
    assert delays == pytest.approx([1.0, 2.0, 0.5, 1.0, 2.0])


def test_a_429_slows_the_reads_and_is_no_silence() -> None:
    scene = Scene(40, polls=40.0)
    scene.looks = {f"op{row}": [FULL, done(f"op{row}")] for row in range(3)}
    chunks = scene.begun(ago=10.0)
    chunks.open[0].narrow = False
    harvesting = scene.harvesting(chunks)
    assert harvesting.next(NOW) == 0
    assert len(looks(scene)) == 20
    assert harvesting.next(NOW) == pytest.approx(0.5)
    scene.sleep(1.0)
    assert harvesting.next(scene.now) == 0
    assert 5 < len(looks(scene)) < 15
    while (delay := harvesting.next(scene.now)) is not None:
        scene.sleep(delay)
    assert len(chunks.open[0].answers) == 40


def test_nothing_but_429_leaves_a_chunk_narrow_and_does_not_hush() -> None:
    scene = Scene(3)
    scene.looks = {f"op{row}": [FULL] for row in range(3)}
    chunks = scene.begun(ago=10.0)
    harvesting = scene.harvesting(chunks)
    harvesting.next(NOW)
    assert (looks(scene), chunks.open[0].narrow, chunks.open[0].answers) == (["op0"], True, {})
    assert harvesting.next(NOW) == pytest.approx(0.5)


def test_what_nobody_foresaw_ends_the_attempt() -> None:
    scene = Scene(1)
    bug: Any = ZeroDivisionError("a bug")
    scene.looks = {"op0": [bug]}
    with pytest.raises(ZeroDivisionError):
        scene.harvesting(scene.begun(ago=10.0)).next(NOW)


def test_a_refusal_ends_the_attempt_where_the_trigger_met_it_again_and_again_and_no_other_does() -> None:
    refused = Wakeup(refused=True)
    for error in (DENIED, NO_KEY):
        scene = Scene(1)
        scene.looks = {"op0": [error]}
        with pytest.raises(type(error)):
            scene.harvesting(scene.begun(ago=10.0), wakeup=refused).next(NOW)
    for error in (GONE, FULL, AWAY):
        scene = Scene(1)
        scene.looks = {"op0": [error]}
        scene.harvesting(scene.begun(ago=10.0), wakeup=refused).next(NOW)
    scene = Scene(1)
    scene.looks = {"op0": [taken("op0"), DENIED]}
    chunks = scene.begun(ago=10.0)
    harvesting = scene.harvesting(chunks, wakeup=refused)
    harvesting.next(NOW)
    chunks.open[0].look_at = 0.0
    scene.sleep(1.0)
    assert harvesting.next(scene.now) == 0  # it was heard meanwhile
    assert isinstance(DENIED, PermissionDenied)


@pytest.mark.parametrize(("ago", "later"), [(10.0, 60.0), (3000.0, 301.6), (86400.0, 1200.0)])
@pytest.mark.parametrize("returned", [True, False])
def test_a_worker_that_can_t_read_what_the_trigger_saw_end_comes_back_later(
    ago: float, later: float, returned: bool, tmp_path: Path
) -> None:
    scene = Scene(1, output=None if returned else tmp_path)
    scene.looks = {"op0": [AWAY]}
    harvesting = scene.harvesting(scene.begun(ago=ago), wakeup=Wakeup(chunks=(7,) if returned else (0,)), timeout=10**6)
    harvesting.next(NOW)
    assert harvesting.pause is None
    scene.sleep(16)
    harvesting.next(NOW)
    why = "Operations have ended, and this worker gets no answer about them"
    assert harvesting.pause
    assert (harvesting.pause[0] - scene.now, harvesting.pause[1]) == (pytest.approx(later), why)


@pytest.mark.parametrize("wakeup", [Wakeup(), Wakeup(chunks=()), Wakeup(chunks=(1,))])
def test_what_the_trigger_did_not_see_end_is_left_to_it(wakeup: Wakeup, tmp_path: Path) -> None:
    scene = Scene(2, chunk_size=1, output=tmp_path)
    scene.looks = {"op0": [AWAY]}
    chunks = scene.begun(ago=10.0)
    chunks.open.pop(1)
    harvesting = scene.harvesting(chunks, wakeup=wakeup)
    chunks.open[0].look_at = 0.0
    harvesting.next(NOW)
    scene.sleep(16)
    harvesting.next(NOW)
    assert harvesting.pause is None


def test_a_clock_that_is_set_back_holds_no_read_up() -> None:
    scene = Scene(2)
    chunks = scene.begun(ago=10.0)
    harvesting = scene.harvesting(chunks)
    harvesting.next(NOW)
    scene.now -= 600
    delay = harvesting.next(NOW)
    assert delay is not None
    assert delay <= 1.0
