"""The emulator of a chaos run: what its credentials are, and how it goes wrong as a whole."""

from __future__ import annotations

import signal
from collections.abc import Mapping
from typing import Any

import requests

from tools.harness.emulator import LocalEmulator

TIMEOUT = 30.0
"""Seconds for one request to the emulator."""


class ChaosService(LocalEmulator):
    """Run the emulator, over REST and gRPC."""

    def __init__(self, *options: str) -> None:
        super().__init__("--grpc-port", "0", *options)

    @property
    def port(self) -> int:
        """The port of REST."""
        return int(self.url.rpartition(":")[2])

    def freeze(self) -> None:
        """Answer nothing from now on, and refuse no connection."""
        self._process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """Go on."""
        self._process.send_signal(signal.SIGCONT)

    def faults(self) -> list[dict[str, Any]]:
        """Return all faults that were queued, and when each hit."""
        answer = requests.get(f"{self.url}/_emulator/faults", timeout=TIMEOUT)
        answer.raise_for_status()
        faults: list[dict[str, Any]] = answer.json()["faults"]
        return faults

    def refusals(self) -> int:
        """Return how many requests were answered with a 401."""
        return sum(int(statuses.get("401", 0)) for statuses in self.stats()["responses"].values())

    def add_api_key(self, key: str) -> None:
        """Accept an API key."""
        self._control("api-keys", {"add": key})

    def revoke_api_key(self, key: str) -> None:
        """Refuse an API key."""
        self._control("api-keys", {"revoke": key})

    def revoke_service_account_key(self, key_id: str) -> None:
        """Issue no more tokens for an authorized key."""
        self._control("service-account-keys", {"revoke": key_id})

    def revoke_iam_tokens(self) -> None:
        """Refuse all tokens that were issued."""
        self._control("iam-tokens/revoke", {})

    def create_service_account_key(self) -> dict[str, Any]:
        """Return a new authorized key."""
        return self._control("service-account-keys", {})

    def issue_iam_token(self) -> str:
        """Return a new token."""
        answer = requests.get(
            f"{self.url}/computeMetadata/v1/instance/service-accounts/default/token",
            headers={"Metadata-Flavor": "Google"},
            timeout=TIMEOUT,
        )
        answer.raise_for_status()
        return str(answer.json()["access_token"])

    def _control(self, route: str, body: Mapping[str, Any]) -> dict[str, Any]:
        answer = requests.post(f"{self.url}/_emulator/{route}", json=body, timeout=TIMEOUT)
        answer.raise_for_status()
        value: dict[str, Any] = answer.json()
        return value
