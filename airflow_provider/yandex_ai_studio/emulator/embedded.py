"""The front for tests: the same server, in a thread of the process that uses it."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Future
from types import TracebackType
from typing import Any, TypeVar

from airflow_provider.yandex_ai_studio.emulator.fronts import Addresses, Fronts
from airflow_provider.yandex_ai_studio.emulator.routes import control
from airflow_provider.yandex_ai_studio.emulator.settings import Settings
from airflow_provider.yandex_ai_studio.emulator.state import faults
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend
from airflow_provider.yandex_ai_studio.emulator.state.credentials import TOKEN_SECONDS

T = TypeVar("T")

_START_SECONDS = 10


class Emulator:
    """Run an emulator for the time of a ``with`` block.

    Each method may be called from any thread: the server's own thread does the work.

    :param grpc: serve gRPC too, on a free port. It needs the extra ``[grpc]``.
    :param grpc_tls: speak TLS there, with a self-signed certificate, for clients that insist on it.

    The other parameters are those of :class:`~airflow_provider.yandex_ai_studio.emulator.settings.Settings`.

    :raises ImportError: when gRPC is asked for, and its packages are not installed.
    """

    def __init__(
        self,
        *,
        api_key: str | None = None,
        folder_id: str | None = None,
        seconds: float = 2.0,
        seconds_max: float | None = None,
        latency: float = 0.0,
        enforce_quotas: bool = False,
        lenient: bool = False,
        grpc: bool = False,
        grpc_tls: bool = False,
    ) -> None:
        self._backend = Backend(Settings(api_key, folder_id, seconds, seconds_max, latency, enforce_quotas, lenient))
        self._fronts = Fronts(self._backend, grpc_port=0 if grpc or grpc_tls else None, grpc_tls=grpc_tls)
        self._thread = threading.Thread(target=self._run, name="yandex-ai-studio-emulator", daemon=True)
        self._started: Future[Addresses] = Future()
        self._loop: asyncio.AbstractEventLoop
        self._stopped: asyncio.Event

    def __enter__(self) -> Emulator:
        """Start, and return when requests are answered."""
        self._thread.start()
        self._started.result(_START_SECONDS)
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        """Stop, and return when all connections are closed."""
        self._loop.call_soon_threadsafe(self._stopped.set)
        self._thread.join()

    @property
    def url(self) -> str:
        """Return the base URL, for the host of a connection."""
        return self._addresses.url

    @property
    def grpc_target(self) -> str:
        """Return the target of a gRPC channel, such as ``127.0.0.1:8086``.

        :raises ValueError: when the emulator serves no gRPC.
        """
        if self._addresses.grpc_target is None:
            raise ValueError("this emulator serves no gRPC: start it as Emulator(grpc=True)")
        return self._addresses.grpc_target

    @property
    def grpc_certificate(self) -> bytes:
        """Return the certificate that a gRPC channel has to trust, as PEM.

        :raises ValueError: when the channel is plaintext.
        """
        if self._fronts.grpc_certificate is None:
            raise ValueError("this emulator has no certificate: start it as Emulator(grpc_tls=True)")
        return self._fronts.grpc_certificate

    def stats(self) -> dict[str, Any]:
        """Return what was counted, as ``GET /_emulator/stats`` does."""
        return self._call(lambda: control.read_stats(self._backend))

    def operations(self) -> list[dict[str, Any]]:
        """Return all operations, as ``GET /_emulator/operations`` does."""
        return self._call(lambda: control.list_operations(self._backend))

    def fault(self, route: str, kind: str, **members: object) -> None:
        """Queue a fault, with the members that ``POST /_emulator/faults`` takes.

        :raises ValueError: when a route, kind or member is unknown.
        """
        parsed = faults.parse({"route": route, "kind": kind, **members})
        self._call(lambda: self._backend.faults.add(*parsed))

    def faults(self) -> list[dict[str, Any]]:
        """Return all faults that were queued, as ``GET /_emulator/faults`` does."""
        return self._call(lambda: control.list_faults(self._backend))

    def end_faults(self, route: str | None = None) -> None:
        """Let no fault of this route, or none at all, hit any more, and what hangs go on."""
        self._call(lambda: self._backend.faults.end(route))

    def clear_faults(self) -> None:
        """End all faults and forget them."""
        self._call(self._backend.faults.clear)

    def advance(self, seconds: float) -> None:
        """Move the emulator's time forward: operations end, tokens and results expire."""
        self._call(lambda: self._backend.clock.advance(seconds))

    def create_service_account_key(self, token_seconds: float = TOKEN_SECONDS) -> dict[str, Any]:
        """Return a new authorized key, whose IAM tokens live for ``token_seconds``."""
        return self._call(lambda: self._backend.credentials.create_service_account_key(token_seconds))

    def revoke_service_account_key(self, key_id: str) -> None:
        """Refuse from now on to issue tokens for an authorized key; those that were issued go on.

        :raises ValueError: when there is no such key.
        """
        self._call(lambda: self._backend.credentials.revoke_service_account_key(key_id))

    def revoke_iam_tokens(self) -> None:
        """Refuse from now on all IAM tokens that were issued."""
        self._call(self._backend.credentials.revoke_tokens)

    def rotate_api_key(self, key: str) -> None:
        """Accept this API key and no other from now on."""
        self._call(lambda: self._backend.credentials.rotate_api_key(key))

    def add_api_key(self, key: str) -> None:
        """Accept an API key from now on."""
        self._call(lambda: self._backend.credentials.add_api_key(key))

    def revoke_api_key(self, key: str) -> None:
        """Refuse an API key from now on."""
        self._call(lambda: self._backend.credentials.revoke_api_key(key))

    @property
    def _addresses(self) -> Addresses:
        return self._started.result(_START_SECONDS)

    def _call(self, function: Callable[[], T]) -> T:
        async def call() -> T:
            return function()

        return asyncio.run_coroutine_threadsafe(call(), self._loop).result(_START_SECONDS)

    def _run(self) -> None:
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopped = asyncio.Event()
        try:
            addresses = await self._fronts.start()
        except OSError as error:
            self._started.set_exception(error)
            return
        self._started.set_result(addresses)
        await self._stopped.wait()
        await self._fronts.stop()
