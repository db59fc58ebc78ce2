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
from typing import Any, TypeVar

from airflow_provider.yandex_ai_studio.api.call import Answer, Call, Rpc, answer_of_grpc, no_answer, unsendable
from airflow_provider.yandex_ai_studio.api.words import within
from airflow_provider.yandex_ai_studio.client import sending
from airflow_provider.yandex_ai_studio.client.body import MAX_BODY, TooLong
from airflow_provider.yandex_ai_studio.client.causes import cause_of
from airflow_provider.yandex_ai_studio.client.credentials import TokenCache
from airflow_provider.yandex_ai_studio.client.network import Network
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.client.triggerer import AsyncClient
from airflow_provider.yandex_ai_studio.client.worker import Client
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError

try:
    import grpc
    import grpc.aio
    import yandex.cloud.ai.foundation_models.v1.text_generation.text_generation_service_pb2 as text_generation
    import yandex.cloud.operation.operation_service_pb2 as operation_service
    from google.protobuf import message_factory
    from google.protobuf.json_format import MessageToDict, ParseDict
except Exception as error:  # stubs that don't fit their runtime raise an error of their own
    raise ConfigurationError(
        "Install the extra that `transport: grpc` of the connection needs, on workers and triggerer alike: pip install "
        f"'airflow-provider-yandex-ai-studio[grpc]'.\nWithout it: {within(error)}. Nothing was sent to the service."
    ) from None

T = TypeVar("T")

PROTOS = {
    "yandex.cloud.ai.foundation_models.v1": text_generation.DESCRIPTOR,
    "yandex.cloud.operation": operation_service.DESCRIPTOR,
}
"""The official stubs, by package."""

NEVER_CONNECTED = ("failed to connect to all addresses", "errors resolving", "DNS resolution failed")
"""How grpc says that it had no connection to send a request on."""


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
        authorization = self._authorization()
        messages = self._begin(call, call.rpc, authorization)
        answer = self._received(call, lambda: next(messages, None))
        if answer is not None and answer.status == 401 and self._tokens.refused(authorization, time.time()):
            messages = self._begin(call, call.rpc, self._authorization())
            answer = self._received(call, lambda: next(messages, None))
        while answer is not None:
            yield sending.read(call, answer, self._tokens, self._settings)
            answer = self._received(call, lambda: next(messages, None))

    def _exchange(self, call: Call[Any], authorization: str | None) -> Answer:
        if call.rpc is None:
            return super()._exchange(call, authorization)
        begun = self._begin(call, call.rpc, authorization)
        receive = (lambda: _last(begun)) if call.rpc.streams else begun.result
        return self._received(call, receive) or Answer(200, b"", {})

    def _begin(self, call: Call[Any], rpc: Rpc, authorization: str | None) -> Any:
        """Send a request, and return what its answer can be had from."""
        request, message = sending.http_request(call, authorization, self._settings), _message(call, rpc)
        with self._failures_of(call):
            channel = self._channel(*self._settings.grpc_target_of(rpc))
            method = _multicallable(channel, rpc)
            send = method if rpc.streams else method.future
            return send(message, timeout=request.timeout, metadata=_metadata(request.headers))

    def _received(self, call: Call[Any], receive: Callable[[], Any]) -> Answer | None:
        with self._failures_of(call, reading=True):
            try:
                message = receive()
                return None if message is None else _good(message)
            except grpc.RpcError as error:
                return _bad(call, error, self._tokens, proxied=self._network.proxy(call.url) is not None)

    def _channel(self, target: str, secure: bool) -> grpc.Channel:
        if target not in self._channels:
            options = _options(self._network, target, secure)
            self._channels[target] = (
                grpc.secure_channel(target, _trust(self._network), options)
                if secure
                else grpc.insecure_channel(target, options)
            )
        return self._channels[target]


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
        request, message = sending.http_request(call, authorization, self.settings), _message(call, call.rpc)
        proxied = self._network.proxy(call.url) is not None
        with sending.failures_of(call, proxied=proxied, conceal=self._tokens.conceal):
            method = _multicallable(self._channel(*self.settings.grpc_target_of(call.rpc)), call.rpc)
            sending.under_way.set(True)
            try:
                return _good(await method(message, timeout=request.timeout, metadata=_metadata(request.headers)))
            except grpc.RpcError as error:
                return _bad(call, error, self._tokens, proxied=proxied)

    def _channel(self, target: str, secure: bool) -> grpc.aio.Channel:
        if target not in self._channels:
            options = _options(self._network, target, secure)
            self._channels[target] = (
                grpc.aio.secure_channel(target, _trust(self._network), options)
                if secure
                else grpc.aio.insecure_channel(target, options)
            )
        return self._channels[target]


