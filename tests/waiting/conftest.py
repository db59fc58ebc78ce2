"""What the tests of waits in virtual time share."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.waiting import poller
from virtual_waits import EPOCH, now


@pytest.fixture
def virtual(monkeypatch: pytest.MonkeyPatch) -> None:
    """The poller's time of day is that of the loop, and nothing is left to chance."""
    monkeypatch.setattr(poller, "time", SimpleNamespace(time=lambda: EPOCH + now()))
    monkeypatch.setattr(poller, "random", SimpleNamespace(random=lambda: 1.0))


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    """What the poller tells monitoring."""
    told: list[Any] = []
    monkeypatch.setattr(poller, "tell", lambda *metrics, tags: told.append((*metrics, dict(tags))))
    return told
