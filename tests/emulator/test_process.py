"""The emulator as a command, as a thread, and as a neighbour that shares nothing with the client."""

from __future__ import annotations

import ast
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider.yandex_ai_studio import emulator as package
from airflow_provider.yandex_ai_studio.emulator import Emulator

COMMAND = [sys.executable, "-m", "airflow_provider.yandex_ai_studio.emulator"]
ROOT = str(Path(package.__file__).parents[3])
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])}


def run_to_its_end(*options: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *options]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False, env=ENVIRONMENT)


@pytest.fixture
def start() -> Iterator[Any]:
    started: list[subprocess.Popen[str]] = []

    def run(*options: str) -> tuple[subprocess.Popen[str], str]:
        process = subprocess.Popen([*COMMAND, *options], stdout=subprocess.PIPE, text=True, env=ENVIRONMENT)
        started.append(process)
        assert process.stdout
        return process, process.stdout.readline()

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_its_url_serves_and_stops_when_told(start: Any, number: signal.Signals) -> None:
    process, line = start("--port", "0", "--api-key", "AQVNsecretsecret", "--seconds", "1", "--enforce-quotas")
    match = re.fullmatch(r"Yandex AI Studio emulator on (http://127\.0\.0\.1:\d+)\n", line)
    assert match
    with requests.Session() as session:
        assert session.get(f"{match[1]}/_emulator/stats", timeout=5).status_code == 200
        session.get(f"{match[1]}/v1/models", headers={"Authorization": "Api-Key AQVNsecretsecret"}, timeout=5)
        process.send_signal(number)
        rest, _ = process.communicate(timeout=5)
    assert (process.returncode, rest) == (0, "")


@pytest.mark.parametrize(("options", "status"), [((), 400), (("--lenient",), 200)])
def test_the_command_is_strict_unless_it_is_told(start: Any, options: tuple[str, ...], status: int) -> None:
    _, line = start("--port", "0", *options)
    asked = {"modelUri": "gpt://b1gtestfolder/unheard-of", "messages": [{"role": "user", "text": "x"}]}
    url = f"{line.split()[-1]}/foundationModels/v1/completion"
    answer = requests.post(url, json=asked, headers={"Authorization": "Api-Key k"}, timeout=5)
    assert answer.status_code == status


def test_the_control_routes_answer_to_the_name_that_was_chosen(start: Any) -> None:
    _, line = start("--port", "0", "--host", "0.0.0.0")
    url = f"http://127.0.0.1:{line.strip().rpartition(':')[2]}/_emulator/stats"
    statuses = [requests.get(url, headers={"Host": host}, timeout=5).status_code for host in ("0.0.0.0:1", "rebound")]
    assert statuses == [200, 403]


def test_a_taken_port_is_a_clear_error() -> None:
    with Emulator() as running:
        port = running.url.rsplit(":", 1)[1]
        ended = run_to_its_end("--port", port)
    assert ended.returncode == 1
    assert ended.stderr.startswith(f"can't listen on 127.0.0.1:{port}: ")
    assert "Traceback" not in ended.stderr


def test_impossible_times_are_a_usage_error() -> None:
    ended = run_to_its_end("--seconds", "5", "--seconds-max", "1")
    assert ended.returncode == 2
    assert "seconds_max (1.0) is below seconds (5.0)" in ended.stderr


def test_the_in_process_front_leaves_nothing_behind() -> None:
    before = threading.active_count()
    with Emulator(seconds=0) as running, requests.Session() as session:
        url = running.url
        assert session.get(f"{url}/_emulator/stats", timeout=5).status_code == 200
        running.fault("models", "delay", seconds=60)
        with pytest.raises(requests.Timeout):
            session.get(f"{url}/v1/models", timeout=0.05)
    assert threading.active_count() == before
    with pytest.raises(requests.ConnectionError):
        requests.get(url, timeout=5)


def test_two_emulators_know_nothing_of_each_other() -> None:
    with Emulator() as one, Emulator() as other:
        one.fault("models", "drop")
        assert one.url != other.url
        assert requests.get(f"{other.url}/v1/models", timeout=5).status_code == 401


def test_the_emulator_imports_nothing_from_the_rest_of_the_package() -> None:
    own = "airflow_provider.yandex_ai_studio.emulator"
    folder = Path(package.__file__).parent
    for file in folder.rglob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            foreign = [name for name in names if name.startswith("airflow") and not name.startswith(own)]
            assert not foreign, f"{file.relative_to(folder)} imports {foreign}"
