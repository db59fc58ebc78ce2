"""
What goes over the wire, to the vendor's own hosts, on every road.

The tests reach these hosts as a company's network does: through a proxy, behind which stand servers of ours with
certificates for the vendor's names. The expectations are the vendor's documentation, not the client's constants.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from yandex.cloud.ai.foundation_models.v1 import text_common_pb2
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2
from yandex.cloud.operation import operation_pb2

from airflow_provider.yandex_ai_studio.api import completion, iam, responses
from airflow_provider.yandex_ai_studio.api.call import Call
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.response_request import ResponseRequest
from airflow_provider.yandex_ai_studio.client.credentials import ApiKey, Credential, IamToken, MetadataService
from airflow_provider.yandex_ai_studio.client.network import CA_VARIABLES
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError, ServiceUnavailable
from wire import ROADS, Asked, Authority, GrpcServer, Proxy, Reply, Server, running, send

VENDOR = Endpoints()
FOLDER = "b1gwire"
COMPLETION = CompletionRequest.of(model="yandexgpt", folder_id=FOLDER, prompt="Ducks.")
RESPONSE = ResponseRequest.of(model="yandexgpt", folder_id=FOLDER, prompt="Ducks.", background=True)

LLM, OPERATION, AI, IAM = (f"{name}.api.cloud.yandex.net" for name in ("llm", "operation", "ai", "iam"))
METADATA = "169.254.169.254"
NATIVE = "yandex.cloud.ai.foundation_models.v1"

Row = tuple[Call[Any], str, str, str]
REST: dict[str, Row] = {
    "submit": (completion.submit_completion(VENDOR, COMPLETION), "POST", LLM, "/foundationModels/v1/completionAsync"),
    "complete": (completion.complete(VENDOR, COMPLETION), "POST", LLM, "/foundationModels/v1/completion"),
    "count": (completion.count_tokens(VENDOR, COMPLETION), "POST", LLM, "/foundationModels/v1/tokenizeCompletion"),
    "get": (completion.get_operation(VENDOR, "d7q1"), "GET", OPERATION, "/operations/d7q1"),
    "cancel": (completion.cancel_operation(VENDOR, "d7q1", method="GET"), "GET", OPERATION, "/operations/d7q1:cancel"),
    "cancel by POST": (
        completion.cancel_operation(VENDOR, "d7q1", method="POST"), "POST", OPERATION, "/operations/d7q1:cancel",
    ),
    "respond": (responses.create_response(VENDOR, RESPONSE), "POST", AI, "/v1/responses"),
    "get response": (responses.get_response(VENDOR, "1e5e-2d"), "GET", AI, "/v1/responses/1e5e-2d"),
    "cancel response": (responses.cancel_response(VENDOR, "1e5e-2d"), "POST", AI, "/v1/responses/1e5e-2d/cancel"),
    "models": (responses.list_models(VENDOR), "GET", AI, "/v1/models"),
    "token": (iam.exchange_jwt(VENDOR, "a.j.wt", now=0), "POST", IAM, "/iam/v1/tokens"),
}  # fmt: skip
GRPC: dict[str, tuple[Call[Any], str, str]] = {
    "submit": (REST["submit"][0], LLM, f"/{NATIVE}.TextGenerationAsyncService/Completion"),
    "complete": (REST["complete"][0], LLM, f"/{NATIVE}.TextGenerationService/Completion"),
    "count": (REST["count"][0], LLM, f"/{NATIVE}.TokenizerService/TokenizeCompletion"),
    "get": (REST["get"][0], OPERATION, "/yandex.cloud.operation.OperationService/Get"),
    "cancel": (REST["cancel"][0], OPERATION, "/yandex.cloud.operation.OperationService/Cancel"),
}
OPENAI = {"respond", "get response", "cancel response", "models"}


def answer(asked: Asked) -> Reply:
    """Say yes to whatever is asked."""
    completed = {"alternatives": [{"message": {"role": "assistant", "text": "Quack."}, "status": "FINAL"}]}
    texts = {
        "completion": {"result": {**completed, "usage": {}}},
        "tokenizeCompletion": {"tokens": []},
        "models": {"data": [{"id": "gpt://b1g/yandexgpt"}]},
        "tokens": {"iamToken": "t1.x", "expiresAt": "2030-01-01T00:00:00Z"},
        "token": {"access_token": "t1.metadata", "expires_in": 3600, "token_type": "Bearer"},
    }
    return Reply(texts.get(asked.path.rpartition("/")[2], {"id": "d7q1", "status": "queued"}))


def grpc_answer(method: str, _: Any) -> bytes:
    message: Any = operation_pb2.Operation(id="d7q1")
    if method.endswith("TextGenerationService/Completion"):
        spoken = text_common_pb2.Alternative(message=text_common_pb2.Message(role="assistant", text="Quack."), status=3)
        message = text_generation_service_pb2.CompletionResponse(alternatives=[spoken])
    elif "Tokenizer" in method:
        message = text_generation_service_pb2.TokenizeResponse(tokens=[{"id": 1, "text": "Ducks"}])
    packed: bytes = message.SerializeToString()
    return packed


@dataclass
class Internet:
    """The vendor, as our proxy shows it."""

    proxy: Proxy
    rest: Server
    grpc: GrpcServer
    trusted: Authority

    def settings(self, road: str, credential: Credential | None = None, **fields: Any) -> Settings:
        self.proxy.to = self.grpc.address if "gRPC" in road else self.rest.address
        fields = {"ca_bundle": str(self.trusted.pem), "folder_id": FOLDER, "timeout": 5.0, **fields}
        return Settings(credential or ApiKey("AQVN1"), transport="grpc" if "gRPC" in road else "rest", **fields)

    def asked(self) -> Asked:
        (asked,) = [*self.rest.asked, *self.grpc.asked]
        return asked


@pytest.fixture
def internet(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Internet]:
    trusted = Authority(tmp_path)
    certificate = trusted.certificate(LLM, OPERATION, AI, IAM)
    internet = Internet(Proxy(), Server(answer, certificate), GrpcServer(grpc_answer), trusted)
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY", *CA_VARIABLES):
        monkeypatch.delenv(name, raising=False)
        monkeypatch.delenv(name.lower(), raising=False)
    monkeypatch.setenv("HTTPS_PROXY", internet.proxy.url)
    monkeypatch.setenv("HTTP_PROXY", internet.proxy.url)
    with ExitStack() as stack:
        stack.enter_context(running(internet.proxy, internet.rest))
        stack.enter_context(internet.grpc.running(certificate))
        yield internet


@pytest.mark.parametrize("name", REST)
@pytest.mark.parametrize("road", ROADS[:2])
def test_each_call_goes_to_the_vendor_s_host_and_path_over_tls(road: str, name: str, internet: Internet) -> None:
    call, method, host, path = REST[name]
    send(road, internet.settings(road, data_logging=False), call)
    asked = internet.asked()
    assert internet.proxy.tunnels == [f"{host}:443"]
    assert (asked.method, asked.headers["host"], asked.path) == (method, host, path)
    assert asked.sni == host
    expected = {"openai-project": FOLDER} if name in OPENAI else {}
    if name != "token":
        expected |= {"authorization": "Api-Key AQVN1", "x-data-logging-enabled": "false"}
    if method == "POST" and "cancel" not in name:
        expected |= {"content-type": "application/json"}
    ours = {"authorization", "openai-project", "x-data-logging-enabled", "x-folder-id", "content-type", "cookie"}
    assert {header: value for header, value in asked.headers.items() if header in ours} == expected


@pytest.mark.parametrize(
    ("road", "name"),
    [(road, name) for road in ROADS[2:] for name in GRPC if (road, name) != ("triggerer over gRPC", "complete")],
)
def test_each_call_over_grpc_goes_to_the_vendor_s_host_over_tls(road: str, name: str, internet: Internet) -> None:
    call, host, method = GRPC[name]
    send(road, internet.settings(road, IamToken("t1.x"), data_logging=False), call)
    asked = internet.asked()
    assert internet.proxy.tunnels == [f"{host}:443"]
    assert asked.path == method
    ours = {"authorization", "x-data-logging-enabled", "x-folder-id", "openai-project"}
    assert {header: value for header, value in asked.headers.items() if header in ours} == {
        "authorization": "Bearer t1.x",
        "x-data-logging-enabled": "false",
        "x-folder-id": FOLDER,
    }


@pytest.mark.parametrize("trust", ["ca_bundle", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
@pytest.mark.parametrize("road", ROADS)
def test_each_road_trusts_what_it_is_told_to_trust(
    road: str, trust: str, internet: Internet, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    settings = internet.settings(road)
    if trust != "ca_bundle":
        monkeypatch.setenv(trust, str(internet.trusted.pem))
        settings = internet.settings(road, ca_bundle=None)
    else:
        monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(Authority(tmp_path, "Another CA").pem))
    send(road, settings, REST["get"][0])
    assert internet.asked()


@pytest.mark.parametrize("road", ROADS)
def test_no_road_trusts_anybody_else(road: str, internet: Internet, tmp_path: Path) -> None:
    for ca_bundle in (None, str(Authority(tmp_path, "Another CA").pem)):
        with pytest.raises(ServiceUnavailable, match="certificate of the host is not trusted") as caught:
            send(road, internet.settings(road, ca_bundle=ca_bundle), REST["submit"][0])
        assert not caught.value.arrived
    assert internet.rest.asked == []
    assert internet.grpc.asked == []


@pytest.mark.parametrize("road", ROADS)
def test_a_proxy_gets_its_login_and_nobody_else_does(
    road: str, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("HTTPS_PROXY")
    monkeypatch.setenv("https_proxy", internet.proxy.url.replace("//", "//user:p%40ss@"))
    send(road, internet.settings(road), REST["get"][0])
    (tunnel,) = internet.proxy.asked
    assert tunnel.headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"
    assert "proxy-authorization" not in internet.asked().headers


@pytest.mark.parametrize("road", ROADS[:2])
def test_a_plain_request_gives_the_proxy_its_login(
    road: str, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = Server(answer)
    monkeypatch.setenv("HTTP_PROXY", internet.proxy.url.replace("//", "//user:p%40ss@"))
    at = Endpoints.at("http://gateway.invalid")
    settings = internet.settings(road)
    internet.proxy.to = plain.address
    with running(plain):
        send(road, settings, completion.get_operation(at, "d7q1"))
    (asked,) = internet.proxy.asked
    assert (asked.method, asked.path) == ("GET", "http://gateway.invalid/operations/d7q1")
    assert asked.headers["proxy-authorization"] == "Basic dXNlcjpwQHNz"


@pytest.mark.parametrize("road", ROADS[2:])
def test_grpc_goes_not_past_a_proxy_that_it_can_t_use(
    road: str, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTPS_PROXY", internet.proxy.url.replace("http://", "https://"))
    with pytest.raises(ConfigurationError, match=r"^Set `transport` of the connection to rest"):
        send(road, internet.settings(road), REST["submit"][0])


@pytest.mark.parametrize("exempt", ["*", "yandex.net", ".cloud.yandex.net", "other.example, llm.api.cloud.yandex.net"])
@pytest.mark.parametrize("road", ROADS)
def test_no_proxy_exempts_a_host_on_every_road(
    road: str, exempt: str, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The direct way leads nowhere: names are not known here."""
    monkeypatch.setenv("NO_PROXY", exempt)
    look_up = socket.getaddrinfo

    def look_up_nothing_else(host: Any, *rest: Any, **named: Any) -> Any:
        if host == "127.0.0.1":
            return look_up(host, *rest, **named)
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", look_up_nothing_else)
    with pytest.raises(ServiceUnavailable):
        send(road, internet.settings(road, timeout=2.0), REST["submit"][0])
    assert internet.proxy.asked == []


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("road", ROADS[:2])
def test_a_redirect_is_not_followed(road: str, status: int, internet: Internet) -> None:
    internet.rest.reply = lambda _: Reply({}, status, {"Location": f"https://{AI}/elsewhere"})
    for name in ("submit", "get"):
        with pytest.raises(ServiceUnavailable, match=f"HTTP {status}"):
            send(road, internet.settings(road), REST[name][0])
    assert [asked.path for asked in internet.rest.asked] == [REST["submit"][3], REST["get"][3]]


