"""The rows that a function has returned, kept across the attempts of its task: it need not return the same again."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any

from airflow_provider.yandex_ai_studio.api.checks import wrong
from airflow_provider.yandex_ai_studio.durability.journal import RETENTION, Store

KEY = "yandex_ai_studio_bulk_rows"

PIECE = 200_000
"""Characters of one value of the store: Airflow's database takes that in some 20 ms."""

MOST_PIECES = 100
"""Some 40 MB of rows, for texts as people write them."""


def frozen(rows: Any) -> str:
    """
    Return rows in the form in which they are kept.

    :raises ConfigurationError: They hold what Airflow has no form for, or are too many.
    """
    from airflow.sdk.serde import serialize

    try:
        plain = [serialize(row) for row in rows] if isinstance(rows, list | tuple) else serialize(rows)
        kept = base64.b64encode(zlib.compress(json.dumps(plain).encode())).decode()
    except (AttributeError, TypeError, ValueError, RecursionError) as error:
        raise wrong(
            f"The rows hold what can't be kept for another attempt ({type(error).__name__}). Return texts, or mappings "
            "of texts, numbers and dates"
        ) from None
    if len(kept) > PIECE * MOST_PIECES:
        raise wrong(
            f"The rows are too many to be kept in Airflow's database ({len(kept)} bytes, compressed). Write them to a "
            "file, and return its path"
        )
    return kept


def thawed(kept: str) -> Any:
    """Return the rows that :func:`frozen` was given."""
    from airflow.sdk.serde import deserialize

    plain = json.loads(zlib.decompress(base64.b64decode(kept)))
    return [deserialize(row) for row in plain] if isinstance(plain, list) else deserialize(plain)


class Kept:
    """
    The rows of one task instance.

    :param store: ``context["task_state_store"]``.
    """

    def __init__(self, store: Store) -> None:
        self._store = store

    def read(self, arguments: str | None = None) -> str | None:
        """
        Return the rows that are kept, or None.

        :param arguments: Only those that came of these arguments.
        """
        record = self._store.get(KEY)
        if record is None or arguments not in (None, record["arguments"]):
            return None
        pieces = [self._store.get(f"{KEY}_{number}") for number in range(record["pieces"])]
        return None if None in pieces else "".join(pieces)

    def write(self, kept: str, arguments: str) -> None:
        """Keep the rows that came of these arguments, in place of others."""
        self._store.delete(KEY)
        pieces = [kept[place : place + PIECE] for place in range(0, len(kept), PIECE)]
        for number, piece in enumerate(pieces):
            self._store.set(f"{KEY}_{number}", piece, retention=RETENTION)
        self._store.set(KEY, {"arguments": arguments, "pieces": len(pieces)}, retention=RETENTION)
