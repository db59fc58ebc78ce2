"""What is sent and read, held against the vendor's own protos: names, types and meaning."""

import string

import pendulum
import pytest
from google.api import annotations_pb2
from google.protobuf.json_format import MessageToDict, ParseDict
from google.rpc.status_pb2 import Status
from hypothesis import given
from hypothesis import strategies as st
from yandex.cloud.ai.foundation_models.v1 import text_common_pb2 as text
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2 as generation
from yandex.cloud.iam.v1 import iam_token_service_pb2 as iam
from yandex.cloud.operation import operation_pb2, operation_service_pb2

from airflow_provider.yandex_ai_studio.api import completion
from airflow_provider.yandex_ai_studio.api import iam as tokens_api
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.models import Failure, Generation, IssuedToken, Message, Operation, Usage

NOW = 1_795_000_000.0
ENDPOINTS = Endpoints()
INT64 = 2**63 - 1

texts = st.text(min_size=1, max_size=50)
ids = st.text(alphabet=string.ascii_letters + string.digits + "_-", min_size=1, max_size=50)
counts = st.integers(0, INT64)
messages = st.builds(Message, st.sampled_from(["system", "user", "assistant"]), texts)
requests = st.builds(
    CompletionRequest,
    model_uri=texts,
    messages=st.lists(messages, min_size=1, max_size=5).map(tuple),
    temperature=st.none() | st.floats(0, 1),
    max_tokens=st.none() | st.integers(1, INT64),
)
REQUEST = CompletionRequest("gpt://b1g/yandexgpt", (Message("user", "ping"),), 0.3, 100)


def optional(message, name):
    return getattr(message, name).value if message.HasField(name) else None


def fields_set(message):
    return {field.name for field, _ in message.ListFields()}


@pytest.mark.parametrize("endpoint", [completion.submit_completion, completion.complete, completion.count_tokens])
@given(request=requests)
def test_the_protos_read_a_request_as_it_was_meant(endpoint, request):
    read = ParseDict(dict(endpoint(ENDPOINTS, request).body), generation.CompletionRequest())  # strict
    options = read.completion_options
    assert fields_set(read) <= {"model_uri", "completion_options", "messages"}
    assert fields_set(options) <= {"temperature", "max_tokens"}
    assert (
        CompletionRequest(
            model_uri=read.model_uri,
            messages=tuple(Message(message.role, message.text) for message in read.messages),
            temperature=optional(options, "temperature"),
            max_tokens=optional(options, "max_tokens"),
        )
        == request
    )
    assert options.stream is False


def test_the_protos_read_the_exchange_of_a_jwt_as_it_was_meant():
    read = ParseDict(dict(tokens_api.exchange_jwt(ENDPOINTS, "ey.J.hb", now=NOW).body), iam.CreateIamTokenRequest())
    assert (read.jwt, fields_set(read)) == ("ey.J.hb", {"jwt"})


