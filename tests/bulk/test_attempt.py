"""An attempt by value: what it looks at before it pays, and what it takes up."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.models import Message
from airflow_provider.yandex_ai_studio.api.output import Output
from airflow_provider.yandex_ai_studio.bulk import earlier
from airflow_provider.yandex_ai_studio.bulk.attempt import MOST_RETURNED
from airflow_provider.yandex_ai_studio.bulk.folder import MANIFEST, OWNER, SETTLED_AFTER
from airflow_provider.yandex_ai_studio.bulk.ledger import KEY, Ledger
from airflow_provider.yandex_ai_studio.bulk.money import Bounds
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
    assert head.parameters == earlier.parameters_of(world.base, None, own_model=True)
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


# -- whose output it is


def test_an_output_of_other_requests_is_refused_before_anything_is_paid_for(tmp_path: Path) -> None:
    world = World(2, output=tmp_path)
    (tmp_path / OWNER).write_text('{"fingerprint": "another"}')
    with pytest.raises(ConfigurationError, match="holds the output of another set of requests"):
        world.attempt().begin()
    assert (world.did, world.store.values) == ([], {})


def test_answers_of_another_run_to_the_same_requests_are_told_to_be_paid_for_again(tmp_path: Path) -> None:
    world = World(2, output=tmp_path)
    world.attempt().begin()
    assert not [line for line in world.lines if "another run" in line]
    world.attempt().begin()  # it knows them
    assert not [line for line in world.lines if "another run" in line]
    assert sorted(world.submitted()) == [0, 1]
    world.store.values.clear()
    world.attempt().begin()
    assert f"{tmp_path} holds the answers of another run to the same requests: they are asked and paid for" in str(
        world.lines
    )
    assert sorted(world.submitted()) == [0, 0, 1, 1]


def test_a_manifest_is_there_only_while_the_output_is_whole(tmp_path: Path) -> None:
    world = World(2, output=tmp_path)
    manifest = world.attempt().begin()
    assert (tmp_path / MANIFEST).exists()
    assert (manifest["counts"]["succeeded"], manifest["request_count"], manifest["cost"]) == (2, 2, None)
    (tmp_path / "part-00000.jsonl").unlink()
    world.runs_on(0)
    assert isinstance(world.attempt().begin(), Pause)
    assert not (tmp_path / MANIFEST).exists()


class Title(BaseModel):
    """What an answer holds."""

    title: str


@pytest.mark.parametrize(
    ("output", "says"),
    [
        (Output(), {"output_type_ref": None, "structured": False}),
        (Output(json_object=True), {"output_type_ref": None, "structured": True}),
        (Output.of(json_object=False, json_schema=Title), {"output_type_ref": f"{__name__}.Title", "structured": True}),
    ],
)
def test_a_manifest_says_how_its_rows_were_asked(tmp_path: Path, output: Output, says: dict[str, Any]) -> None:
    base = CompletionRequest(MODEL, (Message("user", "-"),), output=output)
    world = World(1, output=tmp_path, base=base)
    manifest = world.attempt(keep_failed=True, limits={"bounds": Bounds(price=PRICE)}).begin()
    assert {name: manifest[name] for name in ("llm_conn_id", "model_id", *says)} == {
        "llm_conn_id": "studio",
        "model_id": MODEL,
        **says,
    }
    assert (manifest["currency"], manifest["completed_at"][:10]) == ("RUB", "2027-01-15")


def test_an_output_that_moved_while_the_run_was_begun_elsewhere_is_told_with_both_paths(tmp_path: Path) -> None:
    world = World(2, output=tmp_path / "one")
    world.attempt().begin()
    with pytest.raises(ConfigurationError) as refused:
        world.attempt(output_path=str(tmp_path / "two")).begin()
    assert f"`output_path` is '{tmp_path}/two', and this run was begun with '{tmp_path}/one'" in str(refused.value)
    assert f"delete '{KEY}' from the state" in str(refused.value)


def test_parts_that_are_not_where_they_were_are_not_paid_for_again(tmp_path: Path) -> None:
    world = World(2, output=tmp_path / "out")
    world.attempt().begin()
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(ConfigurationError, match="Restore the folder"):
        world.attempt().begin()
    assert sorted(world.submitted()) == [0, 1]


def test_parts_of_chunks_that_are_open_again_are_looked_for_too(tmp_path: Path) -> None:
    world = World(2, output=tmp_path / "out")
    world.attempt().begin()
    ledger, head = Ledger(world.store), world.written
    chunk = ledger.chunk(head, 0)
    assert chunk
    chunk.reopen([1])
    head.done.clear()
    for record in (chunk, head):
        ledger.write(record)
    shutil.rmtree(tmp_path / "out")
    with pytest.raises(ConfigurationError, match="Restore the folder"):
        world.attempt().begin()


def test_a_claim_on_object_storage_is_looked_at_again_after_a_while() -> None:
    from airflow.sdk.io import attach
    from fsspec.implementations.memory import MemoryFileSystem

    storage = MemoryFileSystem()
    attach("memory", fs=storage)
    world = World(1, output="memory://bucket/attempt")
    assert world.attempt().begin()["counts"]["succeeded"] == 1
    assert world.slept[0] == SETTLED_AFTER
    storage.rm("/bucket", recursive=True)


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
        world.attempt(base=replace(world.base, model_uri=OTHER_MODEL)).go_on(None, None, Wakeup())


def test_the_parameters_are_part_of_what_tells_a_run_from_another() -> None:
    world = World(2)
    one, other = world.attempt(), world.attempt(base=replace(world.base, temperature=0.5))
    assert one._plan.fingerprint != other._plan.fingerprint
    assert one._parameters["model"] == fingerprint_of({"model": MODEL})
    assert world.attempt(with_model=with_model(world))._parameters["model"] == fingerprint_of({"model": None})
