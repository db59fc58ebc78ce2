"""The quota of an hour, in stepped time: the worker is free between the windows, and rows are harvested meanwhile."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from airflow_provider.yandex_ai_studio.emulator import Emulator
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