@pytest.mark.parametrize(
    ("call", "file", "service", "method"),
    [
        (completion.submit_completion(ENDPOINTS, REQUEST), generation, "TextGenerationAsyncService", "Completion"),
        (completion.complete(ENDPOINTS, REQUEST), generation, "TextGenerationService", "Completion"),
        (completion.count_tokens(ENDPOINTS, REQUEST), generation, "TokenizerService", "TokenizeCompletion"),
        (completion.get_operation(ENDPOINTS, "d7q1"), operation_service_pb2, "OperationService", "Get"),
        (
            completion.cancel_operation(ENDPOINTS, "d7q1", method="GET"),
            operation_service_pb2,
            "OperationService",
            "Cancel",
        ),
        (tokens_api.exchange_jwt(ENDPOINTS, "ey.J.hb", now=NOW), iam, "IamTokenService", "Create"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_call_goes_where_the_protos_say(call, file, service, method):
    declared = file.DESCRIPTOR.services_by_name[service].methods_by_name[method]
    rule = declared.GetOptions().Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    path = getattr(rule, verb).format_map({"operation_id": "d7q1"})
    assert (call.method, "/" + call.url.split("/", 3)[3]) == (verb.upper(), path)
    assert (call.body is not None) == (rule.body == "*")


responses = st.builds(
    lambda said, status, version, usage: generation.CompletionResponse(
        alternatives=[text.Alternative(message=text.Message(role="assistant", text=said), status=status)],
        usage=text.ContentUsage(
            input_text_tokens=usage[0],
            completion_tokens=usage[1],
            total_tokens=usage[2],
            completion_tokens_details={"reasoning_tokens": usage[3]},
        ),
        model_version=version,
    ),
    st.text(),
    st.sampled_from(text.Alternative.AlternativeStatus.values()),
    texts,
    st.tuples(counts, counts, counts, counts),
)
both_dialects = pytest.mark.parametrize("defaults", [True, False], ids=["defaults written", "defaults omitted"])


def meant_by(response):
    alternative, usage = response.alternatives[0], response.usage
    name = text.Alternative.AlternativeStatus.Name(alternative.status)
    return Generation(
        text=alternative.message.text,
        status=name.removeprefix("ALTERNATIVE_STATUS_").removesuffix("_FINAL").lower(),
        usage=Usage(
            usage.input_text_tokens,
            usage.completion_tokens,
            usage.total_tokens,
            usage.completion_tokens_details.reasoning_tokens,
        ),
        model_version=response.model_version,
    )


def json_of(message, defaults):
    return MessageToDict(message, always_print_fields_with_no_presence=defaults)


@both_dialects
@given(response=responses)
def test_a_completion_is_read_as_the_protos_write_it(response, defaults):
    parse = completion.complete(ENDPOINTS, REQUEST).parse
    assert parse(json_of(response, defaults)) == meant_by(response)
    assert parse({"result": json_of(response, defaults)}) == meant_by(response)


@both_dialects
@given(response=responses, operation_id=ids, nanos=st.integers(0, 10**9 - 1))
def test_an_operation_with_an_answer_is_read_as_the_protos_write_it(response, operation_id, nanos, defaults):
    written = operation_pb2.Operation(id=operation_id, done=True, created_by="aje")
    written.created_at.FromJsonString("2024-06-06T12:45:48Z")
    written.created_at.nanos = nanos
    written.response.Pack(response)
    assert completion.get_operation(ENDPOINTS, "d7q1").parse(json_of(written, defaults)) == Operation(
        operation_id,
        "completion",
        done=True,
        generation=meant_by(response),
        created_at=pendulum.datetime(2024, 6, 6, 12, 45, 48, nanos // 1000),
    )


@both_dialects
@given(code=st.integers(1, 16), message=st.text(alphabet=string.ascii_letters, max_size=50), done=st.booleans())
def test_an_operation_with_an_error_is_read_as_the_protos_write_it(code, message, done, defaults):
    written = operation_pb2.Operation(id="d7q1", done=done, error=Status(code=code, message=message))
    assert completion.get_operation(ENDPOINTS, "d7q1").parse(json_of(written, defaults)) == Operation(
        "d7q1", "completion", done=done, error=Failure(code, message)
    )


@both_dialects
def test_tokens_and_iam_tokens_are_read_as_the_protos_write_them(defaults):
    tokens = generation.TokenizeResponse(tokens=[{"id": number, "text": "a"} for number in range(3)])
    assert completion.count_tokens(ENDPOINTS, REQUEST).parse(json_of(tokens, defaults)) == 3
    token = iam.CreateIamTokenResponse(iam_token="t1.abc")
    token.expires_at.FromJsonString("2026-11-20T23:00:00.123456789Z")
    assert tokens_api.exchange_jwt(ENDPOINTS, "ey.J.hb", now=NOW).parse(json_of(token, defaults)) == IssuedToken(
        "t1.abc", pendulum.datetime(2026, 11, 20, 23, 0, 0, 123456).timestamp()
    )
