"""How long a task waits, and how it ends when that was not long enough."""

from __future__ import annotations

import pytest

from system.scene import Run, Service, eventually, needs_journal
from tools.harness.airflow import LocalAirflow

pytestmark = pytest.mark.system

BEGIN = ("rotated_key", "failed_operation_sensed", "last_execution_timeout")


def test_a_wait_survives_the_rotation_of_its_key(
    runs: dict[str, Run], services: dict[str, Service], airflow: LocalAirflow
) -> None:
    run, service = runs["rotated_key"], services["rotated_key"]
    service.until_watched()
    service.emulator.add_api_key("AQVNcanary-of-the-new-key")
    service.emulator.revoke_api_key(service.api_key)
    eventually(lambda: service.reads["401"] > 0, "a refused question", airflow.check)
    airflow.patch(
        f"/api/v2/connections/{service.conn_id}?update_mask=password",
        json={
            "connection_id": service.conn_id,
            "conn_type": "yandex_ai_studio",
            "password": "AQVNcanary-of-the-new-key",
        },
    )
    answered = service.reads["200"]
    eventually(lambda: service.reads["200"] > answered, "an answer to the new key", airflow.check)
    service.finish()
    assert run.wait() == "success"
    assert (run.tries("generate"), service.submissions, service.cancellations) == (1, 1, 0)
    run.log_says("generate", "the wait goes on", "The service answers again", "final answer of")


def test_a_task_that_finds_the_quota_spent_waits_for_its_turn_without_a_worker(
    runs: dict[str, Run], services: dict[str, Service]
) -> None:
    run, service = runs["spent_quota"], services["spent_quota"]
    service.until_watched()
    service.finish()
    assert run.wait() == "success"
    assert (run.tries("generate"), service.submissions, run.deferrals("generate")) == (1, 1, 2)
    run.log_says("generate", "a quota of the cloud is used up", "The task tries again in", "final answer of")


@needs_journal
def test_a_timeout_names_the_operation_and_leaves_it_alone(runs: dict[str, Run], services: dict[str, Service]) -> None:
    run, service = runs["timeout"], services["timeout"]
    assert run.wait() == "failed"
    (operation,) = service.emulator.operations()
    run.log_says("generate", "OperationTimeout", f"Operation {operation['id']} still runs after the deadline")
    assert operation["state"] == "running"
    assert service.cancellations == 0


@needs_journal
def test_a_retry_after_a_timeout_waits_as_long_again_and_does_not_pay_again(
    runs: dict[str, Run], services: dict[str, Service]
) -> None:
    run, service = runs["timeout"], services["timeout"]
    assert run.wait() == "failed"
    assert run.tries("generate") == 2
    assert service.submissions == 1
    assert run.deferrals("generate") == 2
    run.log_says("generate", "Found an earlier submission of this task", "as long again", "OperationTimeout", tries=2)


@pytest.mark.parametrize(
    ("task_id", "state", "reason"),
    [
        ("strict", "failed", "AirflowSensorTimeout"),
        ("soft", "skipped", "Skipping task"),
        ("strict_poke", "failed", "AirflowSensorTimeout"),
        ("soft_poke", "skipped", "Sensor has timed out"),
    ],
)
def test_a_sensor_times_out_as_sensors_do(
    runs: dict[str, Run], services: dict[str, Service], task_id: str, state: str, reason: str
) -> None:
    run, service = runs["sensor_timeout"], services["sensor_timeout"]
    run.wait()
    assert (run.state(task_id), run.tries(task_id)) == (state, 1)
    run.log_says(task_id, reason)
    assert service.states == ["running"]
    assert service.cancellations == 0


@pytest.fixture(scope="module")
def failed(runs: dict[str, Run], services: dict[str, Service]) -> Run:
    """A run whose sensors wait for an operation that fails."""
    run, service = runs["failed_operation_sensed"], services["failed_operation_sensed"]
    for task_id in ("strict", "soft"):
        run.until_settled(task_id)
    run.until("soft_poke", "running")
    service.finish()
    run.wait()
    return run


@pytest.mark.parametrize(
    ("task_id", "state"),
    [
        ("strict", "failed"),
        ("soft", "skipped"),
        ("soft_poke", "skipped"),
        ("soft_late", "skipped"),
    ],
)
def test_a_sensor_takes_a_failed_operation_as_soft_fail_says(failed: Run, task_id: str, state: str) -> None:
    assert (failed.state(task_id), failed.tries(task_id)) == (state, 1)
    if state == "failed":
        failed.log_says(task_id, f"Operation {failed.xcom('submit')} failed: doomed (code 13)")


def test_the_operation_of_a_last_attempt_that_runs_out_of_time_is_cancelled(
    runs: dict[str, Run], services: dict[str, Service]
) -> None:
    run, service = runs["last_execution_timeout"], services["last_execution_timeout"]
    assert run.wait() == "failed"
    run.log_says("generate", "AirflowTaskTimeout")
    assert service.states == ["cancelled"]
