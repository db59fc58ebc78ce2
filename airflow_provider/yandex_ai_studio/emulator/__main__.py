"""The command: ``python -m airflow_provider.yandex_ai_studio.emulator``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys
from pathlib import Path

from airflow_provider.yandex_ai_studio.emulator.fronts import Addresses, Fronts
from airflow_provider.yandex_ai_studio.emulator.settings import Settings
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend


def main() -> None:
    """Run an emulator until it is told to stop."""
    parser = _parser()
    chosen = parser.parse_args()
    fronts = _fronts(parser, chosen)
    try:
        asyncio.run(_serve(fronts))
    except OSError as error:
        address = error.filename or f"{chosen.host}:{chosen.port}"
        sys.exit(f"can't listen on {address}: {error.strerror}")


def _fronts(parser: argparse.ArgumentParser, chosen: argparse.Namespace) -> Fronts:
    """Return the fronts as they were chosen, or leave with the reason why that can't be."""
    certificate: Path | None = chosen.grpc_certificate
    if certificate and chosen.grpc_port is None:
        parser.error("--grpc-certificate needs --grpc-port")
    try:
        settings = Settings(
            api_key=chosen.api_key,
            folder_id=chosen.folder_id,
            seconds=chosen.seconds,
            seconds_max=chosen.seconds_max,
            latency=chosen.latency,
            enforce_quotas=chosen.enforce_quotas,
            lenient=chosen.lenient,
            host=chosen.host,
        )
        fronts = Fronts(Backend(settings), chosen.port, chosen.grpc_port, certificate is not None)
        if certificate and fronts.grpc_certificate:
            certificate.write_bytes(fronts.grpc_certificate)
    except ValueError as error:
        parser.error(str(error))
    except ImportError as error:
        sys.exit(str(error))
    except OSError as error:
        parser.error(f"can't write {certificate}: {error.strerror}")
    return fronts


async def _serve(fronts: Fronts) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    addresses = await fronts.start()
    print(f"Yandex AI Studio emulator on {_shown(addresses)}", flush=True)
    await stopped.wait()
    await fronts.stop()


def _shown(addresses: Addresses) -> str:
    return addresses.url + (f", gRPC on {addresses.grpc_target}" if addresses.grpc_target else "")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider.yandex_ai_studio.emulator",
        description="Emulate the text-generation API of Yandex AI Studio, without a model.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    add("--port", type=int, default=8085, help="the port to listen on, 0 for a free one (%(default)s)")
    add("--grpc-port", type=int, metavar="PORT", help="serve gRPC on this port too, 0 for a free one (default: don't)")
    add(
        "--grpc-certificate",
        type=Path,
        metavar="FILE",
        help="speak TLS there, and write the certificate that clients must trust to this file",
    )
    add("--api-key", metavar="KEY", help="the only API key that is accepted (default: any)")
    add("--folder-id", metavar="ID", help="the folder that requests must name (default: any)")
    add("--seconds", type=float, default=2.0, metavar="S", help="least time of an operation (%(default)s)")
    add("--seconds-max", type=float, metavar="S", help="longest time of an operation (as --seconds)")
    add("--latency", type=float, default=0.0, metavar="S", help="the time of each answer (%(default)s)")
    add("--enforce-quotas", action="store_true", help="refuse what exceeds the vendor's default quotas")
    add("--lenient", action="store_true", help="take any model, any number of tokens, and responses without a folder")
    return parser


if __name__ == "__main__":
    main()
