"""Which method of the vendor's services is answered by which route: the vendor's protos say it themselves."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from google.api import annotations_pb2
from google.protobuf import message_factory
from yandex.cloud.ai.foundation_models.v1.text_generation import text_generation_service_pb2
from yandex.cloud.endpoint import api_endpoint_service_pb2
from yandex.cloud.iam.v1 import iam_token_service_pb2
from yandex.cloud.operation import operation_service_pb2

from airflow_provider.yandex_ai_studio.emulator.routes.table import ROUTES, Route

_FILES = (
    text_generation_service_pb2,
    operation_service_pb2,
    iam_token_service_pb2,
    api_endpoint_service_pb2,
)


@dataclass(frozen=True)
class Method:
    """Describe a method: its messages, and its twin among the routes.

    :param request: the class of the message that is sent.
    :param response: the class of the message, or of each message, that is answered.
    :param streams: whether it answers with a stream of messages.
    :param in_path: the fields of the request that stand in the path of the route.
    :param has_body: whether the request is also the body of the route.
    """

    route: Route
    request: Any
    response: Any
    streams: bool
    in_path: tuple[str, ...]
    has_body: bool


def _methods() -> Iterator[tuple[str, Method]]:
    for file in _FILES:
        for service in file.DESCRIPTOR.services_by_name.values():
            for declared in service.methods:
                if route := _twin(declared):
                    yield f"/{service.full_name}/{declared.name}", _method(declared, route)


def _twin(declared: Any) -> Route | None:
    rule = declared.GetOptions().Extensions[annotations_pb2.http]
    verb = rule.WhichOneof("pattern")
    path = getattr(rule, verb)
    return next((route for route in ROUTES if route.path == path and verb.upper() in route.methods), None)


def _method(declared: Any, route: Route) -> Method:
    return Method(
        route,
        message_factory.GetMessageClass(declared.input_type),
        message_factory.GetMessageClass(declared.output_type),
        declared.server_streaming,
        tuple(route.pattern.groupindex),
        bool(declared.GetOptions().Extensions[annotations_pb2.http].body),
    )


#: The methods that are served, by the path under which gRPC calls them.
METHODS = dict(_methods())
