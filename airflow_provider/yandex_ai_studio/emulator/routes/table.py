"""Which path is served by which function, under which name, with which shape of errors."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from airflow_provider.yandex_ai_studio.emulator import names
from airflow_provider.yandex_ai_studio.emulator.request import Answer, Request
from airflow_provider.yandex_ai_studio.emulator.routes import (
    chat,
    control,
    endpoints,
    iam,
    models,
    operations,
    responses,
    text_generation,
)
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend
from airflow_provider.yandex_ai_studio.emulator.wire.errors import (
    Shape,
    gateway_error,
    openai_error,
    response_error,
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
    :param openai: whether it follows OpenAI's habits of naming the key.
    :param in_folder: whether its requests must name a folder in a header.
    """

    name: str
    methods: tuple[str, ...]
    path: str
    handler: Handler
    shape: Shape
    authorized: bool = True
    openai: bool = False
    in_folder: bool = False

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
    *(
        Route(name, (method,), path, handler, response_error, openai=True, in_folder=True)
        for name, method, path, handler in (
            (names.RESPONSES_CREATE, "POST", "/v1/responses", responses.create),
            (names.RESPONSES_GET, "GET", "/v1/responses/{response_id}", responses.read),
            (names.RESPONSES_DELETE, "DELETE", "/v1/responses/{response_id}", responses.delete),
            (names.RESPONSES_CANCEL, "POST", "/v1/responses/{response_id}/cancel", responses.cancel),
            (names.RESPONSES_INPUT_ITEMS, "GET", "/v1/responses/{response_id}/input_items", responses.list_input_items),
        )
    ),
    Route(
        names.CHAT_COMPLETIONS,
        ("POST",),
        "/v1/chat/completions",
        chat.complete_chat,
        openai_error,
        openai=True,
    ),
    Route(names.MODELS, ("GET",), "/v1/models", models.list_models, openai_error, openai=True),
    Route(names.IAM_TOKENS, ("POST",), "/iam/v1/tokens", iam.exchange, rpc_status, authorized=False),
    Route(names.ENDPOINTS_LIST, ("GET",), "/endpoints", endpoints.list_endpoints, rpc_status, authorized=False),
    Route(
        names.ENDPOINTS_GET,
        ("GET",),
        "/endpoints/{api_endpoint_id}",
        endpoints.read_endpoint,
        rpc_status,
        authorized=False,
    ),
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
    ("GET", "/_emulator/faults"): control.faults_so_far,
    ("POST", "/_emulator/faults"): control.add_faults,
    ("DELETE", "/_emulator/faults"): control.clear_faults,
    ("POST", "/_emulator/faults/end"): control.end_faults,
    ("POST", "/_emulator/service-account-keys"): control.change_service_account_keys,
    ("POST", "/_emulator/iam-tokens/revoke"): control.revoke_iam_tokens,
    ("POST", "/_emulator/api-keys"): control.change_api_keys,
    ("POST", "/_emulator/clock"): control.advance_clock,
}


def find(method: str, path: str) -> tuple[Route, dict[str, str]] | None:
    """Return the route that serves a path, and the variable parts of the path.

    A path that no route serves under this method leads to one that serves it under another.
    """
    matches = ((route, route.pattern.fullmatch(path)) for route in ROUTES)
    found = [(route, match.groupdict()) for route, match in matches if match]
    return next((pair for pair in found if method in pair[0].methods), found[0] if found else None)
