"""The gRPC front of the command: its options, its line, its certificate, and what it needs."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import pytest
from yandex.cloud.endpoint.api_endpoint_service_pb2 import ListApiEndpointsRequest
from yandex.cloud.endpoint.api_endpoint_service_pb2_grpc import ApiEndpointServiceStub

from airflow_provider.yandex_ai_studio import emulator as package
from airflow_provider.yandex_ai_studio.emulator import Emulator

MODULE = "airflow_provider.yandex_ai_studio.emulator"
ROOT = str(Path(package.__file__).parents[3])
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join([ROOT, os.environ.get("PYTHONPATH", "")])}
LINE = r"Yandex AI Studio emulator on (http://127\.0\.0\.1:\d+), gRPC on (127\.0\.0\.1:\d+)\n"


def run_to_its_end(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=10, check=False, env=ENVIRONMENT)


def addresses(channel: grpc.Channel) -> set[str]:
    found = ApiEndpointServiceStub(channel).List(ListApiEndpointsRequest(), timeout=5)
    return {endpoint.address for endpoint in found.endpoints}


@pytest.fixture
def start() -> Iterator[Any]:
    started: list[subprocess.Popen[str]] = []

    def run(*options: str) -> tuple[subprocess.Popen[str], str]:
        command = [sys.executable, "-m", MODULE, "--port", "0", "--grpc-port", "0", *options]
        pipe = subprocess.PIPE
        process = subprocess.Popen(command, stdout=pipe, stderr=pipe, text=True, env=ENVIRONMENT)
        started.append(process)
        assert process.stdout
        match = re.fullmatch(LINE, process.stdout.readline())
        assert match
        return process, match[2]

    yield run
    for process in started:
        process.kill()
        process.communicate()


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_the_command_says_its_target_serves_and_stops_when_told(start: Any, number: signal.Signals) -> None:
    process, target = start()
    with grpc.insecure_channel(target) as channel:
        assert addresses(channel) == {target}
        process.send_signal(number)
        printed, complained = process.communicate(timeout=5)
    assert (process.returncode, printed, complained) == (0, "", "")


def test_the_command_writes_the_certificate_that_its_clients_must_trust(start: Any, tmp_path: Path) -> None:
    file = tmp_path / "emulator.pem"
    _, target = start("--grpc-certificate", str(file))
    with grpc.secure_channel(target, grpc.ssl_channel_credentials(file.read_bytes())) as channel:
        assert addresses(channel) == {target}


def test_a_taken_grpc_port_is_a_clear_error() -> None:
    with Emulator(grpc=True) as running:
        ended = run_to_its_end("-m", MODULE, "--port", "0", "--grpc-port", running.grpc_target.split(":")[1])
        target = running.grpc_target
    assert ended.returncode == 1
    assert f"can't listen on {target}: " in ended.stderr
    assert "Traceback" not in ended.stderr


@pytest.mark.parametrize(
    ("options", "complaint"),
    [
        (["--grpc-certificate", "emulator.pem"], "--grpc-certificate needs --grpc-port"),
        (["--grpc-port", "0", "--grpc-certificate", "/nowhere/emulator.pem"], "can't write /nowhere/emulator.pem: "),
    ],
)
def test_a_certificate_that_is_no_use_is_a_usage_error(options: list[str], complaint: str) -> None:
    ended = run_to_its_end("-m", MODULE, "--port", "0", *options)
    assert ended.returncode == 2
    assert complaint in ended.stderr


@pytest.mark.parametrize("missing", ["grpc", "yandex", "google.protobuf"])
def test_without_its_packages_grpc_names_the_extra(missing: str) -> None:
    code = (
        f"import runpy, sys; sys.modules[{missing!r}] = None\n"
        "sys.argv = ['emulator', '--port', '0', '--grpc-port', '0']\n"
        f"runpy.run_module({MODULE!r}, run_name='__main__')"
    )
    ended = run_to_its_end("-c", code)
    assert ended.returncode == 1
    assert "pip install 'airflow-provider-yandex-ai-studio[grpc]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_nothing_of_grpc_is_imported_before_it_is_asked_for() -> None:
    code = (
        f"import sys, {MODULE} as emulator\n"
        "with emulator.Emulator(): print({'grpc', 'yandex', 'google.protobuf'} & sys.modules.keys())"
    )
    ended = run_to_its_end("-c", code)
    assert (ended.stdout, ended.stderr) == ("set()\n", "")
