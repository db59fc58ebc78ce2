"""
A bulk run on the API of S3, as moto serves it, through the library that Airflow's Amazon provider brings.

``make test-s3`` runs it, in an environment of its own: its client wants other versions than the constraints have.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

pytest.importorskip("moto", reason="make test-s3 runs it")
pytest.importorskip("s3fs", reason="make test-s3 runs it")

import boto3
import duckdb
import pandas
import pyarrow.dataset
import requests
from airflow.sdk import ObjectStoragePath
from airflow.sdk.io.store import _STORE_CACHE
from moto.server import ThreadedMotoServer

from airflow_provider.yandex_ai_studio.bulk.folder import OWNER
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError
from bulk_task import BulkTask, Killed, texts

OUT = "s3://storage@lake/out"


@pytest.fixture
def endpoint() -> Iterator[str]:
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    requests.post(f"http://{host}:{port}/moto-api/reset", timeout=10)  # what it holds is its process's
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def s3(endpoint: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """The storage as another process sees it, with one bucket; tasks reach it by the connection ``storage``."""
    extra = {"endpoint_url": endpoint, "region_name": "us-east-1"}
    connection = {"conn_type": "aws", "login": "key", "password": "secret", "extra": extra}
    monkeypatch.setenv("AIRFLOW_CONN_STORAGE", json.dumps(connection))
    client = boto3.client("s3", aws_access_key_id="key", aws_secret_access_key="secret", **extra)
    client.create_bucket(Bucket="lake")
    yield client
    _STORE_CACHE.pop("s3-storage", None)


def keys(s3: Any, prefix: str = "out/") -> list[str]:
    return [each["Key"].removeprefix(prefix) for each in s3.list_objects_v2(Bucket="lake")["Contents"]]


def test_rows_are_read_and_written_there_and_an_attempt_that_is_killed_loses_none(
    task: Callable[..., BulkTask], s3: Any
) -> None:
    rows = [{"text": text} for text in texts(30)]
    s3.put_object(Bucket="lake", Key="rows.jsonl", Body="".join(json.dumps(row) + "\n" for row in rows))
    run = task(inputs="s3://storage@lake/rows.jsonl", prompt="{{ row.text }}", output_path=OUT, chunk_size=10)
    while True:
        run.store.deadly = run.store.writes + 9
        try:
            run.attempt()
            break
        except Killed:
            list(ObjectStoragePath(OUT).fs.find("lake/out"))  # it is remembered from now on
    run.store.deadly = None
    s3.delete_object(Bucket="lake", Key="out/part-00001.jsonl")
    manifest = run.attempt()
    read = [row for part in manifest["parts"] for row in map(json.loads, (ObjectStoragePath(OUT) / part).open())]
    assert sorted(row["index"] for row in read) == list(range(30))
    assert all(f"number {row['index']}." in row["output"] for row in read)
    assert sorted(keys(s3)) == sorted([*manifest["parts"], "manifest.json", OWNER, "rows.jsonl"])


def test_a_bucket_that_is_not_there_is_not_made(task: Callable[..., BulkTask], s3: Any) -> None:
    run = task(inputs=texts(3), output_path="s3://storage@nolake/out")
    with pytest.raises(ConfigurationError, match="The specified bucket does not exist"):
        run.attempt()
    assert [bucket["Name"] for bucket in s3.list_buckets()["Buckets"]] == ["lake"]
    assert run.submissions == 0


def test_an_output_that_another_run_has_taken_is_seen_though_it_was_listed(
    task: Callable[..., BulkTask], s3: Any
) -> None:
    run = task(inputs=texts(4), output_path=OUT)
    wait = run._wait

    def taken(trigger: Any) -> None:
        wait(trigger)
        list(ObjectStoragePath(OUT).iterdir())
        s3.put_object(Bucket="lake", Key=f"out/{OWNER}", Body=b'{"fingerprint": "another"}')

    run._wait = taken  # type: ignore[method-assign]
    with pytest.raises(ConfigurationError, match="another run has taken"):
        run.attempt()
    assert keys(s3) == [OWNER]


@pytest.mark.parametrize("name", ["out[1]", "out*", "утка и %20", "what?x=1#y"])
def test_what_is_odd_in_a_key_means_itself_alone(task: Callable[..., BulkTask], s3: Any, name: str) -> None:
    s3.put_object(Bucket="lake", Key="outer/manifest.json", Body=b"{}")
    run = task(inputs=texts(3), output_path=f"s3://storage@lake/{name}", chunk_size=2)
    run.attempt()
    run.attempt()
    files = [OWNER, "manifest.json", "part-00000.jsonl", "part-00001.jsonl"]
    assert sorted(keys(s3, "")) == sorted(["outer/manifest.json", *(f"{name}/{file}" for file in files)])


def test_parquet_there_is_read_by_those_who_read_it(task: Callable[..., BulkTask], s3: Any) -> None:
    run = task(inputs=texts(5), output_path=OUT, output_format="parquet", chunk_size=2)
    manifest = run.attempt()
    storage = ObjectStoragePath(manifest["result_uri"])
    files = [f"{storage.path}/{part}" for part in manifest["parts"]]
    told = pandas.concat([pandas.read_parquet(file, filesystem=storage.fs) for file in files])
    assert sorted(told["index"]) == list(range(5))
    assert pyarrow.dataset.dataset(files, filesystem=storage.fs).count_rows() == 5
    duckdb.register_filesystem(storage.fs)
    assert duckdb.sql(f"select count(*) from read_parquet({[f's3://{file}' for file in files]})").fetchall() == [(5,)]
