"""What the emulator's tests share: a running emulator, and a client of the few lines that they need."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import grpc
import pytest
import requests
from google.protobuf.json_format import ParseDict
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2 as generation
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2_grpc as generation_grpc
from yandex.cloud.operation import operation_service_pb2 as operations
from yandex.cloud.operation import operation_service_pb2_grpc as operations_grpc

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
        self.session.headers.update({"Authorization": authorization, "OpenAI-Project": FOLDER})

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


class GrpcClient:
    """Call an emulator through the official stubs. Requests are given as the JSON that REST takes."""

    def __init__(self, channel: grpc.Channel, **metadata: str) -> None:
        self.channel = channel
        self.metadata = {"authorization": f"Api-Key {KEY}", **metadata}
        self._texts = generation_grpc.TextGenerationServiceStub(channel)
        self._asynchronous = generation_grpc.TextGenerationAsyncServiceStub(channel)
        self._tokenizer = generation_grpc.TokenizerServiceStub(channel)
        self._operations = operations_grpc.OperationServiceStub(channel)

    def completion(self, request: dict[str, Any]) -> list[Any]:
        call = self._texts.Completion(self._request(request), timeout=5, metadata=tuple(self.metadata.items()))
        return list(call)

    def submission(self, request: dict[str, Any]) -> Any:
        return self.call(self._asynchronous.Completion, self._request(request))

    def complete(self, **members: Any) -> list[Any]:
        return self.completion(body(**members))

    def submit(self, **members: Any) -> Any:
        return self.submission(body(**members))

    def operation(self, operation_id: str) -> Any:
        return self.call(self._operations.Get, operations.GetOperationRequest(operation_id=operation_id))

    def cancel(self, operation_id: str) -> Any:
        return self.call(self._operations.Cancel, operations.CancelOperationRequest(operation_id=operation_id))

    def tokenize(self, text: str) -> Any:
        return self.call(self._tokenizer.Tokenize, generation.TokenizeRequest(model_uri=MODEL, text=text))

    def tokenize_completion(self, request: dict[str, Any]) -> Any:
        return self.call(self._tokenizer.TokenizeCompletion, self._request(request))

    def call(self, method: Any, request: Any, timeout: float = 5) -> Any:
        return method(request, timeout=timeout, metadata=tuple(self.metadata.items()))

    @staticmethod
    def _request(request: dict[str, Any]) -> Any:
        return ParseDict(request, generation.CompletionRequest())


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
def grpc_emulator() -> Iterator[Emulator]:
    """Speak HTTP and gRPC."""
    with Emulator(api_key=KEY, folder_id=FOLDER, seconds=60, grpc=True) as running:
        yield running


@pytest.fixture
def rest(grpc_emulator: Emulator) -> Iterator[Client]:
    """Hold a client of the HTTP front of the emulator that has both."""
    made = Client(grpc_emulator.url)
    with made.session:
        yield made


@pytest.fixture
def channel(grpc_emulator: Emulator) -> Iterator[grpc.Channel]:
    with grpc.insecure_channel(grpc_emulator.grpc_target) as opened:
        yield opened


@pytest.fixture
def grpc_client() -> type[GrpcClient]:
    return GrpcClient


@pytest.fixture
def rpc(channel: grpc.Channel) -> GrpcClient:
    """Hold a client of the gRPC front of the emulator that has both."""
    return GrpcClient(channel)


@pytest.fixture
def connect() -> Iterator[Any]:
    opened: list[Client] = []

    def open_client(emulator: Emulator, authorization: str = f"Api-Key {KEY}") -> Client:
        opened.append(Client(emulator.url, authorization))
        return opened[-1]

    yield open_client
    for client in opened:
        client.session.close()
