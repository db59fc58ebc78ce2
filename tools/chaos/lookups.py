"""
A secrets backend whose look-ups fail for some seconds, as a vault's do.

Airflow takes a backend that raises for one that knows nothing, asks the next, and says in the end that the connection
is not defined. The trouble begins with the first look-up of a triggerer, so that it meets the waits; from then on,
everybody has it.
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from airflow.secrets.base_secrets import BaseSecretsBackend

FOLDER = "CHAOS_VAULT"
"""The environment variable that names the folder of the vault: its connections are secrets, and stand nowhere else."""


class Vault:
    """
    The folder that the backend reads, seen from the run.

    :param folder: Holds the connections, the word that trouble is to come, and the notes of the look-ups that failed.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._connections = folder / "connections.json"
        self._trouble = folder / "trouble"
        self._failures = folder / "failures"

    def keep(self, connections: Mapping[str, Mapping[str, Any]]) -> None:
        """Keep these connections."""
        self._connections.write_text(json.dumps(connections))

    def break_down(self) -> None:
        """Have trouble from the next look-up of a triggerer on."""
        self._failures.unlink(missing_ok=True)
        self._trouble.touch()

    def recover(self) -> None:
        """Answer again."""
        self._trouble.unlink(missing_ok=True)

    @property
    def broken_since(self) -> float | None:
        """When the first look-up failed since it broke down, in seconds since the epoch; None if none did yet."""
        return float(self._failures.read_text().split()[0]) if self._failures.exists() else None

    def look_up(self, conn_id: str, *, triggerer: bool) -> str | None:
        """
        Return a connection as JSON, or None where there is none.

        :param triggerer: Whether a triggerer asks.
        :raises ConnectionError: It has broken down.
        """
        connection = json.loads(self._connections.read_text()).get(conn_id)
        if connection is None:
            return None
        if self._trouble.exists() and (triggerer or self._failures.exists()):
            with self._failures.open("a") as failures:
                failures.write(f"{time.time()}\n")
            raise ConnectionError("the vault does not answer")
        return json.dumps(connection)


class FlakyBackend(BaseSecretsBackend):
    """Looks connections up in the vault."""

    def get_conn_value(self, conn_id: str, team_name: str | None = None) -> str | None:
        """Return a connection as JSON, if the vault has it."""
        return Vault(Path(os.environ[FOLDER])).look_up(conn_id, triggerer="triggerer" in sys.argv)
