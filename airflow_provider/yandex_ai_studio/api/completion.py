"""The text generation API: completions (synchronous, streaming, asynchronous), operations, tokenizer."""

from __future__ import annotations

from typing import Any

from airflow_provider.yandex_ai_studio.api import values
from airflow_provider.yandex_ai_studio.api.call import Call, Rpc, clean
from airflow_provider.yandex_ai_studio.api.completion_request import TOOL_CHOICES, CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints, path_segment
from airflow_provider.yandex_ai_studio.api.models import Failure, Generation, Message, Operation, ToolCall, Usage

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
        parse=_operation,
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
        parse=_operation,
        rpc=Rpc(OPERATION, "Get", {"operationId": operation_id}),
    )


def cancel_operation(endpoints: Endpoints, operation_id: str, *, method: str) -> Call[Operation]:
    """Cancel an asynchronous completion."""
    return Call(
        aim=f"cancel operation {operation_id}",
        method=method,
        url=f"{endpoints.operation}/operations/{path_segment(operation_id)}:cancel",
        parse=_operation,
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


def _operation(data: Any) -> Operation:
    response = data.get("response")
    return Operation(
        id=values.text(data["id"]),
        api="completion",
        done=bool(data.get("done")),
        error=_failure(data.get("error")),
        generation=_generation(response) if response else None,
        created_at=values.time(data.get("createdAt")),
        modified_at=values.time(data.get("modifiedAt")),
    )


def _failure(error: Any) -> Failure | None:
    """Read a ``google.rpc.Status``. One with neither a code nor a message says that all is well."""
    code, message = (int(error.get("code") or 0), str(error.get("message") or "")) if error else (0, "")
    return Failure(code, clean(message)) if code or message else None


def _completed(data: Any) -> Generation:
    generation = _generation(data.get("result") or data)
    if generation is None:
        raise ValueError("the answer has no alternatives")
    return generation


def _generation(data: Any) -> Generation | None:
    alternatives = data.get("alternatives")
    if not alternatives:
        return None
    first = alternatives[0]
    message = first.get("message") or {}
    calls = (message.get("toolCallList") or {}).get("toolCalls") or []
    usage = data.get("usage") or {}
    details = usage.get("completionTokensDetails") or {}
    return Generation(
        text=values.text_or(message.get("text"), ""),
        status=_STATUSES.get(str(first.get("status")), "unspecified"),
        usage=Usage(
            input_tokens=int(usage.get("inputTextTokens") or 0),
            completion_tokens=int(usage.get("completionTokens") or 0),
            total_tokens=int(usage.get("totalTokens") or 0),
            reasoning_tokens=int(details.get("reasoningTokens") or 0),
        ),
        model_version=values.text_or(data.get("modelVersion"), None),
        tool_calls=tuple(_tool_call(call["functionCall"]) for call in calls),
    )


def _tool_call(call: Any) -> ToolCall:
    return ToolCall(values.text(call["name"]), dict(call.get("arguments") or {}))


_STATUSES = {
    "ALTERNATIVE_STATUS_PARTIAL": "partial",
    "ALTERNATIVE_STATUS_TRUNCATED_FINAL": "truncated",
    "ALTERNATIVE_STATUS_FINAL": "final",
    "ALTERNATIVE_STATUS_CONTENT_FILTER": "content_filter",
    "ALTERNATIVE_STATUS_TOOL_CALLS": "tool_calls",
}
