"""The HTTP front: one port for everything that the vendor serves on several hosts."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Awaitable, Callable

from aiohttp import web
from multidict import CIMultiDict

from airflow_provider.yandex_ai_studio.emulator.dispatch import dispatch
from airflow_provider.yandex_ai_studio.emulator.request import Answer, Request
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend
from airflow_provider.yandex_ai_studio.emulator.state.stats import Stats

_Handler = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]

#: How long requests that are under way may take to end when the server stops.
_SHUTDOWN_SECONDS = 0.2

_BACKLOG = 1024

#: How many pieces a body is cut into that goes out slowly.
_PIECES = 20

_CHUNK = 1 << 20
_AS_GZIP = 16


class Server:
    """Serve a backend over HTTP.

    :param port: the port to listen on; 0 picks a free one.
    """

    def __init__(self, backend: Backend, port: int = 0) -> None:
        self._backend = backend
        self._port = port
        self._runner: web.ServerRunner | None = None

    async def start(self) -> str:
        """Begin to listen, and return the base URL.

        :raises OSError: when the port is taken.
        """
        self._runner = web.ServerRunner(
            _CountingServer(self._handle, self._backend.stats),
            shutdown_timeout=_SHUTDOWN_SECONDS,
        )
        await self._runner.setup()
        host = self._backend.settings.host
        await web.TCPSite(self._runner, host, self._port, backlog=_BACKLOG).start()
        port = self._runner.addresses[0][1]
        return f"http://{host}:{port}"

    async def stop(self) -> None:
        """Close all connections and stop listening."""
        if self._runner:
            await self._runner.cleanup()

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        body = await request.content.read()
        answer = await dispatch(
            self._backend,
            request.method,
            request.path,
            Request(request.headers, body, id=self._backend.ids.request(), query=request.query),
        )
        if answer is not None:
            return await _send(request, answer)
        if request.transport:
            request.transport.close()
        return web.Response()


class _CountingServer(web.Server):
    """Count the TCP connections, which aiohttp itself knows only while they are open."""

    def __init__(self, handler: _Handler, stats: Stats) -> None:
        super().__init__(handler, access_log=None)
        self._stats = stats

    def connection_made(self, handler: web.RequestHandler, transport: asyncio.Transport) -> None:
        super().connection_made(handler, transport)
        self._stats.connection_opened()

    def connection_lost(self, handler: web.RequestHandler, exc: BaseException | None = None) -> None:
        super().connection_lost(handler, exc)
        self._stats.connection_closed()


async def _send(request: web.BaseRequest, answer: Answer) -> web.StreamResponse:
    headers = CIMultiDict({"Content-Type": answer.content_type})
    headers.update(answer.headers)
    parts = answer.parts
    if answer.unpacked is not None:
        headers["Content-Encoding"] = "gzip"
        parts = (await asyncio.to_thread(_gzipped, b"".join(parts), answer.unpacked),)
    if answer.seconds:
        parts = _pieces(b"".join(parts))
    if len(parts) == 1 and answer.ends:
        return web.Response(status=answer.status, headers=headers, body=parts[0])
    response = web.StreamResponse(status=answer.status, headers=headers)
    await response.prepare(request)
    await response.write(parts[0])
    for part in parts[1:]:
        await asyncio.sleep(answer.seconds / (len(parts) - 1))
        await response.write(part)
    if not answer.ends and request.transport:
        request.transport.close()
        return response
    await response.write_eof()
    return response


def _pieces(body: bytes) -> tuple[bytes, ...]:
    size = len(body) // _PIECES + 1
    return tuple(body[at : at + size] for at in range(0, len(body), size)) or (b"",)


def _gzipped(body: bytes, unpacked: int) -> bytes:
    """Compress a body that unpacks to so many bytes, without ever holding these: JSON may end in white space."""
    packer = zlib.compressobj(wbits=zlib.MAX_WBITS | _AS_GZIP)
    packed = [packer.compress(body)]
    for at in range(len(body), unpacked, _CHUNK):
        packed.append(packer.compress(b" " * min(_CHUNK, unpacked - at)))
    return b"".join((*packed, packer.flush()))
