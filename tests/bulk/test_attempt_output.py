"""Whose output it is, and what an attempt says of it, by value."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.models import Message
from airflow_provider.yandex_ai_studio.api.output import Output
from airflow_provider.yandex_ai_studio.bulk.folder import MANIFEST, OWNER, SETTLED_AFTER
from airflow_provider.yandex_ai_studio.bulk.ledger import KEY, Ledger
from airflow_provider.yandex_ai_studio.bulk.money import Bounds
from airflow_provider.yandex_ai_studio.bulk.run import Pause
from airflow_provider.yandex_ai_studio.exceptions import (
    ConfigurationError,
)
from bulk_scene import MODEL, PRICE, World

OTHER_MODEL = "gpt://b1g/yandexgpt-lite"


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
