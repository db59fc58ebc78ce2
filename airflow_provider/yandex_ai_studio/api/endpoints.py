"""Where the vendor's services are."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError


@dataclass(frozen=True)
class Endpoints:
    """The base URLs of the vendor's services. The defaults are its public ones."""

    llm: str = "https://llm.api.cloud.yandex.net"
    operation: str = "https://operation.api.cloud.yandex.net"
    ai: str = "https://ai.api.cloud.yandex.net"
    iam: str = "https://iam.api.cloud.yandex.net"
    metadata: str = "http://169.254.169.254"

    @classmethod
    def at(cls, base_url: str) -> Endpoints:
        """Return all services at one base URL: the emulator, or a gateway."""
        base_url = base_url.rstrip("/")
        return cls(llm=base_url, operation=base_url, ai=base_url, iam=base_url, metadata=base_url)


def is_id(value: Any) -> bool:
    """Tell whether a value can be asked for as the id of an operation: not what a template makes of a lacking XCom."""
    return isinstance(value, str) and value != "None" and re.fullmatch(r"[A-Za-z0-9_-]{1,200}", value) is not None


def path_segment(operation_id: str) -> str:
    """
    Return an id in the form in which it may stand in a path.

    :raises ConfigurationError: It is no id.
    """
    if not is_id(operation_id):
        raise ConfigurationError(f"{str(operation_id)[:80]!r} is not an operation id. Nothing was sent to the service.")
    return operation_id
