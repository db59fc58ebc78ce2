"""The quota of an hour, in stepped time: the worker is free between the windows, and rows are harvested meanwhile."""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Callable
from pathlib import Path

import pytest

from airflow_provider.yandex_ai_studio.bulk.submitting import KEPT_SHARE, PROBE_SECONDS
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.waiting.schedule import RateBudget
from bulk_task import API_KEY, FOLDER, BulkTask

HOUR = 3600.0


def test_12_000_rows_take_the_hours_that_the_quota_gives_and_no_worker_waits(
    connect: Callable[..., None], tmp_path: Path
) -> None:
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=5, seconds_max=20, enforce_quotas=True) as emulator:
        connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER, "submits_per_second": 10})
        path = tmp_path / "in.jsonl"
        path.write_text("".join(json.dumps({"text": f"Ducks number {row}."}) + "\n" for row in range(12_000)))
        run = BulkTask(emulator, inputs=str(path), prompt="{{ row.text }}", output_path=str(tmp_path / "out"))
        began = run.clock.now
        waited = []
        wait = run._wait

        def note(trigger: object) -> None:
            at, done = run.clock.now, len(list((tmp_path / "out").glob("part-*")))
            wait(trigger)
            waited.append((run.clock.now - at, done))

        run._wait = note  # type: ignore[method-assign]
        manifest = run.attempt()
        took = run.clock.now - began
        assert manifest["counts"]["succeeded"] == manifest["submissions"] == run.submissions == 12_000
        assert 2 * HOUR < took < 2 * HOUR + 1800
        on_a_worker = took - sum(seconds for seconds, _ in waited)
        assert on_a_worker < 1.2 * 1200
        assert len(waited) < 30
        assert any(0 < done < 40 for _, done in waited)  # harvested while others wait
        assert run.refusals < 0.02 * 12_000


QUOTA = 10


class Service:
    """Admits so many requests in any second."""

    def __init__(self) -> None:
        self._admitted: deque[float] = deque()
        self.refusals = 0

    def admits(self, now: float) -> bool:
        while self._admitted and self._admitted[0] <= now - 1:
            self._admitted.popleft()
        if len(self._admitted) < QUOTA:
            self._admitted.append(now)
            return True
        self.refusals += 1
        return False


@pytest.mark.parametrize("pace", [8.0, 10.0])
@pytest.mark.parametrize(("tasks", "most"), [(1, 1.3), (2, 1.25), (3, 1.2), (5, 1.2)])
def test_tasks_that_know_nothing_of_each_other_share_the_quota(tasks: int, most: float, pace: float) -> None:
    rows = 400
    service = Service()
    budgets = [RateBudget(pace, PROBE_SECONDS, KEPT_SHARE) for _ in range(tasks)]
    left, turn, now = [rows] * tasks, [0.13 * number for number in range(tasks)], 0.0
    while any(left):
        task = min((number for number in range(tasks) if left[number]), key=lambda number: turn[number])
        now = turn[task]
        delay, size = budgets[task].next_round(now)
        turn[task] = now + (0.06 if size else max(delay, 0.001))
        if not size:
            continue
        size = min(size, left[task])
        budgets[task].sent(now, size)
        admitted = sum(service.admits(now) for _ in range(size))
        left[task] -= admitted
        for _ in range(size):
            budgets[task].answered(now + 0.03)
        if admitted < size:
            budgets[task].slow_down(now + 0.03)
    assert now < most * tasks * rows / QUOTA
    assert service.refusals < 0.12 * tasks * rows
