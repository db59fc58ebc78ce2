"""What each figure about the open chunks counts, by value."""

from __future__ import annotations

from typing import Any

from airflow_provider.yandex_ai_studio.api.models import Usage
from airflow_provider.yandex_ai_studio.bulk.chunks import Chunks
from airflow_provider.yandex_ai_studio.bulk.progress import metrics_between
from airflow_provider.yandex_ai_studio.bulk.result import Result
from airflow_provider.yandex_ai_studio.bulk.tally import Tally
from bulk_scene import NOW, Scene

USED = Usage(10, 5, 15, 1)
GOOD = Result("success", "Quack.", model="v1", usage=USED, finish_reason="final")
BAD = Result("error", error={"type": "content_filter", "message": "No."}, usage=USED)
UNREADABLE = Result("error", error={"type": "unreadable", "message": "Odd."}, usage=USED, keep_operation=True)


def figures(chunks: Chunks) -> dict[str, Any]:
    return {
        "running": chunks.running,
        "late": chunks.late,
        "again": chunks.to_read_again,
        "done": chunks.done_rows,
        "failed": chunks.failed_rows,
        "spent": chunks.spent().total_tokens,
        "tally": chunks.tally().spent.total_tokens,
    }


def test_each_figure_counts_what_is_done_what_is_in_memory_and_what_is_read_again() -> None:
    scene = Scene(["a", "b", "c", "a", "d", "e", "f", "g", "h", "i", "j"], chunk_size=4)
    chunks = scene.begun()
    assert figures(chunks) == {"running": 10, "late": 0, "again": 0, "done": 1, "failed": 0, "spent": 0, "tally": 0}
    chunks.recall({"0": Tally((1, 1, 0, 0, 0, 0), USED).value(), "7": Tally((1, 0, 0, 0, 0, 0)).value()})
    assert figures(chunks) == {"running": 10, "late": 0, "again": 2, "done": 3, "failed": 1, "spent": 15, "tally": 0}
    chunks.open[0].answers = {0: GOOD}
    chunks.open[1].answers = {0: GOOD, 1: BAD}
    chunks.open[1].chunk.conclude(2, "error", None, Usage(1, 1, 2), keep_operation=True)
    assert figures(chunks) == {
        "running": 10 - 4,
        "late": 1,
        "again": 1,
        "done": 1 + 1 + 1 + 2 + 1,
        "failed": 1 + 2,
        "spent": 15 + 30 + 2,
        "tally": 15 + 30 + 2,
    }
    chunks.open.pop(2)
    chunks.head.done[2] = Tally((1, 1, 0, 1, 0, 9), USED, late=3)
    assert figures(chunks) == {
        "running": 3,
        "late": 4,
        "again": 1,
        "done": 3 + 6,
        "failed": 2 + 3,
        "spent": 62,
        "tally": 62,
    }


def test_what_was_read_is_handed_to_the_next_stretch_of_chunks_where_anything_was() -> None:
    scene = Scene(6, chunk_size=2)
    chunks = scene.begun()
    chunks.open[1].answers = {0: GOOD}
    assert chunks.seen() == {"1": Tally((1, 0, 0, 0, 0, 0), USED).value()}


NOTHING = metrics_between(Tally(), Tally())


def test_monitoring_is_told_of_what_was_written_down_since_and_of_nothing_twice() -> None:
    scene = Scene(4)
    chunks = scene.chunks()
    opened = chunks.begin_next()
    opened.chunk.submitted(0, "op0", NOW)
    assert chunks.untold() == metrics_between(Tally(), Tally(submissions=1))
    assert chunks.untold() == NOTHING
    opened.answers[0] = GOOD
    assert chunks.untold() == NOTHING  # another stretch reads it again
    last = chunks.untold([GOOD.row(0, "row-0", None), BAD.row(1, "row-1", None)])
    assert last == metrics_between(Tally(), Tally((1, 1, 0, 0, 0, 0), USED))


def test_a_stretch_tells_nothing_of_what_was_there_when_it_began() -> None:
    scene = Scene(4, chunk_size=2)
    chunks = scene.begun()
    for opened in chunks.open.values():
        chunks.write(opened.chunk)
    chunks.write_head()
    assert scene.chunks().untold() == NOTHING


def test_monitoring_is_told_of_rows_that_failed_though_the_task_returns_none() -> None:
    scene = Scene(3, chunk_size=2)
    chunks = scene.begun()
    chunks.open[0].answers, chunks.open[1].answers = {0: GOOD, 1: BAD}, {0: UNREADABLE}
    assert chunks.untold_failures() == metrics_between(Tally(), Tally((0, 2, 0, 0, 0, 0)))
