"""What comes back over gRPC means what it means over REST, whoever says it and however it is packed."""

from __future__ import annotations

import json
import subprocess
import sys
import textwrap
from typing import Any

import grpc
import pytest
from yandex.cloud.operation import operation_pb2

from airflow_provider.yandex_ai_studio.api import completion, operations, responses
from airflow_provider.yandex_ai_studio.api.call import answer_of_grpc, result_of
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.models import Api
from airflow_provider.yandex_ai_studio.api.response_request import ResponseRequest
from airflow_provider.yandex_ai_studio.client.body import MAX_BODY
from airflow_provider.yandex_ai_studio.client.credentials import ApiKey
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import RequestError, ServiceUnavailable
from wire import GrpcServer, send

ROADS = ["worker over gRPC", "triggerer over gRPC"]
HERE = Endpoints.at("http://127.0.0.1")
SUBMIT = completion.submit_completion(HERE, CompletionRequest.of(model="yandexgpt", folder_id="b1g", prompt="Ducks."))
CODES = [code for code in grpc.StatusCode if code is not grpc.StatusCode.OK]


def settings_of(server: GrpcServer, **fields: Any) -> Settings:
    return Settings(ApiKey("AQVN1"), HERE, transport="grpc", grpc_target=server.address, **fields)


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
@pytest.mark.parametrize("road", ROADS)
def test_the_service_s_own_code_means_what_its_status_means(road: str, code: grpc.StatusCode) -> None:
    def refuse(_: str, context: grpc.ServicerContext) -> Any:
        context.set_trailing_metadata([("x-request-id", "a1b2")])
        context.abort(code, "no")

    with GrpcServer(refuse).running() as server, pytest.raises(RequestError) as caught:
        send(road, settings_of(server), SUBMIT)
    with pytest.raises(RequestError) as same:
        result_of(SUBMIT, answer_of_grpc(code.value[0], "no", {"x-request-id": "a1b2"}))
    assert vars(caught.value) == vars(same.value)
    assert (type(caught.value), str(caught.value)) == (type(same.value), str(same.value))


@pytest.mark.parametrize(
    ("code", "arrived"),
    [
        *[(code, True) for code in ("CANCELLED", "UNKNOWN", "DEADLINE_EXCEEDED", "INTERNAL", "UNAVAILABLE")],
        *[(code, False) for code in ("ALREADY_EXISTS", "FAILED_PRECONDITION", "UNIMPLEMENTED", "RESOURCE_EXHAUSTED")],
    ],
)
@pytest.mark.parametrize("road", ROADS)
def test_a_code_without_the_service_s_id_is_no_refusal_where_grpc_itself_may_have_said_it(
    road: str, code: str, arrived: bool
) -> None:
    served = GrpcServer(lambda _, context: context.abort(grpc.StatusCode[code], "no"))
    with served.running() as server, pytest.raises(RequestError) as caught:
        send(road, settings_of(server), SUBMIT)
    assert caught.value.arrived is arrived


@pytest.mark.parametrize("road", ROADS)
def test_the_service_s_id_is_known_where_it_comes_first(road: str) -> None:
    def refuse(_: str, context: grpc.ServicerContext) -> Any:
        context.send_initial_metadata([("x-request-id", "a1b2")])
        context.abort(grpc.StatusCode.UNAVAILABLE, "down")

    with GrpcServer(refuse).running() as server, pytest.raises(ServiceUnavailable) as caught:
        send(road, settings_of(server), SUBMIT)
    assert (caught.value.arrived, caught.value.request_id) == (False, "a1b2")


def shown_of(error: BaseException | None) -> list[str]:
    """Return what Airflow's log shows of an error: it, and those behind it."""
    if error is None:
        return []
    behind = error.__cause__ or (None if error.__suppress_context__ else error.__context__)
    return [repr(error), str(error), *shown_of(behind)]


@pytest.mark.parametrize("code", CODES, ids=lambda code: code.name)
@pytest.mark.parametrize("road", ROADS)
def test_a_secret_in_the_details_of_a_code_without_an_id_is_shown_nowhere(road: str, code: grpc.StatusCode) -> None:
    served = GrpcServer(lambda _, context: context.abort(code, "Unknown api key 'AQVN1'"))
    with served.running() as server, pytest.raises(RequestError) as caught:
        send(road, settings_of(server), SUBMIT)
    shown = " ".join(shown_of(caught.value))
    assert "AQVN1" not in shown
    assert ("***" in shown) is (code is not grpc.StatusCode.DEADLINE_EXCEEDED)


