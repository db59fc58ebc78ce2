"""One real Airflow for all system tests. Runs begin together, so that the tests don't wait for one after the other."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import jwt
import pytest
import requests

from system.plans import BY_ASSET, EXAMPLES, PACKAGES, PLANS
from system.scene import Run, Service, connection_to, long_service
from tools.harness.airflow import LocalAirflow
from tools.harness.emulator import LocalEmulator
from tools.harness.postgres import scratch_postgres

HERE = Path(__file__).parent

EXECUTOR = "celery" if os.environ.get("SYSTEM_EXECUTOR") == "celery" else "local"
"""What runs the tasks: `make test-celery` asks for workers."""

SOON_LOST = {
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT": "30",
    "AIRFLOW__SCHEDULER__TASK_INSTANCE_HEARTBEAT_TIMEOUT_DETECTION_INTERVAL": "5",
    "AIRFLOW__WORKERS__MIN_HEARTBEAT_INTERVAL": "2",
}
"""A task whose worker is gone is missed soon; the default is 5 minutes."""

collect_ignore = [] if EXECUTOR == "celery" else ["test_celery.py"]

LAST = ("test_triggerer_restart", "test_secrets")
"""Modules that disturb the others, or look back at what they left."""

SECONDS, SECONDS_MAX = "3", "6"
"""How long an operation takes on the shared emulator."""


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Keep the modules that must come last at the end."""
    items.sort(key=lambda item: LAST.index(item.path.stem) + 1 if item.path.stem in LAST else 0)


@pytest.fixture(scope="session")
def service() -> Iterator[LocalEmulator]:
    """The emulator that the runs share, unless their tests want to decide when operations end."""
    with LocalEmulator("--seconds", SECONDS, "--seconds-max", SECONDS_MAX) as emulator:
        yield emulator


@pytest.fixture(scope="session")
def service_account_key(service: LocalEmulator) -> dict[str, Any]:
    key: dict[str, Any] = requests.post(f"{service.url}/_emulator/service-account-keys", timeout=30).json()
    return key


@pytest.fixture(scope="session")
def iam_token(service: LocalEmulator, service_account_key: dict[str, Any]) -> str:
    """A token that was exchanged by hand, as the vendor's guide shows it."""
    private_key = service_account_key["private_key"]
    now = int(time.time())
    claims = {
        "aud": "https://iam.api.cloud.yandex.net/iam/v1/tokens",
        "iss": service_account_key["service_account_id"],
        "iat": now,
        "exp": now + 3600,
    }
    signed = jwt.encode(
        claims,
        private_key[private_key.index("-----BEGIN") :],
        algorithm="PS256",
        headers={"kid": service_account_key["id"]},
    )
    answer = requests.post(f"{service.url}/iam/v1/tokens", json={"jwt": signed}, timeout=30).json()
    return str(answer["iamToken"])


@pytest.fixture(scope="session")
def airflow(
    tmp_path_factory: pytest.TempPathFactory,
    service: LocalEmulator,
    service_account_key: dict[str, Any],
    iam_token: str,
) -> Iterator[LocalAirflow]:
    """Scheduler, triggerer, DAG processor and API server, with the example DAGs and those of this folder."""
    scratch = tmp_path_factory.mktemp("system")
    shutil.copytree(HERE / "dags", scratch / "dags", ignore=shutil.ignore_patterns("__pycache__"))
    for example in (*EXAMPLES, "review_digest"):
        shutil.copy(HERE.parent.parent / "dags" / f"{example}.py", scratch / "dags")
    to_service = {"url": service.url, "folder_id": service.folder_id}
    with (
        scratch_postgres() as database,
        LocalAirflow(
            home=scratch / "airflow",
            dags_folder=scratch / "dags",
            database=database,
            parallelism=8,
            executor=EXECUTOR,
            env={
                "SUMMARIZE_PACKAGES": str(PACKAGES),
                "SUMMARIZE_DATABASE": str(scratch / "summaries.db"),
                "REVIEWS_FOLDER": str(scratch / "reviews"),
                "AIRFLOW__TRIGGERER__TRIGGERER_HEALTH_CHECK_THRESHOLD": "6",
                "AIRFLOW__TRIGGERER__JOB_HEARTBEAT_SEC": "2",
                **(SOON_LOST if EXECUTOR == "celery" else {}),
            },
            connections={
                "yandex_ai_studio_default": service.connection,
                "service_account": connection_to(**to_service, service_account_json=json.dumps(service_account_key)),
                "iam_token": connection_to(**to_service, iam_token=iam_token),
                "wrong_key": connection_to(**to_service, password="AQVNwrong-key-of-nobody"),
            },
            dags=[*sorted({plan.dag_id for plan in PLANS.values()}), "system_bulk", *BY_ASSET, *EXAMPLES],
            progress=print,
        ) as running,
    ):
        yield running


@pytest.fixture(scope="session")
def services(airflow: LocalAirflow) -> Iterator[dict[str, Service]]:
    """The emulators of the plans that want their own."""
    with contextlib.ExitStack() as stack:
        own = {name: plan for name, plan in PLANS.items() if plan.own_service}
        running = {name: stack.enter_context(long_service(airflow, name)) for name in own}
        for name, plan in own.items():
            if plan.fault:
                running[name].emulator.fault(**plan.fault)
        yield running


@pytest.fixture(scope="session")
def begun() -> dict[str, Run]:
    """All runs so far, by the names of their plans."""
    return {}


@pytest.fixture(scope="session")
def begin(airflow: LocalAirflow, services: dict[str, Service], begun: dict[str, Run]) -> Callable[..., Run]:
    """Begin the run of a plan; with further conf if need be."""

    def begin(name: str, **conf: str) -> Run:
        plan = PLANS[name]
        conn_id = services[name].conn_id if plan.own_service else plan.conn_id
        known = {"conn_id": conn_id, "prompt": plan.prompt, "instructions": "Sum it up."}
        begun[name] = Run(airflow, plan.dag_id, airflow.trigger(plan.dag_id, {**known, **conf}))
        return begun[name]

    return begin


@pytest.fixture(scope="session")
def early(begin: Callable[..., Run]) -> dict[str, Run]:
    """The runs that begin before the first test."""
    return {name: begin(name) for name, plan in PLANS.items() if plan.early}


@pytest.fixture(scope="module")
def runs(request: pytest.FixtureRequest, begin: Callable[..., Run], early: dict[str, Run]) -> dict[str, Run]:
    """The early runs, and those that the module names in ``BEGIN``."""
    return {**early, **{name: begin(name) for name in getattr(request.module, "BEGIN", ())}}
