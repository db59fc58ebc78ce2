"""From a row to its prompt, by values."""

from __future__ import annotations

from typing import Any

import pytest
from jinja2 import Environment
from jinja2.nativetypes import NativeEnvironment

from airflow_provider.yandex_ai_studio.bulk.prompts import prompt_of, template
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError


def filled(prompt: str, **fields: Any) -> str:
    return prompt_of(fields, 0, template(prompt, Environment(), {}))


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("of {{ row.note or 'nothing' }}", "of nothing"),
        ("of {{ row.note | default('nothing') }}", "of nothing"),
        ("of {% if row.note is none %}nothing{% else %}it{% endif %}", "of nothing"),
        ("of {% if row.note != none %}it{% else %}nothing{% endif %}", "of nothing"),
        ("of {% if row.note == none %}nothing{% endif %}", "of nothing"),
        ("of {% if row.note %}it{% else %}nothing{% endif %}", "of nothing"),
        ("of {{ row.note | tojson }}", "of null"),
        ("of {{ row.text }}{% if row.text is none %}, nothing{% endif %}", "of ducks"),
    ],
)
def test_a_prompt_may_ask_for_a_field_that_has_nothing(prompt: str, text: str) -> None:
    assert filled(prompt, note=None, text="ducks") == text


@pytest.mark.parametrize(
    "prompt",
    ["{{ row.note }}", "{{ row['note'] }}", "{{ row.note | trim }}", "{{ row.note ~ '.' }}", "{{ row.note.text }}"],
)
def test_nothing_is_never_written_as_none(prompt: str) -> None:
    with pytest.raises(ConfigurationError, match=r"Row 0 of `inputs` has nothing in `note`.*\{\{ row\.note or '' \}\}"):
        filled(f"Summarize: {prompt}", note=None, text="ducks")


@pytest.mark.parametrize(
    ("prompt", "text"),
    [
        ("of {{ row.meta }}", "of {'a': None, 'b': 1}"),
        ("of {{ row.meta | tojson }}", 'of {"a": null, "b": 1}'),
        ("of {{ row.tags }}", "of [None, 'x']"),
        ("of {{ row | tojson }}", 'of {"meta": {"a": null, "b": 1}, "tags": [null, "x"]}'),
        (
            "of {% for name, value in row.meta.items() if value is not none %}{{ name }}={{ value }}{% endfor %}",
            "of b=1",
        ),
        ("of {{ row.tags | tojson }}", 'of [null, "x"]'),
        ("of {{ row.tags | select | join }}", "of x"),
        ("of {{ row.tags | length }}{% if none in row.tags %}, one empty{% endif %}", "of 2, one empty"),
        ("of {% for tag in row.tags %}{{ tag or '-' }}{% endfor %}", "of -x"),
        ("of {{ row.meta.a | default('nothing') }}{% if row.meta.a is none %}!{% endif %}", "of nothing!"),
        ("of {{ row.meta.a or 'nothing' }} and {{ row.tags[0] | default('nothing', true) }}", "of nothing and nothing"),
    ],
)
def test_a_list_or_a_mapping_is_data_whatever_it_holds(prompt: str, text: str) -> None:
    assert filled(prompt, meta={"a": None, "b": 1}, tags=[None, "x"]) == text


@pytest.mark.parametrize(
    "prompt",
    [
        "{{ row.meta.a }}",
        "{{ row.meta.a ~ '.' }}",
        "{{ row['meta']['a'] | upper }}",
        "{{ row.tags[0] }}",
        "{% for tag in row.tags %}{{ tag }}{% endfor %}",
        "{% for tag in row.tags %}{{ tag ~ '.' }}{% endfor %}",
        "{{ row.tags | join(', ') }}",
        "{{ row.tags | map('upper') | join }}",
        "{% for one in row.deep %}{{ one | join }}{% endfor %}",
        "{{ month }}",
    ],
)
@pytest.mark.parametrize("environment", [Environment, NativeEnvironment])
def test_nothing_in_one_is_never_written_as_none_either(prompt: str, environment: type[Environment]) -> None:
    render = template(f"Summarize: {prompt}", environment(), {"month": None})
    with pytest.raises(
        ConfigurationError, match=r"Row 0 of `inputs` has nothing \(None\) in a value .*\{\{ … or '' \}\}"
    ):
        prompt_of({"meta": {"a": None}, "tags": [None], "deep": [("x", None)]}, 0, render)


def test_what_a_dag_writes_in_place_of_nothing_is_written() -> None:
    environment = Environment(finalize=lambda value: "nothing" if value is None else value)
    assert prompt_of({"meta": {"a": None}}, 0, template("of {{ row.meta.a }}", environment, {})) == "of nothing"


def test_a_row_with_many_fields_is_not_listed_whole() -> None:
    with pytest.raises(ConfigurationError, match=r"it has f0, f1, .*, f39 and 60 more\."):
        filled("{{ row.nosuch }}", **{f"f{number}": number for number in range(100)})
