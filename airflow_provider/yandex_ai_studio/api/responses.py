"""
The Responses API, and the list of models: the part of the service that is shaped like OpenAI's.

.. seealso:: https://aistudio.yandex.ru/docs/en/ai-studio/concepts/openai-compatibility
"""

from __future__ import annotations

from typing import Any

import pendulum

from airflow_provider.yandex_ai_studio.api import values
from airflow_provider.yandex_ai_studio.api.call import Call, clean
from airflow_provider.yandex_ai_studio.api.completion import COMPLETION_TIMEOUT
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints, path_segment
from airflow_provider.yandex_ai_studio.api.models import Failure, Generation, Message, Operation, Usage
from airflow_provider.yandex_ai_studio.api.response_request import ResponseRequest

ENDED = frozenset({"completed", "failed", "cancelled", "incomplete"})


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
        parse=_response,
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
        parse=_response,
        project=True,
    )


def cancel_response(endpoints: Endpoints, response_id: str) -> Call[Operation]:
    """Cancel a response that is generated in the background."""
    return Call(
        aim=f"cancel response {response_id}",
        method="POST",
        url=f"{endpoints.ai}/v1/responses/{path_segment(response_id)}/cancel",
        parse=_response,
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


def _response(data: Any) -> Operation:
    status = data["status"]
    reason = (data.get("incomplete_details") or {}).get("reason")
    generation = _generation(data, reason) if status in ("completed", "incomplete") else None
    failed = status in ENDED and status != "completed" and generation is None
    return Operation(
        id=values.text(data["id"]),
        api="responses",
        done=status in ENDED,
        error=_failure(status, data.get("error"), reason) if failed else None,
        generation=generation,
        created_at=pendulum.from_timestamp(float(data.get("created_at") or 0)),
    )


def _failure(status: str, error: Any, reason: str | None) -> Failure:
    error = error or {}
    code = error.get("code") or (reason if status == "incomplete" else status)
    return Failure(str(code), clean(str(error.get("message") or f"the response is {status} ({code})")))


def _generation(data: Any, reason: str | None) -> Generation | None:
    messages = [item for item in data.get("output") or [] if item.get("type") == "message"]
    parts = [part for item in messages for part in item.get("content") or [] if part.get("type") == "output_text"]
    if not parts and reason != "content_filter":
        return None
    usage = data.get("usage") or {}
    return Generation(
        text="".join(values.text_or(part.get("text"), "") for part in parts),
        status={"max_output_tokens": "truncated", "content_filter": "content_filter"}.get(str(reason), "final"),
        usage=Usage(
            input_tokens=int(usage.get("input_tokens") or 0),
            completion_tokens=int(usage.get("output_tokens") or 0),
            total_tokens=int(usage.get("total_tokens") or 0),
            reasoning_tokens=int((usage.get("output_tokens_details") or {}).get("reasoning_tokens") or 0),
        ),
        model_version=values.text_or(data.get("model"), None),
    )
