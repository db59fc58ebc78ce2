"""An attempt by value: what it looks at before it pays, and what it takes up."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.bulk import earlier
from airflow_provider.yandex_ai_studio.bulk.attempt import MOST_RETURNED
from airflow_provider.yandex_ai_studio.bulk.folder import OWNER
from airflow_provider.yandex_ai_studio.bulk.ledger import KEY, Ledger
from airflow_provider.yandex_ai_studio.bulk.money import Bounds
from airflow_provider.yandex_ai_studio.bulk.rows import InMemory
from airflow_provider.yandex_ai_studio.bulk.run import Pause
from airflow_provider.yandex_ai_studio.bulk.tally import Tally
from airflow_provider.yandex_ai_studio.bulk.wakeup import Wakeup
from airflow_provider.yandex_ai_studio.durability.journal import fingerprint_of
from airflow_provider.yandex_ai_studio.exceptions import (
    ConfigurationError,
    NotFound,
    RowsFailed,
)
from bulk_scene import MODEL, NOW, PRICE, World

OTHER_MODEL = "gpt://b1g/yandexgpt-lite"


# -- the beginning


def test_a_run_begins_with_a_head_that_says_what_it_is_about(tmp_path: Path) -> None:
    world = World(5, chunk_size=2, output=tmp_path / "out")
    world.runs_on(0, 2, 4)
    attempt = world.attempt()
    assert isinstance(attempt.begin(), Pause)
    head = world.written
    assert (head.rows, head.chunk_size, head.began_at, head.output_path) == (5, 2, NOW, str(tmp_path / "out"))
    assert (head.output_format, head.model, len(head.run)) == ("jsonl", MODEL, 8)
    assert head.parameters == earlier.parameters_of(world.base, None, None)
    assert head.fingerprint == attempt._plan.fingerprint
    assert world.lines[0] == f"5 rows with 25 characters, to {MODEL}"
    assert world.checks > 0
    assert f'"fingerprint": "{head.fingerprint}", "rows": 5' in (tmp_path / "out" / OWNER).read_text()
    again = World(5, chunk_size=2)
    again.attempt().begin()
    assert again.written.run != head.run


def test_a_run_that_has_all_of_its_answers_returns_them() -> None:
    world = World(3)
    assert world.attempt().begin() == ["Quack."] * 3
    assert world.written.output_path is None
    assert sorted(world.submitted()) == [0, 1, 2]


def test_a_pause_says_since_when_the_attempt_works_and_the_next_stretch_counts_from_there() -> None:
    world = World(4)
    world.runs_on(0)
    pause = world.attempt().begin()
    assert (pause.began, pause.seen) == ((NOW, 0), {})
    world.looks.clear()
    world.sleep(100)
    assert world.attempt().go_on(pause.began, pause.seen, Wakeup()) == ["Quack."] * 4
    assert any("rows an hour" in line for line in world.lines)
    assert sorted(world.submitted()) == [0, 1, 2, 3]


def test_a_stretch_writes_where_and_how_the_run_began(tmp_path: Path) -> None:
    world = World(2, output=tmp_path)
    world.runs_on(0)
    pause = world.attempt().begin()
    world.looks.clear()
    manifest = world.attempt(output_path=None, output_format="parquet").go_on(pause.began, pause.seen, Wakeup())
    assert (manifest["parts"], manifest["result_uri"]) == (["part-00000.jsonl"], str(tmp_path))
    assert (tmp_path / "part-00000.jsonl").exists()


def test_what_is_read_again_is_not_counted_as_done_anew() -> None:
    world = World(4)
    world.runs_on(3)
    world.attempt().begin()
    world.lines.clear()
    world.attempt().go_on(None, {"0": Tally((2, 0, 0, 0, 0, 0)).value()}, Wakeup())
    assert "2 of 4 rows done (2 to be read again" in world.lines[0]
    assert "2 rows done before this attempt" in world.lines[0]


def test_what_woke_the_task_reaches_the_reads() -> None:
    world = World(2)
    world.runs_on(0, 1)
    world.attempt().begin()
    world.looks = {"op1": [NotFound("unknown", arrived=False)]}
    with pytest.raises(RowsFailed, match="1 of 2"):
        world.attempt(limits={"row_retries": 0}).go_on(None, None, Wakeup(expired=("op1",)))


def test_a_task_whose_state_was_deleted_meanwhile_begins_anew() -> None:
    world = World(2)
    assert world.attempt().go_on((NOW, 0), {}, Wakeup()) == ["Quack."] * 2


def test_rows_are_kept_only_once_all_are_known_to_be_right(tmp_path: Path) -> None:
    kept: list[str] = []
    world = World(MOST_RETURNED + 1)
    with pytest.raises(ConfigurationError, match=f"Give `output_path`: there are {MOST_RETURNED + 1} rows, and"):
        world.attempt(keep_rows=lambda: kept.append("too many")).begin()
    assert (kept, world.did, world.store.values) == ([], [], {})
    world = World(2)
    world.attempt(keep_rows=lambda: kept.append(f"{len(world.did)} asked")).begin()
    assert kept == ["0 asked"]
    world = World(MOST_RETURNED, chunk_size=MOST_RETURNED, per_second=500.0, polls=500.0)
    assert len(world.attempt().begin()) == MOST_RETURNED


def test_an_error_about_rows_of_a_function_says_what_to_do_about_them() -> None:
    world = World(MOST_RETURNED + 1)
    with pytest.raises(ConfigurationError, match=r"(?s)^Give `output_path`.*\.\nThese rows are kept\.$"):
        world.attempt(about_rows="These rows are kept").begin()
    with pytest.raises(ConfigurationError) as bare:
        world.attempt().begin()
    assert "These rows" not in str(bare.value)


def test_an_estimate_says_what_the_run_would_take_and_asks_for_nothing() -> None:
    world = World(3)
    tokens: list[Any] = []

    def count_tokens(request: Any) -> int:
        tokens.append(request.messages[-1].text)
        return 7

    world.count_tokens = count_tokens  # type: ignore[attr-defined]
    says = world.attempt(limits={"bounds": Bounds(price=PRICE, longest_answer=5)}).estimate()
    assert (says["rows"], says["input_tokens"], says["output_tokens_at_most"], says["currency"]) == (3, 21, 15, "RUB")
    assert (tokens, world.did, world.store.values) == (["Row 0", "Row 1", "Row 2"], [], {})
    assert world.lines[-1].startswith("3 requests for 3 rows; about 21 tokens in")


# -- what an earlier attempt has left


def test_another_attempt_takes_up_what_runs_and_has_a_patience_of_its_own() -> None:
    world = World(4, chunk_size=2)
    world.runs_on(0, 1, 2, 3)
    world.attempt().begin()
    head = world.written
    head.reception = {"lost": 999}
    Ledger(world.store).write(head)
    world.looks.clear()
    assert world.attempt().begin() == ["Quack."] * 4
    assert sorted(world.submitted()) == [0, 1, 2, 3]
    assert "Found an earlier attempt: 0 of 2 chunks are done" in world.lines


def test_a_run_keeps_the_size_and_the_form_that_it_began_with(tmp_path: Path) -> None:
    world = World(4, chunk_size=2, output=tmp_path)
    world.runs_on(0)
    world.attempt().begin()
    world.looks.clear()
    manifest = world.attempt(chunk_size=3, output_format="parquet").begin()
    assert manifest["parts"] == ["part-00000.jsonl", "part-00001.jsonl"]
    assert sorted(world.submitted()) == [0, 1, 2, 3]


def test_what_was_about_other_requests_is_told_and_forgotten() -> None:
    world = World(4, chunk_size=2)
    world.attempt().begin()
    first = world.store.values[f"{KEY}_1"]
    other = World(["Row 10", "Row 11"], chunk_size=2)
    attempt = other.attempt(ledger=Ledger(world.store))
    other.store = world.store
    with pytest.raises(KeyError):  # the scene looks for its chunk 5
        attempt.begin()
    assert "What it submitted is not used." in other.lines[1]
    assert f"{KEY}_1" not in world.store.values
    assert first


def test_rows_that_are_the_same_are_written_down_before_anything_is_submitted() -> None:
    world = World(["Row 0", "Row 0"])
    assert world.attempt().begin() == ["Quack."] * 2
    assert world.submitted() == [0]
    world = World(["Row 0", "Row 0"])
    assert world.attempt(deduplicate=False).begin() == ["Quack."] * 2
    assert len(world.submitted()) == 2


def test_rows_that_are_the_same_stay_so_where_their_record_is_gone_as_long_as_the_rows_are_the_same() -> None:
    rows = ["Row 0", "Row 1", "Row 0", "Row 3"]
    for others in (rows, ["Row 0", "Row 1", "Row 5", "Row 5"], [None]):
        world = World(rows, chunk_size=2)
        world.runs_on(0)
        world.attempt().begin()
        del world.store.values[f"{KEY}_1"]
        chunks = world.attempt(reader=replace(world.reader, source=InMemory(others)))._chunks(world.written, None)
        assert chunks.open[1].chunk.twins == ({0: (0, "row-2")} if others is rows else {})


def with_model(world: World) -> Any:
    return lambda model: (replace(world.base, model_uri=model), world.limits(row_retries=0))


@pytest.mark.parametrize("how", ["begin", "go_on"])
def test_a_run_goes_on_with_the_model_that_it_began_with(how: str) -> None:
    world = World(2)
    world.runs_on(0)
    world.attempt(with_model=with_model(world)).begin()
    other = replace(world.base, model_uri=OTHER_MODEL)
    attempt = world.attempt(base=other, with_model=with_model(world))
    world.lines.clear()
    attempt.begin() if how == "begin" else attempt.go_on(None, None, Wakeup())
    assert (attempt.base.model_uri, attempt.limits.row_retries) == (MODEL, 0)
    told = f"The run goes on with {MODEL}, with which it began. The connection's default is {OTHER_MODEL} now."
    assert told in world.lines
    world.lines.clear()
    world.attempt(with_model=with_model(world)).begin()
    assert not any("goes on with" in line for line in world.lines)


def test_a_run_of_a_release_that_kept_no_model_goes_on_with_the_one_of_now() -> None:
    world = World(2)
    world.runs_on(0)
    world.attempt(with_model=with_model(world)).begin()
    head = world.written
    head.model = ""
    Ledger(world.store).write(head)
    attempt = world.attempt(base=replace(world.base, model_uri=OTHER_MODEL), with_model=with_model(world))
    attempt.begin()
    assert attempt.base.model_uri == OTHER_MODEL


def test_parameters_that_change_while_a_task_is_deferred_are_refused() -> None:
    world = World(2)
    world.runs_on(0)
    world.attempt().begin()
    with pytest.raises(ConfigurationError, match="Restore `temperature`"):
        world.attempt(base=replace(world.base, temperature=0.5)).go_on(None, None, Wakeup())
    with pytest.raises(ConfigurationError, match="Restore `model`"):
        world.attempt(asked_model="yandexgpt-lite").go_on(None, None, Wakeup())


def test_the_parameters_are_part_of_what_tells_a_run_from_another() -> None:
    world = World(2)
    one, other = world.attempt(), world.attempt(base=replace(world.base, temperature=0.5))
    assert one._plan.fingerprint != other._plan.fingerprint
    named = world.attempt(asked_model="yandexgpt")
    assert named._plan.fingerprint != one._plan.fingerprint
    assert named._parameters["model"] == fingerprint_of({"model": "yandexgpt"})
    assert one._parameters["model"] == fingerprint_of({"model": None})


def test_a_run_takes_its_model_along_into_another_folder() -> None:
    world = World(2)
    world.runs_on(0)
    world.attempt().begin()
    elsewhere = "gpt://b1x/yandexgpt"
    attempt = world.attempt(base=replace(world.base, model_uri=elsewhere), with_model=with_model(world))
    attempt.go_on(None, None, Wakeup())
    assert attempt.base.model_uri == elsewhere
