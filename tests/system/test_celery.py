"""What Celery may do to a task: deliver it twice, and lose its worker."""

from __future__ import annotations

import base64
import json
import os
import signal

import pytest
import redis

from system.scene import Run, Service, eventually
from tools.harness.airflow import LocalAirflow
from tools.harness.celery import WORKERS

pytestmark = pytest.mark.system

BEGIN = ("delivered_twice", "lost_worker")


def test_a_task_that_is_delivered_twice_submits_once(
    airflow: LocalAirflow, runs: dict[str, Run], services: dict[str, Service]
) -> None:
    run, service = runs["delivered_twice"], services["delivered_twice"]
    service.until_watched()
    broker = redis.Redis.from_url(airflow.env["AIRFLOW__CELERY__BROKER_URL"])
    # A broker gives a message that was not acknowledged in time to another worker, while the first one works on it.
    messages = [json.loads(entry)[0] for entry in broker.hvals("unacked")]
    [message] = [one for one in messages if f'"{run.run_id}' in message_text(one)]
    before = output_of_workers(airflow)
    broker.lpush("default", json.dumps(message))
    task = message["headers"]["id"]
    eventually(lambda: output_of_workers(airflow).count(task) > before.count(task), "a second delivery", airflow.check)
    eventually(lambda: not broker.llen("default"), "an empty queue", airflow.check)
    service.finish()
    assert run.wait() == "success"
    assert run.tries("generate") == 1
    assert (service.submissions, service.cancellations) == (1, 0)


def test_a_retry_finds_the_operation_of_a_worker_that_was_killed(
    airflow: LocalAirflow, runs: dict[str, Run], services: dict[str, Service]
) -> None:
    run, service = runs["lost_worker"], services["lost_worker"]
    service.until_watched()
    [row] = airflow.sql("select pid from task_instance where run_id = :run", run=run.run_id)
    [worker] = [name for name in WORKERS if airflow.processes[name].pid == os.getsid(row["pid"])]
    airflow.kill(worker, signal.SIGKILL, whole_session=True)
    airflow.restart(worker)
    run.until("generate", "running", tries=2)
    run.log_says("generate", "Found an earlier submission of this task", tries=2)
    service.finish()
    assert run.wait() == "success"
    assert (service.submissions, service.cancellations) == (1, 0)


def message_text(message: dict[str, object]) -> str:
    """Return what a message is about."""
    return base64.b64decode(str(message["body"])).decode().replace("\\", "")


def output_of_workers(airflow: LocalAirflow) -> str:
    return "".join((airflow.home / f"{name}.log").read_text(errors="replace") for name in WORKERS)
