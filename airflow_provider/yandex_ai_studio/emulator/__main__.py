"""The command: ``python -m airflow_provider.yandex_ai_studio.emulator``."""

from __future__ import annotations

import argparse
import asyncio
import signal
import sys

from airflow_provider.yandex_ai_studio.emulator.server import Server
from airflow_provider.yandex_ai_studio.emulator.settings import Settings
from airflow_provider.yandex_ai_studio.emulator.state.backend import Backend


def main() -> None:
    """Run an emulator until it is told to stop."""
    parser = _parser()
    chosen = parser.parse_args()
    try:
        settings = Settings(
            api_key=chosen.api_key,
            folder_id=chosen.folder_id,
            seconds=chosen.seconds,
            seconds_max=chosen.seconds_max,
            latency=chosen.latency,
            enforce_quotas=chosen.enforce_quotas,
        )
    except ValueError as error:
        parser.error(str(error))
    try:
        asyncio.run(_serve(settings, chosen.host, chosen.port))
    except OSError as error:
        sys.exit(f"can't listen on {chosen.host}:{chosen.port}: {error.strerror}")


async def _serve(settings: Settings, host: str, port: int) -> None:
    stopped = asyncio.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        asyncio.get_running_loop().add_signal_handler(number, stopped.set)
    server = Server(Backend(settings), host, port)
    print(f"Yandex AI Studio emulator on {await server.start()}", flush=True)
    await stopped.wait()
    await server.stop()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m airflow_provider.yandex_ai_studio.emulator",
        description="Emulate the text-generation API of Yandex AI Studio, without a model.",
    )
    add = parser.add_argument
    add("--host", default="127.0.0.1", help="the address to listen on (%(default)s)")
    add("--port", type=int, default=8085, help="the port to listen on, 0 for a free one (%(default)s)")
    add("--api-key", metavar="KEY", help="the only API key that is accepted (default: any)")
    add("--folder-id", metavar="ID", help="the folder that requests must name (default: any)")
    add("--seconds", type=float, default=2.0, metavar="S", help="least time of an operation (%(default)s)")
    add("--seconds-max", type=float, metavar="S", help="longest time of an operation (as --seconds)")
    add("--latency", type=float, default=0.0, metavar="S", help="the time of each answer (%(default)s)")
    add("--enforce-quotas", action="store_true", help="refuse what exceeds the vendor's default quotas")
    return parser


if __name__ == "__main__":
    main()
