"""The gRPC road gives the same values and errors as REST, against the emulator's two fronts."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from airflow.sdk import DAG
from grpc import ChannelConnectivity

from airflow_provider.yandex_ai_studio.api import completion
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.client import credentials
from airflow_provider.yandex_ai_studio.client.grpc import GrpcAsyncClient, GrpcClient
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.client.worker import Client
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    BadRequest,
    ConfigurationError,
    NotFound,
    PermissionDenied,
    RateLimited,
    RequestError,
    ServiceUnavailable,
)
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from airflow_provider.yandex_ai_studio.waiting import poller
from airflow_provider.yandex_ai_studio.waiting.decision import End, Wait
from support import API_KEY, FOLDER, Store, TaskInstance

VENDOR = Endpoints()
REQUEST = CompletionRequest.of(
    model="yandexgpt",
    folder_id=FOLDER,
    instructions="Repeat.",
    prompt="Ducks swim. «Утки» плавают. 🦆 And they fly south in autumn.",
    temperature=0.2,
    max_tokens=100,
)
WITH_TOOLS = CompletionRequest.of(
    model="yandexgpt",
    folder_id=FOLDER,
    prompt="Weather in Omsk?",
    tools=[{"name": "weather", "parameters": {"type": "object", "properties": {"city": {"type": "string"}}}}],
    tool_choice="weather",
)


@pytest.fixture(autouse=True)
def hours_pass_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator's clock is put forward, the client's own is not: to it, each token is new when it is refused."""
    monkeypatch.setattr(credentials, "SETTLING", 0.0)


@pytest.fixture
def emulator() -> Iterator[Emulator]:
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=3600, grpc=True) as running:
        yield running


def settings_of(emulator: Emulator, password: str | None = API_KEY, **extra: Any) -> Settings:
    fields = {"folder_id": FOLDER, "transport": "grpc", "grpc_target": emulator.grpc_target, **extra}
    return Settings.of(conn_id="c", host=emulator.url, password=password, extra=fields, read_text=_no_file)


def _no_file(path: str) -> str:
    raise FileNotFoundError(path)


@pytest.fixture
def grpc(emulator: Emulator) -> Iterator[GrpcClient]:
    with GrpcClient(settings_of(emulator), sleep=lambda seconds: None) as client:
        assert isinstance(client, GrpcClient)
        yield client


@pytest.fixture
def rest(emulator: Emulator) -> Iterator[Client]:
    with Client(settings_of(emulator)) as client:
        yield client


@pytest.fixture
def at(emulator: Emulator) -> Endpoints:
    return Endpoints.at(emulator.url)


def test_a_stream_is_opened_with_a_new_token_where_the_old_one_expired(emulator: Emulator, at: Endpoints) -> None:
    settings = settings_of(emulator, None, service_account_json=emulator.create_service_account_key())
    with GrpcClient(settings, sleep=lambda seconds: None) as client:
        begun = list(client.stream(completion.stream_completion(at, REQUEST)))
        emulator.revoke_iam_tokens()
        assert list(client.stream(completion.stream_completion(at, REQUEST)))[-1].text == begun[-1].text
    assert emulator.stats()["tokens_issued"] == 2


@pytest.mark.parametrize("request_", [REQUEST, WITH_TOOLS], ids=["text", "tools"])
@pytest.mark.parametrize("call", [completion.complete, completion.count_tokens], ids=lambda call: call.__name__)
def test_direct_calls_give_the_same_values(
    grpc: GrpcClient, rest: Client, at: Endpoints, call: Callable[..., Any], request_: CompletionRequest
) -> None:
    assert grpc.send(call(at, request_)) == rest.send(call(at, request_))


def test_a_stream_gives_the_same_generations(grpc: GrpcClient, rest: Client, at: Endpoints) -> None:
    generations = list(grpc.stream(completion.stream_completion(at, REQUEST)))
    assert generations == list(rest.stream(completion.stream_completion(at, REQUEST)))
    assert [generation.status for generation in generations][-2:] == ["partial", "final"]


