"""
The gRPC road, for those who chose ``transport: grpc`` in their connection.

The same calls, values and errors as over REST: a call that has an ``rpc`` goes over gRPC as its proto3 JSON, what comes
back is read as the JSON of an answer, and an error as the HTTP status that it stands for. What has no ``rpc`` (tokens,
models, Responses) goes over REST.

.. seealso:: https://yandex.cloud/en/docs/foundation-models/operations/yandexgpt/create-prompt
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from importlib import import_module
from typing import Any, TypeVar

from airflow_provider.yandex_ai_studio.api.call import Answer, Call, Rpc, no_answer
from airflow_provider.yandex_ai_studio.client import sending
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.client.triggerer import AsyncClient
from airflow_provider.yandex_ai_studio.client.worker import Client
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError

try:
    import grpc
    import grpc.aio
    from google.protobuf import message_factory
    from google.protobuf.json_format import MessageToDict, ParseDict
except ImportError:
    raise ConfigurationError(
        "The connection asks for `transport: grpc`, which needs the extra: pip install "
        "'airflow-provider-yandex-ai-studio[grpc]'. Nothing was sent to the service."
    ) from None

T = TypeVar("T")

PROTOS = {
    "yandex.cloud.ai.foundation_models.v1": (
        "yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2"
    ),
    "yandex.cloud.operation": "yandex.cloud.operation.operation_service_pb2",
}
"""The modules of the official stubs, by package."""

HTTP_STATUS = {3: 400, 4: 504, 5: 404, 7: 403, 8: 429, 12: 501, 13: 500, 14: 503, 16: 401}
"""What a gRPC code would be over REST, as the vendor's table says."""

NOT_REACHED = ("failed to connect", "Connection refused", "DNS resolution failed", "Name or service not known")
"""How grpc says that a request was never sent."""


class GrpcClient(Client):
    """Sends calls from a worker over gRPC."""

    def __init__(self, settings: Settings, *, sleep: Callable[[float], None] = time.sleep) -> None:
        super().__init__(settings, sleep=sleep)
        self._channels: dict[str, grpc.Channel] = {}

    def close(self) -> None:
        """Close the channels and connections."""
        for channel in self._channels.values():
            channel.close()
        super().close()

    def stream(self, call: Call[T]) -> Iterator[T]:
        """
        Send a call whose answer comes in messages, and yield what each says.

        :raises RequestError: It failed, or the stream broke. It is not repeated.
        """
        if call.rpc is None:
            yield from super().stream(call)
            return
        request = sending.http_request(call, self._authorization(), self._settings)
        try:
            for message in self._method(call.rpc)(
                _message(call.rpc), timeout=request.timeout, metadata=_metadata(request.headers)
            ):
                yield sending.read(call, _good(message), self._tokens)
        except grpc.RpcError as error:
            sending.read(call, _bad(call, error), self._tokens)

    def _exchange(self, call: Call[Any], authorization: str | None) -> Answer:
        if call.rpc is None:
            return super()._exchange(call, authorization)
        request = sending.http_request(call, authorization, self._settings)
        try:
            answer = self._method(call.rpc)(
                _message(call.rpc), timeout=request.timeout, metadata=_metadata(request.headers)
            )
            return _good(_last(answer) if call.rpc.streams else answer)
        except grpc.RpcError as error:
            return _bad(call, error)

    def _method(self, rpc: Rpc) -> Callable[..., Any]:
        target, secure = self._settings.grpc_target_of(rpc)
        channel = self._channels.get(target)
        if channel is None:
            credentials = grpc.ssl_channel_credentials()
            channel = grpc.secure_channel(target, credentials) if secure else grpc.insecure_channel(target)
            self._channels[target] = channel
        return _multicallable(channel, rpc)


class GrpcAsyncClient(AsyncClient):
    """Sends calls from an event loop over gRPC: one channel for all waits."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(settings)
        self._channels: dict[str, grpc.aio.Channel] = {}

    async def close(self) -> None:
        """Close the channels and connections."""
        for channel in self._channels.values():
            await channel.close()
        await super().close()

    async def _exchange(self, call: Call[Any], authorization: str | None) -> Answer:
        if call.rpc is None:
            return await super()._exchange(call, authorization)
        request = sending.http_request(call, authorization, self.settings)
        try:
            return _good(
                await self._method(call.rpc)(
                    _message(call.rpc), timeout=request.timeout, metadata=_metadata(request.headers)
                )
            )
        except grpc.RpcError as error:
            return _bad(call, error)

    def _method(self, rpc: Rpc) -> Callable[..., Any]:
        target, secure = self.settings.grpc_target_of(rpc)
        channel = self._channels.get(target)
        if channel is None:
            credentials = grpc.ssl_channel_credentials()
            channel = grpc.aio.secure_channel(target, credentials) if secure else grpc.aio.insecure_channel(target)
            self._channels[target] = channel
        return _multicallable(channel, rpc)


def _multicallable(channel: Any, rpc: Rpc) -> Callable[..., Any]:
    request, response = _message_classes(rpc.service, rpc.method)
    make = channel.unary_stream if rpc.streams else channel.unary_unary
    method: Callable[..., Any] = make(
        f"/{rpc.service}/{rpc.method}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
    return method


@cache
def _message_classes(service: str, method: str) -> tuple[Any, Any]:
    package, _, name = service.rpartition(".")
    descriptor = import_module(PROTOS[package]).DESCRIPTOR.services_by_name[name].methods_by_name[method]
    import_module(PROTOS["yandex.cloud.ai.foundation_models.v1"])  # what an operation's response is packed as
    return (
        message_factory.GetMessageClass(descriptor.input_type),
        message_factory.GetMessageClass(descriptor.output_type),
    )


def _message(rpc: Rpc) -> Any:
    request, _ = _message_classes(rpc.service, rpc.method)
    return ParseDict(dict(rpc.message), request())


def _metadata(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    http_only = {"Accept", "Content-Type"}
    return tuple((name.lower(), value) for name, value in headers.items() if name not in http_only)


def _last(messages: Any) -> Any:
    last = deque(messages, maxlen=1)
    return last[0] if last else None


def _good(message: Any) -> Answer:
    data = None if message is None else MessageToDict(message)
    return Answer(200, json.dumps(data).encode(), {})


def _bad(call: Call[Any], error: Any) -> Answer:
    """
    Return the answer over REST that an error stands for.

    :raises ServiceUnavailable: It is not the service's answer, but grpc's own word that there is none.
    """
    trailing = {str(name).lower(): str(value) for name, value in error.trailing_metadata() or ()}
    code, details = int(error.code().value[0]), str(error.details() or "")
    if "x-request-id" not in trailing and error.code() in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN):
        arrived = not any(sign in details for sign in NOT_REACHED)
        raise no_answer(call, f"the connection failed (gRPC {error.code().name})", arrived=arrived) from error
    if "x-request-id" not in trailing and error.code() is grpc.StatusCode.DEADLINE_EXCEEDED:
        raise no_answer(call, sending.NO_ANSWER_IN_TIME, arrived=True) from error
    body = json.dumps({"code": code, "message": details}).encode()
    return Answer(HTTP_STATUS.get(code, 500), body, trailing)
