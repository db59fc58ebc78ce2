"""What goes over gRPC and what comes back, in the words of REST: by value, and against a server that says anything."""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import Any

import grpc
import pytest
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2 as generation
from yandex.cloud.operation import operation_pb2

from airflow_provider.yandex_ai_studio.api import completion
from airflow_provider.yandex_ai_studio.api.call import Answer
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.client import grpc as sender
from airflow_provider.yandex_ai_studio.client.body import MAX_BODY, TooLong
from airflow_provider.yandex_ai_studio.client.causes import CHECK_HOST, CHECK_PLAIN, CHECK_PROXY
from airflow_provider.yandex_ai_studio.client.credentials import ApiKey, MetadataService, TokenCache
from airflow_provider.yandex_ai_studio.client.grpc import GrpcClient, _bad, _good, _last, _message, _metadata, _options
from airflow_provider.yandex_ai_studio.client.network import Network
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    BadRequest,
    ConfigurationError,
    RateLimited,
    ServiceUnavailable,
)
from wire import Asked, GrpcServer, Reply, Server, running, send

ROADS = ["worker over gRPC", "triggerer over gRPC"]
HERE = Endpoints.at("http://127.0.0.1")
REQUEST = CompletionRequest.of(model="yandexgpt", folder_id="b1g", prompt="Ducks.")
SUBMIT = completion.submit_completion(HERE, REQUEST)
COMPLETE = completion.complete(HERE, REQUEST)
TOKENS = TokenCache(ApiKey("AQVN1"), HERE)
Code = grpc.StatusCode


class Said:
    """An error of grpc."""

    def __init__(
        self, code: grpc.StatusCode, details: str | None = None, trailing: Any = None, initial: Any = None
    ) -> None:
        self._said = code, details, trailing, initial

    def code(self) -> grpc.StatusCode:
        return self._said[0]

    def details(self) -> str | None:
        return self._said[1]

    def trailing_metadata(self) -> Any:
        return self._said[2]

    def initial_metadata(self) -> Any:
        return self._said[3]


@pytest.mark.parametrize(
    ("said", "status", "body", "headers"),
    [
        (Said(Code.NOT_FOUND, "gone"), 404, {"code": 5, "message": "gone"}, {}),
        (Said(Code.INTERNAL), 500, {"code": 13, "message": ""}, {}),
        (Said(Code.RESOURCE_EXHAUSTED, "quota"), 429, {"code": 8, "message": "quota"}, {}),
        (Said(Code.INTERNAL, "larger than max"), 500, {"code": 13, "message": "larger than max"}, {}),
        (
            Said(Code.RESOURCE_EXHAUSTED, "larger than max", [("X-Request-Id", "a1")]),
            429,
            {"code": 8, "message": "larger than max"},
            {"x-request-id": "a1"},
        ),
        (
            Said(Code.UNAVAILABLE, "down", [("x-request-id", "a1"), ("more", 5)]),
            503,
            {"code": 14, "message": "down"},
            {"x-request-id": "a1", "more": "5"},
        ),
        (
            Said(Code.UNAVAILABLE, "down", [("more", 5)], [("x-request-id", "a1")]),
            503,
            {"code": 14, "message": "down"},
            {"x-request-id": "a1", "more": "5"},
        ),
    ],
    ids=lambda value: value.code().name if isinstance(value, Said) else "",
)
def test_what_the_service_refuses_over_grpc_reads_as_over_rest(
    said: Said, status: int, body: Any, headers: Any
) -> None:
    answer = _bad(SUBMIT, said, TOKENS, proxied=False)
    assert (answer.status, json.loads(answer.body), answer.headers) == (status, body, headers)


def test_a_message_that_is_too_long_for_grpc_is_too_long() -> None:
    with pytest.raises(TooLong):
        _bad(SUBMIT, Said(Code.RESOURCE_EXHAUSTED, "Received message larger than max (5 vs. 4)"), TOKENS, proxied=False)


NEVER_CONNECTED = "failed to connect to all addresses; last error: Connection refused"


