"""The text that the model wrote reaches the task that uses it, on every way that it can take."""

from __future__ import annotations

import hashlib
import sqlite3
from typing import Any

import pytest

from system.plans import AWKWARD, EXAMPLES, PACKAGES
from system.scene import ENDS_IN_TRIGGERER, FOLDER, Run, Service, eventually, text_of
from tools.harness.airflow import LocalAirflow
from tools.harness.emulator import LocalEmulator

pytestmark = pytest.mark.system

GENERATED = {"blocking", "ended_in_triggerer", "resumed_on_worker"}
SENSED = {"sensed_without_worker", "sensed_in_triggerer", "sensed_and_resumed", "poked", "rescheduled"}
DEFERRED = {"ended_in_triggerer", "resumed_on_worker", "sensed_in_triggerer", "sensed_and_resumed"}
if not ENDS_IN_TRIGGERER:
    DEFERRED |= {"sensed_without_worker"}
WAITING = {
    "blocking": "running",
    "sensed_without_worker": "deferred",
    "poked": "running",
    "rescheduled": "up_for_reschedule",
}
USAGE = {"input_tokens", "completion_tokens", "total_tokens"}


@pytest.fixture(scope="module")
def paths(runs: dict[str, Run], services: dict[str, Service]) -> Run:
    """The run, at its end. No operation ended before all its tasks were seen waiting, each in its own way."""
    run = runs["paths"]
    for task_id in DEFERRED:
        run.until_settled(task_id)
    for task_id, state in WAITING.items():
        run.until(task_id, state)
    services["paths"].finish()
    run.wait()
    return run


def test_every_path_ends_well_in_its_first_attempt(paths: Run) -> None:
    instances = paths.airflow.task_instances(paths.dag_id, paths.run_id)
    assert {(task["task_id"], task["state"], task["try_number"]) for task in instances} == {
        (task_id, "success", 1) for path in GENERATED | SENSED for task_id in (path, f"use_{path}")
    } | {("submit", "success", 1)}


@pytest.mark.parametrize("path", sorted(GENERATED | SENSED))
def test_the_next_task_gets_the_text_byte_for_byte(paths: Run, services: dict[str, Service], path: str) -> None:
    operation_id = paths.xcom("submit" if path in SENSED else path, "operation_id")
    text = bytes.fromhex(paths.xcom(f"use_{path}")).decode()
    assert text == services["paths"].text(operation_id)
    assert text == AWKWARD


@pytest.mark.parametrize("path", sorted(GENERATED | SENSED))
def test_beside_the_text_goes_what_it_cost(paths: Run, path: str) -> None:
    usage = paths.xcom(path, "usage")
    assert usage.keys() >= USAGE
    assert all(type(number) is int for number in usage.values())
    assert usage["total_tokens"] == usage["input_tokens"] + usage["completion_tokens"] > 0
    assert paths.xcom(path, "model_version") == "emulator"
    assert paths.xcom(path, "status") == "final"


def test_the_prompt_arrives_byte_for_byte(paths: Run, services: dict[str, Service]) -> None:
    operations = services["paths"].emulator.operations()
    assert {operation["prompt_sha256"] for operation in operations} == {hashlib.sha256(AWKWARD.encode()).hexdigest()}


def test_each_generation_is_submitted_once(paths: Run, services: dict[str, Service]) -> None:
    submitted = {paths.xcom(path, "operation_id") for path in GENERATED | {"submit"}}
    assert submitted == {operation["id"] for operation in services["paths"].emulator.operations()}
    assert services["paths"].submissions == len(GENERATED | {"submit"})
    started_on_workers = SENSED - {"sensed_without_worker"}
    assert {paths.xcom(path, "operation_id") for path in started_on_workers} == {paths.xcom("submit")}


@pytest.mark.parametrize("path", sorted(GENERATED | SENSED))
def test_deferred_tasks_were_deferred_and_no_others(paths: Run, path: str) -> None:
    assert paths.deferrals(path) == (path in DEFERRED)


