"""
A gateway that can die, between one connection and the service: it passes TCP connections on, and knows nothing of them.

    python -m tools.chaos.gateway PORT TARGET_PORT
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import subprocess
import sys
import time
from types import TracebackType
from typing import Self

CHUNK = 64 * 1024
START_TIMEOUT = 20.0
"""Seconds until a gateway must listen."""

CHECK_INTERVAL = 0.05


class Gateway:
    """
    Run a gateway as a process of its own, which is killed without a word and started again at the same port.

    :param port: Its port of 127.0.0.1.
    :param target_port: The one that it leads to.
    """

    def __init__(self, port: int, target_port: int) -> None:
        self._port = port
        self._target_port = target_port
        self.url = f"http://127.0.0.1:{self._port}"

    def __enter__(self) -> Self:
        """Start it."""
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self.kill()

    def start(self) -> None:
        """Start it, and wait until it listens."""
        command = [sys.executable, "-m", "tools.chaos.gateway", str(self._port), str(self._target_port)]
        self._process = subprocess.Popen(command, start_new_session=True)
        deadline = time.monotonic() + START_TIMEOUT
        while time.monotonic() < deadline and self._process.poll() is None:
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", self._port), timeout=1):
                return
            time.sleep(CHECK_INTERVAL)
        raise RuntimeError(f"The gateway at {self.url} does not listen.")

    def kill(self) -> None:
        """End it and all that goes through it, without a farewell."""
        self._process.kill()
        self._process.wait()


async def _serve(port: int, target_port: int) -> None:
    async def passed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            there, back = await asyncio.open_connection("127.0.0.1", target_port)
        except OSError:
            writer.close()
            return
        await asyncio.gather(_pump(reader, back), _pump(there, writer))

    server = await asyncio.start_server(passed, "127.0.0.1", port)
    async with server:
        await server.serve_forever()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with contextlib.suppress(OSError):
        while data := await reader.read(CHUNK):
            writer.write(data)
            await writer.drain()
    writer.close()


if __name__ == "__main__":
    asyncio.run(_serve(int(sys.argv[1]), int(sys.argv[2])))
