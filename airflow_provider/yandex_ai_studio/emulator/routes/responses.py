"""The Responses API: create a response, now or in the background, and work on what was created."""

from __future__ import annotations

from typing import Any

from airflow_provider.yandex_ai_studio.emulator.generation import conversation
from airflow_provider.yandex_ai_studio.emulator.generation.completion import prompt
from airflow_provider.yandex_ai_studio.emulator.generation.response import events, shown
from airflow_provider.yandex_ai_studio.emulator.request import Answer, Request
from airflow_provider.yandex_ai_studio.emulator.routes.openai import check, completed
from airflow_provider.yandex_ai_studio.emulator.state import responses
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend
from airflow_provider.yandex_ai_studio.emulator.state.operations import Ending, Operation
from airflow_provider.yandex_ai_studio.emulator.state.responses import Response
from airflow_provider.yandex_ai_studio.emulator.wire import proto_json
from airflow_provider.yandex_ai_studio.emulator.wire.errors import ApiError, Code, ResponseNotFound
from airflow_provider.yandex_ai_studio.emulator.wire.openai_rules import response_problems
from airflow_provider.yandex_ai_studio.emulator.wire.responses import CREATE_RESPONSE

_LISTED = 20
_MOST_LISTED = 100


def create(backend: Backend, request: Request) -> Answer:
    """Answer at once, as a stream of events, or with the promise of an answer."""
    asked = CREATE_RESPONSE(proto_json.decode(request.body))
    asked["input"] = conversation.items(asked["input"], backend.ids.uuid)
    earlier = _earlier(backend, asked)
    check(backend, asked["model"], response_problems(asked, earlier))
    items = earlier + asked["input"]
    native = conversation.of_response(asked, items)
    completion = completed(backend, asked["model"], native)

    background = asked.get("background", False)
    usual = responses.success(shown(completion, backend.ids.uuid))
    ending = (_ending(request) or usual).instead_of(usual.phase)
    operation = backend.responses.create(request.account_id, prompt(native), ending, background, asked)
    backend.stats.direct_generations += not background
    response = Response(operation, background, _lasting(asked, operation), asked["input"], items)
    if asked.get("store", True):
        backend.responses.keep(response)

    told = response.at(backend.clock.now())
    if not asked.get("stream"):
        return Answer.of_json(told)
    return Answer.of_events(events({**response.shown, "status": "in_progress"}, told, completion.deltas()))


def read(backend: Backend, request: Request) -> Answer:
    """Return a response as it is now."""
    response = _found(backend, request)
    if request.query.get("stream") == "true":
        raise ApiError(Code.INVALID_ARGUMENT, "a stream of a response that was created before is not emulated")
    if ending := _ending(request):
        backend.responses.redirect(response, ending)
    return Answer.of_json(response.at(backend.clock.now() - request.behind))


def cancel(backend: Backend, request: Request) -> Answer:
    """End a background response without an answer, and return it; one that is done is returned as it is."""
    response = _found(backend, request)
    if not response.background:
        message = "Only responses created with the background parameter set to true can be cancelled."
        raise ApiError(Code.INVALID_ARGUMENT, message)
    backend.responses.cancel(response)
    return Answer.of_json(response.at(backend.clock.now()))


def delete(backend: Backend, request: Request) -> Answer:
    """Forget a response."""
    response = _found(backend, request)
    backend.responses.delete(response)
    return Answer.of_json({"id": response.operation.id, "object": "response", "deleted": True})


def list_input_items(backend: Backend, request: Request) -> Answer:
    """Return what a response was asked, the last item first unless told otherwise."""
    items = list(_found(backend, request).input_items)
    order, limit = request.query.get("order", "desc"), request.query.get("limit", str(_LISTED))
    if order not in ("asc", "desc"):
        raise ApiError(Code.INVALID_ARGUMENT, f"order is '{order}', it must be asc or desc")
    if not limit.isdecimal() or not 1 <= int(limit) <= _MOST_LISTED:
        raise ApiError(Code.INVALID_ARGUMENT, f"limit is '{limit}', it must be an integer from 1 to {_MOST_LISTED}")
    if order == "desc":
        items.reverse()
    ids = [item["id"] for item in items]
    if (after := request.query.get("after")) in ids:
        items = items[ids.index(after) + 1 :]
    page = items[: int(limit)]
    return Answer.of_json(
        {
            "object": "list",
            "data": page,
            "has_more": len(page) < len(items),
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
        }
    )


def _lasting(asked: dict[str, Any], operation: Operation) -> dict[str, Any]:
    """Return the members of a response that its phases don't change, and the others as they are at first."""
    reasoning, text = asked.get("reasoning", {}), asked.get("text", {})
    return {
        "id": operation.id,
        "object": "response",
        "created_at": int(operation.created_at),
        "status": "queued",
        "background": asked.get("background", False),
        "conversation": None,
        "error": None,
        "incomplete_details": None,
        "instructions": asked.get("instructions"),
        "max_output_tokens": asked.get("max_output_tokens"),
        "max_tool_calls": asked.get("max_tool_calls"),
        "metadata": None,
        "model": asked["model"],
        "output": [],
        "parallel_tool_calls": asked.get("parallel_tool_calls", True),
        "previous_response_id": asked.get("previous_response_id"),
        "reasoning": {"effort": reasoning.get("effort"), "summary": None},
        "store": asked.get("store", True),
        "temperature": asked.get("temperature"),
        "text": {**text, "format": text.get("format", {"type": "text"})},
        "tool_choice": asked.get("tool_choice", "auto"),
        "tools": [{"description": None, "parameters": None, "strict": None, **tool} for tool in asked.get("tools", [])],
        "top_p": asked.get("top_p"),
        "truncation": "disabled",
        "usage": None,
        "user": asked.get("user"),
    }


def _earlier(backend: Backend, asked: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the conversation that the request continues, item by item."""
    if "previous_response_id" not in asked:
        return []
    previous = backend.responses.find(asked["previous_response_id"])
    if previous is None:
        raise ResponseNotFound(asked["previous_response_id"], "previous_response_id")
    output: list[dict[str, Any]] = previous.at(backend.clock.now())["output"]
    return previous.conversation + output


def _ending(request: Request) -> Ending | None:
    """Return how a fault wants a response to end, in the words of this API."""
    if request.ending is None or request.ending.partial:
        return request.ending
    error = request.ending.phase.error
    return responses.failure(error["code"], error["message"]) if error else responses.EMPTY


def _found(backend: Backend, request: Request) -> Response:
    response = backend.responses.find(request.parameters["response_id"])
    if response is None or response.operation.created_at > backend.clock.now() - request.behind:
        raise ResponseNotFound(request.parameters["response_id"])
    return response
