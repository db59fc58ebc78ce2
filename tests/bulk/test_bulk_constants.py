"""What of a bulk task is wrong in the DAG file fails when it is parsed; templates and XComs wait for the run."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any

import pytest
from airflow.sdk import DAG, XComArg, task
from airflow.serialization.serialized_objects import DagSerialization
from pydantic import BaseModel

from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError
from airflow_provider.yandex_ai_studio.operators.bulk import YandexAIStudioBulkCompletionOperator
from bulk_task import BulkTask


class Note(BaseModel):
    """The form of an answer."""

    title: str


NO_ROWS: list[Any] = [None, 5, True, {"a": "{{ ds }}"}, b"x", {"x"}, Note]


def parsed(**parameters: Any) -> Any:
    with DAG("dag"):
        return YandexAIStudioBulkCompletionOperator(task_id="generate", **{"inputs": "/data/in.jsonl", **parameters})


@pytest.mark.parametrize(
    ("parameters", "named"),
    [
        ({"inputs": "/data/in.csv"}, "`inputs`"),
        *[
            ({"inputs": never}, "Give `inputs` a list, or")
            for never in (None, 5, True, {"a": "{{ ds }}"}, b"x", {"x"}, Note)
        ],
        ({"prompt": ""}, "`prompt`"),
        ({"prompt": "Summarize: row.text"}, "`prompt`"),
        ({"prompt": 5}, "`prompt`"),
        ({"prompt": "Summarize:\n{{ row.text"}, "Mend the template in `prompt`, line 2: unexpected end of template"),
        ({"prompt": "{{ row.text | nosuch }}"}, "Mend the template in `prompt`, line 1: No filter named 'nosuch'.\n"),
        ({"instructions": " "}, "`instructions`"),
        ({"instructions": "{% if %}"}, "Mend the template in `instructions`, line 1: Expected an expression"),
        ({"model": " "}, "`model`"),
        ({"temperature": 2}, "`temperature`"),
        ({"max_tokens": 0}, "`max_tokens`"),
        ({"reasoning": "deep"}, "`reasoning`"),
        ({"json_schema": "a title"}, "`json_schema`"),
        ({"json_schema": {"$ref": "https://example.com/x"}}, "https://example.com/x"),
        ({"json_schema": Note, "json_object": True}, "`json_object`"),
        ({"output_format": "csv"}, "`output_format`"),
        ({"output_format": None}, "`output_format`"),
        ({"output_format": "parquet"}, "Give `output_path`, or leave `output_format` out"),
        ({"row_retries": -1}, "`row_retries`"),
        ({"row_retries": None}, "`row_retries`"),
        ({"row_retries": True}, "`row_retries`"),
        ({"on_row_error": "skip"}, "`on_row_error`"),
        ({"max_failed_rows": 0.05}, "`max_failed_rows`"),
        ({"max_total_tokens": 0}, "`max_total_tokens`"),
        ({"max_cost": -1}, "`max_cost`"),
        ({"multiple_outputs": True}, "`multiple_outputs`"),
        ({"chunk_size": 0}, "`chunk_size`"),
        ({"chunk_size": "250"}, "`chunk_size`"),
        ({"chunk_size": None}, "`chunk_size`"),
        ({"timeout": 0}, "`timeout`"),
        ({"timeout": timedelta(days=4)}, "`timeout`"),
    ],
)
def test_what_is_wrong_fails_when_the_file_is_parsed(parameters: dict[str, Any], named: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        parsed(**parameters)
    assert named in str(caught.value)
    assert "Nothing was sent" in str(caught.value)


def test_a_prompt_with_the_marks_of_its_dag_names_a_field() -> None:
    marks = {"variable_start_string": "[[", "variable_end_string": "]]"}
    with DAG("dag", jinja_environment_kwargs=marks):
        made = YandexAIStudioBulkCompletionOperator(task_id="generate", inputs="[[ ds ]]", prompt="Sum up: [[ row.a ]]")
        with pytest.raises(ConfigurationError, match="Name a field of the row"):
            YandexAIStudioBulkCompletionOperator(task_id="wrong", inputs="/data/in.jsonl", prompt="Sum up: row.a")
    assert made.prompt == "Sum up: [[ row.a ]]"


def test_a_template_is_read_as_its_dag_reads_it() -> None:
    marks = {"variable_start_string": "[[", "variable_end_string": "]]"}
    with DAG("dag", jinja_environment_kwargs=marks, user_defined_filters={"mine": str}):
        for prompt in ("Of [[ row.a | mine ]] {{", "Of [[ row.a ]] {{ row."):
            YandexAIStudioBulkCompletionOperator(task_id=f"right-{len(prompt)}", inputs=["a"], prompt=prompt)
        with pytest.raises(ConfigurationError, match="Mend the template in `prompt`"):
            YandexAIStudioBulkCompletionOperator(task_id="wrong", inputs=["a"], prompt="Of [[ row.a")
    assert YandexAIStudioBulkCompletionOperator(
        task_id="free", inputs=["a"], prompt="Of {{ row.a"
    )  # its DAG comes later


@pytest.mark.parametrize(
    "parameters",
    [
        {"inputs": "{{ params.path }}", "output_path": "s3://lake/{{ ds }}"},
        {"prompt": "Summarize: {{ row.text }}", "instructions": "{{ params.tone }}"},
        {"prompt": "Tell a joke.", "deduplicate": False},
        {"temperature": "{{ params.a }}", "max_tokens": "{{ params.b }}", "reasoning": "{{ params.c }}"},
        {"max_total_tokens": "{{ params.a }}", "max_cost": "{{ params.b }}", "model": "{{ params.c }}"},
        {"json_schema": "{{ params.schema }}"},
        {"json_schema": Note},
        {"max_failed_rows": 0, "row_retries": 0, "timeout": timedelta(days=3)},
    ],
)
def test_what_is_right_or_not_known_yet_is_left_for_the_run(parameters: dict[str, Any]) -> None:
    assert parsed(**parameters)


def test_rows_of_another_task_are_left_for_the_run() -> None:
    with DAG("dag"):

        @task
        def before() -> list[str]:
            return ["x"]

        made = YandexAIStudioBulkCompletionOperator(task_id="generate", inputs=before())
        mapped = YandexAIStudioBulkCompletionOperator.partial(task_id="mapped", prompt="{{ row.a }}").expand(
            inputs=["/data/a.jsonl", "/data/b.parquet"]
        )
    assert isinstance(made.inputs, XComArg)
    assert made.upstream_task_ids == {"before"}
    assert mapped.unmap({"inputs": "/data/a.jsonl"}).inputs == "/data/a.jsonl"


@pytest.mark.parametrize("schema", [Note, Note.model_json_schema(), "{{ params.schema }}"])
def test_a_dag_with_a_schema_can_be_serialized(schema: Any) -> None:
    with DAG("dag") as dag:
        YandexAIStudioBulkCompletionOperator(task_id="generate", inputs=["a"], json_schema=schema)
    assert DagSerialization.from_dict(DagSerialization.to_dict(dag)).task_dict.keys() == {"generate"}


def test_a_schema_is_rendered_and_a_prompt_only_for_its_row(task: Callable[..., BulkTask], emulator: Emulator) -> None:
    schema = {"type": "object", "properties": {"tone": {"enum": ["{{ tone }}"]}}, "required": ["tone"]}
    run = task(inputs=[{"text": "ducks"}], prompt="Of {{ row.text }} in {{ month }}", json_schema=schema)
    run.values = {"tone": "stern", "month": "May"}
    make = run.operator

    def rendered() -> YandexAIStudioBulkCompletionOperator:
        operator = make()
        operator.render_template_fields(run.values)  # type: ignore[arg-type]
        return operator

    run.operator = rendered  # type: ignore[method-assign]
    assert run.attempt() == [{"tone": "stern"}]
    assert emulator.operations()[0]["prompt_head"] == "Of ducks in May"


def test_a_dag_file_does_not_pay_for_what_only_a_worker_needs() -> None:
    home = "airflow_provider.yandex_ai_studio"
    script = (
        f"import sys, {home}.operators.bulk\n"
        f"print(*sorted(set(sys.modules) & {{'{home}.bulk.attempt', '{home}.bulk.ledger', '{home}.triggers.bulk'}}))"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.split() == []
