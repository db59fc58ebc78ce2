"""Canaries: the secrets of the chaos run's connections, and where they must not be found."""

from __future__ import annotations

import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tools.chaos.jobs import CONNECTIONS, PACE
from tools.chaos.service import ChaosService
from tools.harness.airflow import LocalAirflow

MADE = {
    "an IAM token": r"t1\.[A-Za-z0-9_-]{40}\.[A-Za-z0-9_-]{86}",
    "a JWT signed with the private key": "eyJhbGciOiJQUzI1NiI",
}
"""What comes of a service-account key on its way, by its form."""


class Canaries:
    """
    A credential of its own for each connection, and all that there ever were.

    :param gateway: The base URL of the gateway.
    """

    def __init__(self, service: ChaosService, gateway: str) -> None:
        self._service = service
        self._gateway = gateway
        self._numbers: dict[str, int] = {}
        self.connections: dict[str, dict[str, Any]] = {}
        """The Airflow connections."""
        self.secrets: dict[str, str] = {}
        """What must not be found, by its name."""
        self.renew(list(CONNECTIONS))

    @property
    def in_airflow(self) -> dict[str, dict[str, Any]]:
        """The connections that Airflow's own database keeps."""
        return {name: it for name, it in self.connections.items() if CONNECTIONS[name].through != "vault"}

    @property
    def in_vault(self) -> dict[str, dict[str, Any]]:
        """The connections that only the secrets backend knows."""
        return {name: it for name, it in self.connections.items() if CONNECTIONS[name].through == "vault"}

    def revoke(self, conn_ids: Sequence[str]) -> None:
        """Have the service refuse the credentials of these connections."""
        tokens = False
        for conn_id in conn_ids:
            connection = self.connections[conn_id]
            if key := connection.get("password"):
                self._service.revoke_api_key(key)
            elif key := connection["extra"].get("service_account_json"):
                self._service.revoke_service_account_key(key["id"])
                tokens = True
            else:
                tokens = True
        if tokens:
            self._service.revoke_iam_tokens()

    def renew(self, conn_ids: Sequence[str]) -> None:
        """Have the service issue new credentials for these connections."""
        for conn_id in conn_ids:
            self._numbers[conn_id] = self._numbers.get(conn_id, 0) + 1
            way = CONNECTIONS[conn_id]
            extra: dict[str, Any] = {"folder_id": self._service.folder_id, "submits_per_second": PACE}
            if way.grpc:
                extra |= {"transport": "grpc", "grpc_target": self._service.grpc_target}
            host = self._gateway if way.through == "gateway" else self._service.url
            connection: dict[str, Any] = {"conn_type": "yandex_ai_studio", "host": host, "extra": extra}
            match way.credential:
                case "api_key":
                    connection["password"] = secret = f"AQVN{secrets.token_urlsafe(27)}"
                    self._service.add_api_key(secret)
                    self._note(conn_id, "API key", secret)
                case "iam_token":
                    extra["iam_token"] = secret = self._service.issue_iam_token()
                    self._note(conn_id, "IAM token", secret)
                case "service_account":
                    extra["service_account_json"] = key = self._service.create_service_account_key()
                    pem = [line for line in key["private_key"].splitlines() if len(line) == 64 and " " not in line]
                    for line in (pem[0], pem[len(pem) // 2], pem[-1]):
                        self._note(conn_id, f"private key, line {pem.index(line) + 1},", line)
            self.connections[conn_id] = connection

    def _note(self, conn_id: str, what: str, secret: str) -> None:
        self.secrets[f"{what} {self._numbers[conn_id]} of {conn_id}"] = secret

    @property
    def patterns(self) -> dict[str, str]:
        """Regular expressions for the secrets, and for what the run makes of them: tokens and signed requests."""
        return {**{name: re.escape(secret) for name, secret in self.secrets.items()}, **MADE}

    def in_files(self, folder: Path, there: Iterable[str]) -> Iterator[str]:
        """
        Say which secret stands in which file.

        :param there: What stands in some file as it is: the search must find that.
        """
        return spilled_in(folder, self.patterns, there)

    def in_database(self, airflow: LocalAirflow) -> Iterator[str]:
        """Say which secrets stand in which table, in any column, as text or as bytes."""
        tables = airflow.sql("select tablename from pg_tables where schemaname = 'public' order by 1")
        if not self._sees(airflow):
            yield "the search is blind: it does not find the connections' host in their own table"
        # Columns of bytes read as hexadecimal digits.
        patterns = [*self.patterns.values(), *(secret.encode().hex() for secret in self.secrets.values())]
        for table in (row["tablename"] for row in tables):
            statement = f'select t::text as row from "{table}" t where t::text ~ :pattern'
            for row in airflow.sql(statement, pattern="|".join(patterns)):
                found = [name for name, pattern in self.patterns.items() if re.search(pattern, row["row"])]
                yield f"{', '.join(found) or 'a secret, as bytes,'} in a row of the table {table}"

    def _sees(self, airflow: LocalAirflow) -> bool:
        """Tell whether the search finds what stands in the database in the clear."""
        statement = "select count(*) as rows from connection t where t::text ~ :pattern"
        hosts = [re.escape(str(connection["host"])) for connection in self.in_airflow.values()]
        return all(airflow.sql(statement, pattern=host)[0]["rows"] == hosts.count(host) for host in hosts)


def spilled_in(folder: Path, patterns: Mapping[str, str], there: Iterable[str]) -> Iterator[str]:
    """
    Say which pattern is found in which file, and whether the search is blind.

    :param there: What must be found.
    """
    wanted = {name: re.compile(pattern.encode()) for name, pattern in patterns.items()}
    unseen = {text.encode() for text in there} or {b"anything at all"}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and not path.is_symlink()):
        content = path.read_bytes()
        unseen = {text for text in unseen if text not in content}
        yield from (f"{name} in {path}" for name, pattern in wanted.items() if pattern.search(content))
    if unseen:
        yield f"the search is blind: it finds {min(unseen).decode()} in no file, and {len(unseen) - 1} more"
