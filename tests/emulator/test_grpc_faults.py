"""Faults over gRPC: what a client sees of each kind, and what the service has done all the same."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2 as generation
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2_grpc as generation_grpc

from airflow_provider.yandex_ai_studio.emulator import Emulator

MODEL = "gpt://b1gtestfolder/yandexgpt"
CODES = {
    308: "UNKNOWN",
    400: "INVALID_ARGUMENT",
    401: "UNAUTHENTICATED",
    403: "PERMISSION_DENIED",
    404: "NOT_FOUND",
    409: "ABORTED",
    418: "UNKNOWN",
    429: "RESOURCE_EXHAUSTED",
    499: "CANCELLED",
    500: "INTERNAL",
    501: "UNIMPLEMENTED",
    502: "UNAVAILABLE",
    503: "UNAVAILABLE",
    504: "DEADLINE_EXCEEDED",
}
SHAPES: list[tuple[object, str, str]] = [
    ({"code": 8, "message": "slow down"}, "RESOURCE_EXHAUSTED", "slow down"),
    ({"error": "slow down", "code": 8, "message": "slow down", "details": []}, "RESOURCE_EXHAUSTED", "slow down"),
    ({"code": 6, "message": "there is one"}, "ALREADY_EXISTS", "there is one"),
    ({"code": 9, "message": "not now"}, "FAILED_PRECONDITION", "not now"),
    ({"code": 11, "message": "too far"}, "OUT_OF_RANGE", "too far"),
    ({"error": {"grpcCode": 7, "httpCode": 403, "message": "no role"}}, "PERMISSION_DENIED", "no role"),
    ({"error": {"message": "too many", "type": "server_error"}}, "UNAVAILABLE", "too many"),
    ({"code": "model_call_error"}, "UNAVAILABLE", "Service Unavailable"),
    ({"code": 0, "message": "fine"}, "UNAVAILABLE", "fine"),
    ({"code": 99}, "UNAVAILABLE", "Service Unavailable"),
    (["?"], "UNAVAILABLE", "Service Unavailable"),
    ("<html>", "UNAVAILABLE", "Service Unavailable"),
]


def refusal(call: Callable[[], Any]) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def ids(error: Any) -> set[str]:
    return {item.key for item in error.trailing_metadata() or ()} & {"x-request-id", "x-server-trace-id"}


@pytest.mark.parametrize(("status", "code"), CODES.items())
def test_a_status_becomes_its_code(grpc_emulator: Emulator, rpc: Any, status: int, code: str) -> None:
    for route, call in (
        ("completion", rpc.complete),
        ("completionAsync", rpc.submit),
        ("operations.get", lambda: rpc.operation("d7q")),
    ):
        grpc_emulator.fault(route, "status", status=status)
        error = refusal(call)
        assert error.code().name == code
        assert ids(error) == {"x-request-id", "x-server-trace-id"}
        assert grpc_emulator.stats()["responses"][route] == {str(status): 1}


@pytest.mark.parametrize(("body", "code", "message"), SHAPES)
def test_a_status_says_what_its_body_says(
    grpc_emulator: Emulator, rpc: Any, body: object, code: str, message: str
) -> None:
    grpc_emulator.fault("completionAsync", "status", status=503, body=body)
    error = refusal(rpc.submit)
    assert (error.code().name, error.details()) == (code, message)


def test_the_headers_of_a_fault_are_trailing_metadata(grpc_emulator: Emulator, rpc: Any) -> None:
    grpc_emulator.fault("completionAsync", "status", status=429, headers={"Retry-After": "7"})
    assert {item.key: item.value for item in refusal(rpc.submit).trailing_metadata()}["retry-after"] == "7"


@pytest.mark.parametrize(("kind", "submissions"), [("drop", 0), ("lost_answer", 1)])
def test_a_broken_connection_is_unavailable_and_anonymous(
    grpc_emulator: Emulator, rpc: Any, kind: str, submissions: int
) -> None:
    grpc_emulator.fault("completionAsync", kind)
    error = refusal(rpc.submit)
    assert (error.code().name, error.details(), ids(error)) == ("UNAVAILABLE", "Socket closed", set())
    stats = grpc_emulator.stats()
    assert (stats["submissions"], stats["responses"]["completionAsync"]) == (submissions, {"dropped": 1})


@pytest.mark.parametrize("members", [{}, {"body": '{"id": "d7'}, {"body": {"ID": "d7q"}}, {"body": [1]}])
@pytest.mark.parametrize("route", ["completion", "completionAsync"])
def test_garbage_is_an_unknown_error(grpc_emulator: Emulator, rpc: Any, route: str, members: Any) -> None:
    grpc_emulator.fault(route, "garbage", **members)
    call = rpc.complete if route == "completion" else rpc.submit
    assert refusal(call).code().name == "UNKNOWN"
    assert call()


def test_a_delayed_answer_is_the_usual_one(grpc_emulator: Emulator, rpc: Any) -> None:
    grpc_emulator.fault("completion", "delay", seconds=0.1)
    start = time.monotonic()
    assert rpc.complete()
    assert time.monotonic() - start >= 0.1


def test_a_client_that_does_not_wait_for_the_answer_has_submitted_all_the_same(
    grpc_emulator: Emulator, rpc: Any
) -> None:
    assert rpc.tokenize("x")  # the channel stands, so the call below does arrive
    grpc_emulator.fault("completionAsync", "delay", seconds=0.6)
    stub = generation_grpc.TextGenerationAsyncServiceStub(rpc.channel)
    request = generation.CompletionRequest(model_uri=MODEL, messages=[{"role": "user", "text": "x"}])
    error = refusal(lambda: rpc.call(stub.Completion, request, timeout=0.3))
    assert error.code().name == "DEADLINE_EXCEEDED"
    patience = time.monotonic() + 5
    while not grpc_emulator.stats()["submissions"] and time.monotonic() < patience:
        time.sleep(0.05)
    assert grpc_emulator.stats()["submissions"] == 1


def test_an_operation_ends_as_told(grpc_emulator: Emulator, rpc: Any) -> None:
    grpc_emulator.fault("completionAsync", "operation_error", code=3, message="the text is unethical")
    grpc_emulator.fault("completionAsync", "operation_empty")
    grpc_emulator.fault("completionAsync", "early_error", message="doomed")
    failing, empty, doomed = (rpc.submit().id for _ in range(3))
    early = rpc.operation(doomed)
    assert (early.done, early.error.code, early.error.message) == (False, 13, "doomed")
    grpc_emulator.advance(60)
    failed = rpc.operation(failing)
    assert (failed.done, failed.error.code, failed.error.message) == (True, 3, "the text is unethical")
    assert (rpc.operation(empty).done, rpc.operation(empty).WhichOneof("result")) == (True, None)


def test_a_fault_waits_for_its_operation_and_its_text(grpc_emulator: Emulator, rpc: Any, make_body: Any) -> None:
    other, wanted = rpc.submit().id, rpc.submit().id
    grpc_emulator.fault("operations.get", "status", status=503, operation_id=wanted)
    grpc_emulator.fault("completion", "status", status=503, match="яд")
    assert rpc.operation(other)
    assert refusal(lambda: rpc.operation(wanted)).code().name == "UNAVAILABLE"
    assert rpc.complete()
    assert refusal(lambda: rpc.completion(make_body("здесь яд"))).code().name == "UNAVAILABLE"


def test_a_failed_operation_has_details_of_types_that_nobody_has_registered(grpc_emulator: Emulator, rpc: Any) -> None:
    info = {"@type": "type.googleapis.com/google.rpc.RequestInfo", "requestId": "r-1"}
    alien = {"@type": "type.googleapis.com/yandex.cloud.unheard.Of", "severity": 3}
    grpc_emulator.fault("operations.get", "operation_error", details=[info, alien])
    first, second = rpc.operation(rpc.submit().id).error.details
    assert (first.type_url, first.value) == (info["@type"], b"\x0a\x03r-1")
    assert (second.type_url, b"severity" in second.value) == (alien["@type"], True)


def test_serving_grpc_registers_no_type_that_a_client_would_have_to_know() -> None:
    code = (
        "import sys; import airflow_provider.yandex_ai_studio.emulator.rpc.server;"
        "sys.exit('google.rpc.error_details_pb2' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_an_operation_ends_with_another_answer(grpc_emulator: Emulator, rpc: Any) -> None:
    filtered = [{"message": {"role": "assistant"}, "status": "ALTERNATIVE_STATUS_CONTENT_FILTER"}]
    grpc_emulator.fault("operations.get", "operation_answer", body={"alternatives": filtered})
    operation = rpc.operation(rpc.submit().id)
    response = generation.CompletionResponse()
    assert operation.done
    assert operation.response.Unpack(response)
    assert (response.alternatives[0].status, response.alternatives[0].message.text) == (4, "")
    assert response.model_version == "emulator"


def test_a_foreign_answer_has_a_field_that_no_message_has(grpc_emulator: Emulator, rpc: Any) -> None:
    grpc_emulator.fault("operations.get", "foreign")
    operation_id = rpc.submit().id
    foreign, usual = rpc.operation(operation_id), rpc.operation(operation_id)
    assert foreign.SerializeToString() == usual.SerializeToString() + b"\xc0\xa9\x07\x01"


def test_what_hangs_is_answered_when_the_fault_ends(grpc_emulator: Emulator, rpc: Any) -> None:
    grpc_emulator.fault("completionAsync", "hang", seconds=60)
    with ThreadPoolExecutor(1) as threads:
        submitted = threads.submit(rpc.submit)
        patience = time.monotonic() + 5
        while not grpc_emulator.stats()["submissions"] and time.monotonic() < patience:
            time.sleep(0.01)
        assert not submitted.done()
        grpc_emulator.end_faults()
        assert submitted.result(5).id == grpc_emulator.operations()[0]["id"]


def test_an_answer_that_trickles_is_late_and_a_compressed_one_is_the_usual(grpc_emulator: Emulator, rpc: Any) -> None:
    operation_id = rpc.submit().id
    grpc_emulator.fault("operations.get", "trickle", seconds=0.2)
    grpc_emulator.fault("operations.get", "gzip", size=1_000_000)
    start = time.monotonic()
    assert rpc.operation(operation_id).id == operation_id
    assert time.monotonic() - start >= 0.2
    assert rpc.operation(operation_id).id == operation_id
