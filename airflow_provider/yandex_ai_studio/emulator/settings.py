"""What can be chosen when an emulator is started."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Settings:
    """Hold the choices of one emulator.

    :param api_key: the only API key that is accepted; any non-empty one when ``None``.
    :param folder_id: the folder that every request must name; any folder when ``None``.
    :param seconds: the shortest time that an operation takes.
    :param seconds_max: the longest time that an operation takes; the same as ``seconds`` when ``None``.
    :param latency: the time in seconds that each of the vendor's routes takes to answer.
    :param enforce_quotas: refuse what exceeds the vendor's default quotas.
    :param lenient: take what the service refuses by what it has: any model on any API, inputs of any number of tokens,
        and requests to the Responses API that name no folder.
    :param host: the name or address to listen on.
    :raises ValueError: when a time is negative or the longest is below the shortest.
    """

    api_key: str | None = None
    folder_id: str | None = None
    seconds: float = 2.0
    seconds_max: float | None = None
    latency: float = 0.0
    enforce_quotas: bool = False
    lenient: bool = False
    host: str = "127.0.0.1"

    def __post_init__(self) -> None:
        """Refuse times that can't be."""
        if self.seconds < 0 or self.latency < 0:
            raise ValueError("seconds and latency must not be negative")
        if self.longest < self.seconds:
            raise ValueError(f"seconds_max ({self.seconds_max}) is below seconds ({self.seconds})")

    @property
    def longest(self) -> float:
        """Return the longest time that an operation takes, in seconds."""
        return self.seconds if self.seconds_max is None else self.seconds_max
