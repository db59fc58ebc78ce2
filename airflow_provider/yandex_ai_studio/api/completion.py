"""The text generation API: completions (synchronous, streaming, asynchronous), operations, tokenizer."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider.yandex_ai_studio.api import values
from airflow_provider.yandex_ai_studio.api.call import Call, Rpc
from airflow_provider.yandex_ai_studio.api.completion_request import TOOL_CHOICES, CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints, path_segment
from airflow_provider.yandex_ai_studio.api.models import Generation, Message, Operation, ToolCall, Usage
from airflow_provider.yandex_ai_studio.api.reading import UNREADABLE, calls_of, failure_of, operation_of

TEXT_GENERATION = "yandex.cloud.ai.foundation_models.v1.TextGenerationService"
TEXT_GENERATION_ASYNC = "yandex.cloud.ai.foundation_models.v1.TextGenerationAsyncService"
TOKENIZER = "yandex.cloud.ai.foundation_models.v1.TokenizerService"
OPERATION = "yandex.cloud.operation.OperationService"

COMPLETION_TIMEOUT = 180.0
"""Seconds that a synchronous completion may take: the model writes the whole answer meanwhile."""


def submit_completion(endpoints: Endpoints, request: CompletionRequest) -> Call[Operation]:
    """
    Start an asynchronous completion.

    .. seealso:: https://yandex.cloud/en/docs/foundation-models/text-generation/api-ref/TextGenerationAsync/completion
    """
    body = _completion_body(request)
    return Call(
        aim="submit the completion",
        method="POST",
        url=f"{endpoints.llm}/foundationModels/v1/completionAsync",
        body=body,
        parse=_operation(asked=None),
        billed=True,
        rpc=Rpc(TEXT_GENERATION_ASYNC, "Completion", body),
    )


def complete(endpoints: Endpoints, request: CompletionRequest) -> Call[Generation]:
    """
    Generate a text while the caller waits.

    .. seealso:: https://yandex.cloud/en/docs/foundation-models/text-generation/api-ref/TextGeneration/completion
    """
    return _completion("complete the prompt", endpoints, _completion_body(request))


def stream_completion(endpoints: Endpoints, request: CompletionRequest) -> Call[Generation]:
    """Generate a text while the caller reads along: each line of the answer holds all of the text that there is."""
    return _completion("stream the completion", endpoints, _completion_body(request, stream=True))


def get_operation(endpoints: Endpoints, operation_id: str) -> Call[Operation]:
    """Ask how far an asynchronous completion is, and for its answer."""
    return Call(
        aim=f"read operation {operation_id}",
        method="GET",
        url=f"{endpoints.operation}/operations/{path_segment(operation_id)}",
        parse=_operation(asked=operation_id),
        rpc=Rpc(OPERATION, "Get", {"operationId": operation_id}),
    )


def cancel_operation(endpoints: Endpoints, operation_id: str, *, method: str) -> Call[Operation]:
    """Cancel an asynchronous completion."""
    return Call(
        aim=f"cancel operation {operation_id}",
        method=method,
        url=f"{endpoints.operation}/operations/{path_segment(operation_id)}:cancel",
        parse=_operation(asked=operation_id),
        rpc=Rpc(OPERATION, "Cancel", {"operationId": operation_id}),
    )


def count_tokens(endpoints: Endpoints, request: CompletionRequest) -> Call[int]:
    """Count the input tokens of a request, as the model sees them. Free of charge."""
    body = _completion_body(request)
    return Call(
        aim="count the tokens of the request",
        method="POST",
        url=f"{endpoints.llm}/foundationModels/v1/tokenizeCompletion",
        body=body,
        parse=lambda data: len(values.items(data["tokens"])),
        rpc=Rpc(TOKENIZER, "TokenizeCompletion", body),
    )


def _completion(aim: str, endpoints: Endpoints, body: dict[str, Any]) -> Call[Generation]:
    return Call(
        aim=aim,
        method="POST",
        url=f"{endpoints.llm}/foundationModels/v1/completion",
        body=body,
        parse=_completed,
        billed=True,
        timeout=COMPLETION_TIMEOUT,
        rpc=Rpc(TEXT_GENERATION, "Completion", body, streams=True),
    )


def _completion_body(request: CompletionRequest, *, stream: bool = False) -> dict[str, Any]:
    options: dict[str, Any] = {"stream": stream}
    if request.temperature is not None:
        options["temperature"] = request.temperature
    if request.max_tokens is not None:
        options["maxTokens"] = str(request.max_tokens)
    if request.reasoning is not None:
        options["reasoningOptions"] = {"mode": request.reasoning.upper()}
    body: dict[str, Any] = {
        "modelUri": request.model_uri,
        "completionOptions": options,
        "messages": [_message_body(message) for message in request.messages],
    }
    if request.output.json_object:
        body["jsonObject"] = True
    if request.output.schema is not None:
        body["jsonSchema"] = {"schema": dict(request.output.schema)}
    if request.tools:
        body["tools"] = [{"function": dict(tool)} for tool in request.tools]
    if request.tool_choice in TOOL_CHOICES:
        body["toolChoice"] = {"mode": request.tool_choice.upper()}
    elif request.tool_choice is not None:
        body["toolChoice"] = {"functionName": request.tool_choice}
    if request.parallel_tool_calls is not None:
        body["parallelToolCalls"] = request.parallel_tool_calls
    return body


def _message_body(message: Message) -> dict[str, Any]:
    if message.tool_calls:
        calls = [
            {"functionCall": {"name": call.name, "arguments": dict(call.arguments)}} for call in message.tool_calls
        ]
        return {"role": message.role, "toolCallList": {"toolCalls": calls}}
    if message.tool_results:
        results = [{"functionResult": {"name": done.name, "content": done.content}} for done in message.tool_results]
        return {"role": message.role, "toolResultList": {"toolResults": results}}
    return {"role": message.role, "text": message.text}


def _operation(asked: str | None) -> Callable[[Any], Operation]:
    def parse(data: Any) -> Operation:
        told = values.members(data)
        return operation_of(
            data,
            asked,
            api="completion",
            done=values.flag(told.get("done")),
            failure=failure_of(told.get("error")),
            generation=_generation(told.get("response")),
        )

    return parse


def _completed(data: Any) -> Generation:
    told = values.members(data)
    generation = _generation(told.get("result") or told)
    if generation is None:
        raise ValueError("the answer has no alternatives")
    return generation


def _generation(response: Any) -> Generation | None:
    """Read an answer; None where there is none."""
    told = values.members(response)
    alternatives = told.get("alternatives") if told else response
    if not alternatives:
        return None
    first = alternatives[0] if isinstance(alternatives, list) else None
    content = _content(first.get("message")) if isinstance(first, Mapping) else None
    text, calls = content or ("", ())
    usage = values.members(told.get("usage"))
    return Generation(
        text=text,
        status=_STATUSES.get(str(values.members(first).get("status")), "unspecified") if content else UNREADABLE,
        usage=Usage(
            input_tokens=values.count(usage.get("inputTextTokens")),
            completion_tokens=values.count(usage.get("completionTokens")),
            total_tokens=values.count(usage.get("totalTokens")),
            reasoning_tokens=values.count(values.members(usage.get("completionTokensDetails")).get("reasoningTokens")),
        ),
        model_version=values.text_or_none(told.get("modelVersion")),
        tool_calls=calls,
    )


def _content(message: Any) -> tuple[str, tuple[ToolCall, ...]] | None:
    """Read the text and the calls of a message; None where neither can be read."""
    if not isinstance(message, Mapping | None):
        return None
    told = message or {}
    text, calls = told.get("text"), _calls(told.get("toolCallList"))
    if not isinstance(text, str | None) or not (text or calls is not None):
        return None
    return text or "", calls or ()


def _calls(listed: Any) -> tuple[ToolCall, ...] | None:
    functions = values.members(listed).get("toolCalls") if isinstance(listed, Mapping | None) else listed
    if not isinstance(functions, list | None):
        return None
    return calls_of([values.members(function).get("functionCall") for function in functions or ()])


_STATUSES = {
    "ALTERNATIVE_STATUS_PARTIAL": "partial",
    "ALTERNATIVE_STATUS_TRUNCATED_FINAL": "truncated",
    "ALTERNATIVE_STATUS_FINAL": "final",
    "ALTERNATIVE_STATUS_CONTENT_FILTER": "content_filter",
    "ALTERNATIVE_STATUS_TOOL_CALLS": "tool_calls",
}
