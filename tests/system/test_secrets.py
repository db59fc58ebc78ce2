"""What a day on this Airflow left behind, searched for what must not be there. These tests come last."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from system.plans import AWKWARD
from system.scene import Run, Service
from system.search import files_with, pattern_of, tables_with
from tools.harness.airflow import LocalAirflow
from tools.harness.emulator import LocalEmulator

pytestmark = pytest.mark.system

ANY_IAM_TOKEN = re.compile(r"t1\.[A-Za-z0-9_-]{20,}\.")


@pytest.fixture(scope="module")
def secrets(
    begun: dict[str, Run],
    service: LocalEmulator,
    services: dict[str, Service],
    service_account_key: dict[str, Any],
    iam_token: str,
) -> re.Pattern[str]:
    """Every secret of every connection, once all runs are over."""
    for name, run in begun.items():
        if name in services:
            services[name].finish()
        run.wait()
    body = service_account_key["private_key"].split("-----")[2].split()
    keys = [own.api_key for own in services.values()]
    return pattern_of([service.api_key, iam_token, *body[:-1], *keys, "AQVNwrong-key-of-nobody", "AQVNcanary"])


def test_the_search_finds_what_is_there(airflow: LocalAirflow, service: LocalEmulator) -> None:
    there = pattern_of(["yandex_ai_studio_default", service.folder_id])
    assert any(table.startswith("connection:") for table in tables_with(airflow, there))
    assert any(path.startswith("logs/") for path in files_with(airflow, there))


def test_no_table_holds_a_secret(airflow: LocalAirflow, secrets: re.Pattern[str]) -> None:
    assert tables_with(airflow, secrets) == []


def test_no_file_holds_a_secret(airflow: LocalAirflow, secrets: re.Pattern[str]) -> None:
    assert files_with(airflow, secrets) == []


def test_no_exchanged_token_is_written_anywhere(airflow: LocalAirflow, secrets: re.Pattern[str]) -> None:
    assert tables_with(airflow, ANY_IAM_TOKEN) == []
    assert files_with(airflow, ANY_IAM_TOKEN) == []


def test_the_triggerer_tells_nobody_what_was_asked_and_answered(
    airflow: LocalAirflow, secrets: re.Pattern[str]
) -> None:
    # The emulator repeats the prompt, so that one search finds both; in JSON it looks different.
    words = [line for text in (AWKWARD, json.dumps(AWKWARD)[1:-1]) for line in text.split("\n")]
    words += ["конец", "hedgehog", "walrus", "river rises"]
    told = files_with(airflow, pattern_of(words))
    assert [path for path in told if "trigger" in path.rsplit("/", 1)[-1]] == []
    next_kwargs = airflow.sql("select next_kwargs::text as text from task_instance where next_kwargs is not null")
    assert [row for row in next_kwargs if pattern_of(words).search(row["text"])] == []
