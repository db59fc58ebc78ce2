"""The rows of a function that are kept across attempts: how they lie in the store, and for how long."""

from __future__ import annotations

import hashlib
import json
import random
from datetime import timedelta
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.bulk import kept as module
from airflow_provider.yandex_ai_studio.bulk.kept import KEY, PIECE, Kept, frozen, thawed, told_apart
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError
from support import Store

NOW, DAY = 1_800_000_000.0, 86400.0


class Noting(Store):
    """A store that notes what was written or deleted, and how long it is to be kept."""

    def __init__(self) -> None:
        super().__init__()
        self.did: list[tuple[str, Any]] = []

    def set(self, key: str, value: Any, *, retention: timedelta) -> None:
        self.did.append((key, retention))
        super().set(key, value, retention=retention)

    def delete(self, key: str) -> None:
        self.did.append((key, "deleted"))
        super().delete(key)


def kept(*, at: float = NOW, store: Noting | None = None) -> tuple[Kept, Noting]:
    store = store or Noting()
    return Kept(store, lambda: at), store


LONG = "".join(random.Random(1).choices("abcdefgh", k=2 * PIECE + 5))


def test_rows_lie_in_pieces_and_their_record_is_written_last() -> None:
    rows, store = kept()
    rows.write(LONG, "a")
    pieces = [LONG[:PIECE], LONG[PIECE : 2 * PIECE], LONG[2 * PIECE :]]
    assert store.values == {
        KEY: {"arguments": "a", "pieces": 3, "kept_at": NOW},
        **{f"{KEY}_{number}": piece for number, piece in enumerate(pieces)},
    }
    fortnight = timedelta(days=14)
    assert store.did == [(KEY, "deleted"), *((f"{KEY}_{number}", fortnight) for number in range(3)), (KEY, fortnight)]
    assert rows.read() == rows.read("a") == LONG


def test_rows_of_other_arguments_are_none_of_these() -> None:
    rows, _ = kept()
    assert rows.read() is None
    rows.write("abc", "a")
    assert (rows.read("b"), rows.read(None), rows.read("a")) == (None, "abc", "abc")


def test_rows_of_which_a_piece_is_gone_are_gone() -> None:
    rows, store = kept()
    rows.write(LONG, "a")
    del store.values[f"{KEY}_1"]
    assert rows.read("a") is None


def test_rows_that_grow_old_are_kept_anew_in_place() -> None:
    rows, store = kept()
    rows.write("abc", "a")
    store.did.clear()
    later, _ = kept(at=NOW + 3.5 * DAY, store=store)
    assert (later.read(), store.did) == ("abc", [])
    later, _ = kept(at=NOW + 3.5 * DAY + 1, store=store)
    assert (later.read(), [key for key, _ in store.did]) == ("abc", [f"{KEY}_0", KEY])
    assert store.values[KEY] == {"arguments": "a", "pieces": 1, "kept_at": NOW + 3.5 * DAY + 1}


def test_a_path_and_a_tuple_of_rows_are_kept_as_such() -> None:
    assert thawed(frozen("/data/rows.jsonl")) == "/data/rows.jsonl"
    assert thawed(frozen(("a", {"b": 1}))) == ["a", {"b": 1}]
    assert len(frozen(["the same row"] * 1000)) < 200  # they are compressed


@pytest.mark.parametrize(("longer", "refused"), [(0, False), (1, True)])
def test_as_many_rows_are_kept_as_the_database_bears(
    monkeypatch: pytest.MonkeyPatch, longer: int, refused: bool
) -> None:
    length = len(frozen(["a row"]))
    monkeypatch.setattr(module, "MOST_PIECES", 2)
    monkeypatch.setattr(module, "PIECE", (length - longer) / 2)
    if refused:
        with pytest.raises(ConfigurationError, match=f"({length} bytes, compressed)"):
            frozen(["a row"])
    else:
        assert thawed(frozen(["a row"])) == ["a row"]


def test_a_row_that_can_t_be_kept_is_named_by_its_place() -> None:
    with pytest.raises(ConfigurationError, match="Row 0 holds a value of the type set, which can't be kept"):
        frozen([{1}])
    deep: list[Any] = []
    deep.append(deep)
    with pytest.raises(ConfigurationError, match="Row 1 holds a value of the type list, too deep, which"):
        frozen(["a", deep])


def test_arguments_are_told_apart_by_a_fingerprint_that_is_the_same_in_each_process() -> None:
    shown = json.dumps([{"mapping": [["a", 1]]}])
    assert told_apart([{"a": 1}]) == (hashlib.sha256(shown.encode()).hexdigest(), set())
    assert told_apart([object()])[1] == {"object"}
    assert told_apart(10**5000) == (hashlib.sha256(b"").hexdigest(), {"a value that is too deep or too long"})