def test_an_operation_is_the_same_on_both_roads_in_each_state(
    grpc: GrpcClient, rest: Client, at: Endpoints, emulator: Emulator
) -> None:
    operation = grpc.send(completion.submit_completion(at, REQUEST))
    reads = [client.send(completion.get_operation(at, operation.id)) for client in (grpc, rest)]
    assert reads[0] == reads[1]
    assert not reads[0].done
    emulator.advance(3600)
    reads = [client.send(completion.get_operation(at, operation.id)) for client in (grpc, rest)]
    assert reads[0] == reads[1]
    assert reads[0].generation == rest.send(completion.complete(at, REQUEST))
    cancelled = grpc.send(completion.submit_completion(at, REQUEST))
    error = grpc.send(completion.cancel_operation(at, cancelled.id, method="GET")).error
    assert error is not None
    assert error.code == 1


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, BadRequest),
        (401, AuthenticationError),
        (403, PermissionDenied),
        (404, NotFound),
        (429, RateLimited),
        (500, ServiceUnavailable),
        (503, ServiceUnavailable),
    ],
)
@pytest.mark.parametrize(
    "call", [completion.submit_completion, completion.complete, completion.count_tokens], ids=lambda call: call.__name__
)
def test_an_error_is_the_same_on_both_roads(
    grpc: GrpcClient,
    rest: Client,
    at: Endpoints,
    emulator: Emulator,
    call: Any,
    status: int,
    kind: type[RequestError],
) -> None:
    route = {completion.submit_completion: "completionAsync", completion.complete: "completion"}.get(
        call, "tokenizeCompletion"
    )
    emulator.fault(route, "status", status=status, times=None)
    errors = []
    for client in (grpc, rest):
        with pytest.raises(kind) as caught:
            client.send(call(at, REQUEST), repeat=False)
        errors.append(caught.value)
    assert errors[0].status == errors[1].status == status
    assert errors[0].grpc_code == errors[1].grpc_code
    assert errors[0].arrived == errors[1].arrived
    assert errors[0].request_id
    assert errors[1].request_id


@pytest.mark.parametrize("kind", ["drop", "lost_answer"])
def test_a_broken_submission_is_not_repeated(grpc: GrpcClient, at: Endpoints, emulator: Emulator, kind: str) -> None:
    emulator.fault("completionAsync", kind)
    with pytest.raises(ServiceUnavailable, match="may have been taken") as caught:
        grpc.send(completion.submit_completion(at, REQUEST))
    assert caught.value.arrived
    assert emulator.stats()["requests"]["completionAsync"] == 1


def test_a_target_that_can_t_be_reached_took_nothing(emulator: Emulator, at: Endpoints) -> None:
    unreachable = settings_of(emulator, grpc_target="127.0.0.1:1")
    with GrpcClient(unreachable) as client, pytest.raises(ServiceUnavailable, match="did not reach") as caught:
        client.send(completion.submit_completion(at, REQUEST), repeat=False)
    assert not caught.value.arrived


def test_a_service_account_key_is_exchanged_over_rest_and_used_over_grpc(emulator: Emulator, at: Endpoints) -> None:
    key = json.dumps(emulator.create_service_account_key())
    with GrpcClient(settings_of(emulator, None, service_account_json=key)) as client:
        client.send(completion.complete(at, REQUEST))
        emulator.advance(13 * 3600)
        client.send(completion.complete(at, REQUEST))
    assert emulator.stats()["tokens_issued"] == 2


def test_an_issuer_of_tokens_that_knows_no_key_is_no_service_that_knows_no_operation(
    emulator: Emulator, at: Endpoints
) -> None:
    key = json.dumps(emulator.create_service_account_key())
    emulator.fault("iam.tokens", "status", status=404)
    with (
        GrpcClient(settings_of(emulator, None, service_account_json=key)) as client,
        pytest.raises(AuthenticationError, match="Check the service-account key"),
    ):
        client.send(completion.get_operation(at, "d7q1"))


def test_the_connection_chooses_the_road(emulator: Emulator, connect: Callable[..., None]) -> None:
    extra = {"folder_id": FOLDER, "transport": "grpc", "grpc_target": emulator.grpc_target}
    connect(host=emulator.url, password=API_KEY, extra=extra)
    hook = YandexAIStudioHook()
    assert isinstance(hook.get_conn(), GrpcClient)
    works, message = hook.test_connection()
    assert works, message
    hook.get_conn().close()


