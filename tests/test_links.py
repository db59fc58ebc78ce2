"""A task leads to its folder in the vendor's console, where it knows the folder, and asks nobody for it."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import TaskDeferred

from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.operators.bulk import YandexAIStudioBulkCompletionOperator
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from airflow_provider.yandex_ai_studio.operators.responses import YandexAIStudioResponseOperator
from airflow_provider.yandex_ai_studio.sensors.operation import YandexAIStudioOperationSensor
from support import API_KEY, FOLDER, TaskInstance

TASKS: dict[str, Callable[[], BaseOperator]] = {
    "completion": lambda: YandexAIStudioCompletionOperator(task_id="generate", prompt="Tell me of ducks."),
    "response": lambda: YandexAIStudioResponseOperator(task_id="generate", prompt="Tell me of ducks."),
    "bulk": lambda: YandexAIStudioBulkCompletionOperator(task_id="generate", inputs=["Tell me of ducks."]),
    "sensor": lambda: YandexAIStudioOperationSensor(task_id="generate", operation_id="d7q1"),
}


def link_of(task: BaseOperator) -> str:
    """Return what Airflow pushes when a worker is done with a task, deferred or not."""
    (link,) = task.operator_extra_links
    return link.get_link(operator=task, ti_key=TaskInstance())  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", TASKS)
def test_a_task_that_defers_leads_to_its_folder(kind: str, hook: YandexAIStudioHook, context: dict[str, Any]) -> None:
    task = TASKS[kind]()
    task.hook = hook
    with pytest.raises(TaskDeferred):
        task.execute(context)
    assert link_of(task) == f"https://aistudio.yandex.ru/platform/folders/{FOLDER}"
    assert API_KEY not in link_of(task)


@pytest.mark.parametrize("kind", TASKS)
def test_a_task_that_never_came_to_its_connection_has_no_link_and_no_error(kind: str) -> None:
    task = TASKS[kind]()
    assert link_of(task) == ""
    assert task.hook  # type: ignore[attr-defined]
    assert link_of(task) == "", "the link looks no connection up"


def test_a_connection_without_a_folder_has_no_link(connect: Callable[..., None], emulator: Emulator) -> None:
    connect(host=emulator.url, password=API_KEY)
    task = TASKS["completion"]()
    with pytest.raises(ConfigurationError, match="folder_id"):
        task.execute({})  # type: ignore[arg-type]
    assert link_of(task) == ""


def test_a_folder_that_is_no_plain_word_leads_nowhere_else(connect: Callable[..., None]) -> None:
    connect(password=API_KEY, extra={"folder_id": "../b1g?x=1#y"})
    task = TASKS["completion"]()
    assert task.hook.settings.folder_id  # type: ignore[attr-defined]
    assert link_of(task) == "https://aistudio.yandex.ru/platform/folders/..%2Fb1g%3Fx%3D1%23y"


def test_the_link_is_one_for_all_and_airflow_can_store_it() -> None:
    kept = {link.xcom_key: link.name for make in TASKS.values() for link in make().operator_extra_links}
    assert json.dumps(kept) == '{"_link_YandexAIStudioFolderLink": "Yandex AI Studio"}'
