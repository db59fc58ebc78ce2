"""The vendor's own samples, taken from the text of its guides and run against the emulator.

Nothing is changed in them but what a reader of the guide would change: hosts, folder, key, token, operation id,
and the name of the file that the request's body was saved in. Those that speak gRPC insist on TLS: the emulator's
certificate is made known to them by an environment variable of gRPC.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import textwrap
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider.yandex_ai_studio.emulator import Emulator

GUIDES = Path(__file__).parent / "guides"
KEY, FOLDER = "AQVNguidesguidesguides", "b1gguides"
METADATA = "/computeMetadata/v1/instance/service-accounts/default/token"

HOSTS = (
    "https://llm.api.cloud.yandex.net",
    "https://llm.{{ api-host }}",
    "https://ai.{{ api-host }}",
    "https://{{ api-host-operation }}",
)
GRPC_HOST = "llm.api.cloud.yandex.net:443"
BLOCK = re.compile(r"^(?P<indent> *)```(?P<language>\w+)\n(?P<code>.*?)^(?P=indent)```$", re.M | re.S)

#: What operations take of the emulator's own time, which only a test moves forward.
SECONDS = 3600.0

#: What a sample takes of real time at most.
_PATIENCE_SECONDS = 30

Start = Callable[..., "subprocess.Popen[str]"]
Run = Callable[..., str]


def sample(guide: str, language: str, *marks: str) -> str:
    """Return the one code block of a guide that is in this language and contains all of these."""
    blocks = BLOCK.finditer((GUIDES / f"{guide}.md").read_text("utf-8"))
    found = [b["code"] for b in blocks if b["language"] == language and all(mark in b["code"] for mark in marks)]
    assert len(found) == 1, f"{guide} has {len(found)} such blocks"
    return textwrap.dedent(found[0])


@pytest.fixture
def guided() -> Iterator[Emulator]:
    with Emulator(api_key=KEY, folder_id=FOLDER, seconds=SECONDS, grpc_tls=True) as running:
        yield running


@pytest.fixture
def token(guided: Emulator) -> str:
    answer = requests.get(guided.url + METADATA, headers={"Metadata-Flavor": "Google"}, timeout=5)
    return str(answer.json()["access_token"])


@pytest.fixture
def adapt(guided: Emulator, token: str) -> Callable[..., str]:
    def fill_in(text: str, **more: str) -> str:
        values = {
            GRPC_HOST: guided.grpc_target,
            **dict.fromkeys(HOSTS, guided.url),
            **dict.fromkeys(("<API_key>", "<API key>"), KEY),
            **dict.fromkeys(("<IAM_token>", "<IAM token>"), token),
            **dict.fromkeys(("<path_to_JSON_file>", "<path_to_json_file>"), "body.json"),
            "<folder_ID>": FOLDER,
            **{f"<{name}>": value for name, value in more.items()},
        }
        for name, value in values.items():
            text = text.replace(name, value)
        assert not re.search(r"<\w+>|\{\{|yandex\.net", text), text
        return text

    return fill_in


@pytest.fixture
def start(tmp_path: Path) -> Start:
    """Start a shell that runs these commands where the guide's files were saved."""

    def launch(*commands: str, **environment: str) -> subprocess.Popen[str]:
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        return subprocess.Popen(
            ["bash", "-e", "-c", "\n".join(commands)],
            cwd=tmp_path,
            env={"PATH": path, "HOME": str(tmp_path), "PYTHONUNBUFFERED": "1", **environment},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )

    return launch


@pytest.fixture
def run(start: Start) -> Run:
    """Return what a shell prints that runs these commands."""

    def to_its_end(*commands: str, **environment: str) -> str:
        with start(*commands, **environment) as shell, patience(shell):
            printed, complaints = shell.communicate()
        assert shell.returncode == 0, complaints
        return printed

    return to_its_end


@contextmanager
def patience(shell: subprocess.Popen[str]) -> Iterator[None]:
    """End a shell and what it runs when it takes too long."""
    timer = threading.Timer(_PATIENCE_SECONDS, os.killpg, (shell.pid, signal.SIGKILL))
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@pytest.fixture
def save(tmp_path: Path, adapt: Callable[..., str]) -> Callable[[str, str], None]:
    """Save a block of a guide under the name that the guide gives it, filled in."""

    def write(name: str, text: str) -> None:
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(adapt(text), "utf-8")

    return write


@pytest.fixture
def trust(tmp_path: Path, guided: Emulator) -> dict[str, str]:
    """Return the environment in which gRPC trusts the emulator's certificate."""
    file = tmp_path / "emulator.pem"
    file.write_bytes(guided.grpc_certificate)
    return {"GRPC_DEFAULT_SSL_ROOTS_FILE_PATH": str(file)}


def text_of(answer: dict[str, Any]) -> str:
    return str(answer["alternatives"][0]["message"]["text"])


def test_the_curl_that_the_guides_call_is_here() -> None:
    assert shutil.which("curl")