class Unfit:
    """Stubs that were made for a runtime that is not there: protobuf then raises an error that is no ImportError."""

    def __init__(self, name: str) -> None:
        self._name = name

    def find_spec(self, name: str, *_: Any) -> None:
        if name == self._name:
            raise RuntimeError("Detected incompatible Protobuf Gencode/Runtime versions")


def test_channels_are_closed_with_their_client(emulator: Emulator, at: Endpoints) -> None:
    with GrpcClient(settings_of(emulator)) as client:
        client.send(completion.complete(at, REQUEST))
        (channel,) = client._channels.values()
    with pytest.raises(ValueError, match="closed"):
        channel.unary_unary("/any/method")(b"")


async def test_channels_are_closed_with_their_client_in_the_triggerer_too(emulator: Emulator, at: Endpoints) -> None:
    async with GrpcAsyncClient(settings_of(emulator)) as client:
        await client.send(completion.count_tokens(at, REQUEST))
        (channel,) = client._channels.values()
        assert channel.get_state() is ChannelConnectivity.READY
    assert channel.get_state() is ChannelConnectivity.SHUTDOWN


@pytest.mark.parametrize(
    ("missing", "unfit"),
    [
        ("grpc", False),
        ("yandex.cloud.operation.operation_service_pb2", False),
        ("yandex.cloud.operation.operation_service_pb2", True),
    ],
)
def test_without_the_extra_nothing_is_sent_and_no_intent_stays(
    emulator: Emulator, connect: Callable[..., None], monkeypatch: pytest.MonkeyPatch, missing: str, unfit: bool
) -> None:
    extra = {"folder_id": FOLDER, "transport": "grpc", "grpc_target": emulator.grpc_target}
    connect(host=emulator.url, password=API_KEY, extra=extra)
    monkeypatch.delitem(sys.modules, GrpcClient.__module__)
    if unfit:
        monkeypatch.delitem(sys.modules, missing)
        monkeypatch.setattr(sys, "meta_path", [Unfit(missing), *sys.meta_path])
    else:
        monkeypatch.setitem(sys.modules, missing, None)
    store = Store()
    with DAG("dag"):
        operator = YandexAIStudioCompletionOperator(task_id="generate", prompt="Ducks.")
    with pytest.raises(ConfigurationError, match=r"^Install the extra.*\[grpc\]"):
        operator.execute({"ti": TaskInstance(), "task_state_store": store})
    assert store.values == {}
    assert emulator.stats()["submissions"] == 0


async def test_all_waits_share_one_client_over_grpc(grpc: GrpcClient, at: Endpoints, emulator: Emulator) -> None:
    ids = [grpc.send(completion.submit_completion(at, REQUEST)).id for _ in range(3)]
    emulator.advance(3600)
    made: list[GrpcAsyncClient] = []

    async def connected() -> GrpcAsyncClient:
        made.append(GrpcAsyncClient(settings_of(emulator)))
        return made[-1]

    for operation_id in ids[1:]:
        news = [item async for item in poller.watch("grpc", Wait(operation_id, time.time() - 5), connected)]
        assert isinstance(news[-1], End)
        assert news[-1].operation is not None
        assert news[-1].operation.generation == grpc.send(completion.complete(at, REQUEST))
    assert len(made) == 2  # one after the other: the last one out closes it


def test_every_recorded_answer_means_the_same_over_both_roads(recordings: Path) -> None:
    for name, call in (("completion_run", completion.complete), ("completion_run_deferred", None)):
        for exchange in json.loads((recordings / f"{name}.json").read_text())["interactions"]:
            answers = exchange.get("response_stream") or [exchange["response"]]
            for answer in answers:
                data = answer["json"]
                read = (call(VENDOR, REQUEST) if call else completion.get_operation(VENDOR, "d7q1")).parse
                assert read(_as_grpc_gives_it(answer["message_type"], data)) == read(data)


def _as_grpc_gives_it(message_type: str, data: dict[str, Any]) -> Any:
    from google.protobuf.json_format import MessageToDict, ParseDict
    from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2
    from yandex.cloud.operation import operation_pb2

    module = operation_pb2 if message_type == "Operation" else text_generation_service_pb2
    return MessageToDict(ParseDict(data, getattr(module, message_type)()))
