"""The fronts of one emulator: HTTP always, gRPC when it is asked for, on one event loop and one state."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from airflow_provider.yandex_ai_studio.emulator.server import Server
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend

if TYPE_CHECKING:
    from airflow_provider.yandex_ai_studio.emulator.rpc.server import GrpcServer

_MISSING = "gRPC needs the extra [grpc]: pip install 'airflow-provider-yandex-ai-studio[grpc]'"


@dataclass(frozen=True)
class Addresses:
    """Say where an emulator is reached.

    :param url: the base URL.
    :param grpc_target: the target of a gRPC channel; ``None`` when it serves no gRPC.
    """

    url: str
    grpc_target: str | None = None


class Fronts:
    """Serve a backend.

    :param port: the port for HTTP; 0 picks a free one.
    :param grpc_port: the port for gRPC; 0 picks a free one, ``None`` serves none.
    :param grpc_tls: speak TLS on it, with a self-signed certificate.
    :raises ImportError: when gRPC is asked for, and its packages are not installed.
    """

    def __init__(
        self,
        backend: Backend,
        port: int = 0,
        grpc_port: int | None = None,
        grpc_tls: bool = False,
    ) -> None:
        self._server = Server(backend, port)
        self._grpc_server: GrpcServer | None = None
        #: What a client of the gRPC channel has to trust, as PEM; ``None`` when that channel is plaintext.
        self.grpc_certificate: bytes | None = None
        if grpc_port is not None:
            self._prepare_grpc(backend, grpc_port, grpc_tls)

    async def start(self) -> Addresses:
        """Begin to listen, and say where.

        :raises OSError: when a port is taken.
        """
        url = await self._server.start()
        if self._grpc_server is None:
            return Addresses(url)
        try:
            return Addresses(url, await self._grpc_server.start())
        except OSError:
            await self.stop()
            raise

    async def stop(self) -> None:
        """Close all connections and stop listening."""
        await self._server.stop()
        if self._grpc_server:
            await self._grpc_server.stop()

    def _prepare_grpc(self, backend: Backend, port: int, tls: bool) -> None:
        try:
            from airflow_provider.yandex_ai_studio.emulator.rpc.certificate import self_signed
            from airflow_provider.yandex_ai_studio.emulator.rpc.server import GrpcServer
        except ModuleNotFoundError as error:
            raise ImportError(f"{_MISSING} ({error})") from None
        certificate = self_signed(backend.settings.host) if tls else None
        self.grpc_certificate = certificate.pem if certificate else None
        self._grpc_server = GrpcServer(backend, port, certificate)
