"""A small internet of our own: a certificate authority, servers that write down what they are asked, and a proxy."""

from __future__ import annotations

import asyncio
import datetime
import gzip
import json
import socket
import socketserver
import ssl
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from airflow_provider.yandex_ai_studio.api.call import Call
from airflow_provider.yandex_ai_studio.client.settings import Settings

ROADS = ("worker", "triggerer", "worker over gRPC", "triggerer over gRPC")


def send(road: str, settings: Settings, *calls: Call[Any]) -> Any:
    """Send calls, each once, by one of the four senders; return what came of the last."""
    from airflow_provider.yandex_ai_studio.client.grpc import GrpcAsyncClient, GrpcClient
    from airflow_provider.yandex_ai_studio.client.triggerer import AsyncClient
    from airflow_provider.yandex_ai_studio.client.worker import Client

    if road.startswith("worker"):
        with (GrpcClient if "gRPC" in road else Client)(settings) as client:
            return [client.send(call, repeat=False) for call in calls][-1]

    async def sent() -> Any:
        try:
            async with (GrpcAsyncClient if "gRPC" in road else AsyncClient)(settings) as client:
                return [await client.send(call) for call in calls][-1]
        finally:
            if settings.endpoints.llm.startswith("https://"):
                await asyncio.sleep(0.1)  # aiohttp goes on closing TLS after it has closed

    return asyncio.run(sent())


class Authority:
    """A certificate authority, and where its certificates lie."""

    def __init__(self, folder: Path, name: str = "Test CA") -> None:
        self.folder = folder
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        self.pem = folder / f"{name}.pem"
        self.pem.write_bytes(self._signed(self._name, self._key, x509.BasicConstraints(ca=True, path_length=0)))

    def certificate(self, *hosts: str) -> tuple[Path, Path]:
        """Return the files of a certificate for these hosts, and of its key."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.DNSName(host) for host in hosts])
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, hosts[0])])
        files = self.folder / f"{hosts[0]}.crt", self.folder / f"{hosts[0]}.key"
        files[0].write_bytes(self._signed(subject, key, names))
        files[1].write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
        return files

    def _signed(self, subject: x509.Name, key: ec.EllipticCurvePrivateKey, what: x509.ExtensionType) -> bytes:
        now = datetime.datetime.now(datetime.UTC)
        is_authority = isinstance(what, x509.BasicConstraints)
        # From Python 3.13 on, the default is strict about what a certificate says of itself.
        uses = dict.fromkeys(
            (
                "content_commitment",
                "key_encipherment",
                "data_encipherment",
                "key_agreement",
                "encipher_only",
                "decipher_only",
            ),
            False,
        )
        use = x509.KeyUsage(
            digital_signature=not is_authority, key_cert_sign=is_authority, crl_sign=is_authority, **uses
        )
        certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(hours=1))
            .not_valid_after(now + datetime.timedelta(hours=1))
            .add_extension(what, critical=is_authority)
            .add_extension(use, critical=True)
            .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
            .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()), critical=False)
            .sign(self._key, hashes.SHA256())
        )
        return certificate.public_bytes(serialization.Encoding.PEM)


@dataclass(frozen=True)
class Asked:
    """A request as it came over the wire. Names of ``headers`` are in lower case."""

    method: str
    path: str
    headers: dict[str, str]
    sni: str | None = None
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """What a server answers."""

    body: Any = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)

    @property
    def content(self) -> bytes:
        return self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()


class Server(ThreadingHTTPServer):
    """
    An HTTP server that writes down what it is asked.

    :param reply: What it answers.
    :param certificate: Files of a certificate and its key, to speak TLS.
    """

    daemon_threads = True

    def __init__(self, reply: Callable[[Asked], Reply], certificate: tuple[Path, Path] | None = None) -> None:
        super().__init__(("127.0.0.1", 0), _Answering)
        self.reply = reply
        self.asked: list[Asked] = []
        self._names: dict[Any, str | None] = {}
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(*certificate)
            context.set_alpn_protocols(["h2", "http/1.1"])  # so that gRPC looks at the certificate too
            context.sni_callback = lambda sock, name, _: self._names.__setitem__(sock, name)
            self.socket = context.wrap_socket(self.socket, server_side=True, do_handshake_on_connect=False)

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def sni(self, connection: Any) -> str | None:
        return self._names.get(connection)

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is no news."""


