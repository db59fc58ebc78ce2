"""From a row to its prompt, by values."""

from __future__ import annotations

from typing import Any

import pytest
from jinja2 import Environment

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


def test_a_row_with_many_fields_is_not_listed_whole() -> None:
    with pytest.raises(ConfigurationError, match=r"it has f0, f1, .*, f39 and 60 more\."):
        filled("{{ row.nosuch }}", **{f"f{number}": number for number in range(100)})
