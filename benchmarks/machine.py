"""On what was measured. Neither names nor paths."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = (
    "airflow-provider-yandex-ai-studio",
    "apache-airflow",
    "aiohttp",
    "grpcio",
    "apache-airflow-providers-openai",
    "openai",
    "apache-airflow-providers-anthropic",
    "anthropic",
    "apache-airflow-providers-common-ai",
)


def described() -> dict[str, Any]:
    """Return cores, memory, system and versions."""
    return {
        "cores": len(os.sched_getaffinity(0)),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 1024**3),
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "packages": {name: _version(name) for name in PACKAGES},
    }


def load() -> float:
    """Return how many processes wanted a core in the last minute, on average."""
    return round(os.getloadavg()[0], 1)


def _version(name: str) -> str | None:
    try:
        return version(name)
    except PackageNotFoundError:
        return None
