"""The whole of a bulk run, looked at before a row is paid for."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from airflow_provider.yandex_ai_studio.api.checks import wrong
from airflow_provider.yandex_ai_studio.bulk.prompts import custom_id_of, prompt_of
from airflow_provider.yandex_ai_studio.bulk.rows import Source

Twin = tuple[int, str]
"""The row that is asked in place of another one that is the same, and what the other one is called."""


@dataclass(frozen=True)
class Request:
    """One row as it is asked."""

    index: int
    custom_id: str
    prompt: str = field(repr=False)

    @property
    def digest(self) -> bytes:
        """What tells one prompt from another."""
        return hashlib.sha256(self.prompt.encode()).digest()[:16]


@dataclass(frozen=True)
class Reader:
    """
    Turns the rows of a source into requests.

    :param source: Where the rows come from.
    :param render: Fills the prompt; see :func:`~...prompts.prompt_of`.
    :param id_field: The field with the id of a row.
    """

    source: Source
    render: Callable[[Any], str] | None
    id_field: str | None

    def requests(self, rows: Sequence[Any], first: int) -> list[Request]:
        """Return the requests of a chunk whose first row has the index ``first``."""
        return [
            Request(index, custom_id_of(row, index, self.id_field), prompt_of(row, index, self.render))
            for index, row in enumerate(rows, start=first)
        ]

    def chunk(self, number: int, size: int, place: int) -> list[Request]:
        """Read the requests of one chunk again."""
        return self.requests(self.source.chunk(number, size, place), number * size)


@dataclass(frozen=True)
class Plan:
    """
    What all rows together come to.

    :param fingerprint: What tells this set of requests from another, without revealing its texts.
    :param rows: How many there are.
    :param characters: Of all prompts.
    :param characters_asked: Of those that are not the same as another one.
    :param longest: Characters of the longest one.
    :param places: Where each chunk is found again.
    :param digests: What tells each chunk from another.
    :param twins: By chunk and row in it: the row that is asked in its place.
    """

    fingerprint: str
    rows: int
    characters: int
    characters_asked: int
    longest: int
    places: tuple[int, ...]
    digests: tuple[str, ...]
    twins: dict[int, dict[int, Twin]]


def digest_of(requests: Sequence[Request]) -> str:
    """Return what tells one chunk from another."""
    whole = hashlib.sha256()
    for request in requests:
        whole.update(request.digest + request.custom_id.encode() + b"\0")
    return whole.hexdigest()[:32]


def look_through(reader: Reader, *, parameters: str, chunk_size: int, deduplicate: bool) -> Plan:
    """
    Check every row, and lay the run out. Nothing is sent.

    :param parameters: The fingerprint of what all requests have in common.
    :raises ConfigurationError: A row can't be asked, or two have one id.
    """
    whole = hashlib.sha256(parameters.encode())
    places: list[int] = []
    digests: list[str] = []
    twins: dict[int, dict[int, Twin]] = {}
    first_of: dict[bytes, int] = {}
    names: dict[bytes, int] = {}
    rows = characters = asked = longest = 0
    for number, (place, chunk) in enumerate(reader.source.chunks(chunk_size)):
        requests = reader.requests(chunk, rows)
        for request in requests:
            if reader.id_field is not None:
                name = hashlib.sha256(request.custom_id.encode()).digest()[:16]
                if (other := names.setdefault(name, request.index)) != request.index:
                    raise wrong(
                        f"Rows {other} and {request.index} of `inputs` have the same id in `{reader.id_field}`; each "
                        "row needs its own"
                    )
            if deduplicate and (same := first_of.setdefault(request.digest, request.index)) != request.index:
                twins.setdefault(number, {})[request.index - rows] = (same, request.custom_id)
            else:
                asked += len(request.prompt)
            characters += len(request.prompt)
            longest = max(longest, len(request.prompt))
        places.append(place)
        digests.append(digest_of(requests))
        whole.update(digests[-1].encode())
        rows += len(requests)
    return Plan(whole.hexdigest(), rows, characters, asked, longest, tuple(places), tuple(digests), twins)
