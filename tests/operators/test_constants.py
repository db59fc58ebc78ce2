"""What is wrong in the DAG file fails when it is parsed; what a template or an XCom gives waits for the run."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
import requests
from airflow.sdk import DAG, XComArg, task
from airflow.sdk.execution_time.task_runner import _serialize_rendered_fields
from airflow.serialization.serialized_objects import DagSerialization
from pydantic import BaseModel

from airflow_provider.yandex_ai_studio.durability.journal import KEY
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from airflow_provider.yandex_ai_studio.operators.responses import YandexAIStudioResponseOperator
from airflow_provider.yandex_ai_studio.sensors.operation import YandexAIStudioOperationSensor
from support import API_KEY, Store

PROMPT = "Tell me of ducks."
SCHEMA = {"type": "object", "properties": {"title": {"type": "string"}}, "required": ["title"]}
WEATHER = {"name": "weather", "parameters": {"type": "object"}}

Context = dict[str, Any]
Operator = type[YandexAIStudioCompletionOperator] | type[YandexAIStudioResponseOperator]

BOTH = pytest.mark.parametrize("operator", [YandexAIStudioCompletionOperator, YandexAIStudioResponseOperator])


class Note(BaseModel):
    """The form of an answer."""

    title: str


def parsed(operator: Operator, **parameters: Any) -> Any:
    with DAG("dag"):
        return operator(task_id="generate", **{"prompt": PROMPT, **parameters})


WRONG: list[tuple[dict[str, Any], str]] = [
    ({"prompt": None}, "prompt"),
    ({"prompt": " "}, "prompt"),
    ({"messages": []}, "messages"),
    ({"messages": [{"role": "robot", "text": "Hi"}]}, "robot"),
    ({"instructions": ""}, "instructions"),
    ({"temperature": 2}, "temperature"),
    ({"max_tokens": 0}, "max_tokens"),
    ({"json_schema": {"$ref": "https://example.com/x"}}, "https://example.com/x"),
    ({"json_schema": "a title"}, "json_schema"),
    ({"json_schema": int}, "json_schema"),
    ({"timeout": 0}, "timeout"),
    ({"timeout": "soon"}, "timeout"),
    ({"timeout": float("nan")}, "timeout"),
    ({"timeout": timedelta(days=4)}, "timeout"),
    ({"on_unknown_submission": "ask"}, "on_unknown_submission"),
    ({"on_unknown_submission": None}, "on_unknown_submission"),
    ({"json_schema": Note, "end_from_trigger": True}, "end_from_trigger"),
]
OF_COMPLETIONS: list[tuple[dict[str, Any], str]] = [
    ({"mode": "batch"}, "mode"),
    ({"mode": None}, "mode"),
    ({"stream": True}, "mode='sync'"),
    ({"mode": "sync", "wait_for_completion": False}, "wait_for_completion"),
    ({"json_object": True, "json_schema": SCHEMA}, "json_object"),
    ({"reasoning": "deep"}, "reasoning"),
    ({"tools": [{"description": "nameless"}]}, "tools"),
    ({"tool_choice": "required"}, "tool_choice"),
    ({"tools": [WEATHER], "tool_choice": "traffic"}, "tool_choice"),
    ({"max_input_tokens": -1}, "max_input_tokens"),
]
OF_RESPONSES: list[tuple[dict[str, Any], str]] = [
    ({"background": False, "wait_for_completion": False}, "wait_for_completion"),
    ({"previous_response_id": "None"}, "previous_response_id"),
]


@pytest.mark.parametrize(
    ("operator", "parameters", "named"),
    [
        *[(YandexAIStudioCompletionOperator, *wrong) for wrong in WRONG + OF_COMPLETIONS],
        *[(YandexAIStudioResponseOperator, *wrong) for wrong in WRONG + OF_RESPONSES],
    ],
)
def test_a_wrong_constant_fails_when_the_dag_is_parsed(
    operator: Operator, parameters: dict[str, Any], named: str
) -> None:
    with pytest.raises(ConfigurationError, match=named):
        parsed(operator, **parameters)


def test_a_sensor_of_an_api_that_is_none_fails_when_the_dag_is_parsed() -> None:
    with pytest.raises(ConfigurationError, match="api"):
        YandexAIStudioOperationSensor(task_id="wait", operation_id="d7q1", api="response")  # type: ignore[arg-type]


LATER: list[dict[str, Any]] = [
    {"prompt": "{{ params.a }}", "temperature": "{{ params.b }}", "max_tokens": "{% if a %}1{% endif %}"},
    {"prompt": None, "messages": [{"role": "user", "text": "{{ params.a }}"}]},
    {"json_schema": "{{ params.schema }}"},
    {"json_schema": {"$ref": "{{ params.schema }}"}, "end_from_trigger": True},
    {"model": "{{ params.model }}"},
]
LATER_OF_COMPLETIONS: list[dict[str, Any]] = [
    {"tools": "{{ params.tools }}", "tool_choice": "required"},
    {"tools": [WEATHER], "tool_choice": "{{ params.tool }}"},
    {"reasoning": "{{ params.reasoning }}", "max_input_tokens": "{{ params.limit }}"},
]


@pytest.mark.parametrize(
    ("operator", "parameters"),
    [
        *[(YandexAIStudioCompletionOperator, later) for later in LATER + LATER_OF_COMPLETIONS],
        *[(YandexAIStudioResponseOperator, later) for later in LATER],
    ],
)
def test_a_template_is_left_for_the_run(operator: Operator, parameters: dict[str, Any]) -> None:
    assert parsed(operator, **parameters)


SQUARE = {"variable_start_string": "[[", "variable_end_string": "]]"}
LINES = {"line_statement_prefix": "%%", "line_comment_prefix": None}


@pytest.mark.parametrize(("kwargs", "text"), [(SQUARE, "[[ params.b ]]"), (LINES, "%% if a\n1\n%% endif")])
@BOTH
def test_a_template_with_the_marks_of_its_dag_is_left_for_the_run(
    operator: Operator, kwargs: dict[str, Any], text: str
) -> None:
    with DAG("dag", jinja_environment_kwargs=kwargs):
        assert operator(task_id="generate", prompt="Hi", temperature=text, json_schema=text).temperature == text
        with pytest.raises(ConfigurationError, match="temperature"):
            operator(task_id="wrong", prompt="Hi", temperature="a lot")
    with pytest.raises(ConfigurationError, match="temperature"):
        parsed(operator, temperature=text)


@BOTH
def test_what_begins_a_template_nowhere_else_does_not_in_a_dag_with_its_own_marks(operator: Operator) -> None:
    with DAG("dag", jinja_environment_kwargs=SQUARE), pytest.raises(ConfigurationError, match="temperature"):
        operator(task_id="generate", prompt="Hi", temperature="{{ params.b }}")


@BOTH
def test_a_text_is_left_for_the_run_where_the_dag_is_not_known_yet(operator: Operator) -> None:
    made = operator(task_id="generate", prompt="Hi", temperature="[[ params.b ]]")
    DAG("dag", schedule=None, jinja_environment_kwargs=SQUARE).add_task(made)
    made.render_template_fields({"params": {"b": "0.5"}})  # type: ignore[typeddict-item]
    assert made.temperature == "0.5"
    with pytest.raises(ConfigurationError, match="temperature"):
        operator(task_id="generate", prompt="Hi", temperature=2)


@BOTH
@pytest.mark.parametrize("name", ["prompt", "messages", "temperature", "json_schema", "instructions", "model"])
def test_an_xcom_is_left_for_the_run(operator: Operator, name: str) -> None:
    with DAG("dag"):

        @task
        def before() -> str:
            return "x"

        given = {"prompt": None, name: before()} if name == "messages" else {"prompt": PROMPT, name: before()}
        made = operator(task_id="generate", **given)
    assert isinstance(getattr(made, name), XComArg)
    assert made.upstream_task_ids == {"before"}


@BOTH
def test_a_mapped_task_is_not_held_to_what_it_gets_later(operator: Operator) -> None:
    with DAG("dag"):
        mapped = operator.partial(task_id="generate", json_schema=Note).expand(prompt=["a", "b"])
    assert mapped.unmap({"prompt": "a"}).prompt == "a"


@pytest.fixture
def rendered(hook: YandexAIStudioHook, context: Context) -> Callable[..., Any]:
    """Return a task that is parsed and rendered as on a worker."""

    def render(operator: Operator, values: dict[str, Any], **parameters: Any) -> Any:
        made = parsed(operator, **parameters)
        made.hook = hook
        made.render_template_fields({**context, **values})
        return made

    return render


def test_a_schema_of_templates_is_rendered_and_asked_for(
    rendered: Callable[..., Any], context: Context, emulator: Emulator
) -> None:
    schema = {**SCHEMA, "description": "A {{ field }}"}
    made = rendered(YandexAIStudioResponseOperator, {"field": "title"}, json_schema=schema, wait_for_completion=False)
    url, headers = f"{emulator.url}/v1/responses/{made.execute(context)}", {"Authorization": f"Api-Key {API_KEY}"}
    asked = requests.get(url, headers={**headers, "OpenAI-Project": "b1gunittests"}, timeout=5).json()
    assert asked["text"]["format"]["schema"] == {**SCHEMA, "description": "A title"}


def test_a_pydantic_model_survives_rendering(rendered: Callable[..., Any], context: Context) -> None:
    made = rendered(YandexAIStudioCompletionOperator, {}, json_schema=Note, deferrable=False)
    assert set(made.execute(context)) == {"title"}


def test_tools_and_what_goes_with_them_are_rendered(rendered: Callable[..., Any]) -> None:
    made = rendered(
        YandexAIStudioCompletionOperator,
        {"tool": "weather", "mode": "disabled"},
        tools=[{"name": "{{ tool }}", "parameters": {}}],
        tool_choice="{{ tool }}",
        reasoning="{{ mode }}",
    )
    request = made.request()
    assert (request.tools[0]["name"], request.tool_choice, request.reasoning) == ("weather", "weather", "disabled")


def test_the_journal_knows_a_request_by_what_was_rendered(
    rendered: Callable[..., Any], context: Context, store: Store, emulator: Emulator
) -> None:
    fingerprints = []
    for field in ("title", "title", "name"):
        parameters = {"json_schema": {**SCHEMA, "description": "A {{ field }}"}, "wait_for_completion": False}
        rendered(YandexAIStudioCompletionOperator, {"field": field}, **parameters).execute(context)
        fingerprints.append(store.values[KEY]["fingerprint"])
    assert fingerprints[0] == fingerprints[1] != fingerprints[2]
    assert emulator.stats()["submissions"] == 2


@pytest.mark.parametrize("given", ["None", "", " None "])
@pytest.mark.parametrize("field", ["prompt", "instructions"])
@BOTH
def test_an_xcom_that_is_not_there_is_never_paid_for(
    rendered: Callable[..., Any], context: Context, emulator: Emulator, operator: Operator, field: str, given: str
) -> None:
    made = rendered(operator, {"absent": given}, **{field: "{{ absent }}"})
    with pytest.raises(ConfigurationError, match=f"^Give `{field}` a text.*Did the task before it return one"):
        made.execute(context)
    assert sum(emulator.stats()["requests"].values()) == 0


@BOTH
@pytest.mark.parametrize("schema", [Note, SCHEMA, "{{ params.schema }}"], ids=["model", "mapping", "template"])
def test_a_dag_with_a_schema_can_be_serialized_and_shown(operator: Operator, schema: Any) -> None:
    def serialized() -> str:
        with DAG("dag") as dag:
            made = operator(task_id="generate", prompt=PROMPT, json_schema=schema)
            operator.partial(task_id="mapped", json_schema=schema).expand(prompt=["a", "b"])
        shown = _serialize_rendered_fields(made)["json_schema"]
        assert shown == (Note.model_json_schema() if schema is Note else schema)
        return json.dumps(DagSerialization.to_dict(dag), sort_keys=True)

    assert serialized() == serialized()
    assert DagSerialization.from_dict(json.loads(serialized())).task_dict.keys() == {"generate", "mapped"}
