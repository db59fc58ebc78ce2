"""What rows hold comes back as it was, and equal arguments look the same."""

from __future__ import annotations

import json
from collections import OrderedDict, namedtuple
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta, timezone
from decimal import Decimal
from enum import Enum, IntEnum
from pathlib import Path
from typing import Any
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from airflow.sdk import ObjectStoragePath
from pydantic import BaseModel

from airflow_provider.yandex_ai_studio.bulk.exact import FORM, NoForm, comparable, plain, read
from airflow_provider.yandex_ai_studio.bulk.kept import frozen, thawed, told_apart
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError


class Size(IntEnum):
    """A number with a name."""

    SMALL = 1


class Kind(Enum):
    """A name."""

    DUCK = 1
    GOOSE = 2


@dataclass
class Bird:
    """A value with fields."""

    kinds: Any


class Note(BaseModel):
    """A value with fields, of pydantic."""

    title: str


class NoTime(datetime):
    """What pandas has in place of a time that is not there."""

    def isoformat(self, *_: Any) -> str:
        return "NaT"


EXACT = [
    None,
    True,
    7,
    10**30,
    0.1,
    float("inf"),
    "",
    "half a pair: \ud83d",
    [1, ["a"]],
    (1, ("a",)),
    {"a": {"b": None}},
    {FORM: 1},
    {FORM: ["decimal", "1"]},
    {FORM: {FORM: Decimal(1)}, "__type": "set"},
    Decimal("19.90"),
    Decimal("40817810099910004312.50"),
    Decimal("1E+3"),
    date(2026, 1, 1),
    datetime(2026, 1, 1, 0, 30, 0, 123456),
    datetime(2026, 1, 1, tzinfo=timezone(timedelta(hours=3, minutes=30))),
    datetime(2026, 1, 1, tzinfo=UTC),
    datetime.max,
    time(1, 2, 3),
    timedelta(days=-1, microseconds=3),
    UUID(int=7),
]


@pytest.mark.parametrize("value", EXACT, ids=lambda value: type(value).__name__)
def test_what_is_kept_comes_back_as_it_was(value: Any) -> None:
    again = thawed(frozen([{"value": value}]))
    assert again == [{"value": value}]
    assert repr(again) == repr([{"value": value}])


def test_not_a_number_comes_back() -> None:
    assert str(thawed(frozen([float("nan"), Decimal("NaN")]))) == "[nan, Decimal('NaN')]"


def test_what_has_a_plainer_form_comes_back_in_that() -> None:
    zoned = datetime(2026, 1, 1, tzinfo=ZoneInfo("Europe/Moscow"))
    rows = [Size.SMALL, OrderedDict(b=1, a=2), namedtuple("Pair", "a b")(1, 2), zoned]
    again = read(json.loads(json.dumps(plain(rows))))
    assert again == [1, {"b": 1, "a": 2}, (1, 2), zoned]
    assert str(again[3]) == str(zoned)
    assert list(again[1]) == ["b", "a"]


def test_a_path_is_kept_as_its_text() -> None:
    assert thawed(frozen(ObjectStoragePath("s3://b/x.jsonl", conn_id="lake"))) == "s3://lake@b/x.jsonl"


@pytest.mark.parametrize(
    ("value", "kind"),
    [
        (object(), "object"),
        ({1}, "set"),
        (b"secret", "bytes"),
        ({"a": [{7: "secret"}]}, "int, as a key"),
        (NoTime(2026, 1, 1), "NoTime"),
        (Kind.DUCK, "Kind"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_has_no_exact_form_is_refused_by_its_row_and_type(value: Any, kind: str) -> None:
    with pytest.raises(NoForm):
        plain(value)
    with pytest.raises(ConfigurationError, match=f"Row 1 holds a value of the type {kind}, which") as refused:
        frozen([{}, {"text": "secret", "value": value}])
    assert "secret" not in str(refused.value)


def test_what_is_too_deep_or_too_long_is_refused() -> None:
    deep: list[Any] = []
    deep.append(deep)
    with pytest.raises(ConfigurationError, match="Row 0 holds a value of the type list, too deep"):
        frozen([deep])
    with pytest.raises(ConfigurationError, match="too long to be kept"):
        frozen([10**5000])
    assert told_apart(deep)[1] == told_apart(10**5000)[1] == {"a value that is too deep or too long"}


@pytest.mark.parametrize(
    ("one", "same"),
    [
        ({8, 0}, {0, 8}),
        (frozenset({"a"}), {"a"}),
        ({"a": 1, "b": 2}, {"b": 2, "a": 1}),
        ({1: {8, 0}}, {1: {0, 8}}),
        (Bird({8, 0}), Bird({0, 8})),
        ([1, 2], (1, 2)),
        (object(), object()),
    ],
    ids=lambda value: type(value).__name__,
)
def test_equal_arguments_look_the_same(one: Any, same: Any) -> None:
    assert told_apart([one]) == told_apart([same])


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({1}, [1]),
        ({1: "a"}, {"1": "a"}),
        ("1", 1),
        (1, True),
        (Decimal("19.90"), Decimal("19.9")),
        (date(2026, 1, 1), "2026-01-01"),
        (Bird(1), Bird(2)),
        (Note(title="a"), Note(title="b")),
        (Kind.DUCK, Kind.GOOSE),
        (b"a", b"b"),
        (Path("/a"), Path("/b")),
        (ObjectStoragePath("s3://a@b/c"), ObjectStoragePath("s3://x@b/c")),
        ([[1], 2], [1, [2]]),
    ],
    ids=lambda value: type(value).__name__,
)
def test_other_arguments_look_different(one: Any, other: Any) -> None:
    assert told_apart([one])[0] != told_apart([other])[0]


def test_what_can_t_be_compared_is_named() -> None:
    strange: set[str] = set()
    assert comparable({"a": [object(), 1]}, strange) == comparable({"a": [object(), 1]}, strange)
    assert strange == {"object"}
