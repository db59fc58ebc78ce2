"""The emulator's own routes: look behind the service, and make it go wrong."""

from __future__ import annotations

import json
from typing import Any

from airflow_provider.yandex_ai_studio.emulator import names
from airflow_provider.yandex_ai_studio.emulator.request import Answer, Request
from airflow_provider.yandex_ai_studio.emulator.state import faults
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend
from airflow_provider.yandex_ai_studio.emulator.state.clock import precise_timestamp
from airflow_provider.yandex_ai_studio.emulator.state.credentials import TOKEN_SECONDS
from airflow_provider.yandex_ai_studio.emulator.state.operations import Operation, Phase, count_by_state


def stats(backend: Backend, _request: Request) -> Answer:
    """Return what was counted."""
    return Answer.of_json(read_stats(backend))


def operations(backend: Backend, _request: Request) -> Answer:
    """Return all operations, for accounting."""
    return Answer.of_json({"operations": list_operations(backend)})


def faults_so_far(backend: Backend, _request: Request) -> Answer:
    """Return all faults that were queued, and when each hit."""
    return Answer.of_json({"faults": list_faults(backend)})


def add_faults(backend: Backend, request: Request) -> Answer:
    """Queue faults."""
    parsed = faults.parse(json.loads(request.body))
    backend.faults.add(*parsed)
    return Answer.of_json({"queued": len(parsed)})


def clear_faults(backend: Backend, _request: Request) -> Answer:
    """Forget all faults."""
    backend.faults.clear()
    return Answer.of_json({})


def end_faults(backend: Backend, request: Request) -> Answer:
    """Let no fault of a route, or none at all, hit any more, and what hangs go on."""
    route = _members(request, route=str).get("route")
    if route is not None and route not in names.ALL:
        raise ValueError(f"route is {route!r}, it must be one of {', '.join(sorted(names.ALL))}")
    backend.faults.end(route)
    return Answer.of_json({})


def change_service_account_keys(backend: Backend, request: Request) -> Answer:
    """Create an authorized key that the token exchange accepts, or revoke one."""
    asked = _members(request, token_seconds=(int, float), revoke=str)
    if "revoke" in asked:
        backend.credentials.revoke_service_account_key(asked["revoke"])
        return Answer.of_json({})
    seconds = asked.get("token_seconds", TOKEN_SECONDS)
    return Answer.of_json(backend.credentials.create_service_account_key(seconds))


def change_api_keys(backend: Backend, request: Request) -> Answer:
    """Revoke an API key, accept another, or accept one and no other."""
    asked = _members(request, revoke=str, add=str, rotate=str)
    if "rotate" in asked:
        backend.credentials.rotate_api_key(asked["rotate"])
    if "revoke" in asked:
        backend.credentials.revoke_api_key(asked["revoke"])
    if "add" in asked:
        backend.credentials.add_api_key(asked["add"])
    return Answer.of_json({})


def revoke_iam_tokens(backend: Backend, request: Request) -> Answer:
    """Revoke all IAM tokens that were issued until now."""
    _members(request)
    backend.credentials.revoke_tokens()
    return Answer.of_json({})


def advance_clock(backend: Backend, request: Request) -> Answer:
    """Move the emulator's time forward."""
    backend.clock.advance(_members(request, advance_seconds=(int, float)).get("advance_seconds", 0))
    return Answer.of_json({"now": precise_timestamp(backend.clock.now())})


def read_stats(backend: Backend) -> dict[str, Any]:
    """Return what was counted, ready for JSON."""
    submissions = len(backend.operations) + len(backend.responses)
    return {
        **backend.stats.traffic(),
        "submissions": submissions,
        "generations": submissions + backend.stats.direct_generations,
        "operations": count_by_state(_all(backend)),
        "tokens_issued": backend.credentials.tokens_issued,
    }


def list_operations(backend: Backend) -> list[dict[str, Any]]:
    """Return all operations and background responses, ready for JSON."""
    return [
        {
            "id": operation.id,
            "state": phase.state.value,
            "created_at": precise_timestamp(operation.created_at),
            "ended_at": precise_timestamp(operation.ended_at) if phase.done and operation.ended_at else None,
            "prompt_sha256": operation.prompt_sha256,
            "prompt_head": operation.prompt_head,
            "options": operation.options,
        }
        for operation, phase in _all(backend)
    ]


def list_faults(backend: Backend) -> list[dict[str, Any]]:
    """Return all faults that were queued, ready for JSON."""
    return [
        {
            "route": fault.route,
            "kind": fault.kind,
            "times": fault.times,
            "match": fault.match,
            "hits": [precise_timestamp(at) for at in fault.hit_at],
        }
        for fault in backend.faults
    ]


def _all(backend: Backend) -> list[tuple[Operation, Phase]]:
    return sorted([*backend.operations, *backend.responses], key=lambda pair: pair[0].created_at)


def _members(request: Request, **kinds: Any) -> dict[str, Any]:
    """Read a JSON object that has no members but these, each of its type.

    :raises ValueError: when it is anything else.
    """
    value = json.loads(request.body or b"{}")
    if not isinstance(value, dict):
        raise ValueError("the body must be a JSON object")
    for name, member in value.items():
        if name not in kinds:
            raise ValueError(f"unknown field {name!r}, known are {', '.join(kinds)}")
        if not isinstance(member, kinds[name]) or isinstance(member, bool):
            raise ValueError(f"the type of {name} is wrong")
    return value