@pytest.mark.parametrize(
    ("code", "details", "proxied", "cause", "advice", "arrived", "lasting"),
    [
        (Code.UNAVAILABLE, NEVER_CONNECTED, False, ": connection refused", CHECK_HOST, False, False),
        (Code.UNAVAILABLE, NEVER_CONNECTED, True, "proxy can't be reached", CHECK_PROXY, False, False),
        (Code.UNAVAILABLE, "Trying to connect an http1.x server", False, "not speak gRPC", CHECK_PLAIN, True, True),
        (Code.UNKNOWN, "Socket closed", False, r"broke on the way \(Socket closed\)", "Could not", True, False),
        (Code.DEADLINE_EXCEEDED, "", False, "did not answer in time", "Could not", True, False),
    ],
)
def test_what_grpc_says_itself_is_no_answer_of_the_service(
    code: grpc.StatusCode, details: str, proxied: bool, cause: str, advice: str, arrived: bool, lasting: bool
) -> None:
    error: Any = type("Error", (Said, Exception), {})(code, details)
    with pytest.raises(ServiceUnavailable, match=cause) as caught:
        _bad(SUBMIT, error, TOKENS, proxied=proxied)
    assert "Could not submit the completion" in str(caught.value)
    assert str(caught.value).startswith(advice)
    assert (caught.value.arrived, caught.value.lasting) == (arrived, lasting)
    assert caught.value.__suppress_context__


def test_a_message_is_the_json_of_an_answer_without_what_nobody_reads() -> None:
    assert _good(generation.TokenizeResponse(model_version="Утка")) == Answer(
        200, '{"modelVersion": "Утка"}'.encode(), {}
    )
    operation = operation_pb2.Operation(id="d7q1")
    operation.metadata.type_url = "type.googleapis.com/nobody.knows.This"
    assert _good(operation) == Answer(200, b'{"id": "d7q1"}', {})
    operation.error.message = "boom"
    operation.error.details.add().type_url = "type.googleapis.com/nobody.knows.This"
    assert _good(operation) == Answer(200, b'{"id": "d7q1", "error": {"message": "boom"}}', {})


def test_a_message_that_can_t_be_unpacked_is_an_answer_that_says_no_more_than_its_kind() -> None:
    operation = operation_pb2.Operation(id="d7q1")
    operation.response.type_url = "type.googleapis.com/nobody.knows.This"
    kind = {"content-type": "application/grpc, yandex.cloud.operation.Operation"}
    assert _good(operation) == Answer(200, b"", kind)


def test_metadata_are_the_headers_that_mean_something_over_grpc() -> None:
    http_only = {"Accept": "a", "Accept-Encoding": "b", "Content-Type": "c"}
    assert _metadata({**http_only, "Authorization": "Api-Key k", "x-folder-id": "b1g"}) == (
        ("authorization", "Api-Key k"),
        ("x-folder-id", "b1g"),
    )


def test_of_a_stream_the_last_message_is_the_answer() -> None:
    assert _last(iter([1, 2, 3])) == 3
    assert _last(iter([])) is None


def test_a_request_that_no_proto_takes_is_told_by_its_kind_and_was_not_sent() -> None:
    assert SUBMIT.rpc is not None
    with pytest.raises(BadRequest, match=r"can't be written as protobuf \(ParseError\)") as caught:
        _message(SUBMIT, replace(SUBMIT.rpc, message={"modelUri": 5}))
    assert "Could not submit the completion" in str(caught.value)
    assert not caught.value.arrived


@pytest.mark.parametrize("road", ROADS)
def test_a_call_that_no_proto_takes_is_not_sent(road: str) -> None:
    assert SUBMIT.rpc is not None
    wrong = replace(SUBMIT, rpc=replace(SUBMIT.rpc, message={"modelUri": 5}))
    with pytest.raises(BadRequest, match=r"Could not submit the completion: .*protobuf"):
        send(road, settings_of("127.0.0.1:1"), wrong)


@pytest.mark.parametrize("road", ROADS)
def test_whatever_a_library_raises_was_in_the_middle_of_this_call(road: str, monkeypatch: pytest.MonkeyPatch) -> None:
    class Breaking:
        def future(self, *_: Any, **__: Any) -> Any:
            return self

        def result(self) -> Any:
            raise RuntimeError("a library")

        async def __call__(self, *_: Any, **__: Any) -> Any:
            raise RuntimeError("a library")

    monkeypatch.setattr(sender, "_multicallable", lambda *_: Breaking())
    with pytest.raises(ServiceUnavailable, match=r"Could not submit the completion: .*RuntimeError") as caught:
        send(road, settings_of("127.0.0.1:1"), SUBMIT)
    assert caught.value.arrived


