"""What wakes a bulk task up. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Wakeup:
    """
    What the trigger of a bulk run has found out.

    :param reason: Why it woke the task, in words.
    :param expired: Operations that the service does not know, however often it was asked.
    :param refused: Whether the service refused to answer, however often it was asked.
    :param chunks: The chunks whose operations have all ended; None where that is not known.
    """

    reason: str = ""
    expired: tuple[str, ...] = ()
    refused: bool = False
    chunks: tuple[int, ...] | None = None

    @classmethod
    def of(cls, event: Mapping[str, Any]) -> Wakeup:
        """Read the event of the trigger, of this release or another."""
        chunks = event.get("chunks")
        return cls(
            str(event.get("reason", "")),
            tuple(event.get("expired", ())),
            bool(event.get("refused")),
            None if chunks is None else tuple(chunks),
        )

    def event(self) -> dict[str, Any]:
        """Return what the trigger fires: never what the model wrote."""
        return {
            "reason": self.reason,
            "expired": list(self.expired),
            "refused": self.refused,
            "chunks": None if self.chunks is None else list(self.chunks),
        }
