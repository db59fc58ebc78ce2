"""
The Responses API, and the list of models: the part of the service that is shaped like OpenAI's.

.. seealso:: https://aistudio.yandex.ru/docs/en/ai-studio/concepts/openai-compatibility
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from airflow_provider.yandex_ai_studio.api import values
from airflow_provider.yandex_ai_studio.api.call import Call
from airflow_provider.yandex_ai_studio.api.completion import COMPLETION_TIMEOUT
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints, path_segment
from airflow_provider.yandex_ai_studio.api.models import Failure, Generation, Message, Operation, Usage
from airflow_provider.yandex_ai_studio.api.reading import UNREADABLE, calls_of, failure_of, operation_of
from airflow_provider.yandex_ai_studio.api.response_request import ResponseRequest

RUNNING = frozenset({"queued", "in_progress"})
FAILED = frozenset({"failed", "cancelled"})
ENDED = FAILED | {"completed", "incomplete"}
"""The states of a response. One that nobody knows is neither: the wait goes on."""


def create_response(endpoints: Endpoints, request: ResponseRequest) -> Call[Operation]:
    """
    Create a response; in the background, or while the caller waits.

    .. seealso:: https://aistudio.yandex.ru/docs/en/ai-studio/operations/generation/background-request
    """
    return Call(
        aim="create the response",
        method="POST",
        url=f"{endpoints.ai}/v1/responses",
        body=_body(request),
        parse=_response(None if request.background else "", at_once=not request.background),
        billed=True,
        project=True,
        timeout=Call.timeout if request.background else COMPLETION_TIMEOUT,
    )


def get_response(endpoints: Endpoints, response_id: str) -> Call[Operation]:
    """Ask how far a response is, and for its text."""
    return Call(
        aim=f"read response {response_id}",
        method="GET",
        url=f"{endpoints.ai}/v1/responses/{path_segment(response_id)}",
        parse=_response(response_id),
        project=True,
    )


def cancel_response(endpoints: Endpoints, response_id: str) -> Call[Operation]:
    """Cancel a response that is generated in the background."""
    return Call(
        aim=f"cancel response {response_id}",
        method="POST",
        url=f"{endpoints.ai}/v1/responses/{path_segment(response_id)}/cancel",
        parse=_response(response_id),
        project=True,
    )


def list_models(endpoints: Endpoints) -> Call[list[str]]:
    """List the URIs of the models that the folder can use."""
    return Call(
        aim="list the models",
        method="GET",
        url=f"{endpoints.ai}/v1/models",
        parse=lambda data: [values.text(model["id"]) for model in values.items(data["data"])],
        project=True,
    )


def _body(request: ResponseRequest) -> dict[str, Any]:
    body: dict[str, Any] = {"model": request.model_uri, "input": _input(request.messages)}
    optional = {
        "background": request.background or None,
        "instructions": request.instructions,
        "temperature": request.temperature,
        "max_output_tokens": request.max_output_tokens,
        "previous_response_id": request.previous_response_id,
    }
    body |= {name: value for name, value in optional.items() if value is not None}
    if request.output.schema is not None:
        schema = {"type": "json_schema", "name": "answer", "schema": dict(request.output.schema)}
        body["text"] = {"format": schema}
    return body


def _input(messages: tuple[Message, ...]) -> Any:
    if len(messages) == 1 and messages[0].role == "user":
        return messages[0].text
    return [{"role": message.role, "content": message.text} for message in messages]


def _response(asked: str | None, *, at_once: bool = False) -> Callable[[Any], Operation]:
    """
    Return what reads a response.

    :param asked: The response that was asked for; None for a new one.
    :param at_once: It was waited for: a status that nobody knows does not say that it runs.
    """

    def parse(data: Any) -> Operation:
        told = values.members(data)
        status = values.text_or_none(told.get("status")) or "unknown"
        reason = values.text_or_none(values.members(told.get("incomplete_details")).get("reason"))
        done = status in ENDED or (at_once and status not in RUNNING)
        generation = _generation(told, status, reason) if done and status not in FAILED else None
        failure = None if generation or status in RUNNING else _failure(told.get("error"), status, reason)
        return operation_of(data, asked, api="responses", done=done, failure=failure, generation=generation)

    return parse


def _failure(error: Any, status: str, reason: str | None) -> Failure | None:
    """Read why there is no answer: what the error says, and where it says nothing, how the response ended."""
    told = failure_of(error)
    if status not in ENDED or status == "completed":
        return told
    code = status if status == "cancelled" else (told and told.code) or reason or status
    return Failure(code, (told and told.message) or f"the response is {status} ({code})")


def _generation(told: Mapping[str, Any], status: str, reason: str | None) -> Generation | None:
    """Read an answer; None where there is none."""
    output = told.get("output") or []
    items = values.objects(output)
    parts = [part for item in items if item.get("type") == "message" for part in values.objects(item.get("content"))]
    texts = [part.get("text") for part in parts if part.get("type") == "output_text"]
    refusals = [part.get("refusal") for part in parts if part.get("type") == "refusal"]
    functions = [item for item in items if item.get("type") == "function_call"]
    calls = calls_of(functions) or () if status != "incomplete" else ()
    text = "".join(text for text in refusals or texts if isinstance(text, str))
    if reason == "content_filter":
        kind = reason
    elif refusals:
        kind = "refusal"
    elif texts and all(isinstance(text, str | None) for text in texts):
        kind = "truncated" if status == "incomplete" else "tool_calls" if calls else "final"
    elif calls and not texts:
        kind = "tool_calls"
    elif status == "incomplete" or not any(map(_says_something, output if isinstance(output, list) else [output])):
        return None
    else:
        kind, text = UNREADABLE, ""
    usage = values.members(told.get("usage"))
    return Generation(
        text=text,
        status=kind,
        usage=Usage(
            input_tokens=values.count(usage.get("input_tokens")),
            completion_tokens=values.count(usage.get("output_tokens")),
            total_tokens=values.count(usage.get("total_tokens")),
            reasoning_tokens=values.count(values.members(usage.get("output_tokens_details")).get("reasoning_tokens")),
        ),
        model_version=values.text_or_none(told.get("model")),
        tool_calls=calls,
    )


def _says_something(item: Any) -> bool:
    """Tell whether an item of the output, be it one that nobody knows, may be an answer."""
    told = values.members(item)
    if told.get("type") == "message":
        return bool(told.get("content"))
    return bool(item) and told.get("type") != "reasoning"
