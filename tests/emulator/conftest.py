"""What the emulator's tests share: a running emulator, and a client of the few lines that they need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
import requests

from airflow_provider.yandex_ai_studio.emulator import Emulator

KEY = "AQVNsecretsecretsecret"
FOLDER = "b1gtestfolder"
MODEL = f"gpt://{FOLDER}/yandexgpt"
TEXT = "To be, or not to be: that is the question."


class Client:
    """Send requests to an emulator, with the API key that its connection would hold."""

    def __init__(self, url: str, authorization: str = f"Api-Key {KEY}") -> None:
        self.url = url
        self.session = requests.Session()
        self.session.headers["Authorization"] = authorization

    def get(self, path: str, **headers: str) -> requests.Response:
        return self.session.get(self.url + path, headers=headers, timeout=5)

    def post(self, path: str, body: Any = None, **headers: str) -> requests.Response:
        return self.session.post(self.url + path, json=body, headers=headers, timeout=5)

    def complete(self, **members: Any) -> requests.Response:
        return self.post("/foundationModels/v1/completion", body(**members))

    def submit(self, **members: Any) -> requests.Response:
        return self.post("/foundationModels/v1/completionAsync", body(**members))

    def delete(self, path: str) -> requests.Response:
        return self.session.delete(self.url + path, timeout=5)

    def respond(self, **members: Any) -> requests.Response:
        return self.post("/v1/responses", {"model": MODEL, "input": TEXT, **members})

    def response(self, response_id: str) -> requests.Response:
        return self.get(f"/v1/responses/{response_id}")

    def chat(self, **members: Any) -> requests.Response:
        asked = {"model": MODEL, "messages": [{"role": "user", "content": TEXT}], **members}
        return self.post("/v1/chat/completions", asked)

    def operation(self, operation_id: str) -> requests.Response:
        return self.get(f"/operations/{operation_id}")


def body(text: str = TEXT, **members: Any) -> dict[str, Any]:
    return {
        "modelUri": MODEL,
        "messages": [{"role": "user", "text": text}],
        **members,
    }


@pytest.fixture
def make_body() -> Any:
    return body


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(api_key=KEY, folder_id=FOLDER, seconds=60) as running:
        yield running


@pytest.fixture
def client(emulator: Emulator) -> Iterator[Client]:
    made = Client(emulator.url)
    with made.session:
        yield made


@pytest.fixture
def connect() -> Iterator[Any]:
    opened: list[Client] = []

    def open_client(emulator: Emulator, authorization: str = f"Api-Key {KEY}") -> Client:
        opened.append(Client(emulator.url, authorization))
        return opened[-1]

    yield open_client
    for client in opened:
        client.session.close()
