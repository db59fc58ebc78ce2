"""Canaries: the secrets of the chaos run's connections, and where they must not be found."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import requests

from tools.chaos.plan import CONNECTIONS
from tools.harness.airflow import LocalAirflow
from tools.harness.emulator import LocalEmulator

TIMEOUT = 30.0
"""Seconds for one request to the emulator."""

MADE = {
    "an IAM token": r"t1\.[A-Za-z0-9_-]{40}\.[A-Za-z0-9_-]{86}",
    "a JWT signed with the private key": "eyJhbGciOiJQUzI1NiI",
}
"""What comes of a service-account key on its way, by its form."""


@dataclass(frozen=True)
class Canaries:
    """
    One credential of each kind.

    :param connections: The Airflow connections with them.
    :param secrets: What must not be found, by its name.
    """

    connections: Mapping[str, Mapping[str, Any]]
    secrets: Mapping[str, str]

    @classmethod
    def of(cls, emulator: LocalEmulator) -> Canaries:
        """Have the emulator issue them."""
        metadata = requests.get(
            f"{emulator.url}/computeMetadata/v1/instance/service-accounts/default/token",
            headers={"Metadata-Flavor": "Google"},
            timeout=TIMEOUT,
        )
        metadata.raise_for_status()
        token = metadata.json()["access_token"]
        created = requests.post(f"{emulator.url}/_emulator/service-account-keys", json={}, timeout=TIMEOUT)
        created.raise_for_status()
        key = created.json()
        base = {"conn_type": "yandex_ai_studio", "host": emulator.url}
        extra = {"folder_id": emulator.folder_id}
        credentials: tuple[dict[str, Any], ...] = (
            {"password": emulator.api_key, "extra": extra},
            {"extra": {**extra, "iam_token": token}},
            {"extra": {**extra, "service_account_json": key}},
        )
        pem = [line for line in key["private_key"].splitlines() if len(line) == 64 and " " not in line]
        return cls(
            connections={conn_id: {**base, **it} for conn_id, it in zip(CONNECTIONS, credentials, strict=True)},
            secrets={
                "API key": emulator.api_key,
                "IAM token of the connection": token,
                "private key, first line": pem[0],
                "private key, a line in the middle": pem[len(pem) // 2],
                "private key, last line": pem[-1],
            },
        )

    @property
    def patterns(self) -> dict[str, str]:
        """Regular expressions for the secrets, and for what the run makes of them: tokens and signed requests."""
        return {**{name: re.escape(secret) for name, secret in self.secrets.items()}, **MADE}

    def in_files(self, folder: Path) -> Iterator[str]:
        """Say which secret stands in which file."""
        wanted = {name: re.compile(pattern.encode()) for name, pattern in self.patterns.items()}
        for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
            content = path.read_bytes()
            yield from (f"{name} in {path}" for name, pattern in wanted.items() if pattern.search(content))

    def in_database(self, airflow: LocalAirflow) -> Iterator[str]:
        """Say which secret stands in which table, in any column, as text or as bytes."""
        tables = airflow.sql("select tablename from pg_tables where schemaname = 'public' order by 1")
        if not self._sees(airflow):
            yield "the search is blind: it does not find the connections' host in their own table"
        for table in (row["tablename"] for row in tables):
            for name, pattern in self.patterns.items():
                # Columns of bytes read as hexadecimal digits.
                in_hex = self.secrets[name].encode().hex() if name in self.secrets else pattern
                found = airflow.sql(
                    f'select count(*) as rows from "{table}" t where t::text ~ :pattern or t::text ~ :in_hex',
                    pattern=pattern,
                    in_hex=in_hex,
                )
                if rows := found[0]["rows"]:
                    yield f"{name} in {rows} row(s) of the table {table}"

    def _sees(self, airflow: LocalAirflow) -> bool:
        """Tell whether the search finds what stands in the database in the clear."""
        hosts = {re.escape(str(connection["host"])) for connection in self.connections.values()}
        statement = "select count(*) as rows from connection t where t::text ~ :pattern"
        return all(airflow.sql(statement, pattern=host)[0]["rows"] == len(self.connections) for host in hosts)
