"""Where each service of the vendor is: all of them here, on the emulator's gRPC port."""

from __future__ import annotations

from airflow_provider.yandex_ai_studio.emulator.request import Answer, Request
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend
from airflow_provider.yandex_ai_studio.emulator.wire.errors import ApiError, Code

_SERVICES = ("ai-foundation-models", "ai-llm", "endpoint", "iam", "operation")


def list_endpoints(backend: Backend, _request: Request) -> Answer:
    """Return the addresses of all services; there are none without gRPC."""
    return Answer.of_json({"endpoints": _endpoints(backend)})


def read_endpoint(backend: Backend, request: Request) -> Answer:
    """Return the address of one service."""
    wanted = request.parameters["api_endpoint_id"]
    for endpoint in _endpoints(backend):
        if endpoint["id"] == wanted:
            return Answer.of_json(endpoint)
    raise ApiError(Code.NOT_FOUND, f"Endpoint '{wanted}' not found")


def _endpoints(backend: Backend) -> list[dict[str, str]]:
    target = backend.grpc_target
    return [] if target is None else [{"id": service, "address": target} for service in _SERVICES]