@pytest.mark.parametrize("status", [400, 401, 403, 429, 500, 503, 504])
@pytest.mark.parametrize("road", ["worker", "triggerer", *ROADS])
def test_a_credential_that_the_other_end_repeats_is_shown_on_no_road(road: str, status: int) -> None:
    with Emulator(api_key="AQVNcanary", folder_id="b1g", grpc=True) as emulator:
        emulator.fault("completionAsync", "echo", status=status)
        at = Endpoints.at(emulator.url)
        settings = Settings(ApiKey("AQVNcanary"), at, transport="grpc", grpc_target=emulator.grpc_target)
        submit = completion.submit_completion(
            at, CompletionRequest.of(model="yandexgpt", folder_id="b1g", prompt="Ducks.")
        )
        with pytest.raises(RequestError) as caught:
            send(road, settings, submit)
        (echo,) = emulator.faults()
    assert echo["hits"]
    assert "canary" not in " ".join(shown_of(caught.value))


@pytest.mark.parametrize(
    ("kind", "api"),
    [("operation_error", "completion"), ("early_error", "completion"), ("operation_error", "responses")],
)
@pytest.mark.parametrize("road", ["worker", "triggerer", *ROADS])
def test_a_credential_in_the_error_of_an_operation_is_read_on_no_road(road: str, kind: str, api: Api) -> None:
    with Emulator(api_key="AQVNcanary", folder_id="b1g", seconds=0, grpc=True) as emulator:
        route = "responses.create" if api == "responses" else "completionAsync"
        emulator.fault(route, kind, message="x" * 990 + "AQVNcanary", code=16)
        at = Endpoints.at(emulator.url)
        settings = Settings(
            ApiKey("AQVNcanary"), at, transport="grpc", grpc_target=emulator.grpc_target, folder_id="b1g"
        )
        asked = {"model": "yandexgpt", "folder_id": "b1g", "prompt": "Ducks."}
        if api == "responses":
            submit = responses.create_response(at, ResponseRequest.of(background=True, **asked))
        else:
            submit = completion.submit_completion(at, CompletionRequest.of(**asked))
        submitted = send(road, settings, submit)
        read = send(road, settings, operations.read(at, api, submitted.id))
    assert read.error is not None
    assert read.error.message.endswith("x***")
    assert "AQVN" not in repr(read) + repr(submitted)


@pytest.mark.parametrize("compression", [None, grpc.Compression.Gzip], ids=["plain", "gzip"])
@pytest.mark.parametrize("road", ROADS)
def test_an_answer_that_is_too_long_was_taken(road: str, compression: grpc.Compression | None) -> None:
    operation = operation_pb2.Operation(id="d7q1", description=" " * (MAX_BODY + 1)).SerializeToString()
    served = GrpcServer(lambda *_: operation, compression=compression)
    with served.running() as server, pytest.raises(ServiceUnavailable, match=r"longer.*may have been taken") as caught:
        send(road, settings_of(server), SUBMIT)
    assert caught.value.arrived


@pytest.mark.parametrize("road", ROADS)
def test_bytes_that_are_no_operation_were_an_answer(road: str) -> None:
    with GrpcServer(lambda *_: b"\xff\xff\xff").running() as server, pytest.raises(ServiceUnavailable) as caught:
        send(road, settings_of(server), SUBMIT)
    assert caught.value.arrived


ALONE = """
import json, sys
from google.protobuf.any_pb2 import Any
from yandex.cloud.operation import operation_pb2
from airflow_provider.yandex_ai_studio.api import completion, operations, responses
from airflow_provider.yandex_ai_studio.api.call import result_of
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.client import grpc

packed = Any(type_url="type.googleapis.com/" + sys.argv[1], value=bytes.fromhex(sys.argv[2]))
operation = operation_pb2.Operation(id="d7q1", done=True, metadata=packed)
operation.error.code, operation.error.message = 13, "boom"
operation.error.details.append(packed)
call = completion.get_operation(Endpoints(), "d7q1")
error = result_of(call, grpc._good(operation)).error
print(json.dumps([error.code, error.message, [name for name in sys.modules if "emulator" in name]]))
"""


@pytest.mark.parametrize(
    ("name", "value"),
    [("google.rpc.RequestInfo", "0a0161"), ("nobody.knows.This", "00"), ("yandex.cloud.operation.Operation", "ff")],
    ids=["known to others", "unknown", "broken"],
)
def test_a_failed_operation_is_read_whatever_its_details_are_packed_as(name: str, value: str) -> None:
    """In a process of its own: the emulator registers types that a worker does not know."""
    code = [sys.executable, "-c", textwrap.dedent(ALONE), name, value]
    told = subprocess.run(code, capture_output=True, text=True, check=True).stdout
    assert json.loads(told) == [13, "boom", []]


def test_an_answer_packed_as_anything_is_an_error_of_the_request() -> None:
    operation = operation_pb2.Operation(id="d7q1", done=True)
    operation.response.type_url, operation.response.value = "type.googleapis.com/nobody.knows.This", b"x"
    packed = operation.SerializeToString()
    with GrpcServer(lambda *_: packed).running() as server, pytest.raises(ServiceUnavailable, match="does not know"):
        send(ROADS[0], settings_of(server), completion.get_operation(HERE, "d7q1"))