BOUNDS = [("grpc.max_receive_message_length", MAX_BODY), ("grpc.min_reconnect_backoff_ms", 10_000)]


@pytest.mark.parametrize(
    ("secure", "environ", "options"),
    [
        (True, {}, [("grpc.enable_http_proxy", 0)]),
        (True, {"HTTP_PROXY": "http://p:1"}, [("grpc.enable_http_proxy", 0)]),
        (False, {"HTTPS_PROXY": "http://p:1"}, [("grpc.enable_http_proxy", 0)]),
        (
            True,
            {"HTTPS_PROXY": "http://u:w@p:1"},
            [("grpc.enable_http_proxy", 1), ("grpc.http_proxy", "http://u:w@p:1")],
        ),
        (False, {"HTTP_PROXY": "http://p:1"}, [("grpc.enable_http_proxy", 1), ("grpc.http_proxy", "http://p:1")]),
    ],
)
def test_a_channel_keeps_the_bounds_and_goes_the_way_of_rest(secure: bool, environ: Any, options: Any) -> None:
    assert _options(Network(None, environ), "llm.invalid:443", secure) == [*BOUNDS, *options]


def test_a_proxy_that_wants_tls_is_one_that_grpc_can_t_use() -> None:
    with pytest.raises(ConfigurationError, match="Set `transport` of the connection to rest"):
        _options(Network(None, {"HTTPS_PROXY": "https://p:1"}), "llm.invalid:443", True)


def settings_of(target: str, **fields: Any) -> Settings:
    given = {"credential": ApiKey("AQVN1"), "endpoints": HERE, "conn_id": "studio", **fields}
    return Settings(transport="grpc", grpc_target=target, **given)


@pytest.mark.parametrize("road", ROADS)
def test_an_answer_may_be_as_long_as_over_rest(road: str) -> None:
    long = operation_pb2.Operation(id="d7q1", description=" " * 5 * 2**20).SerializeToString()
    with GrpcServer(lambda *_: long).running() as server:
        assert send(road, settings_of(server.address), SUBMIT).id == "d7q1"


@pytest.mark.parametrize("road", ROADS)
def test_an_answer_over_grpc_is_waited_for_as_long_as_the_connection_says(road: str) -> None:
    def slow(*_: Any) -> bytes:
        time.sleep(0.8)
        return operation_pb2.Operation(id="d7q1").SerializeToString()

    with GrpcServer(slow).running() as server, pytest.raises(ServiceUnavailable, match="in time") as caught:
        send(road, settings_of(server.address, timeout=0.3), SUBMIT)
    assert caught.value.arrived


def test_a_stream_of_nothing_is_no_answer() -> None:
    with GrpcServer(lambda *_: []).running() as server:
        with pytest.raises(ServiceUnavailable, match=r"HTTP 200 .*\(no content type, 0 bytes\)"):
            send(ROADS[0], settings_of(server.address), COMPLETE)
        with GrpcClient(settings_of(server.address)) as client:
            assert list(client.stream(completion.stream_completion(HERE, REQUEST))) == []


def test_a_call_over_grpc_is_repeated_after_the_pause_of_a_worker() -> None:
    def refuse_once(_: str, context: grpc.ServicerContext) -> bytes:
        if len(server.asked) == 1:
            context.abort(Code.RESOURCE_EXHAUSTED, "quota")
        return operation_pb2.Operation(id="d7q1").SerializeToString()

    slept: list[float] = []
    with (
        GrpcServer(refuse_once).running() as server,
        GrpcClient(settings_of(server.address), sleep=slept.append) as client,
    ):
        assert client.send(SUBMIT).id == "d7q1"
    (pause,) = slept
    assert 0.5 <= pause <= 1.0


