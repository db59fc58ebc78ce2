"""A bulk run on an object storage: no folders, no links, and a library that remembers what it has listed."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException
from airflow.sdk.io import attach
from airflow.sdk.io.store import _STORE_CACHE

from airflow_provider.yandex_ai_studio.bulk.folder import OWNER, Folder
from airflow_provider.yandex_ai_studio.bulk.rows import source_of
from airflow_provider.yandex_ai_studio.bulk.storage import BLOCK
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError, YandexAIStudioError
from bulk_task import BulkTask, Killed, texts
from object_storage import Object, Objects

OUT = "s3://lake/out"

NOT_SENT = "Nothing was sent to the service."


@pytest.fixture
def objects() -> Iterator[Objects]:
    """The storage behind ``s3://``, with one bucket."""
    storage = Objects({"lake": {}})
    _STORE_CACHE.pop("s3", None)  # Airflow keeps one that can't be opened, too
    attach("s3", fs=storage)
    yield storage
    del _STORE_CACHE["s3"]


def rows_in(objects: Objects, path: str = "out/", bucket: str = "lake") -> list[dict[str, Any]]:
    """Return the rows of an output, by its manifest."""
    files = objects.buckets[bucket]
    parts = json.loads(files[f"{path}manifest.json"])["parts"]
    rows = [json.loads(line) for part in parts for line in files[path + part].splitlines()]
    return sorted(rows, key=lambda row: row["index"])


@pytest.mark.parametrize("seed", range(6))
def test_a_run_killed_at_any_write_of_its_ledger_has_each_row_once_there(
    task: Callable[..., BulkTask], emulator: Emulator, objects: Objects, seed: int
) -> None:
    chance = random.Random(seed)
    emulator.fault("completionAsync", "operation_error", match="number 3.")
    run = task(inputs=texts(20) + texts(4), output_path=OUT, chunk_size=5)
    for _ in range(5):
        run.store.deadly, run.store.after = run.store.writes + chance.randrange(1, 16), chance.random() < 0.5
        try:
            run.attempt()
        except Killed:
            objects.ls("lake/out") if objects.buckets["lake"] else None  # it is remembered from now on
        other = Objects(objects.buckets)  # another process, with a memory of its own
        if chance.random() < 0.5:
            other.rm_file("lake/out/part-00001.jsonl")
    run.store.deadly = None
    manifest = run.attempt()
    rows = rows_in(objects)
    assert [row["index"] for row in rows] == list(range(24))
    assert all(f"number {row['index'] % 20}." in row["output"] for row in rows)
    assert manifest["submissions"] <= run.submissions <= manifest["submissions"] + manifest["lost_submissions"]


@pytest.mark.parametrize("path", ["s3://nolake/out", "s3://nolake"])
def test_a_bucket_that_is_not_there_is_not_made(task: Callable[..., BulkTask], objects: Objects, path: str) -> None:
    run = task(inputs=texts(3), output_path=path)
    with pytest.raises(ConfigurationError, match="The specified bucket does not exist") as caught:
        run.attempt()
    assert NOT_SENT in str(caught.value)
    assert (list(objects.buckets), run.submissions) == (["lake"], 0)


def test_a_bucket_itself_may_be_the_output(task: Callable[..., BulkTask], objects: Objects) -> None:
    run = task(inputs=texts(5), output_path="s3://lake", chunk_size=2)
    run.attempt()
    assert run.attempt()["counts"]["succeeded"] == 5
    assert len(rows_in(objects, "")) == 5
    assert run.submissions == 5


@pytest.mark.parametrize("name", ["out*", "out?x", "out[1]", "a b+c%20", "утка", "what?x=1#y", "out/"])
def test_what_is_odd_in_a_key_means_itself_alone(task: Callable[..., BulkTask], objects: Objects, name: str) -> None:
    beside = {f"out{other}/{file}": b"" for other in "1rax" for file in ("manifest.json", "part-00009.jsonl")}
    objects.buckets["lake"].update(beside)
    run = task(inputs=texts(5), output_path=f"s3://lake/{name}", chunk_size=2)
    run.attempt()
    key = name.rstrip("/")
    objects.pipe_file(f"lake/{key}/part-00009.jsonl", b"")
    run.attempt()
    assert sorted(objects.buckets["lake"].keys() - beside) == [
        f"{key}/{file}" for file in (OWNER, "manifest.json", *(f"part-0000{number}.jsonl" for number in range(3)))
    ]
    assert objects.buckets["lake"].keys() > beside.keys()


