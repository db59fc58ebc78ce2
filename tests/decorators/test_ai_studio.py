"""The decorator: what a function writes is what the service is asked."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import pytest
from airflow.sdk import DAG, task
from airflow.sdk.exceptions import TaskDeferred
from pydantic import BaseModel

from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook

if TYPE_CHECKING:
    from somewhere import Unknown

Context = dict[str, Any]
Run = Callable[..., Any]


class Note(BaseModel):
    """The form of an answer."""

    title: str


@pytest.fixture
def run(hook: YandexAIStudioHook, context: Context) -> Run:
    """Run a decorated task as a worker would, and wait there."""

    def execute(decorated: Callable[..., Any], *arguments: Any, **keywords: Any) -> Any:
        with DAG("dag"):
            operator = decorated.override(deferrable=False)(*arguments, **keywords).operator
        operator.hook = hook
        operator.render_template_fields({**context, "ds": "2026-01-05"})
        return operator.execute(dict(context))

    return execute


def asked(emulator: Emulator) -> list[str]:
    return [operation["prompt_head"] for operation in emulator.operations()]


def test_a_function_writes_the_prompt(run: Run, emulator: Emulator) -> None:
    @task.yandex_ai_studio
    def ducks(kind: str) -> str:
        return f"Tell me of {kind} ducks."

    assert run(ducks, "blue") == "Tell me of blue ducks."
    assert asked(emulator) == ["Tell me of blue ducks."]


def test_a_function_writes_a_conversation(run: Run) -> None:
    @task.yandex_ai_studio
    def ducks():
        return [{"role": "system", "text": "Be brief."}, {"role": "user", "text": "Tell me of ducks."}]

    assert run(ducks) == "Tell me of ducks."


def test_arguments_are_templated_and_what_the_function_writes_is_not(run: Run, emulator: Emulator) -> None:
    @task.yandex_ai_studio
    def ducks(day: str) -> str:
        return day + " {{ conn.secret.password }}"

    run(ducks, "On {{ ds }}:")
    assert asked(emulator) == ["On 2026-01-05: {{ conn.secret.password }}"]


def test_the_context_reaches_the_function(run: Run, emulator: Emulator) -> None:
    @task.yandex_ai_studio
    def ducks(ti: Any = None) -> str:
        return f"Tell {ti.task_id} of ducks."

    run(ducks)
    assert asked(emulator) == ["Tell generate of ducks."]


def test_a_returned_pydantic_model_asks_for_structured_output(run: Run) -> None:
    @task.yandex_ai_studio(temperature=0)
    def ducks() -> Note:
        return "Tell me of ducks."

    assert run(ducks) == {"title": "Tell me of ducks."}


def test_parameters_are_the_operator_s_and_can_be_overridden(context: Context, hook: YandexAIStudioHook) -> None:
    @task.yandex_ai_studio(temperature=0.1, model="yandexgpt-lite")
    def ducks() -> str:
        return "Tell me of ducks."

    with DAG("dag"):
        operator = ducks.override(temperature=0.9, task_id="more")().operator
    assert (operator.task_id, operator.temperature, operator.model) == ("more", 0.9, "yandexgpt-lite")
    operator.hook = hook
    with pytest.raises(TaskDeferred):
        operator.execute(dict(context))


def test_it_can_be_mapped() -> None:
    @task.yandex_ai_studio
    def ducks(kind: str) -> str:
        return f"Tell me of {kind} ducks."

    with DAG("dag"):
        mapped = ducks.partial().expand(kind=["blue", "red"]).operator
    assert mapped.operator_class.custom_operator_name == "@task.yandex_ai_studio"


def test_the_values_of_structured_output_can_be_xcoms_of_their_own() -> None:
    @task.yandex_ai_studio(multiple_outputs=True)
    def ducks() -> Note:
        return "Tell me of ducks."

    with DAG("dag"):
        assert ducks().operator.multiple_outputs


def test_an_attempt_that_resumes_does_not_call_the_function(context: Context, hook: YandexAIStudioHook) -> None:
    calls = []

    @task.yandex_ai_studio
    def ducks():
        calls.append(1)
        return [{"role": "user", "text": "Tell me of ducks."}]

    with DAG("dag"):
        first, second = ducks().operator, ducks().operator
    first.hook = second.hook = hook
    with pytest.raises(TaskDeferred) as deferred:
        first.execute(dict(context))
    wait = {name: getattr(deferred.value.trigger, name) for name in ("operation_id", "submitted_at", "deadline", "api")}
    hook.sleep(3600)
    assert second.execute_complete(context, {**wait, "outcome": "ended"}) == "Tell me of ducks."
    assert calls == [1]


@pytest.mark.parametrize("written", [None, "", 3, {"role": "user", "text": "x"}, []], ids=repr)
def test_what_is_no_prompt_is_refused_before_anything_is_sent(run: Run, emulator: Emulator, written: Any) -> None:
    @task.yandex_ai_studio
    def ducks():
        return written

    with pytest.raises(ConfigurationError):
        run(ducks)
    assert emulator.stats()["submissions"] == 0


@pytest.mark.parametrize("name", ["prompt", "messages"])
def test_what_the_function_returns_can_t_be_a_parameter(name: str) -> None:
    @task.yandex_ai_studio(**{name: "Tell me of ducks."})
    def ducks() -> str:
        return "Tell me of ducks."

    with DAG("dag"), pytest.raises(ConfigurationError, match=rf"Leave `{name}` out: .* For many rows, set bulk=True"):
        ducks()


@pytest.mark.parametrize("rows", [["Tell me of ducks."], [{"id": 1, "text": "Tell me of ducks."}]], ids=repr)
def test_who_returns_rows_is_told_of_bulk(run: Run, rows: Any) -> None:
    @task.yandex_ai_studio
    def ducks():
        return rows

    with pytest.raises(ConfigurationError, match=r"For many rows, use .*\(bulk=True\)\.\n"):
        run(ducks)


def test_an_annotation_that_is_not_there_at_run_time_is_an_error() -> None:
    @task.yandex_ai_studio
    def ducks() -> Unknown:
        return "Tell me of ducks."

    with DAG("dag"), pytest.raises(ConfigurationError, match="json_schema"):
        ducks()
