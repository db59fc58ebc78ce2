"""The page on coverage names guides and tests that exist and run, and leaves out nothing that the guides describe."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

from airflow_provider.yandex_ai_studio.emulator.wire.messages import COMPLETION_OPTIONS, COMPLETION_REQUEST
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "coverage.md").read_text("utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| feature ")]
NEVER, ELSEWHERE = re.compile(r"mark\.(skip|xfail)\b"), re.compile(r"mark\.(skipif|live|system)\b")
"""Marks of a test that shows nothing, and of one that does not run everywhere."""

IN_OTHER_WORDS = {"modelUri": "model", "completionOptions": "temperature"}
PLUMBING = {"get_conn", "get_async_conn", "twin", "pause", "cancel_if_running", "test_connection"}
"""Methods of the hook that are not about a feature of the service."""

MEANS = {"test_the_curl_that_the_guides_call_is_here"}
"""Tests beside the samples that are about no sample."""

WORDS: dict[str, set[str]] = {
    "prompt-mode": {
        IN_OTHER_WORDS.get(field.name, field.name) for field in COMPLETION_REQUEST.fields + COMPLETION_OPTIONS.fields
    }
    | {"instructions", "status", "usage", "model_version", "transport", "disable_data_logging", "InvalidOutput"}
    | {"tool_results"},
    "chat-mode": {"messages", "prompt"},
    "async-request": {"OperationFailed", "OperationCancelled", "OperationExpired", "cancel_on_kill"}
    | {"polls_per_second", "submits_per_second", "wait_for_completion", "YandexAIStudioBulkCompletionOperator"}
    | {"Operation"},
    "background-request": {"queued", "in_progress", "completed", "incomplete", "failed", "cancelled"}
    | {"AnswerRefused", "tool_calls", "cancel_on_kill", "OperationExpired", "YandexAIStudioResponseOperator"},
    "sync-request-responses-api": {"previous_response_id", "instructions", "temperature", "max_output_tokens"}
    | {"background", "json_schema", "usage"},
}
"""What each guide describes, in its words or in those of our parameters: it must stand in the guide's section."""


@cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text("utf-8"))


def functions_in(path: Path) -> dict[str, ast.FunctionDef | ast.AsyncFunctionDef]:
    nodes = ast.walk(parsed(path))
    return {node.name: node for node in nodes if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def marks_of(path: Path, name: str) -> str:
    """Return the marks of a test and of its module, written out."""
    values = {
        target.id: ast.unparse(node.value)
        for node in parsed(path).body
        if isinstance(node, ast.Assign)
        for target in node.targets
        if isinstance(target, ast.Name)
    }
    marks = [ast.unparse(mark) for mark in functions_in(path)[name].decorator_list]
    marks = [values.get(mark, mark) for mark in marks if "parametrize" not in mark]
    return " ".join([*marks, values.get("pytestmark", "")])


def named_in(row: str) -> list[tuple[Path, str]]:
    return [(TESTS / path, name) for path, name in re.findall(r"`([\w/]+\.py)::(\w+)`", row)]


def words_in(text: str) -> set[str]:
    """Return what is written as code, in the vendor's spelling and in ours."""
    words = set(re.findall(r"\w+", " ".join(re.findall(r"`([^`]*)`", text))))
    return words | {re.sub(r"_(\w)", lambda letter: letter[1].upper(), word) for word in words}


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_every_row_names_tests_that_exist(row: str) -> None:
    named = named_in(row)
    assert named
    assert len(named) == row.count("::")
    assert [name for path, name in named if name not in functions_in(path)] == []


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_every_row_is_shown_by_a_test_that_runs_everywhere(row: str) -> None:
    marks = [marks_of(path, name) for path, name in named_in(row)]
    assert not any(NEVER.search(mark) for mark in marks)
    assert any(not ELSEWHERE.search(mark) for mark in marks)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_every_row_is_shown_where_what_it_names_is_used(row: str) -> None:
    """Else it may name any test."""
    feature, where, _ = row.split(" | ")
    words = {word for word in words_in(feature + where) if len(word) > 3}
    sources = " ".join(path.read_text("utf-8") for path, _ in named_in(row))
    assert not words or any(word in sources for word in words)


def test_every_guide_has_its_section() -> None:
    assert {path.stem for path in TESTS.glob("guides/*.md")} == set(re.findall(r"^## ([\w-]+):", PAGE, re.M))
    assert WORDS.keys() == {path.stem for path in TESTS.glob("guides/*.md")}


@pytest.mark.parametrize("guide", WORDS)
def test_nothing_that_a_guide_describes_is_left_out(guide: str) -> None:
    _, _, section = PAGE.partition(f"\n## {guide}:")
    section, _, _ = section.partition("\n## ")
    assert WORDS[guide] - words_in(section) == set()


def test_every_feature_of_the_hook_is_on_the_page() -> None:
    methods = {name for name, value in vars(YandexAIStudioHook).items() if callable(value) and name[0] != "_"}
    asking = {name for name in methods - PLUMBING if not name.endswith("_request")}
    assert asking - words_in(PAGE) == set()


@pytest.mark.parametrize("path", ["test_guides.py", "test_live.py"])
def test_every_sample_of_the_vendor_and_every_live_scenario_is_on_the_page(path: str) -> None:
    scenarios = {name for name in functions_in(TESTS / path) if name.startswith("test_")} - MEANS
    named = {name for row in ROWS for found, name in named_in(row) if found == TESTS / path}
    assert scenarios - named == set()


def test_every_example_dag_is_named() -> None:
    assert [path.name for path in TESTS.parent.glob("dags/*.py") if f"dags/{path.name}" not in PAGE] == []