def test_a_part_that_another_process_has_removed_is_generated_anew_though_it_was_listed(
    task: Callable[..., BulkTask], objects: Objects
) -> None:
    run = task(inputs=texts(6), output_path=OUT, chunk_size=2)
    run.attempt()
    objects.ls("lake/out")
    del objects.buckets["lake"]["out/part-00001.jsonl"]
    assert run.attempt()["counts"]["succeeded"] == 6
    assert [row["index"] for row in rows_in(objects)] == list(range(6))
    assert run.submissions == 8


def test_a_look_at_an_output_goes_by_no_listing_that_is_remembered(objects: Objects) -> None:
    folder = Folder(OUT, "jsonl")
    objects.pipe_file("lake/out/part-00000.jsonl", b"")
    objects.ls("lake/out")
    Objects(objects.buckets).rm_file("lake/out/part-00000.jsonl")
    assert folder.names() == set()
    objects.pipe_file("lake/out/part-00000.jsonl", b"")
    objects.ls("lake/out")
    Objects(objects.buckets).pipe_file(f"lake/out/{OWNER}", b'{"fingerprint": "another"}')
    assert folder.owner() == "another"


def test_a_manifest_that_was_not_listed_goes_while_its_output_is_worked_on(
    task: Callable[..., BulkTask], objects: Objects
) -> None:
    objects.pipe_file("lake/out/other.txt", b"")
    objects.ls("lake/out")
    Objects(objects.buckets).pipe_file("lake/out/manifest.json", b"{}")
    Folder(OUT, "jsonl").drop_manifest()
    assert list(objects.buckets["lake"]) == ["out/other.txt"]


def test_a_run_whose_output_another_one_has_taken_sees_it_though_it_was_listed(
    task: Callable[..., BulkTask], objects: Objects
) -> None:
    run = task(inputs=texts(4), output_path=OUT)
    wait = run._wait

    def taken(trigger: Any) -> None:
        wait(trigger)
        objects.ls("lake/out")
        objects.buckets["lake"][f"out/{OWNER}"] = b'{"fingerprint": "another"}'

    run._wait = taken  # type: ignore[method-assign]
    with pytest.raises(ConfigurationError, match="another run has taken"):
        run.attempt()
    assert list(objects.buckets["lake"]) == [f"out/{OWNER}"]


def test_an_output_that_was_listed_before_another_run_took_it_is_refused(
    task: Callable[..., BulkTask], objects: Objects
) -> None:
    objects.pipe_file("lake/out/readme.txt", b"")
    objects.ls("lake/out")
    Objects(objects.buckets).pipe_file(f"lake/out/{OWNER}", b'{"fingerprint": "another"}')
    run = task(inputs=texts(3), output_path=OUT)
    with pytest.raises(ConfigurationError, match="Give each set a folder of its own"):
        run.attempt()
    assert run.submissions == 0


def test_of_two_runs_that_claim_an_output_at_one_time_one_is_refused_before_it_pays(
    task: Callable[..., BulkTask], objects: Objects
) -> None:
    first, second = Folder(OUT, "jsonl"), Folder(OUT, "jsonl")
    told: list[str] = []

    def meanwhile(_: float) -> None:
        objects.ls("lake/out")
        objects.buckets["lake"][f"out/{OWNER}"] = b'{"fingerprint": "b", "rows": 1}'

    with pytest.raises(ConfigurationError, match="Give each set a folder of its own") as caught:
        first.claim("a", 1, meanwhile)
    assert NOT_SENT in str(caught.value)
    second.claim("b", 1, lambda seconds: told.append(f"{seconds:.0f}"))
    assert second.owner() == "b"


@pytest.mark.parametrize(("what", "words"), [("read", "it can't be read"), ("write", "it can't be written")])
def test_an_output_that_is_refused_is_told_before_anything_is_paid_for(
    task: Callable[..., BulkTask], objects: Objects, what: str, words: str
) -> None:
    objects.denied = {what}
    run = task(inputs=texts(3), output_path=OUT)
    with pytest.raises(ConfigurationError, match=words) as caught:
        run.attempt()
    assert "Access Denied" in str(caught.value)
    assert NOT_SENT in str(caught.value)
    assert run.submissions == 0