class _Answering(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: Server

    def _answer(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        headers = {name.lower(): value for name, value in self.headers.items()}
        asked = Asked(self.command, self.path, headers, self.server.sni(self.connection), body)
        self.server.asked.append(asked)
        reply = self.server.reply(asked)
        self.send_response(reply.status)
        self.send_header("Content-Length", str(len(reply.content)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.content)

    do_GET = do_POST = _answer

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


class Raw(socketserver.ThreadingTCPServer):
    """A TCP server that does what it is told with each connection."""

    daemon_threads = True
    block_on_close = False

    def __init__(self, meet: Callable[[socket.socket], None]) -> None:
        super().__init__(("127.0.0.1", 0), _Meeting)
        self.meet = meet

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.server_address[1]}"

    def handle_error(self, *_: Any) -> None:
        """A client that hangs up is no news."""


class _Meeting(socketserver.BaseRequestHandler):
    server: Raw

    def handle(self) -> None:
        self.server.meet(self.request)


class Proxy(Raw):
    """
    A company's proxy: every tunnel and every plain request ends at one server, and is written down.

    :param to: The address of that server.
    :param status: What it answers to who asks for a tunnel.
    """

    def __init__(self, to: str = "", status: int = 200) -> None:
        super().__init__(self._pass_on)
        self.to, self.status = to, status
        self.asked: list[Asked] = []

    @property
    def url(self) -> str:
        return f"http://{self.address}"

    @property
    def tunnels(self) -> list[str]:
        return [asked.path for asked in self.asked if asked.method == "CONNECT"]

    def _pass_on(self, near: socket.socket) -> None:
        head = b""
        while b"\r\n\r\n" not in head:
            if not (chunk := near.recv(65536)):
                return
            head += chunk
        first, *lines = head.partition(b"\r\n\r\n")[0].decode().split("\r\n")
        method, path, _ = first.split(" ")
        headers = dict(line.split(": ", 1) for line in lines)
        self.asked.append(Asked(method, path, {name.lower(): value for name, value in headers.items()}))
        if method == "CONNECT":
            near.sendall(b"HTTP/1.1 %d Whatever\r\nContent-Length: 0\r\n\r\n" % self.status)
            if self.status != 200:
                return
        host, _, port = self.to.partition(":")
        with socket.create_connection((host, int(port))) as far:
            if method != "CONNECT":
                far.sendall(head)
            back = threading.Thread(target=_pump, args=(far, near), daemon=True)
            back.start()
            _pump(near, far)
            back.join(5)


def _pump(source: socket.socket, target: socket.socket) -> None:
    try:
        while chunk := source.recv(65536):
            target.sendall(chunk)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass


@contextmanager
def running(*servers: socketserver.BaseServer) -> Iterator[None]:
    """Let servers run meanwhile."""
    threads = [threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True) for server in servers]
    for thread in threads:
        thread.start()
    try:
        yield
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()


class GrpcServer(grpc.GenericRpcHandler):
    """
    A gRPC server that writes down what it is asked.

    :param reply: Answers a method, by name: bytes, or an iterable of them for a stream; it may abort.
    """

    def __init__(self, reply: Callable[[str, grpc.ServicerContext], Any], **options: Any) -> None:
        self.reply = reply
        self.asked: list[Asked] = []
        self._server = grpc.server(ThreadPoolExecutor(4), handlers=[self], **options)
        self.address = ""

    def service(self, details: Any) -> grpc.RpcMethodHandler:
        metadata = {str(name): str(value) for name, value in details.invocation_metadata}
        self.asked.append(Asked("gRPC", details.method, metadata))

        def streamed(_: Any, context: grpc.ServicerContext) -> Iterator[bytes]:
            reply = self.reply(details.method, context)
            yield from [reply] if isinstance(reply, bytes) else reply

        return grpc.unary_stream_rpc_method_handler(streamed)  # on the wire a stream of one is no different

    @contextmanager
    def running(self, certificate: tuple[Path, Path] | None = None) -> Iterator[GrpcServer]:
        if certificate:
            chain, key = (file.read_bytes() for file in certificate)
            port = self._server.add_secure_port("127.0.0.1:0", grpc.ssl_server_credentials([(key, chain)]))
        else:
            port = self._server.add_insecure_port("127.0.0.1:0")
        self.address = f"127.0.0.1:{port}"
        self._server.start()
        try:
            yield self
        finally:
            self._server.stop(None).wait()


def bomb(mebibytes: int) -> bytes:
    """Return the gzip of many blanks."""
    return gzip.compress(b" " * (mebibytes * 2**20), compresslevel=9)
