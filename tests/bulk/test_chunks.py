"""The open chunks of a run by value: in which turn, what is written when, and what each figure counts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api.models import Usage
from airflow_provider.yandex_ai_studio.bulk.chunks import MOST_OPEN, MOST_TOLD, READ_AT_A_TIME, Chunks, OpenChunk
from airflow_provider.yandex_ai_studio.bulk.folder import OWNER
from airflow_provider.yandex_ai_studio.bulk.ledger import KEY, Chunk
from airflow_provider.yandex_ai_studio.bulk.result import MISSING, Result, failed
from airflow_provider.yandex_ai_studio.bulk.tally import Tally
from airflow_provider.yandex_ai_studio.durability import advice
from airflow_provider.yandex_ai_studio.durability.advice import to_clear
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError
from bulk_scene import NOW, PRICE, Scene

USED = Usage(10, 5, 15, 1)
GOOD = Result("success", "Quack.", model="v1", usage=USED, finish_reason="final")
BAD = Result("error", error={"type": "content_filter", "message": "No."}, usage=USED)
UNREADABLE = Result("error", error={"type": "unreadable", "message": "Odd."}, usage=USED, keep_operation=True)


# -- one chunk


def test_an_open_chunk_knows_what_is_unread_failed_and_kept() -> None:
    opened = OpenChunk(Chunk(0, 4, "d", ids={row: (f"op{row}", NOW - row) for row in range(4)}))
    assert (opened.unread, opened.complete, opened.failed, opened.kept) == ([3, 2, 1, 0], False, 0, [])
    opened.answers = {0: GOOD, 1: UNREADABLE, 3: BAD}
    assert (opened.unread, opened.failed, opened.kept, opened.complete) == ([2], 2, [1], False)
    opened.chunk.conclude(2, "error", {"type": "timeout"}, Usage(), keep_operation=True)
    assert (opened.unread, opened.failed, opened.kept, opened.complete) == ([], 3, [2, 1], True)
    assert [opened.result(row) for row in range(4)] == [
        GOOD,
        UNREADABLE,
        Result("error", error={"type": "timeout"}),
        BAD,
    ]
    assert OpenChunk(Chunk(0, 1, "d")).result(0) is MISSING
    assert OpenChunk(Chunk(0, 1, "d", verdicts={0: ("missing", None)})).result(0) is MISSING


@pytest.mark.parametrize(
    ("chunk", "complete"),
    [
        (Chunk(0, 1, "d"), False),
        (Chunk(0, 1, "d", intent=(0,)), False),
        (Chunk(0, 1, "d", ids={0: ("op0", NOW)}), False),
        (Chunk(0, 1, "d", verdicts={0: ("error", None)}), True),
        (Chunk(0, 1, "d", twins={0: (5, "row-0")}), True),
    ],
)
def test_a_chunk_is_complete_with_its_last_answer_or_verdict(chunk: Chunk, complete: bool) -> None:
    assert OpenChunk(chunk).complete is complete


def test_what_an_earlier_stretch_had_read_counts_until_this_one_has_read_more() -> None:
    opened = OpenChunk(Chunk(0, 4, "d", verdicts={0: ("error", None)}), seen=Tally((1, 1, 0, 0, 0, 0), USED))
    assert (opened.failed, opened.to_read_again, opened.known) == (2, 2, opened.seen)
    opened.answers = {1: GOOD}
    assert (opened.failed, opened.to_read_again, opened.known) == (2, 1, opened.seen)
    opened.answers = {1: BAD, 2: BAD, 3: GOOD}
    assert (opened.failed, opened.to_read_again) == (3, 0)
    assert opened.known == Tally((1, 2, 0, 0, 0, 0), Usage(30, 15, 45, 3))


# -- which are open


def test_chunks_are_begun_one_after_the_other_and_each_is_written_down() -> None:
    scene = Scene(5, chunk_size=2)
    chunks = scene.chunks()
    assert (chunks.open, chunks.all_begun, chunks.wait, scene.ledger.writes) == ({}, False, True, 1)
    turn = chunks.in_turn()
    assert next(turn).chunk == Chunk(0, 2, scene.plan.digests[0], run="r1")
    assert scene.ledger.writes == 3  # the chunk, so that one without a record is one whose record is gone; the head
    assert (scene.store.values[KEY]["opened"], chunks.all_begun) == (1, False)
    assert [opened.chunk.number for opened in turn] == [1, 2]
    assert (list(chunks.open), chunks.all_begun, scene.store.values[KEY]["opened"]) == ([0, 1, 2], True, 3)
    assert chunks.wait
    again = scene.begun()
    assert ([opened.chunk.number for opened in again.in_turn()], again.wait) == ([0, 1, 2], False)


def test_a_record_of_a_chunk_that_is_not_begun_yet_is_taken_up_and_not_written_again() -> None:
    scene = Scene(["a", "b", "a", "c"], chunk_size=2)
    writes = scene.ledger.writes
    chunks = scene.chunks()
    assert [opened.chunk.twins for opened in chunks.in_turn()] == [{}, {0: (0, "row-2")}]
    assert scene.ledger.writes == writes + 3


@pytest.mark.parametrize("output", [True, False])
def test_as_many_chunks_are_open_as_memory_bears_where_there_is_an_output(tmp_path: Path, output: bool) -> None:
    scene = Scene(MOST_OPEN + 5, chunk_size=1, output=tmp_path if output else None)
    chunks = scene.chunks()
    assert len(list(chunks.in_turn())) == (MOST_OPEN if output else MOST_OPEN + 5)
    assert (chunks.returned, chunks.all_begun) == (not output, not output)


def test_a_stretch_goes_on_with_what_is_written_down() -> None:
    scene = Scene(6, chunk_size=2)
    chunks = scene.begun()
    chunks.open[0].chunk.intend([0, 1])
    chunks.open[1].chunk.done, chunks.open[1].chunk.tally = True, Tally((2, 0, 0, 0, 0, 0))
    for opened in chunks.open.values():
        chunks.write(opened.chunk)
    chunks.write_head()
    del scene.store.values[f"{KEY}_2"]
    writes = scene.ledger.writes
    again = scene.chunks()
    assert list(again.open) == [0, 2]
    assert again.head.done == {1: Tally((2, 0, 0, 0, 0, 0))}
    assert scene.lines[0].startswith("2 rows of chunk 0 may have been billed without a use: an earlier attempt was cut")
    assert scene.lines[1:] == ["The state of chunk 2 is gone: its rows are asked, and paid for, again"]
    assert scene.ledger.writes == writes + 1
    assert (scene.chunk_written(0)["losses"], "intent" in scene.chunk_written(0)) == ({"0": 1, "1": 1}, False)
    assert again.open[2].chunk.waiting == [0, 1]


def test_rows_that_are_the_same_are_looked_up_once_and_only_where_a_record_is_gone_that_knew() -> None:
    scene = Scene(["a", "b", "a", "c", "b", "d", "a", "e"], chunk_size=2)
    chunks = scene.chunks()
    for _ in range(3):
        chunks.begin_next()
    asked: list[int] = []

    def twins() -> Any:
        asked.append(1)
        return scene.plan.twins

    def again() -> Chunks:
        return Chunks(scene.head, scene.ledger, scene.reader, None, None, scene.log, twins)

    assert (list(again().open), asked) == ([0, 1, 2], [])
    for number in (1, 2, 3):
        del scene.store.values[f"{KEY}_{number}"]
    found = again()
    assert asked == [1]
    assert [found.open[number].chunk.twins for number in range(3)] == [{}, {0: (0, "row-2")}, {0: (1, "row-4")}]
    assert found.begin_next().chunk.twins == {0: (0, "row-6")}
    assert Chunks(scene.head, scene.ledger, scene.reader, None, None, scene.log).open[1].chunk.twins == {}


# -- the requests


def test_requests_are_read_once_for_as_many_chunks_as_memory_bears(monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(10, chunk_size=2)
    chunks = scene.begun()
    read: list[int] = []
    again = Chunks._read_again
    monkeypatch.setattr(Chunks, "_read_again", lambda self, chunk: read.append(chunk.number) or again(self, chunk))
    for number in (0, 1, 2, 0, 3, 1, 0):
        requests = chunks.requests(chunks.open[number].chunk)
        assert [request.prompt for request in requests] == [f"Row {2 * number}", f"Row {2 * number + 1}"]
    assert read == [0, 1, 2, 3, 0]
    assert READ_AT_A_TIME == 3


@pytest.mark.parametrize("how", ["other rows", "unreadable"])
def test_inputs_that_change_under_a_run_are_refused_by_the_row(how: str, monkeypatch: pytest.MonkeyPatch) -> None:
    scene = Scene(4, chunk_size=2)
    chunks = scene.begun()
    source: Any = scene.reader.source

    def gone(*_: Any) -> Any:
        if how == "unreadable":
            raise ConfigurationError("The file is gone.")
        return ["Row 2", "another"]

    monkeypatch.setattr(source, "chunk", gone)
    monkeypatch.setattr(advice, "clear_may_discard", lambda: True)
    with pytest.raises(ConfigurationError, match=f"(?s)^Restore.*, and {to_clear()}; or.*from 2 on are others"):
        chunks.requests(chunks.open[1].chunk)


# -- what is told


def test_of_many_rows_that_failed_the_first_ones_are_told() -> None:
    scene = Scene(50, chunk_size=25)
    chunks = scene.begun()
    chunks.tell(chunks.open[1].chunk, 1, GOOD)
    for row in range(MOST_TOLD + 3):
        chunks.tell(chunks.open[1].chunk, row, failed("refused", "Correct it.\nToo long."))
    assert scene.lines[0] == "Row 25 failed (refused): Too long."
    assert len(scene.lines) == MOST_TOLD + 1
    assert scene.lines[-2:] == [
        f"Row {25 + MOST_TOLD - 1} failed (refused): Too long.",
        "More rows failed; the log does not tell of each.",
    ]


def test_another_attempt_asks_rows_anew_that_failed_but_not_those_that_it_can_read_again() -> None:
    scene = Scene(6, chunk_size=3)
    chunks = scene.begun()
    chunks.open[0].answers = {0: GOOD, 1: BAD, 2: UNREADABLE}
    chunks.strike_out_failed()
    assert scene.chunk_written(0)["ids"].keys() == {"0", "2"}
    assert chunks.open[0].chunk.tally.spent == USED
    assert scene.chunk_written(1)["ids"].keys() == {"0", "1", "2"}


# -- what is written


def line(index: int, result: Result, custom_id: str | None = None, cost: float | None = None) -> dict[str, Any]:
    return {**result.row(index, custom_id or f"row-{index}", None), "cost": cost}


def test_a_chunk_that_is_complete_becomes_a_part_and_its_record_keeps_what_is_read_again(tmp_path: Path) -> None:
    scene = Scene(7, chunk_size=3, output=tmp_path, price=PRICE)
    chunks = scene.begun()
    opened = chunks.open[1]
    opened.answers = {0: GOOD, 1: UNREADABLE}
    opened.chunk.conclude(2, "error", {"type": "refused", "message": "No."}, Usage())
    chunks.requests(opened.chunk)
    chunks.close(opened)
    assert scene.folder
    refused = Result("error", error={"type": "refused", "message": "No."})
    assert scene.folder.read_part(1) == [line(3, GOOD, cost=20.0), line(4, UNREADABLE, cost=20.0), line(5, refused)]
    tally = Tally((1, 2, 0, 0, 0, 0), Usage(20, 10, 30, 2), 3)
    assert (scene.chunk_written(1)["done"], scene.chunk_written(1)["ids"]) == (True, {"1": ["op4", NOW]})
    assert (chunks.head.done, list(chunks.open)) == ({1: tally}, [0, 2])
    assert scene.store.values[KEY]["done"].keys() == {"1"}
    assert chunks._requests == {}


def test_rows_without_an_output_stay_in_memory() -> None:
    scene = Scene(2)
    chunks = scene.begun()
    chunks.open[0].answers = {0: GOOD, 1: GOOD}
    writes = scene.ledger.writes
    chunks.close(chunks.open[0])
    assert (list(chunks.open), chunks.head.done, scene.ledger.writes) == ([0], {}, writes)


def test_no_part_is_written_where_another_run_has_taken_the_folder(tmp_path: Path) -> None:
    scene = Scene(2, output=tmp_path)
    chunks = scene.begun()
    for fingerprint in ("another", scene.head.fingerprint):
        (tmp_path / OWNER).write_text(f'{{"fingerprint": "{fingerprint}"}}')
        if fingerprint == "another":
            with pytest.raises(ConfigurationError, match="another run has taken"):
                chunks.close(chunks.open[0])
            assert [path.name for path in tmp_path.iterdir()] == [OWNER]
        else:
            chunks.close(chunks.open[0])
            assert (tmp_path / "part-00000.jsonl").exists()


def test_rows_that_are_asked_again_take_the_place_of_those_in_the_part(tmp_path: Path) -> None:
    scene = Scene(6, chunk_size=3, output=tmp_path)
    chunks = scene.begun()
    assert scene.folder
    scene.folder.write_part(1, [line(3, GOOD), line(4, BAD), line(5, GOOD)])
    opened = chunks.open[1]
    opened.chunk.redo, opened.answers = (1,), {1: GOOD}
    assert chunks.rows(opened) == [line(3, GOOD), line(4, GOOD), line(5, GOOD)]


ROWS: list[Any] = [{"id": name, "text": text} for name, text in zip("abcdef", "xyxzyx", strict=True)]
"""The third row is the same as the first, the fifth as the second, the last as the first."""


def test_rows_that_are_the_same_have_the_same_answer_and_ids_of_their_own(tmp_path: Path) -> None:
    scene = Scene(ROWS, chunk_size=4, output=tmp_path, id_field="id")
    chunks = scene.begun()
    chunks.open[0].answers = {0: GOOD, 1: BAD, 3: GOOD}
    rows = chunks.rows(chunks.open[0])
    assert [(row["index"], row["custom_id"], row["status"]) for row in rows] == [
        (0, "a", "success"),
        (1, "b", "error"),
        (2, "c", "success"),
        (3, "d", "success"),
    ]
    assert chunks.rows(chunks.open[1]) == []
    assert chunks.far_twins() == {1: [(4, "e")], 0: [(5, "f")]}
    record = scene.store.values.pop(f"{KEY}_1")
    assert chunks.far_twins() == {1: [(4, "e")], 0: [(5, "f")]}  # what is in memory is not looked up
    scene.store.values[f"{KEY}_1"] = record
    chunks.open.pop(0)
    assert chunks.far_twins() == {1: [(4, "e")], 0: [(5, "f")]}
    chunks.open.pop(1)
    del scene.store.values[f"{KEY}_0"]
    assert chunks.far_twins() == {1: [(4, "e")], 0: [(5, "f")]}


def test_several_rows_may_be_the_same_as_one_of_another_chunk() -> None:
    chunks = Scene(["x", "y", "x", "x", "y", "x"], chunk_size=2).begun()
    assert chunks.far_twins() == {0: [(2, "row-2"), (3, "row-3"), (5, "row-5")], 1: [(4, "row-4")]}
