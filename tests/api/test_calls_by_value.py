"""Each call as it is: where it goes, what it carries, and what a repeat of it would cost."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api import completion, iam, responses
from airflow_provider.yandex_ai_studio.api.call import Call, Rpc
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.models import (
    Message,
    ToolCall,
    ToolResult,
)
from airflow_provider.yandex_ai_studio.api.output import Output
from airflow_provider.yandex_ai_studio.api.response_request import ResponseRequest

AT = Endpoints("https://llm", "https://operation", "https://ai", "https://iam", "http://metadata")
MODEL = "gpt://b1g/yandexgpt"
REQUEST = CompletionRequest(MODEL, (Message("user", "ping"),))
RESPONSE = ResponseRequest(MODEL, (Message("user", "ping"),), background=True)
PLAIN = {"modelUri": MODEL, "completionOptions": {"stream": False}, "messages": [{"role": "user", "text": "ping"}]}
STREAMED = {**PLAIN, "completionOptions": {"stream": True}}
ASKED = {"model": MODEL, "input": "ping"}

NATIVE, OPERATIONS = "yandex.cloud.ai.foundation_models.v1", "yandex.cloud.operation.OperationService"


def parse(_: Any) -> Any:
    """Stands for what reads the answer."""


CALLS: dict[str, tuple[Callable[[], Call[Any]], Call[Any]]] = {
    "submit": (
        lambda: completion.submit_completion(AT, REQUEST),
        Call(
            "submit the completion",
            "POST",
            "https://llm/foundationModels/v1/completionAsync",
            parse,
            PLAIN,
            billed=True,
            rpc=Rpc(f"{NATIVE}.TextGenerationAsyncService", "Completion", PLAIN),
        ),
    ),
    "complete": (
        lambda: completion.complete(AT, REQUEST),
        Call(
            "complete the prompt",
            "POST",
            "https://llm/foundationModels/v1/completion",
            parse,
            PLAIN,
            billed=True,
            timeout=180.0,
            rpc=Rpc(f"{NATIVE}.TextGenerationService", "Completion", PLAIN, streams=True),
        ),
    ),
    "stream": (
        lambda: completion.stream_completion(AT, REQUEST),
        Call(
            "stream the completion",
            "POST",
            "https://llm/foundationModels/v1/completion",
            parse,
            STREAMED,
            billed=True,
            timeout=180.0,
            rpc=Rpc(f"{NATIVE}.TextGenerationService", "Completion", STREAMED, streams=True),
        ),
    ),
    "get": (
        lambda: completion.get_operation(AT, "d7q1"),
        Call(
            "read operation d7q1",
            "GET",
            "https://operation/operations/d7q1",
            parse,
            rpc=Rpc(OPERATIONS, "Get", {"operationId": "d7q1"}),
        ),
    ),
    "cancel": (
        lambda: completion.cancel_operation(AT, "d7q1", method="POST"),
        Call(
            "cancel operation d7q1",
            "POST",
            "https://operation/operations/d7q1:cancel",
            parse,
            rpc=Rpc(OPERATIONS, "Cancel", {"operationId": "d7q1"}),
        ),
    ),
    "count": (
        lambda: completion.count_tokens(AT, REQUEST),
        Call(
            "count the tokens of the request",
            "POST",
            "https://llm/foundationModels/v1/tokenizeCompletion",
            parse,
            PLAIN,
            rpc=Rpc(f"{NATIVE}.TokenizerService", "TokenizeCompletion", PLAIN),
        ),
    ),
    "respond": (
        lambda: responses.create_response(AT, RESPONSE),
        Call(
            "create the response",
            "POST",
            "https://ai/v1/responses",
            parse,
            {**ASKED, "background": True},
            billed=True,
            project=True,
            timeout=60.0,
        ),
    ),
    "respond at once": (
        lambda: responses.create_response(AT, replace(RESPONSE, background=False)),
        Call(
            "create the response",
            "POST",
            "https://ai/v1/responses",
            parse,
            ASKED,
            billed=True,
            project=True,
            timeout=180.0,
        ),
    ),
    "get response": (
        lambda: responses.get_response(AT, "resp-1"),
        Call("read response resp-1", "GET", "https://ai/v1/responses/resp-1", parse, project=True),
    ),
    "cancel response": (
        lambda: responses.cancel_response(AT, "resp-1"),
        Call("cancel response resp-1", "POST", "https://ai/v1/responses/resp-1/cancel", parse, project=True),
    ),
    "models": (
        lambda: responses.list_models(AT),
        Call("list the models", "GET", "https://ai/v1/models", parse, project=True),
    ),
    "exchange": (
        lambda: iam.exchange_jwt(AT, "ey.J.hb", now=0.0),
        Call(
            "exchange the service-account key for an IAM token",
            "POST",
            "https://iam/iam/v1/tokens",
            parse,
            {"jwt": "ey.J.hb"},
            authorized=False,
            credential=iam.CHECK_KEY,
        ),
    ),
    "metadata": (
        lambda: iam.metadata_token(AT, now=0.0),
        Call(
            "get an IAM token from the metadata service (does this run on a virtual machine with a service account?)",
            "GET",
            "http://metadata/computeMetadata/v1/instance/service-accounts/default/token",
            parse,
            headers={"Metadata-Flavor": "Google"},
            authorized=False,
            timeout=5.0,
            credential=iam.CHECK_MACHINE,
        ),
    ),
}


@pytest.mark.parametrize(("make", "expected"), CALLS.values(), ids=CALLS)
def test_a_call_says_where_it_goes_what_it_carries_and_what_a_repeat_would_cost(
    make: Callable[[], Call[Any]], expected: Call[Any]
) -> None:
    assert replace(make(), parse=parse) == expected


def body_of(**parts: Any) -> Any:
    return completion.submit_completion(AT, replace(REQUEST, **parts)).body


@pytest.mark.parametrize(
    ("parts", "more"),
    [
        ({"temperature": 0.0}, {"completionOptions": {"stream": False, "temperature": 0.0}}),
        ({"max_tokens": 5}, {"completionOptions": {"stream": False, "maxTokens": "5"}}),
        (
            {"reasoning": "enabled_hidden"},
            {"completionOptions": {"stream": False, "reasoningOptions": {"mode": "ENABLED_HIDDEN"}}},
        ),
        ({"output": Output(json_object=True)}, {"jsonObject": True}),
        ({"output": Output(schema={"type": "object"})}, {"jsonSchema": {"schema": {"type": "object"}}}),
        ({"tools": ({"name": "f"},)}, {"tools": [{"function": {"name": "f"}}]}),
        ({"tool_choice": "required"}, {"toolChoice": {"mode": "REQUIRED"}}),
        ({"tool_choice": "f"}, {"toolChoice": {"functionName": "f"}}),
        ({"parallel_tool_calls": False}, {"parallelToolCalls": False}),
        (
            {"messages": (Message("assistant", tool_calls=(ToolCall("f", {"a": 1}),)),)},
            {
                "messages": [
                    {
                        "role": "assistant",
                        "toolCallList": {"toolCalls": [{"functionCall": {"name": "f", "arguments": {"a": 1}}}]},
                    }
                ]
            },
        ),
        (
            {"messages": (Message("user", tool_results=(ToolResult("f", "5"),)),)},
            {
                "messages": [
                    {
                        "role": "user",
                        "toolResultList": {"toolResults": [{"functionResult": {"name": "f", "content": "5"}}]},
                    }
                ]
            },
        ),
    ],
    ids=lambda value: next(iter(value)),
)
def test_a_part_of_a_completion_is_in_the_body_by_the_wire_s_name(parts: dict[str, Any], more: Any) -> None:
    assert body_of(**parts) == {**PLAIN, **more}


@pytest.mark.parametrize(
    ("parts", "more"),
    [
        ({"background": False}, {"background": None}),
        ({"instructions": "Be brief."}, {"instructions": "Be brief."}),
        ({"temperature": 0.0}, {"temperature": 0.0}),
        ({"max_output_tokens": 5}, {"max_output_tokens": 5}),
        ({"previous_response_id": "resp-0"}, {"previous_response_id": "resp-0"}),
        (
            {"output": Output(schema={"type": "object"})},
            {"text": {"format": {"type": "json_schema", "name": "answer", "schema": {"type": "object"}}}},
        ),
        (
            {"messages": (Message("user", "a"), Message("user", "b"))},
            {"input": [{"role": "user", "content": "a"}, {"role": "user", "content": "b"}]},
        ),
        ({"messages": (Message("assistant", "a"),)}, {"input": [{"role": "assistant", "content": "a"}]}),
    ],
    ids=lambda value: next(iter(value)),
)
def test_a_part_of_a_response_is_in_the_body_by_the_wire_s_name(parts: dict[str, Any], more: Any) -> None:
    body = {**ASKED, "background": True, **more}
    assert responses.create_response(AT, replace(RESPONSE, **parts)).body == {
        name: value for name, value in body.items() if value is not None
    }
