"""What happens to each request, whatever its route: count, fault, authorize, admit, wait, answer."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from airflow_provider.yandex_ai_studio.emulator import hosts, names
from airflow_provider.yandex_ai_studio.emulator.access import authorize, check_folder, check_folder_named, named_folder
from airflow_provider.yandex_ai_studio.emulator.alteration import altered
from airflow_provider.yandex_ai_studio.emulator.request import Answer, Request
from airflow_provider.yandex_ai_studio.emulator.routes import table
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend
from airflow_provider.yandex_ai_studio.emulator.state.faults import Fault
from airflow_provider.yandex_ai_studio.emulator.wire.errors import ApiError, Undecodable
from airflow_provider.yandex_ai_studio.emulator.wire.proto_json import MalformedBody

_GARBAGE = "<html><head><title>502 Bad Gateway</title></head><body>upstream is gone"


async def dispatch(backend: Backend, method: str, path: str, request: Request) -> Answer | None:
    """Answer a request; ``None`` closes the connection without an answer."""
    if path.startswith("/_emulator/"):
        return _control(backend, method, path, request)
    found = table.find(method, path)
    if found and not hosts.serves(request.headers.get("Host", ""), found[0].name):
        found = None
    if found and method in found[0].methods:
        return await serve(backend, found[0], replace(request, parameters=found[1]))
    name = found[0].name if found else names.UNKNOWN
    answer = Answer.of_text("Method Not Allowed", 405) if found else Answer.of_text("Not Found", 404)
    backend.stats.request(name)
    backend.stats.response(name, answer.status)
    return _traced(backend, answer, request)


async def serve(backend: Backend, route: table.Route, request: Request) -> Answer | None:
    """Answer a request to a route of the vendor, whichever front it came through; ``None`` breaks the connection."""
    backend.stats.request(route.name)
    answer = await _vendor(backend, route, request)
    backend.stats.response(route.name, answer.status if answer else None)
    return answer and _traced(backend, answer, request)


async def _vendor(backend: Backend, route: table.Route, request: Request) -> Answer | None:
    fault = backend.faults.take(route.name, request.target, request.body)
    if fault is None:
        return await _answered(backend, route, request)
    match fault.kind:
        case "drop":
            return None
        case "echo":
            return _echoed(route, request, fault)
        case "status" | "garbage" | "embedded_error":
            return _planted(route, request, fault)
        case "delay":
            await asyncio.sleep(fault.seconds)
    behind = fault.seconds if fault.kind == "stale" else 0.0
    answer = await _answered(backend, route, replace(request, ending=fault.ending, behind=behind))
    match fault.kind:
        case "lost_answer":
            return None
        case "hang":
            await backend.faults.hold(route.name, fault.seconds)
    return altered(answer, fault)


async def _answered(backend: Backend, route: table.Route, request: Request) -> Answer:
    try:
        return await _served(backend, route, request)
    except MalformedBody as error:
        return _rendered(route, request, Undecodable(str(error)))
    except ApiError as error:
        return _rendered(route, request, error)


async def _served(backend: Backend, route: table.Route, request: Request) -> Answer:
    if route.authorized:
        request = replace(request, account_id=authorize(backend, request.headers, route.openai))
        check_folder(backend, named_folder(request.headers))
    if route.in_folder:
        check_folder_named(backend, request.headers)
    with backend.quotas.admit(route.name):
        if backend.settings.latency:
            await asyncio.sleep(backend.settings.latency)
        return route.handler(backend, request)


def _control(backend: Backend, method: str, path: str, request: Request) -> Answer:
    host = request.headers.get("Host", "")
    if not hosts.is_local(host, backend.settings.host):
        message = f"the emulator's own routes answer to loopback names and to its --host, not to {host!r}"
        return Answer.of_json({"error": message}, 403)
    handler = table.CONTROL.get((method, path))
    if handler is None:
        return Answer.of_json({"error": f"the emulator has no route {method} {path}"}, 404)
    try:
        return handler(backend, request)
    except ValueError as error:
        return Answer.of_json({"error": str(error)}, 400)


def _planted(route: table.Route, request: Request, fault: Fault) -> Answer:
    if fault.kind == "embedded_error":
        return Answer.of_json({"error": {"code": "model_call_error", "message": fault.message}, "output": []})
    garbage = fault.kind == "garbage"
    body = _GARBAGE if garbage and fault.body is None else fault.body
    status = 200 if garbage else fault.status
    if body is None:
        answer = _rendered(route, request, ApiError.of_status(status))
    elif isinstance(body, str):
        answer = Answer.of_text(body, status, "text/html")
    else:
        answer = Answer.of_json(body, status)
    return replace(answer, headers=fault.headers or {})


def _echoed(route: table.Route, request: Request, fault: Fault) -> Answer:
    """Refuse a request as a careless gateway does: with the credential in the message, and without an id."""
    secret = request.headers.get("Authorization", "").partition(" ")[2]
    refusal = ApiError.of_status(fault.status)
    answer = _rendered(route, request, ApiError(refusal.code, f"Unknown credential '{secret}'", fault.status))
    return replace(answer, traced=False)


def _rendered(route: table.Route, request: Request, error: ApiError) -> Answer:
    return Answer.of_json(route.shape(error, request.id), error.status)


def _traced(backend: Backend, answer: Answer, request: Request) -> Answer:
    if not answer.traced:
        return answer
    ids = {"x-request-id": request.id, "x-server-trace-id": backend.ids.trace()}
    return replace(answer, headers={**ids, **answer.headers})
