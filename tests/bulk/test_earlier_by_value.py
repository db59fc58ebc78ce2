"""What another attempt makes of each thing that an earlier one may have left, by value."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.models import Message, Usage
from airflow_provider.yandex_ai_studio.api.output import Output
from airflow_provider.yandex_ai_studio.bulk import earlier
from airflow_provider.yandex_ai_studio.bulk.folder import MANIFEST, OWNER
from airflow_provider.yandex_ai_studio.bulk.ledger import KEY, Chunk
from airflow_provider.yandex_ai_studio.bulk.tally import Tally
from airflow_provider.yandex_ai_studio.durability import advice
from airflow_provider.yandex_ai_studio.durability.advice import to_clear
from airflow_provider.yandex_ai_studio.durability.journal import fingerprint_of
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError
from bulk_scene import MODEL, NOW, Scene

GOOD, POOR = (2, 0, 0, 0, 0, 0), (1, 1, 0, 0, 0, 0)
USED = {"input_tokens": 1, "completion_tokens": 2, "total_tokens": 3, "reasoning_tokens": 4}


def row(index: int, status: str = "success", usage: Any = USED) -> dict[str, Any]:
    return {"index": index, "custom_id": f"row-{index}", "status": status, "usage": usage, "output": "Quack."}


def scene_of(tmp_path: Path | None, *, opened: int = 1, rows: Any = 4, **head: Any) -> Scene:
    """A run in chunks of two rows."""
    scene = Scene(rows, chunk_size=2, output=tmp_path)
    scene.head.opened = opened
    for name, value in head.items():
        setattr(scene.head, name, value)
    return scene


def take_up(scene: Scene) -> list[Chunk | None]:
    """Take the run up, and return what is written down of its chunks."""
    earlier.take_up(scene.head, scene.plan, scene.ledger, scene.folder, scene.log)
    assert scene.ledger.head() == scene.head
    return [scene.ledger.chunk(scene.head, number) for number in range(scene.head.chunks)]


def test_a_chunk_that_is_whole_is_left_as_it_is(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, done={0: Tally(GOOD)})
    assert scene.folder
    scene.folder.write_part(0, [row(0), row(1)])
    scene.store.get = lambda key: pytest.fail(f"{key} is looked up")  # type: ignore[method-assign]
    earlier.take_up(scene.head, scene.plan, scene.ledger, scene.folder, scene.log)
    assert (scene.head.done, scene.lines) == ({0: Tally(GOOD)}, [])


def test_a_chunk_that_was_done_when_the_head_did_not_know_is_left_as_it_is(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, opened=2)
    assert scene.folder
    scene.folder.write_part(0, [row(0), row(1)])
    done = scene.head.chunk(0, done=True, tally=Tally(GOOD))
    scene.ledger.write(done)
    scene.ledger.write(scene.head.chunk(1, verdicts={0: ("error", None)}))
    assert take_up(scene) == [done, scene.head.chunk(1)]
    assert scene.head.done == {0: Tally(GOOD)}


def test_a_chunk_whose_rows_are_all_the_same_as_others_needs_no_part(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, rows=["a", "b", "a", "b"], opened=2, done={1: Tally()})
    scene.ledger.write(scene.head.chunk(0))
    assert take_up(scene)[1] == scene.head.chunk(1, twins=scene.plan.twins[1])
    assert (scene.head.done, scene.lines) == ({1: Tally()}, [])


def test_a_part_that_is_gone_is_told_and_its_rows_are_asked_anew(tmp_path: Path) -> None:
    spent = Usage(*USED.values())
    scene = scene_of(tmp_path, done={0: Tally(GOOD, spent)})
    first = take_up(scene)[0]
    assert first is not None
    assert (first.waiting, first.redo, first.done, first.tally) == ([0, 1], None, False, Tally(spent=spent))
    assert scene.head.done == {}
    assert scene.lines == [f"The part of chunk 0 is gone from {tmp_path}: it is generated anew"]


def test_a_part_that_is_gone_while_its_chunk_is_open_again_is_asked_anew(tmp_path: Path) -> None:
    scene = scene_of(tmp_path)
    scene.ledger.write(scene.head.chunk(0, redo=(1,)))
    first = take_up(scene)[0]
    assert first is not None
    assert (first.waiting, first.redo) == ([0, 1], None)


def test_a_chunk_that_is_open_again_has_its_failed_rows_wait_again(tmp_path: Path) -> None:
    scene = scene_of(tmp_path)
    assert scene.folder
    scene.folder.write_part(0, [row(0), row(1, "error")])
    scene.ledger.write(scene.head.chunk(0, redo=(1,), verdicts={1: ("error", None)}, losses={1: 2}))
    first = take_up(scene)[0]
    assert first is not None
    assert (first.waiting, first.redo, first.verdicts, first.losses) == ([1], (1,), {}, {1: 0})


def test_a_chunk_that_never_was_done_has_its_failed_rows_wait_again_and_keeps_its_operations(tmp_path: Path) -> None:
    scene = scene_of(tmp_path)
    scene.ledger.write(scene.head.chunk(0, ids={0: ("op0", NOW)}, verdicts={1: ("error", None)}, failures={0: 1}))
    first = take_up(scene)[0]
    assert first is not None
    assert (first.waiting, first.running, first.failures, scene.lines) == ([1], [0], {}, [])


def test_rows_without_an_output_wait_again_and_no_part_is_looked_for() -> None:
    scene = scene_of(None)
    scene.ledger.write(scene.head.chunk(0, ids={0: ("op0", NOW)}, verdicts={0: ("error", None)}))
    first = take_up(scene)[0]
    assert first is not None
    assert (first.running, first.waiting, scene.lines) == ([0], [1], [])


def test_the_failed_rows_of_a_part_are_asked_again_alone(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, opened=2, done={0: Tally(GOOD), 1: Tally(POOR, Usage(5, 5, 10))})
    assert scene.folder
    scene.folder.write_part(0, [row(0), row(1)])
    scene.folder.write_part(1, [row(2), row(3, "error")])
    second = take_up(scene)[1]
    assert second is not None
    assert (second.redo, second.waiting, second.done) == ((1,), [1], False)
    assert second.tally == Tally(POOR, Usage(5, 5, 10))  # what it took stays counted
    assert scene.head.done == {0: Tally(GOOD)}
    assert scene.lines == []


@pytest.mark.parametrize(
    ("ids", "usage", "spent"),
    [
        ({1: ("op3", NOW)}, USED, Usage(9, 8, 7, 6)),
        ({1: ("op3", NOW)}, None, Usage(10, 10, 10, 10)),
        ({}, USED, Usage(10, 10, 10, 10)),
        ({0: ("op2", NOW)}, USED, Usage(10, 10, 10, 10)),
    ],
)
def test_what_was_counted_for_an_answer_that_is_read_again_is_taken_off(
    tmp_path: Path, ids: Any, usage: Any, spent: Usage
) -> None:
    tally = Tally(POOR, Usage(10, 10, 10, 10))
    scene = scene_of(tmp_path, opened=2, done={0: Tally(GOOD), 1: tally})
    assert scene.folder
    scene.folder.write_part(0, [row(0), row(1)])
    scene.folder.write_part(1, [row(2), row(3, "error", usage)])
    scene.ledger.write(scene.head.chunk(1, ids=ids, done=True, tally=tally))
    second = take_up(scene)[1]
    assert second is not None
    assert (second.tally.spent, second.ids) == (spent, ids)


def test_a_failed_row_that_is_the_same_as_another_is_not_asked_itself(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, rows=["a", "a"], done={0: Tally((0, 2, 0, 0, 0, 0))})
    assert scene.folder
    scene.folder.write_part(0, [row(0, "error"), row(1, "error")])
    scene.ledger.write(scene.head.chunk(0, twins={1: (0, "row-1")}, done=True, tally=scene.head.done[0]))
    first = take_up(scene)[0]
    assert first is not None
    assert (first.redo, first.waiting) == ((0,), [0])


def test_a_chunk_of_which_nothing_is_known_is_told_and_asked_anew(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, opened=2)
    scene.ledger.write(scene.head.chunk(1))
    first, second = take_up(scene)
    assert first is not None
    assert (first.waiting, second and second.waiting) == ([0, 1], [0, 1])
    assert scene.lines == ["The state of chunk 0 is gone: its rows are asked, and paid for, again"]


def test_a_chunk_that_was_not_begun_is_none_of_this_but_for_its_twins(tmp_path: Path) -> None:
    scene = scene_of(tmp_path, rows=["a", "b", "a", "c", "d", "e"], opened=0)
    del scene.store.values[f"{KEY}_1"]
    assert take_up(scene) == [None, scene.head.chunk(1, twins={0: (0, "row-2")}), None]
    known = scene.head.chunk(1, twins={0: (0, "row-2")}, ids={1: ("op3", NOW)})
    scene.ledger.write(known)
    assert take_up(scene)[1] == known
    assert scene.lines == []


def test_an_output_without_a_folder_yet_and_chunks_that_wait_is_no_trouble() -> None:
    scene = scene_of(None, opened=2)
    scene.ledger.write(scene.head.chunk(0, done=True, tally=Tally()))
    take_up(scene)
    assert scene.head.done == {0: Tally()}


# -- where the parts are


def elsewhere(scene: Scene) -> None:
    assert scene.folder
    earlier.refuse_elsewhere(scene.head, scene.ledger, scene.folder)


@pytest.mark.parametrize("how", ["done", "open again"])
def test_parts_that_were_written_and_are_not_there_are_asked_for_by_the_name_of_their_folder(
    tmp_path: Path, how: str
) -> None:
    if how == "done":
        scene = scene_of(tmp_path / "out", opened=2, done={0: Tally(GOOD), 1: Tally()})
    else:
        scene = scene_of(tmp_path / "out", opened=2)
        scene.ledger.write(scene.head.chunk(0))
        scene.ledger.write(scene.head.chunk(1, redo=()))
    with pytest.raises(ConfigurationError, match=f"Restore the folder '{tmp_path}/out', .*or delete '{KEY}'"):
        elsewhere(scene)
    for name in (OWNER, MANIFEST):
        (tmp_path / "out" / name).write_text('{"fingerprint": "f"}')
        elsewhere(scene)
        (tmp_path / "out" / name).unlink()
    (tmp_path / "out" / "part-00000.jsonl").touch()
    elsewhere(scene)


def test_a_folder_to_which_nothing_was_written_may_be_anywhere(tmp_path: Path) -> None:
    scene = scene_of(tmp_path / "out", opened=2, done={1: Tally(spent=Usage(1, 1, 2), submissions=5)})
    elsewhere(scene)  # of the first chunk nothing is known
    scene.ledger.write(scene.head.chunk(0, ids={0: ("op0", NOW)}))
    elsewhere(scene)


# -- parameters

BASE = CompletionRequest(MODEL, (Message("system", "Be brief."), Message("user", "Hi."), Message("user", "-")))


def test_parameters_are_kept_as_fingerprints_by_their_names() -> None:
    asked = earlier.parameters_of(BASE, "id", "yandexgpt")
    known = {
        "model": "yandexgpt",
        "instructions": ["Be brief.", "Hi."],
        "temperature": None,
        "max_tokens": None,
        "reasoning": None,
        "json_object": False,
        "json_schema": None,
        "id_field": "id",
    }
    assert asked == {name: fingerprint_of({name: value}) for name, value in known.items()}
    assert earlier.parameters_of(BASE, "id", None) == {**asked, "model": fingerprint_of({"model": None})}
    elsewhere = replace(BASE, model_uri="gpt://b1x/yandexgpt")  # a folder is the connection's
    assert earlier.parameters_of(elsewhere, "id", "yandexgpt") == asked


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"messages": (Message("system", "Be long."), Message("user", "-"))}, "instructions"),
        ({"temperature": 0.5}, "temperature"),
        ({"max_tokens": 5}, "max_tokens"),
        ({"reasoning": "disabled"}, "reasoning"),
        ({"output": Output(json_object=True)}, "json_object"),
        ({"output": Output(schema={"type": "object"})}, "json_schema"),
    ],
)
@pytest.mark.parametrize("discards", [False, True])
def test_a_parameter_that_was_changed_meanwhile_is_named(
    monkeypatch: pytest.MonkeyPatch, change: Any, name: str, discards: bool
) -> None:
    monkeypatch.setattr(advice, "clear_may_discard", lambda: discards)
    began = earlier.parameters_of(BASE, None, "yandexgpt")
    scene = scene_of(None, parameters=began)
    earlier.refuse_changed(scene.head, began)
    now = earlier.parameters_of(replace(BASE, **change), None, "yandexgpt")
    with pytest.raises(ConfigurationError, match=f"^Restore `{name}`, and {to_clear()}; or keep"):
        earlier.refuse_changed(scene.head, now)
    with pytest.raises(ConfigurationError, match=f"^Restore `{name}`, `id_field`, and {to_clear()}; or"):
        earlier.refuse_changed(scene.head, {**now, "id_field": "another"})
    scene.head.parameters = {}  # another release wrote it
    earlier.refuse_changed(scene.head, now)


def test_a_model_that_the_task_names_is_one_of_its_parameters() -> None:
    scene = scene_of(None, parameters=earlier.parameters_of(BASE, None, "yandexgpt"))
    with pytest.raises(ConfigurationError, match=r"^Restore `model`, and clear"):
        earlier.refuse_changed(scene.head, earlier.parameters_of(BASE, None, "yandexgpt-lite"))


def test_each_parameter_that_was_changed_is_named() -> None:
    scene = scene_of(None, parameters={"temperature": "a", "model": "b", "id_field": "c"})
    with pytest.raises(ConfigurationError, match=r"^Restore `temperature`, `id_field`, and clear"):
        earlier.refuse_changed(scene.head, {"temperature": "x", "model": "b", "id_field": "y"})