def test_prompt_mode_with_requests(adapt: Any, save: Any, run: Run, guided: Emulator) -> None:
    save("test.py", sample("prompt-mode", "python", "import requests"))
    printed = run(adapt(sample("prompt-mode", "bash", "python test.py")))
    # The sample prints a dict as Python writes it.
    assert printed.startswith("{'result': {'alternatives': [{'message': {'role': 'assistant', 'text': 'Erors wont")
    assert guided.stats()["responses"]["completion"] == {"200": 1}


def test_prompt_mode_with_grpc(adapt: Any, save: Any, run: Run, trust: dict[str, str], guided: Emulator) -> None:
    save("output/test.py", sample("prompt-mode", "python", "import grpc", "alternative.message.text"))
    printed = run(adapt(sample("prompt-mode", "bash", "python output/test.py")), **trust)
    assert printed == "Erors wont corrct themselfs\n"
    assert guided.stats()["responses"]["completion"] == {"200": 1}


def test_prompt_mode_with_a_stream_over_grpc(adapt: Any, save: Any, run: Run, trust: dict[str, str]) -> None:
    save("output/test.py", sample("prompt-mode", "python", "import grpc", "stream=True"))
    # The guide's own text is too short for the emulator to give it in parts.
    said = "Erors wont corrct themselfs, and nobody else is going to."
    command = adapt(sample("prompt-mode", "bash", "python output/test.py"))
    printed = run(command.replace("Erors wont corrct themselfs", said), **trust)
    *partial, final = re.findall(r'text: "(.*)"', printed)
    assert partial
    assert all(said.startswith(text) for text in partial)
    assert final == said
    statuses = re.findall(r"status: (\w+)", printed)
    assert statuses == ["ALTERNATIVE_STATUS_PARTIAL"] * len(partial) + ["ALTERNATIVE_STATUS_FINAL"]


@pytest.mark.parametrize(("guide", "said"), [("prompt-mode", "To be, or not to be"), ("chat-mode", "Mathematics and")])
def test_a_completion_with_curl(guide: str, said: str, adapt: Any, save: Any, run: Run) -> None:
    save("body.json", sample(guide, "json", "modelUri"))
    answer = json.loads(run(adapt(sample(guide, "bash", "curl", "completion"))))
    assert text_of(answer["result"]).startswith(said)


@pytest.mark.parametrize("credential", ["IAM_TOKEN=<IAM token>", "API_KEY=<API key>"])
def test_chat_mode_with_requests(credential: str, adapt: Any, save: Any, run: Run) -> None:
    save("body.json", sample("chat-mode", "json", "modelUri"))
    save("index.py", sample("chat-mode", "python", "import requests"))
    export = adapt(sample("chat-mode", "bash", f"export {credential}"))
    printed = run(export, sample("chat-mode", "bash", "python index.py"))
    assert text_of(json.loads(printed)["result"]).startswith("Mathematics and physics")


def test_an_asynchronous_request_with_curl(adapt: Any, save: Any, run: Run, token: str, guided: Emulator) -> None:
    save("body.json", sample("async-request", "json", "modelUri"))
    submitted = json.loads(run(adapt(sample("async-request", "bash", "completionAsync"))))
    assert submitted["done"] is False
    ask = adapt(sample("async-request", "bash", "operations/"), operation_ID=submitted["id"])
    assert json.loads(run(ask, IAM_TOKEN=token)) == submitted
    guided.advance(SECONDS)
    finished = json.loads(run(ask, IAM_TOKEN=token))
    assert finished["done"] is True
    assert text_of(finished["response"]) == "To be, or not to be: that is the question."
    # The guide shows the answer, under the same label as its commands.
    shown = json.loads(sample("async-request", "bash", '"@type"'))
    assert shown.keys() == finished.keys()
    assert shown["response"].keys() == finished["response"].keys()


def test_a_synchronous_response_with_the_openai_client(save: Any, run: Run, guided: Emulator) -> None:
    # The guide has key and folder exported, but its code reads names of Python: it leaves to the reader where from.
    given = f'YANDEX_CLOUD_API_KEY = "{KEY}"\nYANDEX_CLOUD_FOLDER = "{FOLDER}"\n'
    save("index.py", given + sample("sync-request-responses-api", "python", "import openai"))
    printed = run(sample("sync-request-responses-api", "bash", "python index.py"))
    assert printed == "Come up with three off-beat ideas for a travel startup.\n"
    assert guided.stats()["responses"]["responses.create"] == {"200": 1}


def test_a_background_response_with_the_openai_client(save: Any, start: Start, guided: Emulator) -> None:
    save("background.py", sample("background-request", "python", "import openai"))
    with start("python background.py") as shell, patience(shell):
        assert shell.stdout
        sent, queued = shell.stdout.readline(), shell.stdout.readline()
        guided.advance(SECONDS)
        completed, final = shell.stdout.read().splitlines()
    (operation,) = guided.operations()
    assert sent == f"Task sent: {operation['id']}\n"
    assert (queued, completed) == ("Status: queued\n", "Status: completed")
    assert final.startswith("Final response: Create a brief summary of the text: 'Yandex AI Studio features")
