"""How single values of an answer are read, whatever they are."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider.yandex_ai_studio.api import values

NOTHING: list[Any] = [None, False, True, 5, 5.0, b"text"]
"""What is neither a text, a list nor an object."""


@pytest.mark.parametrize("value", [*NOTHING, "", [], {}, ["text"]])
def test_a_text_that_must_be_there_is_missed_or_is_none(value: Any) -> None:
    with pytest.raises(ValueError, match="a text is missing"):
        values.text(value)
    assert values.text_or_none(value) is None


def test_a_text_is_given_back() -> None:
    assert values.text("Утка") == values.text_or_none("Утка") == "Утка"


@pytest.mark.parametrize("value", [*NOTHING, "text", {}, ("a",)])
def test_a_list_that_must_be_there_is_missed_or_is_empty(value: Any) -> None:
    with pytest.raises(ValueError, match="a list is missing"):
        values.items(value)
    assert values.objects(value) == []


def test_of_a_list_all_is_given_back_or_the_objects_alone() -> None:
    value = [{"a": 1}, 5, None, [], {}]
    assert values.items(value) == value
    assert values.objects(value) == [{"a": 1}, {}]


@pytest.mark.parametrize("value", [*NOTHING, "text", [1]])
def test_what_is_no_object_has_no_members(value: Any) -> None:
    assert values.members(value) == {}


def test_an_object_has_its_members() -> None:
    assert values.members({"a": 1}) == values.members(MappingProxyType({"a": 1})) == {"a": 1}


@pytest.mark.parametrize(
    ("document", "value"),
    [
        ('{"a": "Утка"}', {"a": "Утка"}),
        ('{"a": "Утка"}'.encode(), {"a": "Утка"}),
        ('\ufeff"a"'.encode(), "a"),
        (b'"a\xffb"', "a\ufffdb"),
        ('"a\\u0000b"', "a\ufffdb"),
        (b'"\\ud83e\\uDD86 \\ud83e \\uDD86 \\uD83E\\n"', "\U0001f986 \ufffd \ufffd \ufffd\n"),
        ('"\\\\u0000 \\\\ud83e"', "\\u0000 \\ud83e"),
        ('"\\u00e9\\ud7ff\\ue000"', "\u00e9\ud7ff\ue000"),
        ("no JSON", None),
        (b"", None),
        ("[" * 100_000, None),
    ],
)
def test_a_document_is_read_so_that_it_can_be_stored(document: bytes | str, value: Any) -> None:
    assert values.decoded(document) == value


PIECES = ["\0", "a", '"', "\\", "u", "\n", "\ud83e", "\udd86", "0000", "\U0001f986", "é"]


@given(st.lists(st.sampled_from(PIECES)).map("".join), st.booleans())
def test_of_a_text_nothing_is_lost_but_what_can_t_be_stored(written: str, escaped: bool) -> None:
    document = json.dumps(written)
    meant = json.loads(document)
    if not escaped:
        document = document.replace("\\ud83e\\udd86", "\U0001f986")
    assert values.decoded(document) == re.sub("[\0\ud800-\udfff]", "\ufffd", meant)


@pytest.mark.parametrize("value", [True, "true", "True", "TRUE"])
def test_a_yes_is_true_or_its_text(value: Any) -> None:
    assert values.flag(value) is True


@pytest.mark.parametrize("value", [False, "false", "yes", "", 1, "1", None, [True], {"true": True}])
def test_all_else_is_a_no(value: Any) -> None:
    assert values.flag(value) is False


@pytest.mark.parametrize(
    ("value", "number"),
    [
        *[(0, 0), (1, 1), (2**63 - 1, 2**63 - 1), ("0", 0), ("30", 30), (30.0, 30)],
        *[("9223372036854775807", 2**63 - 1), ("0000000000000000030", 30)],
        *[(2**63, 0), (-1, 0), (-1.0, 0), ("-1", 0), (1.5, 0), ("1.5", 0), (1e300, 0), (float("inf"), 0)],
        *[("00000000000000000030", 0), ("9" * 5000, 0), ("9223372036854775808", 0), ("٣", 0), ("²", 0), ("", 0)],
        *[(True, 0), (False, 0), (None, 0), ([3], 0), ({}, 0), (float("nan"), 0)],
    ],
)
def test_a_number_of_things_is_a_number_or_its_text_and_nought_if_it_is_none(value: Any, number: int) -> None:
    read = values.count(value)
    assert (read, type(read)) == (number, int)


FIRST, END = pendulum.datetime(2000, 1, 1), pendulum.datetime(2100, 1, 1)


@pytest.mark.parametrize("of", [lambda moment: moment.to_iso8601_string(), lambda moment: int(moment.timestamp())])
@pytest.mark.parametrize("scale", [1, 1000])
def test_the_time_of_an_operation_is_one_of_this_century(of: Callable[[pendulum.DateTime], Any], scale: int) -> None:
    def read(moment: pendulum.DateTime) -> pendulum.DateTime | None:
        value = of(moment)
        return values.moment(value if isinstance(value, str) else value * scale)

    assert read(FIRST) == FIRST
    assert read(END.subtract(seconds=1)) == END.subtract(seconds=1)
    assert read(FIRST.subtract(seconds=1)) is None
    assert read(END) is None


def test_the_time_of_an_operation_is_read_to_the_millisecond() -> None:
    assert (
        values.moment(1_780_000_000_250) == values.moment(1_780_000_000.25) == pendulum.from_timestamp(1_780_000_000.25)
    )


@pytest.mark.parametrize("value", [True, None, [1_780_000_000], {}, 0, float("nan"), float("inf"), "1780000000", ""])
def test_what_is_no_time_of_an_operation_is_none(value: Any) -> None:
    assert values.moment(value) is None


@pytest.mark.parametrize(
    ("value", "meant"),
    [
        ("2026-06-06T12:45:48Z", pendulum.datetime(2026, 6, 6, 12, 45, 48)),
        ("2026-06-06T12:45:48.250Z", pendulum.datetime(2026, 6, 6, 12, 45, 48, 250_000)),
        ("2026-06-06T15:45:48+03:00", pendulum.datetime(2026, 6, 6, 12, 45, 48)),
        ("1969-12-31T23:59:59Z", pendulum.datetime(1969, 12, 31, 23, 59, 59)),
    ],
)
def test_a_time_is_read_in_utc(value: str, meant: pendulum.DateTime) -> None:
    read = values.time(value)
    assert read == meant
    assert read is not None
    assert read.timezone_name == "UTC"


@pytest.mark.parametrize(
    "value",
    [
        None,
        5,
        ["2026-06-06T12:45:48Z"],
        "",
        "2026-06-06",
        "2026-06-06 12:45:48Z",
        "2026-13-06T12:45:48Z",
        "0001-01-01T00:00:00+23:00",
    ],
)
def test_what_is_no_time_is_none(value: Any) -> None:
    assert values.time(value) is None


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("0.5", 0.5),
        ("1e308", 1e308),
        ("1e309", "1e309"),
        ("-1e309", "-1e309"),
        ("NaN", "NaN"),
        ("-Infinity", "-Infinity"),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551616", "18446744073709551616"),
        ("-9223372036854775808", -(2**63)),
        ("-9223372036854775809", "-9223372036854775809"),
        ("100000000000000000000", "100000000000000000000"),
        ("9" * 5000, "9" * 5000),  # more digits than Python turns into a number
    ],
)
def test_a_number_that_can_t_be_stored_stays_the_text_that_it_is_written_as(written: str, read: Any) -> None:
    assert values.decoded(f'{{"n": [{written}]}}') == {"n": [read]}


def nested(depth: int, kind: type) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value] if kind is list else {"a": value}
    return value


@pytest.mark.parametrize("kind", [list, dict])
def test_what_is_nested_too_deeply_can_t_be_stored(kind: type) -> None:
    assert not values.nested_too_deeply(nested(100, kind))
    assert values.unstorable(nested(100, kind)) is None
    assert values.nested_too_deeply(nested(101, kind))
    assert values.unstorable(nested(101, kind)) == "it is nested too deeply to be stored"


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        (None, None),
        ("__id__", None),
        (True, None),
        ([1.5, {"a": [2**64 - 1, -(2**63)]}], None),
        ([1, {"a": [float("inf")]}], values.NOT_FINITE),
        (float("nan"), values.NOT_FINITE),
        ([{"a": 2**64}], "it holds a whole number of more than 64 bits"),
        (-(2**63) - 1, "it holds a whole number of more than 64 bits"),
        (
            [{"a": {"__id__": 1}}],
            "it has a member named __classname__ or __id__, which Airflow does not store",
        ),
    ],
)
def test_why_a_value_can_t_be_stored(value: Any, reason: str | None) -> None:
    assert values.unstorable(value) == reason


NOON = "Sat, 21 Nov 2026 12:00:00 GMT"


@pytest.mark.parametrize(
    ("asked", "date", "seconds"),
    [
        ("5", None, 5.0),
        (" 1.5 ", NOON, 1.5),
        ("60", None, 60.0),
        ("86400", None, 60.0),
        ("1e400", None, 60.0),
        ("0", None, 0.0),
        ("-5", None, 0.0),
        ("nan", None, 0.0),
        ("", NOON, 0.0),
        (None, NOON, 0.0),
        ("soon", NOON, 0.0),
        ("5, 10", NOON, 0.0),
        ("Sat, 21 Nov 2026 12:00:30 GMT", NOON, 30.0),
        ("Sat, 21 Nov 2026 12:00:30 +0000", NOON, 30.0),
        ("Sun, 22 Nov 2026 12:00:00 GMT", NOON, 60.0),
        ("Sat, 21 Nov 2026 11:00:00 GMT", NOON, 0.0),
        ("Sat, 21 Nov 2026 12:00:30 -0000", NOON, 0.0),
        ("Sat, 21 Nov 2026 12:00:30 GMT", None, 0.0),
        ("Sat, 21 Nov 2026 12:00:30 GMT", "noon", 0.0),
    ],
)
def test_a_pause_that_is_asked_for_is_one_of_a_minute_at_most(
    asked: str | None, date: str | None, seconds: float
) -> None:
    assert values.pause_asked(asked, date) == seconds
