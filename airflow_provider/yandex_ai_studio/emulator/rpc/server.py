"""The gRPC server, beside the HTTP server on the same event loop and the same state."""

from __future__ import annotations

import asyncio
import errno
from collections.abc import AsyncIterator
from functools import partial
from typing import Any, NoReturn

import grpc
import grpc.aio

from airflow_provider.yandex_ai_studio.emulator import names
from airflow_provider.yandex_ai_studio.emulator.dispatch import serve
from airflow_provider.yandex_ai_studio.emulator.rpc import translation
from airflow_provider.yandex_ai_studio.emulator.rpc.certificate import Certificate
from airflow_provider.yandex_ai_studio.emulator.rpc.methods import METHODS, Method
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend

#: How long calls that are under way may take to end when the server stops.
_SHUTDOWN_SECONDS = 0.2

_NOT_SERVED = 501
_REFUSED = 300

_MOST_PENDING = 100_000
_OPTIONS = [
    # By default a second emulator would share a port that is taken, instead of failing.
    ("grpc.so_reuseport", 0),
    # By default gRPC begins to cancel calls at random when a thousand have arrived at once.
    ("grpc.server.max_pending_requests", _MOST_PENDING),
    ("grpc.server.max_pending_requests_hard_limit", _MOST_PENDING),
]

#: What grpc-core says when a connection breaks before there is an answer.
_BROKEN = "Socket closed"


class GrpcServer:
    """Serve a backend over gRPC.

    :param port: the port to listen on; 0 picks a free one.
    :param certificate: speak TLS with it; without one the channel is plaintext.
    """

    def __init__(self, backend: Backend, port: int, certificate: Certificate | None) -> None:
        self._backend = backend
        self._port = port
        self._certificate = certificate
        self._server: Any = None

    async def start(self) -> str:
        """Begin to listen, and return the target of a channel.

        :raises OSError: when the port is taken.
        """
        self._server = grpc.aio.server(options=_OPTIONS)
        self._server.add_generic_rpc_handlers((_Handlers(self._backend),))
        host = self._backend.settings.host
        port = self._listen(f"{host}:{self._port}")
        await self._server.start()
        self._backend.grpc_target = f"{host}:{port}"
        return self._backend.grpc_target

    async def stop(self) -> None:
        """Close all connections and stop listening."""
        if self._server:
            await self._server.stop(_SHUTDOWN_SECONDS)

    def _listen(self, address: str) -> int:
        try:
            if self._certificate is None:
                return int(self._server.add_insecure_port(address))
            pair = (self._certificate.private_key, self._certificate.pem)
            return int(self._server.add_secure_port(address, grpc.ssl_server_credentials([pair])))
        except RuntimeError as error:
            raise OSError(errno.EADDRINUSE, str(error), address) from None


class _Handlers:
    """Find the handler of each call, in the form that grpc.GenericRpcHandler prescribes."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend

    def service(self, call: Any) -> Any:
        """Return the handler of a call; ``None`` refuses it as not implemented."""
        method = METHODS.get(call.method)
        if method is None:
            self._backend.stats.request(names.UNKNOWN)
            self._backend.stats.response(names.UNKNOWN, _NOT_SERVED)
            return None
        kind, answer = (
            (grpc.unary_stream_rpc_method_handler, self._stream)
            if method.streams
            else (grpc.unary_unary_rpc_method_handler, self._single)
        )
        return kind(partial(answer, method), method.request.FromString, method.response.SerializeToString)

    async def _single(self, method: Method, message: Any, context: Any) -> Any:
        (reply,) = await self._replies(method, message, context)
        return reply

    async def _stream(self, method: Method, message: Any, context: Any) -> AsyncIterator[Any]:
        for reply in await self._replies(method, message, context):
            yield reply

    async def _replies(self, method: Method, message: Any, context: Any) -> list[Any]:
        try:
            request = translation.to_request(
                method, message, context.invocation_metadata(), self._backend.ids.request()
            )
        except ValueError as error:
            await _abort(context, grpc.StatusCode.INVALID_ARGUMENT, str(error))
        # A client that has stopped waiting does not undo the call: over HTTP it can't either.
        answer = await asyncio.shield(serve(self._backend, method.route, request))
        if answer is None:
            await _abort(context, grpc.StatusCode.UNAVAILABLE, _BROKEN)
        await asyncio.sleep(answer.seconds)  # a message comes whole or not at all
        metadata = translation.trailing_metadata(request, answer)
        if answer.status >= _REFUSED:
            status = translation.to_status(answer)
            context.set_trailing_metadata([*metadata, (translation.STATUS_DETAILS, status.SerializeToString())])
            await _abort(context, translation.to_code(status), status.message)
        try:
            replies = translation.to_messages(method, answer)
        except ValueError:
            await _abort(context, grpc.StatusCode.UNKNOWN, f"the answer is no {method.response.DESCRIPTOR.full_name}")
        context.set_trailing_metadata(metadata)
        return replies


async def _abort(context: Any, code: Any, details: str) -> NoReturn:
    await context.abort(code, details)
    raise AssertionError("abort always raises")
