"""What it costs to read an answer: a triggerer reads those of all on its event loop."""

from __future__ import annotations

import sys
import tracemalloc
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api import values

LONG = 8 * 2**20
"""The bytes that an answer may have."""


def filled(item: str) -> str:
    return f"[{','.join([item] * (LONG // (len(item) + 1) - 1))}]"


@pytest.mark.parametrize(
    "document",
    [
        filled('{"":[]}'),
        '"' + "\\u0000" * (LONG // 6 - 1) + '"',
        '"\U0001f986\\u0000' + "\\\\" * (LONG // 2 - 8) + '"',
    ],
    ids=lambda document: document[:8],
)
def test_no_answer_within_the_bound_takes_more_than_so_much_memory(document: str) -> None:
    """The triggerer reads the answers of all: 32 MiB of them once took more than a gigabyte."""
    sent = document.encode()
    assert LONG * 0.9 < len(sent) <= LONG
    tracemalloc.start()
    try:
        assert values.decoded(sent) is not None
        assert tracemalloc.get_traced_memory()[1] < 40 * LONG
    finally:
        tracemalloc.stop()


def test_no_python_runs_for_each_escape() -> None:
    calls = 0

    def count(_: Any, event: str, __: Any) -> None:
        nonlocal calls
        calls += event == "call"

    document = "[" + ",".join(['"\\n\\u0000\\ud83e\\ud83e\\udd86", 1, 0.5'] * 1000) + "]"
    values.decoded(document)  # regular expressions are compiled once
    sys.setprofile(count)
    try:
        values.decoded(document)
    finally:
        sys.setprofile(None)
    assert calls < 50
