"""Which path is served by which function, under which name, with which shape of errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from airflow_provider.yandex_ai_studio.emulator import names
from airflow_provider.yandex_ai_studio.emulator.request import Answer, Request
from airflow_provider.yandex_ai_studio.emulator.routes import control, iam, models, operations, text_generation
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend
from airflow_provider.yandex_ai_studio.emulator.wire.errors import (
    Shape,
    gateway_error,
    openai_error,
    rpc_status,
    stream_error,
)

Handler = Callable[[Backend, Request], Answer]


@dataclass(frozen=True)
class Route:
    """Describe a route of the vendor.

    :param name: what statistics, faults and quotas call it.
    :param path: its path, with variable parts in braces.
    :param shape: how it renders errors.
    :param authorized: whether it asks for a credential.
    :param openai: whether it follows OpenAI's habits of naming the key and the folder.
    """

    name: str
    methods: tuple[str, ...]
    path: str
    handler: Handler
    shape: Shape
    authorized: bool = True
    openai: bool = False

    @cached_property
    def pattern(self) -> re.Pattern[str]:
        """Return the path as an expression with a group for each variable part."""
        return re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[^/:]+)", re.escape(self.path)))


ROUTES = (
    Route(
        names.COMPLETION,
        ("POST",),
        "/foundationModels/v1/completion",
        text_generation.complete_now,
        stream_error,
    ),
    Route(
        names.COMPLETION_ASYNC,
        ("POST",),
        "/foundationModels/v1/completionAsync",
        text_generation.submit,
        gateway_error,
    ),
    Route(
        names.TOKENIZE,
        ("POST",),
        "/foundationModels/v1/tokenize",
        text_generation.tokenize_text,
        gateway_error,
    ),
    Route(
        names.TOKENIZE_COMPLETION,
        ("POST",),
        "/foundationModels/v1/tokenizeCompletion",
        text_generation.tokenize_completion,
        gateway_error,
    ),
    Route(names.OPERATIONS_GET, ("GET",), "/operations/{operation_id}", operations.read, rpc_status),
    Route(
        names.OPERATIONS_CANCEL,
        ("GET", "POST"),
        "/operations/{operation_id}:cancel",
        operations.cancel,
        rpc_status,
    ),
    Route(names.MODELS, ("GET",), "/v1/models", models.list_models, openai_error, openai=True),
    Route(names.IAM_TOKENS, ("POST",), "/iam/v1/tokens", iam.exchange, rpc_status, authorized=False),
    Route(
        names.METADATA,
        ("GET",),
        "/computeMetadata/v1/instance/service-accounts/default/token",
        iam.metadata_token,
        rpc_status,
        authorized=False,
    ),
)

CONTROL: dict[tuple[str, str], Handler] = {
    ("GET", "/_emulator/stats"): control.stats,
    ("GET", "/_emulator/operations"): control.operations,
    ("POST", "/_emulator/faults"): control.add_faults,
    ("DELETE", "/_emulator/faults"): control.clear_faults,
    ("POST", "/_emulator/service-account-keys"): control.create_service_account_key,
    ("POST", "/_emulator/api-keys"): control.change_api_keys,
    ("POST", "/_emulator/clock"): control.advance_clock,
}


def find(path: str) -> tuple[Route, dict[str, str]] | None:
    """Return the route that serves a path, and the variable parts of the path."""
    for route in ROUTES:
        if match := route.pattern.fullmatch(path):
            return route, match.groupdict()
    return None
