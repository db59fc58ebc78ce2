"""A worker that is killed by the kernel, at any moment, again and again."""

from __future__ import annotations

import json
import os
import random
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.emulator import Emulator
from bulk_task import API_KEY, FOLDER, rows_of

ROWS = int(os.environ.get("BULK_KILL_ROWS", "120"))
SEEDS = int(os.environ.get("BULK_KILL_SEEDS", "1"))
KILLS = 3
PACE = 40


def stretch(folder: Path, doomed: Callable[[], bool]) -> tuple[dict[str, Any] | None, str]:
    """Run a stretch of the task, and return what it says and all that was logged; None where it was killed."""
    log = folder / "log"
    with log.open("a") as output:
        command = [sys.executable, str(Path(__file__).parent / "worker.py"), str(folder)]
        worker = subprocess.Popen(command, stdout=output, stderr=output)
        while worker.poll() is None and not doomed():
            time.sleep(0.002)
        worker.kill()
        worker.wait()
    told = log.read_text()
    if worker.returncode == -signal.SIGKILL:
        (folder / "deferred").unlink(missing_ok=True)
        return None, told
    assert worker.returncode == 0, told[-3000:]
    return json.loads(told.rsplit("RESULT ", 1)[1].splitlines()[0]), told


@pytest.mark.parametrize("seed", range(SEEDS))
def test_a_worker_killed_at_random_moments_loses_no_row_and_tells_what_it_may_have_paid_for(
    connect: Callable[..., None], tmp_path: Path, seed: int
) -> None:
    chance = random.Random(seed)
    (tmp_path / "state").mkdir()
    rows = [{"text": f"Row {number} is about ducks that number {number}."} for number in range(ROWS)]
    (tmp_path / "in.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=0.2, seconds_max=1.5) as emulator:
        connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER, "submits_per_second": PACE})
        for number in chance.sample(range(ROWS), ROWS // 20):
            emulator.fault("completionAsync", "operation_error", match=f"Row {number} ")
        manifest: dict[str, Any] | None = {}
        kills = 0
        while not manifest:
            fatal = emulator.stats()["submissions"] + chance.randrange(1, ROWS // 3)
            moment = chance.uniform(0.0, 0.05)

            def doomed(kills: int = kills, fatal: int = fatal, moment: float = moment) -> bool:
                if kills == KILLS or emulator.stats()["submissions"] < fatal:
                    return False
                time.sleep(moment)
                return True

            manifest, told = stretch(tmp_path, doomed)
            kills += manifest is None
        stats = emulator.stats()
    written = rows_of(tmp_path / "out")
    assert [row["index"] for row in written] == list(range(ROWS))
    assert all(f"number {row['index']}." in row["output"] for row in written)
    lost = manifest["lost_submissions"]
    assert lost == sum(map(int, re.findall(r"(\d+) rows of chunk \d+ may have been billed", told)))
    assert kills > 0
    assert lost <= kills * PACE // 2
    assert manifest["submissions"] == ROWS + manifest["repeated_rows"]
    assert manifest["submissions"] <= stats["submissions"] <= manifest["submissions"] + lost
    if report := os.environ.get("BULK_KILL_REPORT"):
        with Path(report).open("a") as file:
            file.write(json.dumps([seed, kills, stats["submissions"], manifest["repeated_rows"], lost]) + "\n")
