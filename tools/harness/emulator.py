"""The emulator as a process of its own, for the duration of a ``with`` block."""

from __future__ import annotations

import secrets
import subprocess
import sys
from types import TracebackType
from typing import Any, Self

import requests

STOP_TIMEOUT = 10.0
"""Seconds that the emulator has to stop."""


class LocalEmulator:
    """
    Run the emulator on a free port, with a key that nobody else knows.

    :param options: Further options of its command line, e.g. ``"--seconds", "3"``.
    """

    def __init__(self, *options: str) -> None:
        self.api_key = f"AQVN{secrets.token_urlsafe(27)}"
        self.folder_id = "b1gemulator"
        self._command = [
            *(sys.executable, "-m", "airflow_provider.yandex_ai_studio.emulator", "--port", "0"),
            *("--api-key", self.api_key, "--folder-id", self.folder_id, *options),
        ]

    def __enter__(self) -> Self:
        """Start it, and wait for the line that says its URL."""
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE, text=True, start_new_session=True)
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if "http://" not in line:
            raise RuntimeError(f"The emulator did not start: {line!r}")
        self.url, _, self.grpc_target = line[line.index("http://") :].strip().partition(", gRPC on ")
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop it."""
        self._process.terminate()
        try:
            self._process.communicate(timeout=STOP_TIMEOUT)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.communicate()

    @property
    def connection(self) -> dict[str, Any]:
        """The Airflow connection that leads to it."""
        return {
            "conn_type": "yandex_ai_studio",
            "host": self.url,
            "password": self.api_key,
            "extra": {"folder_id": self.folder_id},
        }

    def stats(self) -> dict[str, Any]:
        """Return what it counted."""
        stats: dict[str, Any] = requests.get(f"{self.url}/_emulator/stats", timeout=30).json()
        return stats

    def fault(self, *faults: dict[str, Any]) -> None:
        """Queue faults."""
        requests.post(f"{self.url}/_emulator/faults", json=list(faults), timeout=30).raise_for_status()

    def operations(self) -> list[dict[str, Any]]:
        """Return all operations that it was ever asked for."""
        operations: list[dict[str, Any]] = requests.get(f"{self.url}/_emulator/operations", timeout=30).json()[
            "operations"
        ]
        return operations
