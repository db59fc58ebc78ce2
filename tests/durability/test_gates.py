"""A task ends in the triggerer only where Airflow loses nothing by it; each thing that it would lose is a gate."""

from __future__ import annotations

from collections.abc import Callable
from types import ModuleType
from typing import Any

import pytest
from airflow.sdk import DAG, Asset, BaseOperator, BaseOperatorLink
from airflow.sdk.bases.xcom import BaseXCom
from airflow.sdk.exceptions import TaskDeferred
from airflow.sdk.execution_time import xcom
from airflow.sdk.listener import get_listener_manager

from airflow_provider.yandex_ai_studio.durability.resume import why_on_worker
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.links import YandexAIStudioFolderLink
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from airflow_provider.yandex_ai_studio.sensors.operation import YandexAIStudioOperationSensor
from support import ENDS_IN_TRIGGERER

pytestmark = pytest.mark.skipif(not ENDS_IN_TRIGGERER, reason="Airflow 3.2: no task ends in the triggerer")


class Link(BaseOperatorLink):
    name = "A link"

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return "http://127.0.0.1"


class WithLink(YandexAIStudioCompletionOperator):
    operator_extra_links = (Link(),)


class OwnKind(YandexAIStudioFolderLink):
    name = "A link that knows more"


class WithLinkOfItsOwnKind(YandexAIStudioCompletionOperator):
    operator_extra_links = (OwnKind(),)


class WithOneMoreLink(YandexAIStudioCompletionOperator):
    operator_extra_links = (*YandexAIStudioCompletionOperator.operator_extra_links, Link())


class WithPostExecute(YandexAIStudioCompletionOperator):
    def post_execute(self, context: Any, result: Any = None) -> None:
        """Do something of its own."""


def task(
    kind: type[YandexAIStudioCompletionOperator] = YandexAIStudioCompletionOperator, **parameters: Any
) -> YandexAIStudioCompletionOperator:
    with DAG("dag"):
        return kind(task_id="generate", prompt="Tell me of ducks.", **parameters)


def mapped_over() -> YandexAIStudioCompletionOperator:
    with DAG("dag"):
        upstream = YandexAIStudioCompletionOperator(task_id="generate", prompt="Tell me of ducks.")
        YandexAIStudioCompletionOperator.partial(task_id="another").expand(prompt=upstream.output)
    return upstream


def returned_by_its_dag() -> YandexAIStudioCompletionOperator:
    made = task()
    made.returns_dag_result = True
    return made


def test_a_task_that_needs_nothing_of_a_worker_ends_in_the_triggerer() -> None:
    assert task().operator_extra_links, "the link of this package is no gate"
    assert why_on_worker(task()) is None


@pytest.mark.parametrize(
    ("make", "gate"),
    [
        (lambda: task(do_xcom_push=False), "`do_xcom_push` is off"),
        (lambda: task(multiple_outputs=True), "it has `multiple_outputs`"),
        (lambda: task(outlets=[Asset("text")]), "it has `outlets`"),
        (lambda: task(on_success_callback=print), "it has an `on_success_callback`"),
        (lambda: task(WithLink), "it has extra links of its own"),
        (lambda: task(WithOneMoreLink), "it has extra links of its own"),
        (lambda: task(WithLinkOfItsOwnKind), "it has extra links of its own"),
        (lambda: task(WithPostExecute), "it has a `post_execute`"),
        (lambda: task(post_execute=print), "it has a `post_execute`"),
        (mapped_over, "another task is mapped over what it returns"),
        (returned_by_its_dag, "it returns the result of its DAG"),
    ],
    ids=[
        "no XCom",
        "multiple outputs",
        "outlets",
        "callback",
        "extra links",
        "one more extra link",
        "a kind of this package's link",
        "own post_execute",
        "post_execute of the DAG",
        "mapped over",
        "result of the DAG",
    ],
)
def test_what_a_task_needs_of_a_worker_is_a_gate(
    make: Callable[[], YandexAIStudioCompletionOperator], gate: str
) -> None:
    assert why_on_worker(make()) == gate


def test_an_airflow_that_knows_no_result_of_a_dag_has_no_such_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    for base in BaseOperator.__mro__:
        if "returns_dag_result" in vars(base):
            monkeypatch.delattr(base, "returns_dag_result")
    assert not hasattr(task(), "returns_dag_result")
    assert why_on_worker(task()) is None


def test_a_custom_xcom_backend_is_a_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(xcom, "XCom", type("Backend", (BaseXCom,), {}))
    assert why_on_worker(task()) == "Airflow has a custom XCom backend"


def test_an_airflow_whose_triggerer_writes_no_xcoms_is_a_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delattr(BaseXCom, "aset")
    assert why_on_worker(task()) == "this Airflow's triggerer can't write XComs"


def test_listeners_are_a_gate() -> None:
    manager = get_listener_manager()
    try:
        manager.add_listener(ModuleType("a_listener"))
        assert why_on_worker(task()) == "listeners are registered (those of a plugin, or OpenLineage)"
    finally:
        manager.clear()


def test_state_that_a_success_clears_is_a_gate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__STATE_STORE__CLEAR_ON_SUCCESS", "True")
    assert why_on_worker(task()) == "`[state_store] clear_on_success` is set"


@pytest.mark.parametrize("of", ["operator", "sensor"])
@pytest.mark.parametrize(
    ("chosen", "ends", "told"), [(None, False, True), (True, True, False), (False, False, False)], ids=str
)
def test_a_task_that_nobody_chose_for_says_in_one_line_what_keeps_it_on_a_worker(
    hook: YandexAIStudioHook,
    context: dict[str, Any],
    capsys: pytest.CaptureFixture[str],
    of: str,
    chosen: bool | None,
    ends: bool,
    told: bool,
) -> None:
    with DAG("dag"):
        wishes: dict[str, Any] = {"outlets": [Asset("text")], "end_from_trigger": chosen}
        made = (
            YandexAIStudioCompletionOperator(task_id="generate", prompt="Tell me of ducks.", **wishes)
            if of == "operator"
            else YandexAIStudioOperationSensor(
                task_id="wait", operation_id=hook.submit_completion(hook.completion_request(prompt="x")).id, **wishes
            )
        )
    made.hook = hook
    with pytest.raises(TaskDeferred) as caught:
        made.execute(context)
    assert caught.value.trigger.end_from_trigger is ends
    assert ("will end on a worker: it has `outlets`" in capsys.readouterr().out) is told


def test_a_sensor_that_starts_in_the_triggerer_has_the_same_gates() -> None:
    def ends(**parameters: Any) -> Any:
        sensor = YandexAIStudioOperationSensor(
            task_id="wait", operation_id="d7q1", start_from_trigger=True, **parameters
        )
        assert sensor.start_trigger_args is not None
        return (sensor.start_trigger_args.trigger_kwargs or {})["end_from_trigger"]

    assert ends()
    assert not ends(on_success_callback=print)
    assert ends(on_success_callback=print, end_from_trigger=True)
