"""The rows that a function has returned, kept across the attempts of its task: it need not return the same again."""

from __future__ import annotations

import base64
import hashlib
import json
import zlib
from collections.abc import Callable
from typing import Any

from airflow_provider.yandex_ai_studio.api.checks import wrong
from airflow_provider.yandex_ai_studio.bulk.exact import NoForm, comparable, plain, read
from airflow_provider.yandex_ai_studio.durability.journal import RETENTION, Store

KEY = "yandex_ai_studio_bulk_rows"

PIECE = 60_000
"""Characters of one value of the store: Airflow warns of each that has more than 65,535 bytes."""

MOST_PIECES = 333
"""Some 40 MB of rows, for texts as people write them."""

LONGER = 2 * RETENTION
"""How long rows are kept: longer than the ledger, which is written again and again while they are not."""

RENEWED_AFTER = RETENTION / 2
"""How old kept rows are when the next stretch on a worker writes them again."""

ABOUT = (
    "These rows are kept from an earlier attempt, and the function was not called. To have it write new ones, give it "
    f"other arguments, or delete {KEY!r} from the state of the task"
)
"""What an error about kept rows says beside what is wrong."""


def frozen(rows: Any) -> str:
    """
    Return rows, or the path of a file, in the form in which they are kept.

    :raises ConfigurationError: They hold what has no exact form, or are too many.
    """
    written = [_row(row, index) for index, row in enumerate(rows)] if isinstance(rows, list | tuple) else str(rows)
    try:
        text = json.dumps(written)
    except ValueError:  # Python writes no whole number of more than 4,300 digits
        raise wrong("The rows hold a whole number that is too long to be kept for another attempt") from None
    kept = base64.b64encode(zlib.compress(text.encode())).decode()
    if len(kept) > PIECE * MOST_PIECES:
        raise wrong(
            f"The rows are too many to be kept in Airflow's database ({len(kept)} bytes, compressed). Write them to a "
            "file, and return its path"
        )
    return kept


def thawed(kept: str) -> Any:
    """Return the rows that :func:`frozen` was given."""
    return read(json.loads(zlib.decompress(base64.b64decode(kept))))


def told_apart(arguments: Any) -> tuple[str, set[str]]:
    """
    Return what tells these arguments from others, and the types in them that can't be compared.

    Those count as unchanged: a connection or a client is another object in each process.
    """
    strange: set[str] = set()
    try:
        shown = json.dumps(comparable(arguments, strange))
    except (RecursionError, ValueError):
        shown, strange = "", {"a value that is too deep or too long"}
    return hashlib.sha256(shown.encode()).hexdigest(), strange


class Kept:
    """
    The rows of one task instance.

    :param store: ``context["task_state_store"]``.
    :param clock: Tells the seconds since the epoch.
    """

    def __init__(self, store: Store, clock: Callable[[], float]) -> None:
        self._store = store
        self._clock = clock

    def read(self, arguments: str | None = None) -> str | None:
        """
        Return the rows that are kept, or None. Those that grow old are kept anew.

        :param arguments: Only those that came of these arguments.
        """
        record = self._store.get(KEY)
        if record is None or arguments not in (None, record["arguments"]):
            return None
        pieces = [self._store.get(f"{KEY}_{number}") for number in range(record["pieces"])]
        if None in pieces:
            return None
        kept = "".join(pieces)
        if self._clock() - record["kept_at"] > RENEWED_AFTER.total_seconds():
            self._set(kept, record["arguments"])  # in place: a kill in between leaves them whole
        return kept

    def write(self, kept: str, arguments: str) -> None:
        """Keep the rows that came of these arguments, in place of others."""
        self._store.delete(KEY)
        self._set(kept, arguments)

    def _set(self, kept: str, arguments: str) -> None:
        pieces = [kept[place : place + PIECE] for place in range(0, len(kept), PIECE)]
        for number, piece in enumerate(pieces):
            self._store.set(f"{KEY}_{number}", piece, retention=LONGER)
        record = {"arguments": arguments, "pieces": len(pieces), "kept_at": self._clock()}
        self._store.set(KEY, record, retention=LONGER)


def _row(row: Any, index: int) -> Any:
    try:
        return plain(row)
    except NoForm as error:
        kind = error.kind
    except RecursionError:
        kind = f"{type(row).__name__}, too deep"
    raise wrong(
        f"Row {index} holds a value of the type {kind}, which can't be kept for another attempt. Return texts, or "
        "mappings of texts, numbers, dates and lists"
    )
