"""A store that is asked again where it stumbles, by value."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.durability.patient_store import PAUSES, PatientStore
from support import Store

WEEK = timedelta(days=7)


class Stumbling(Store):
    """A store that fails so many times, and notes how long a value is to be kept."""

    def __init__(self, failures: int) -> None:
        super().__init__()
        self.failures = failures
        self.kept: list[timedelta] = []

    def _check(self, method: str) -> None:
        if self.failures:
            self.failures -= 1
            raise ConnectionError(f"the database restarts, and can't {method}")

    def set(self, key: str, value: Any, *, retention: timedelta) -> None:
        super().set(key, value, retention=retention)
        self.kept.append(retention)


class Notes:
    """What was slept and told."""

    def __init__(self) -> None:
        self.slept: list[float] = []
        self.lines: list[str] = []

    def info(self, message: str, *arguments: Any) -> None:
        self.lines.append(message % arguments)

    warning = info


def patient(failures: int) -> tuple[PatientStore, Stumbling, Notes]:
    store, notes = Stumbling(failures), Notes()
    log: Any = notes
    return PatientStore(store, notes.slept.append, log), store, notes


def test_a_store_that_works_is_used_as_it_is() -> None:
    store, known, notes = patient(0)
    store.set("a", 1, retention=WEEK)
    assert (store.get("a"), store.get("b"), known.kept) == (1, None, [WEEK])
    store.delete("a")
    assert (store.get("a"), notes.slept, notes.lines) == (None, [], [])


@pytest.mark.parametrize("failures", [1, 3, len(PAUSES)])
def test_a_store_that_stumbles_is_asked_again_ever_later_and_told_of_once(failures: int) -> None:
    store, known, notes = patient(failures)
    store.set("a", 1, retention=WEEK)
    assert (known.values, known.failures, notes.slept) == ({"a": 1}, 0, [*PAUSES[:failures]])
    assert notes.lines[0] == (
        "The state of the task can't be read or written (the database restarts, and can't set). It is tried again for "
        "68 s; meanwhile nothing more is submitted."
    )
    works = ["The state of the task can be read and written again."]
    assert notes.lines[1:] == (works if failures < len(PAUSES) else [])
    known.failures = 1
    assert store.get("a") == 1
    known.failures = 1
    store.delete("a")
    assert known.values == {}


def test_a_store_that_does_not_recover_ends_the_attempt_with_its_own_error() -> None:
    store, _, notes = patient(len(PAUSES) + 1)
    with pytest.raises(ConnectionError, match="can't get"):
        store.get("a")
    assert notes.slept == [*PAUSES]


def test_what_ends_an_attempt_is_not_taken_for_a_stumble(monkeypatch: pytest.MonkeyPatch) -> None:
    store, known, notes = patient(0)

    def end(_: str) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(known, "get", end)
    with pytest.raises(KeyboardInterrupt):
        store.get("a")
    assert notes.slept == []