@pytest.mark.parametrize(
    ("path", "starts"),
    [
        ("sensed_without_worker", 0),
        ("ended_in_triggerer", 1),
        ("sensed_in_triggerer", 1),
        ("resumed_on_worker", 2),
        ("sensed_and_resumed", 2),
    ],
)
def test_the_triggerer_saves_starts_of_workers(paths: Run, path: str, starts: int) -> None:
    paths.log_says(path, "final answer of")
    # A worker says at each start what it runs.
    assert paths.log(path).count("DAG bundles loaded") == (starts if ENDS_IN_TRIGGERER else 2)


@pytest.mark.parametrize("path", sorted(GENERATED | SENSED | {"submit"}))
def test_a_task_leads_to_its_folder_wherever_it_ended(paths: Run, path: str) -> None:
    never_on_worker = ENDS_IN_TRIGGERER and path == "sensed_without_worker"
    folder = None if never_on_worker else f"https://aistudio.yandex.ru/platform/folders/{FOLDER}"
    assert paths.links(path) == {"Yandex AI Studio": folder}


def test_mapped_tasks_give_their_texts_in_order(runs: dict[str, Run], service: LocalEmulator) -> None:
    run = runs["mapped"]
    assert run.wait() == "success"
    prompts = run.xcom("prompts")
    operation_ids = [run.xcom("generate", "operation_id", index) for index in range(len(prompts))]
    texts = run.xcom("use")
    assert texts == [text_of(service.url, service.api_key, operation_id) for operation_id in operation_ids]
    assert texts == prompts  # the emulator repeats a sentence
    assert len(set(operation_ids)) == len(prompts) == run.deferrals("generate") == 5


@pytest.mark.parametrize("name", ["service_account", "iam_token"])
def test_every_credential_leads_to_the_text(runs: dict[str, Run], name: str) -> None:
    run = runs[name]
    assert run.wait() == "success"
    assert bytes.fromhex(run.xcom("exactly")).decode() == run.xcom("generate")
    assert run.deferrals("generate") == 1


@pytest.fixture(scope="module")
def scheduled(airflow: LocalAirflow, runs: dict[str, Run]) -> dict[str, Run]:
    """The runs of the example DAGs, which the scheduler created from their timetables."""
    found: dict[str, Run] = {}

    def created(dag_id: str) -> bool:
        for run in airflow.get(f"/api/v2/dags/{dag_id}/dagRuns")["dag_runs"]:
            found[dag_id] = Run(airflow, dag_id, run["dag_run_id"])
        return dag_id in found

    for dag_id in EXAMPLES:
        eventually(lambda dag_id=dag_id: created(dag_id), f"a scheduled run of {dag_id}", airflow.check)
    return found


def test_the_example_with_mapped_tasks_fills_its_table(scheduled: dict[str, Run], airflow: LocalAirflow) -> None:
    run = scheduled["summarize_dependencies"]
    assert run.wait() == "success"
    assert run.xcom("load") == PACKAGES == run.deferrals("summarize")
    with sqlite3.connect(airflow.env["SUMMARIZE_DATABASE"]) as connected:
        rows: list[tuple[Any, ...]] = connected.execute(
            "select summary, tokens, operation_id from summaries"
        ).fetchall()
    connected.close()
    assert len({operation_id for _, _, operation_id in rows}) == PACKAGES
    assert all(summary and tokens > 0 for summary, tokens, _ in rows)


def test_the_example_that_submits_and_waits_uses_the_text(scheduled: dict[str, Run], service: LocalEmulator) -> None:
    run = scheduled["submit_and_wait"]
    assert run.wait() == "success"
    assert run.xcom("wait", "operation_id") == run.xcom("submit")
    assert run.xcom("wait") == text_of(service.url, service.api_key, run.xcom("submit"))
    assert run.xcom("use") == len(run.xcom("wait").split())