def test_a_run_that_goes_well_needs_no_right_to_remove(task: Callable[..., BulkTask], objects: Objects) -> None:
    objects.denied = {"remove"}
    run = task(inputs=texts(3), output_path=OUT, chunk_size=2)
    assert run.attempt()["counts"]["succeeded"] == run.submissions == 3
    with pytest.raises(YandexAIStudioError, match="Let the worker write to"):
        run.attempt()  # a manifest must not stand beside parts that are worked on


def test_a_part_that_can_t_be_written_costs_a_retry_and_no_row(task: Callable[..., BulkTask], objects: Objects) -> None:
    run = task(inputs=texts(6), output_path=OUT, chunk_size=2)
    wait = run._wait

    def refuse(trigger: Any) -> None:
        wait(trigger)
        objects.denied = {"write"}

    run._wait = refuse  # type: ignore[method-assign]
    with pytest.raises(YandexAIStudioError, match="and retry the task") as caught:
        run.attempt()
    assert "another attempt goes on" in str(caught.value)
    assert not isinstance(caught.value, AirflowFailException)
    objects.denied, run._wait = set(), wait  # type: ignore[method-assign]
    assert run.attempt()["counts"]["succeeded"] == 6
    assert run.submissions == 6


def test_what_else_is_in_an_output_is_not_taken_for_answers(
    task: Callable[..., BulkTask], objects: Objects, capsys: pytest.CaptureFixture[str]
) -> None:
    objects.pipe_file("lake/out/", b"")  # what a console makes of a folder
    objects.pipe_file("lake/out/readme.txt", b"")
    task(inputs=texts(3), output_path=OUT).attempt()
    assert "another run" not in capsys.readouterr().out
    assert "out/readme.txt" in objects.buckets["lake"]


def test_a_chunk_is_read_again_in_blocks_and_not_with_the_rest_of_its_file(objects: Objects) -> None:
    lines = b"".join(json.dumps({"number": number, "text": "duck " * 2000}).encode() + b"\n" for number in range(1000))
    objects.pipe_file("lake/in.jsonl", lines)
    source = source_of("s3://lake/in.jsonl")
    places = [place for place, _ in source.chunks(100)]
    objects.asked_bytes = 0
    for number, place in enumerate(places):
        rows = source.chunk(number, 100, place)
        assert [row["number"] for row in rows] == list(range(number * 100, number * 100 + 100))
    assert objects.asked_bytes <= len(lines) + len(places) * 2 * BLOCK


def test_a_file_of_rows_that_is_written_over_while_it_is_read_is_told_and_read_by_a_retry(objects: Objects) -> None:
    objects.pipe_file("lake/in.jsonl", b"".join(b'"%d %s"\n' % (number, b"duck" * 1000) for number in range(1000)))
    chunks = source_of("s3://lake/in.jsonl").chunks(10)
    next(chunks)
    objects.buckets["lake"]["in.jsonl"] += b"\n"
    with pytest.raises(YandexAIStudioError, match=r"^Retry the task: .*The remote file no longer exists") as caught:
        list(chunks)
    assert not isinstance(caught.value, AirflowFailException)


@pytest.mark.parametrize("form", ["jsonl", "parquet"])
def test_a_file_of_rows_that_can_t_be_read_for_a_moment_is_told(
    objects: Objects, monkeypatch: pytest.MonkeyPatch, form: str
) -> None:
    def slow(*_: Any) -> bytes:
        raise TimeoutError("The storage takes its time")

    objects.pipe_file(f"lake/in.{form}", b"1\n" * 100)
    monkeypatch.setattr(Object, "_fetch_range", slow)
    with pytest.raises(YandexAIStudioError, match=r"^Retry the task: .*The storage takes its time") as caught:
        list(source_of(f"s3://lake/in.{form}").chunks(5))
    assert not isinstance(caught.value, AirflowFailException)


def test_a_file_of_rows_that_is_another_one_by_now_is_read_as_it_is(objects: Objects) -> None:
    objects.pipe_file("lake/in.jsonl", b'"a"\n')
    objects.ls("lake")
    objects.buckets["lake"]["in.jsonl"] = b'"b"\n"c"\n'
    assert [rows for _, rows in source_of("s3://lake/in.jsonl").chunks(5)] == [["b", "c"]]
