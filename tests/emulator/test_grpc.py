"""The gRPC front: it gives what the HTTP front gives, to clients that use the official stubs."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from typing import Any

import grpc
import jwt
import pytest
from google.protobuf.json_format import MessageToDict, ParseDict
from google.rpc.error_details_pb2 import RequestInfo
from google.rpc.status_pb2 import Status
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2 as generation
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2_grpc as generation_grpc
from yandex.cloud.endpoint import api_endpoint_service_pb2 as endpoints
from yandex.cloud.endpoint.api_endpoint_service_pb2_grpc import ApiEndpointServiceStub
from yandex.cloud.iam.v1 import iam_token_service_pb2 as iam
from yandex.cloud.iam.v1.iam_token_service_pb2_grpc import IamTokenServiceStub
from yandex.cloud.operation.operation_pb2 import Operation

from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.emulator.rpc.methods import METHODS

URI = "gpt://b1gtestfolder/yandexgpt"
TEXT = "To be, or not to be: that is the question."
LONG = " ".join([TEXT, "Whether 'tis nobler in the mind to suffer the slings and arrows of outrageous fortune."])
SCHEMA = {"type": "object", "properties": {"n": {"type": "number"}}, "required": ["n"]}
TOOL = {"function": {"name": "search", "parameters": SCHEMA}}
CODES = {400: "INVALID_ARGUMENT", 401: "UNAUTHENTICATED", 404: "NOT_FOUND"}

ACCEPTED: dict[str, dict[str, Any]] = {
    "plain": {},
    "options": {"completionOptions": {"temperature": 0.3, "maxTokens": "3"}},
    "reasoning": {"completionOptions": {"reasoningOptions": {"mode": "ENABLED_HIDDEN"}}},
    "stream": {"completionOptions": {"stream": True}, "messages": [{"role": "user", "text": LONG}]},
    "object": {"jsonObject": True},
    "schema": {"jsonSchema": {"schema": SCHEMA}},
    "tool": {"tools": [TOOL], "toolChoice": {"mode": "REQUIRED"}},
    "named tool": {"tools": [TOOL], "toolChoice": {"functionName": "search"}, "parallelToolCalls": False},
    "tool result": {
        "messages": [
            {"role": "user", "text": TEXT},
            {"role": "assistant", "toolCallList": {"toolCalls": [{"functionCall": {"name": "search"}}]}},
            {
                "role": "user",
                "toolResultList": {"toolResults": [{"functionResult": {"name": "search", "content": "x"}}]},
            },
        ]
    },
    "unicode": {"messages": [{"role": "user", "text": "Ёжик в тумане 🦔"}]},
}
REFUSED: dict[str, dict[str, Any]] = {
    "no model": {"modelUri": ""},
    "another folder": {"modelUri": "gpt://b1gother/yandexgpt"},
    "no messages": {"messages": []},
    "no text": {"messages": [{"role": "user", "text": ""}]},
    "a long text": {"messages": [{"role": "user", "text": "x" * 100_001}]},
    "a role": {"messages": [{"role": "poet", "text": TEXT}]},
    "a temperature": {"completionOptions": {"temperature": 1.5}},
    "no number": {"completionOptions": {"temperature": "NaN"}},
    "no tokens": {"completionOptions": {"maxTokens": "0"}},
    "no such tool": {"tools": [TOOL], "toolChoice": {"functionName": "guess"}},
}


def refusal(call: Callable[[], Any]) -> Any:
    with pytest.raises(grpc.RpcError) as caught:
        call()
    return caught.value


def without_ids(message: str) -> str:
    return re.sub(r"(internal_id|request_id)=[0-9a-f-]{36}", r"\1=", message)


def trailing(answered: Any) -> dict[str, Any]:
    return {item.key: item.value for item in answered.trailing_metadata()}


@pytest.mark.parametrize("members", ACCEPTED.values(), ids=ACCEPTED)
def test_both_fronts_give_the_same_completion(rest: Any, rpc: Any, members: dict[str, Any]) -> None:
    lines = [json.loads(line)["result"] for line in rest.complete(**members).text.splitlines()]
    assert rpc.complete(**members) == [ParseDict(line, generation.CompletionResponse()) for line in lines]


def test_a_stream_grows_to_the_final_answer(rpc: Any) -> None:
    *partial, final = (answer.alternatives[0] for answer in rpc.complete(**ACCEPTED["stream"]))
    texts = [alternative.message.text for alternative in (*partial, final)]
    assert len(partial) > 1
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts))
    assert {alternative.status for alternative in partial} == {1}  # PARTIAL
    assert final.status == 3  # FINAL


@pytest.mark.parametrize("members", REFUSED.values(), ids=REFUSED)
def test_both_fronts_refuse_for_the_same_reason(rest: Any, rpc: Any, members: dict[str, Any]) -> None:
    over_http = rest.submit(**members)
    for call in (rpc.submit, rpc.complete):
        error = refusal(lambda call=call: call(**members))
        assert error.code().name == CODES[over_http.status_code]
        assert without_ids(error.details()) == without_ids(over_http.json()["message"])


def test_a_stream_is_refused_in_asynchronous_mode(rpc: Any) -> None:
    error = refusal(lambda: rpc.submit(completionOptions={"stream": True}))
    assert (error.code().name, error.details()) == (
        "INVALID_ARGUMENT",
        "stream is not available in asynchronous mode",
    )


def test_what_json_can_not_write_is_refused(rpc: Any) -> None:
    request = ParseDict({"modelUri": URI, "messages": [{"role": "user", "text": TEXT}]}, generation.CompletionRequest())
    request.json_schema.schema["maximum"] = float("nan")
    stub = generation_grpc.TextGenerationAsyncServiceStub(rpc.channel)
    assert refusal(lambda: rpc.call(stub.Completion, request)).code().name == "INVALID_ARGUMENT"


def test_an_operation_is_the_same_through_both_fronts(grpc_emulator: Emulator, rest: Any, rpc: Any) -> None:
    submitted = rpc.submit()
    assert re.fullmatch(r"d7q[a-z0-9]{17}", submitted.id)
    assert submitted.WhichOneof("result") is None
    assert not submitted.done
    grpc_emulator.advance(60)
    finished = rpc.operation(submitted.id)
    assert finished == ParseDict(rest.operation(submitted.id).json(), Operation())
    answer = generation.CompletionResponse()
    assert finished.done
    assert finished.response.Unpack(answer)
    assert answer == rpc.complete()[0]
    assert rpc.operation(rest.submit().json()["id"]).description == "Async GPT Completion"


def test_an_operation_is_cancelled(rest: Any, rpc: Any) -> None:
    cancelled = rpc.cancel(rpc.submit().id)
    assert (cancelled.done, cancelled.error.code, cancelled.error.message) == (True, 1, "Operation was cancelled")
    assert rest.operation(cancelled.id).json()["error"]["code"] == 1


def test_an_operation_that_is_unknown_or_not_named_is_refused(rpc: Any) -> None:
    for operation_id, code in (("d7q/../x?y", "NOT_FOUND"), ("", "INVALID_ARGUMENT")):
        assert refusal(lambda operation_id=operation_id: rpc.operation(operation_id)).code().name == code


def test_both_fronts_give_the_same_tokens(rest: Any, rpc: Any, make_body: Any) -> None:
    over_http = rest.post("/foundationModels/v1/tokenize", {"modelUri": URI, "text": TEXT}).json()
    assert rpc.tokenize(TEXT) == ParseDict(over_http, generation.TokenizeResponse())
    over_http = rest.post("/foundationModels/v1/tokenizeCompletion", make_body()).json()
    assert rpc.tokenize_completion(make_body()) == ParseDict(over_http, generation.TokenizeResponse())


@pytest.mark.parametrize("authorization", ["", "Api-Key AQVNsomethingelse", "Bearer t1.foreign", "Basic x"])
def test_nobody_gets_in_without_a_credential(channel: Any, grpc_client: Any, authorization: str) -> None:
    client = grpc_client(channel, authorization=authorization)
    for call in (client.complete, client.submit, lambda: client.operation("d7q")):
        assert refusal(call).code().name == "UNAUTHENTICATED"


def test_a_folder_in_the_metadata_is_checked(channel: Any, grpc_client: Any) -> None:
    error = refusal(grpc_client(channel, **{"x-folder-id": "b1gother"}).submit)
    assert error.code().name == "INVALID_ARGUMENT"
    assert error.details().startswith("Specified folder ID 'b1gother' does not match")


def test_a_signed_jwt_is_exchanged_for_a_token_that_works(
    grpc_emulator: Emulator, channel: Any, grpc_client: Any
) -> None:
    key = grpc_emulator.create_service_account_key(token_seconds=600)
    now = int(time.time())
    audience = "https://iam.api.cloud.yandex.net/iam/v1/tokens"
    claims = {"iss": key["service_account_id"], "aud": audience, "iat": now, "exp": now + 600}
    signed = jwt.encode(claims, key["private_key"].split("\n", 1)[1], algorithm="PS256", headers={"kid": key["id"]})
    stub = IamTokenServiceStub(channel)
    token = stub.Create(iam.CreateIamTokenRequest(jwt=signed), timeout=5)
    assert now + 590 < token.expires_at.seconds <= now + 610
    client = grpc_client(channel, authorization=f"Bearer {token.iam_token}")
    assert client.submit().created_by == key["service_account_id"]
    error = refusal(lambda: stub.Create(iam.CreateIamTokenRequest(jwt="ey.J.hb"), timeout=5))
    assert error.code().name == "UNAUTHENTICATED"


def test_a_refusal_names_its_request_in_metadata_and_details(channel: Any, grpc_client: Any) -> None:
    error = refusal(lambda: grpc_client(channel, **{"x-client-request-id": "mine"}).operation("d7q"))
    metadata = trailing(error)
    assert metadata["x-client-request-id"] == "mine"
    assert re.fullmatch(r"[0-9a-f]{16}:[0-9a-f]{16}:[0-9a-f]{16}:1", metadata["x-server-trace-id"])
    status = Status.FromString(metadata["grpc-status-details-bin"])
    assert (status.code, status.message) == (error.code().value[0], error.details())
    info = RequestInfo()
    assert status.details[0].Unpack(info)
    assert info.request_id == metadata["x-request-id"]


def test_an_answer_names_its_request_in_metadata(rpc: Any) -> None:
    stub = generation_grpc.TokenizerServiceStub(rpc.channel)
    request = generation.TokenizeRequest(model_uri=URI, text=TEXT)
    _, call = stub.Tokenize.with_call(request, timeout=5, metadata=tuple(rpc.metadata.items()))
    assert {"x-request-id", "x-server-trace-id"} == trailing(call).keys()


def test_both_fronts_are_counted_together(grpc_emulator: Emulator, rest: Any, rpc: Any) -> None:
    operation_id = rpc.submit().id
    rest.operation(operation_id)
    rpc.operation(operation_id)
    rpc.complete()
    refusal(lambda: rpc.operation("d7q"))
    stats = grpc_emulator.stats()
    assert stats["requests"]["operations.get"] == 3
    assert stats["responses"]["operations.get"] == {"200": 2, "404": 1}
    assert (stats["submissions"], stats["generations"]) == (1, 2)
    assert stats["peak_requests_per_second"]["all"] >= 3
    assert stats["connections"]["total"] == 1  # gRPC's own are not counted


def test_both_fronts_share_the_quotas(connect: Any) -> None:
    with Emulator(seconds=60, grpc=True, enforce_quotas=True) as running:
        over_http = connect(running)
        with grpc.insecure_channel(running.grpc_target) as channel, ThreadPoolExecutor(20) as pool:
            stub = generation_grpc.TextGenerationAsyncServiceStub(channel)
            request = generation.CompletionRequest(model_uri=URI, messages=[{"role": "user", "text": TEXT}])
            call = lambda: stub.Completion(request, timeout=5, metadata=(("authorization", "Api-Key x"),))  # noqa: E731
            submitted = [pool.submit(call) for _ in range(20)]
            errors = [error for one in submitted if (error := one.exception())]
        late = over_http.submit()
    assert len(errors) >= 10
    assert {error.code().name for error in errors} == {"RESOURCE_EXHAUSTED"}
    wanted = "ai.textGenerationAsyncCompletionRequestsPerSecond.rate rate quota limit exceed: allowed 10 requests"
    assert {error.details() for error in errors} == {wanted}
    assert late.status_code == 429


def test_the_services_are_discovered_where_they_are(grpc_emulator: Emulator, rest: Any, rpc: Any) -> None:
    stub = ApiEndpointServiceStub(rpc.channel)
    found = stub.List(endpoints.ListApiEndpointsRequest(), timeout=5)
    services = {endpoint.id: endpoint.address for endpoint in found.endpoints}
    assert {"ai-foundation-models", "operation", "iam", "endpoint"} <= services.keys()
    assert set(services.values()) == {grpc_emulator.grpc_target}
    assert rest.get("/endpoints").json() == MessageToDict(found)
    one = stub.Get(endpoints.GetApiEndpointRequest(api_endpoint_id="operation"), timeout=5)
    assert one.address == grpc_emulator.grpc_target
    unknown = refusal(lambda: stub.Get(endpoints.GetApiEndpointRequest(api_endpoint_id="compute"), timeout=5))
    assert unknown.code().name == "NOT_FOUND"


def test_without_grpc_there_is_nothing_to_discover(emulator: Emulator, client: Any) -> None:
    assert client.get("/endpoints").json() == {"endpoints": []}
    with pytest.raises(ValueError, match=r"Emulator\(grpc=True\)"):
        _ = emulator.grpc_target


def test_a_method_that_is_not_served_is_counted_as_unknown(grpc_emulator: Emulator, rpc: Any) -> None:
    stub = generation_grpc.TextGenerationBatchServiceStub(rpc.channel)
    error = refusal(lambda: rpc.call(stub.Completion, generation.BatchCompletionRequest(model_uri=URI)))
    assert error.code().name == "UNIMPLEMENTED"
    assert grpc_emulator.stats()["responses"]["unknown"] == {"501": 1}


def test_the_methods_are_those_whose_protos_name_a_route() -> None:
    assert {path.rsplit(".", 1)[1]: method.route.name for path, method in METHODS.items()} == {
        "TextGenerationService/Completion": "completion",
        "TextGenerationAsyncService/Completion": "completionAsync",
        "TokenizerService/Tokenize": "tokenize",
        "TokenizerService/TokenizeCompletion": "tokenizeCompletion",
        "OperationService/Get": "operations.get",
        "OperationService/Cancel": "operations.cancel",
        "IamTokenService/Create": "iam.tokens",
        "ApiEndpointService/List": "endpoints.list",
        "ApiEndpointService/Get": "endpoints.get",
    }


def test_a_channel_that_trusts_the_certificate_is_answered() -> None:
    with Emulator(grpc_tls=True) as running:
        trusting = grpc.ssl_channel_credentials(running.grpc_certificate)
        for credentials, works in ((trusting, True), (grpc.ssl_channel_credentials(), False)):
            with grpc.secure_channel(running.grpc_target, credentials) as channel:
                stub = ApiEndpointServiceStub(channel)
                if works:
                    assert stub.List(endpoints.ListApiEndpointsRequest(), timeout=5).endpoints
                else:
                    error = refusal(lambda stub=stub: stub.List(endpoints.ListApiEndpointsRequest(), timeout=5))
                    assert error.code().name == "UNAVAILABLE"


def test_a_plaintext_channel_has_no_certificate(grpc_emulator: Emulator) -> None:
    with pytest.raises(ValueError, match=r"Emulator\(grpc_tls=True\)"):
        _ = grpc_emulator.grpc_certificate


async def test_a_burst_of_calls_is_answered(grpc_emulator: Emulator) -> None:
    async with grpc.aio.insecure_channel(grpc_emulator.grpc_target) as channel:
        stub = ApiEndpointServiceStub(channel)
        calls = [stub.List(endpoints.ListApiEndpointsRequest(), timeout=30) for _ in range(1500)]
        assert all(answer.endpoints for answer in await asyncio.gather(*calls))