def _trust(network: Network) -> grpc.ChannelCredentials:
    return grpc.ssl_channel_credentials(network.ca_certificates())


def _options(network: Network, target: str, secure: bool) -> list[tuple[str, Any]]:
    proxy = network.proxy(f"{'https' if secure else 'http'}://{target}")
    if proxy is not None and proxy.url.startswith("https://"):
        raise ConfigurationError(
            "Set `transport` of the connection to rest, or name a proxy with http:// in HTTPS_PROXY: gRPC can use no "
            "other. Nothing was sent to the service."
        )
    return [
        ("grpc.max_receive_message_length", MAX_BODY),
        ("grpc.min_reconnect_backoff_ms", int(sending.CONNECT_TIMEOUT * 1000)),  # also the time to connect
        ("grpc.enable_http_proxy", int(proxy is not None)),
        *([("grpc.http_proxy", proxy.full_url)] if proxy else []),
    ]


def _multicallable(channel: Any, rpc: Rpc) -> Any:
    request, response = _message_classes(rpc.service, rpc.method)
    make = channel.unary_stream if rpc.streams else channel.unary_unary
    return make(
        f"/{rpc.service}/{rpc.method}",
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )


@cache
def _message_classes(service: str, method: str) -> tuple[Any, Any]:
    package, _, name = service.rpartition(".")
    descriptor = PROTOS[package].services_by_name[name].methods_by_name[method]
    return (
        message_factory.GetMessageClass(descriptor.input_type),
        message_factory.GetMessageClass(descriptor.output_type),
    )


def _message(call: Call[Any], rpc: Rpc) -> Any:
    request, _ = _message_classes(rpc.service, rpc.method)
    try:
        return ParseDict(dict(rpc.message), request())
    except Exception as error:  # ParseError, TypeError, UnicodeError and more, as protobuf's implementations differ
        raise unsendable(call, f"what it is to say can't be written as protobuf ({type(error).__name__})") from None


def _metadata(headers: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
    http_only = {"Accept", "Accept-Encoding", "Content-Type"}
    return tuple((name.lower(), value) for name, value in headers.items() if name not in http_only)


def _last(messages: Any) -> Any:
    last = deque(messages, maxlen=1)
    return last[0] if last else None


def _good(message: Any) -> Answer:
    """Return the answer over REST that a message stands for."""
    if message.DESCRIPTOR.full_name == "yandex.cloud.operation.Operation":
        # Nobody reads them, and they may be packed as anything: what can't be unpacked can't be told either.
        message.ClearField("metadata")
        if message.HasField("error"):
            message.error.ClearField("details")
    try:
        data = MessageToDict(message)
    except Exception:
        return Answer(200, b"", {"content-type": f"application/grpc, {message.DESCRIPTOR.full_name}"})
    return Answer(200, json.dumps(data, ensure_ascii=False).encode(), {})


def _bad(call: Call[Any], error: Any, tokens: TokenCache, *, proxied: bool) -> Answer:
    """
    Return the answer over REST that an error stands for.

    :raises ServiceUnavailable: It is not the service's answer, but grpc's own word that there is none.
    """
    metadata = (*(error.initial_metadata() or ()), *(error.trailing_metadata() or ()))
    headers = {str(name).lower(): str(value) for name, value in metadata}
    code, details = error.code(), str(error.details() or "")
    if "x-request-id" not in headers:
        if code is grpc.StatusCode.RESOURCE_EXHAUSTED and "larger than max" in details:
            raise TooLong
        if code in (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.UNKNOWN, grpc.StatusCode.DEADLINE_EXCEEDED):
            sent = not details.startswith(NEVER_CONNECTED)
            cause = cause_of(error, details=tokens.conceal(details), sent=sent, proxied=proxied)
            # grpc's own error repeats all that was said, which may be a key.
            raise no_answer(call, cause.text, advice=cause.advice, arrived=sent, lasting=cause.lasting) from None
    return answer_of_grpc(int(code.value[0]), details, headers)
