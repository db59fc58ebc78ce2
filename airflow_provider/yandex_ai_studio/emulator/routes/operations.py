"""Reading and cancelling operations."""

from __future__ import annotations

from typing import Any

from airflow_provider.yandex_ai_studio.emulator.request import Answer, Request
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend
from airflow_provider.yandex_ai_studio.emulator.state.clock import timestamp
from airflow_provider.yandex_ai_studio.emulator.state.operations import Operation
from airflow_provider.yandex_ai_studio.emulator.wire.errors import ApiError, Code


def read(backend: Backend, request: Request) -> Answer:
    """Return an operation as it is now."""
    operation = _found(backend, request)
    if request.ending:
        backend.operations.redirect(operation, request.ending)
    return Answer.of_json(render(operation, backend.clock.now() - request.behind))


def cancel(backend: Backend, request: Request) -> Answer:
    """End an operation without an answer, and return it; one that is done is returned as it is."""
    operation = _found(backend, request)
    backend.operations.cancel(operation)
    return Answer.of_json(render(operation, backend.clock.now()))


def render(operation: Operation, now: float) -> dict[str, Any]:
    """Return the vendor's form of an operation: what it shows depends on whether it is done."""
    since, phase = operation.at(now)
    common = {
        "id": operation.id,
        "description": "Async GPT Completion",
        "createdAt": timestamp(operation.created_at),
        "createdBy": operation.created_by,
        "modifiedAt": timestamp(since),
    }
    error = {} if phase.error is None else {"error": phase.error}
    response = {} if phase.response is None else {"response": phase.response}
    if phase.done:
        return {"done": True, **error, **response, **common}
    return {**common, "done": False, "metadata": None, **error}


def _found(backend: Backend, request: Request) -> Operation:
    operation_id = request.parameters["operation_id"]
    if not operation_id:  # in a path it can't be missing, in a message it can
        raise ApiError(Code.INVALID_ARGUMENT, "operation_id is required")
    operation = backend.operations.find(operation_id)
    if operation is None or operation.created_at > backend.clock.now() - request.behind:
        raise ApiError(Code.NOT_FOUND, f"Operation '{operation_id}' not found")
    return operation