@pytest.mark.parametrize("road", ROADS)
def test_the_metadata_service_is_asked_at_its_address_and_never_through_a_proxy(
    road: str, internet: Internet, monkeypatch: pytest.MonkeyPatch
) -> None:
    here = Server(answer)
    host, _, port = here.address.partition(":")
    connect, dialled = socket.socket.connect, []

    def connect_to(self: socket.socket, address: Any) -> None:
        if address[0] == METADATA:
            dialled.append(address)
            address = (host, int(port))
        connect(self, address)

    monkeypatch.setattr(socket.socket, "connect", connect_to)
    with running(here):
        send(road, internet.settings(road, MetadataService()), REST["get"][0])
    (asked,) = here.asked
    assert set(dialled) == {(METADATA, 80)}
    assert (asked.method, asked.headers["host"]) == ("GET", METADATA)
    assert asked.path == "/computeMetadata/v1/instance/service-accounts/default/token"
    assert asked.headers["metadata-flavor"] == "Google"
    assert "authorization" not in asked.headers
    assert internet.proxy.tunnels == [f"{OPERATION}:443"]
    assert internet.asked().headers["authorization"] == "Bearer t1.metadata"


@pytest.mark.parametrize("road", ROADS[2:])
def test_grpc_is_spoken_in_the_clear_only_where_the_base_url_is_plain(road: str, internet: Internet) -> None:
    at = Endpoints.at("https://gateway.invalid")
    settings = internet.settings(road, grpc_target=f"{LLM}:443")
    assert send(road, settings, completion.submit_completion(at, COMPLETION)).id == "d7q1"
    clear = Settings(ApiKey("k"), Endpoints.at("http://127.0.0.1"), transport="grpc", grpc_target=internet.grpc.address)
    with pytest.raises(ServiceUnavailable) as caught:
        send(road, clear, completion.submit_completion(clear.endpoints, COMPLETION))
    assert not caught.value.arrived


def test_a_stream_goes_the_same_way(internet: Internet) -> None:
    from airflow_provider.yandex_ai_studio.client.worker import Client

    with Client(internet.settings("worker", data_logging=False)) as client:
        (generation,) = client.stream(completion.stream_completion(VENDOR, COMPLETION))
    asked = internet.asked()
    assert generation.text == "Quack."
    assert (asked.headers["host"], asked.path) == (LLM, "/foundationModels/v1/completion")
    assert asked.headers["x-data-logging-enabled"] == "false"


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("road", ["worker", "triggerer"])
def test_a_cookie_that_a_gateway_sets_is_not_kept(road: str, host: str) -> None:
    """It would tie the requests of many tasks to one another, on one road and not on the other."""
    get = REST["get"][0]
    with running(server := Server(lambda asked: Reply({"id": "d7q1"}, headers={"Set-Cookie": "session=1; Path=/"}))):
        call = replace(get, url=f"http://{host}:{server.server_address[1]}/operations/d7q1")
        send(road, Settings(ApiKey("AQVN1"), folder_id=FOLDER), call, call)
    assert ["cookie" in asked.headers for asked in server.asked] == [False, False]