def test_a_stream_over_grpc_that_is_refused_shows_no_secret() -> None:
    def refuse(_: str, context: grpc.ServicerContext) -> Any:
        context.abort(Code.RESOURCE_EXHAUSTED, "AQVN1 may not")

    with GrpcServer(refuse).running() as server, GrpcClient(settings_of(server.address)) as client:
        stream = client.stream(completion.stream_completion(HERE, REQUEST))
        with pytest.raises(RateLimited, match=r"\*\*\* may not"):
            next(stream)


@pytest.mark.usefixtures("settled")
def test_a_stream_whose_token_was_refused_may_be_one_of_nothing() -> None:
    def answer(_: str, context: grpc.ServicerContext) -> Any:
        if dict(context.invocation_metadata())["authorization"] == "Bearer t1.x":
            context.abort(Code.UNAUTHENTICATED, "no")
        return []

    rest = Server(lambda _: Reply({"access_token": f"t{len(rest.asked)}.x", "expires_in": 3600}))
    with running(rest), GrpcServer(answer).running() as server:
        fields = {"credential": MetadataService(), "endpoints": Endpoints.at(f"http://{rest.address}")}
        with GrpcClient(settings_of(server.address, **fields)) as client:
            assert list(client.stream(completion.stream_completion(HERE, REQUEST))) == []
        assert len(server.asked) == 2


def test_a_stream_that_has_no_grpc_goes_over_rest() -> None:
    completed = {"alternatives": [{"message": {"role": "assistant", "text": "Quack."}}]}
    with running(rest := Server(lambda _: Reply({"result": completed}))):
        at = Endpoints.at(f"http://{rest.address}")
        with GrpcClient(settings_of("127.0.0.1:1", endpoints=at)) as client:
            (told,) = client.stream(replace(completion.stream_completion(at, REQUEST), rpc=None))
    assert told.text == "Quack."


@pytest.mark.parametrize("road", ROADS)
def test_a_call_that_has_no_grpc_goes_over_rest_with_the_credential(road: str) -> None:
    with running(rest := Server(lambda _: Reply({"id": "d7q1"}))):
        at = Endpoints.at(f"http://{rest.address}")
        call = replace(completion.get_operation(at, "d7q1"), rpc=None)
        assert send(road, settings_of("127.0.0.1:1", endpoints=at), call).id == "d7q1"
    assert [asked.headers["authorization"] for asked in rest.asked] == ["Api-Key AQVN1"]


@pytest.mark.usefixtures("settled")
@pytest.mark.parametrize("road", ROADS)
def test_a_token_that_is_refused_over_grpc_is_renewed_over_rest(road: str) -> None:
    def tokens(_: Asked) -> Reply:
        return Reply({"access_token": f"t{len(rest.asked)}.x", "expires_in": 3600})

    def answer(_: str, context: grpc.ServicerContext) -> bytes:
        if dict(context.invocation_metadata())["authorization"] == "Bearer t1.x":
            context.abort(Code.UNAUTHENTICATED, "no")
        return operation_pb2.Operation(id="d7q1").SerializeToString()

    rest = Server(tokens)
    with running(rest), GrpcServer(answer).running() as server:
        fields = {"credential": MetadataService(), "endpoints": Endpoints.at(f"http://{rest.address}")}
        assert send(road, settings_of(server.address, **fields), SUBMIT).id == "d7q1"
        assert [asked.headers["authorization"] for asked in server.asked] == ["Bearer t1.x", "Bearer t2.x"]
        server.reply = lambda _, context: context.abort(Code.UNAUTHENTICATED, "no")
        with pytest.raises(AuthenticationError):
            send(road, settings_of(server.address, **fields), SUBMIT)


@pytest.mark.parametrize("road", ROADS)
def test_grpc_tells_nobody_there_from_a_proxy_that_is_not_there(road: str, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTPS_PROXY", "https_proxy", "NO_PROXY", "no_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(ServiceUnavailable, match=r"Could not submit.*: connection refused") as caught:
        send(road, settings_of("127.0.0.1:1"), SUBMIT)
    assert not caught.value.arrived
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    at = Endpoints.at("https://llm.invalid")
    with pytest.raises(ServiceUnavailable, match="the proxy can't be reached: connection refused") as behind:
        send(road, settings_of("llm.invalid:443", endpoints=at), completion.submit_completion(at, REQUEST))
    assert not behind.value.arrived
