"""Many rows in one task: a killed worker loses no row, and another attempt pays for what has no answer."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path

import pytest

from airflow_provider.yandex_ai_studio.emulator import Emulator
from bulk_task import rows_of
from system.scene import FOLDER, JOURNAL_LASTS, Run, connection_to, eventually
from tools.harness.airflow import LocalAirflow

pytestmark = [
    pytest.mark.system,
    pytest.mark.skipif(not JOURNAL_LASTS, reason="Airflow 3.2 keeps no state, and the operator says so"),
]

ROWS = 40
KNOWN = 12
"""Submissions that are answered before the worker is killed: whole groups at 8 a second."""

GROUP = 4
DOOMED = "Row 37 "


def test_a_bulk_run_outlives_its_worker_and_a_clear_pays_for_the_failed_row_alone(
    airflow: LocalAirflow, tmp_path: Path
) -> None:
    api_key = "AQVNcanary-of-bulk"
    (tmp_path / "in.jsonl").write_text(
        "".join(json.dumps({"text": f"Row {row} is about ducks that number {row}."}) + "\n" for row in range(ROWS))
    )
    with Emulator(api_key=api_key, folder_id=FOLDER, seconds=2, enforce_quotas=True) as emulator:
        airflow.add_connection("bulk", connection_to(emulator.url, password=api_key))
        emulator.fault("completionAsync", "hang", seconds=60, after=KNOWN, times=None)
        conf = {"conn_id": "bulk", "inputs": str(tmp_path / "in.jsonl"), "output_path": str(tmp_path / "out")}
        run = Run(airflow, "system_bulk", airflow.trigger("system_bulk", conf))

        def submissions() -> int:
            return int(emulator.stats()["submissions"])

        eventually(lambda: submissions() == KNOWN + GROUP, "a group in flight", airflow.check)
        os.kill(run.task("generate")["pid"], signal.SIGKILL)
        emulator.clear_faults()
        emulator.fault("completionAsync", "operation_error", match=DOOMED, code=13, message="doomed")

        assert run.wait() == "failed"
        assert run.tries("generate") == 2
        assert submissions() == ROWS + GROUP
        run.log_says("generate", f"{GROUP} rows of chunk 0 may have been billed without a use", tries=2)
        run.log_says("generate", f"1 of {ROWS} rows failed", f"see their `error` in {tmp_path / 'out'}", tries=2)
        manifest = json.loads((tmp_path / "out" / "manifest.json").read_text())
        assert (manifest["submissions"], manifest["lost_submissions"], manifest["repeated_rows"]) == (ROWS, GROUP, 0)
        assert (manifest["counts"]["succeeded"], manifest["counts"]["errored"]) == (ROWS - 1, 1)
        assert [row["status"] for row in rows_of(tmp_path / "out")].index("error") == 37

        run.clear("generate", keep_state=True)
        run.until("generate", "success", tries=3)
        assert run.wait() == "success"
        assert submissions() == ROWS + GROUP + 1
    written = rows_of(tmp_path / "out")
    assert [row["index"] for row in written] == list(range(ROWS))
    assert all(f"number {row['index']}." in row["output"] for row in written)
    assert run.xcom("generate")["counts"]["succeeded"] == ROWS
    run.log_says("generate", "Found an earlier attempt", tries=3)
