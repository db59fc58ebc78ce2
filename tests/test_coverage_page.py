"""The page on coverage names guides and tests that exist and run, and leaves out nothing that the guides describe."""

from __future__ import annotations

import ast
import inspect
import re
from functools import cache
from pathlib import Path

import pytest

from airflow_provider.yandex_ai_studio import exceptions
from airflow_provider.yandex_ai_studio.client.settings import FIELDS
from airflow_provider.yandex_ai_studio.emulator.wire.messages import COMPLETION_OPTIONS, COMPLETION_REQUEST
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from airflow_provider.yandex_ai_studio.operators.responses import YandexAIStudioResponseOperator
from airflow_provider.yandex_ai_studio.sensors.operation import YandexAIStudioOperationSensor

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "coverage.md").read_text("utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| feature ")]
NEVER, ELSEWHERE = re.compile(r"mark\.(skip|xfail)\b"), re.compile(r"mark\.(skipif|live|system)\b")
"""Marks of a test that shows nothing, and of one that does not run everywhere."""

IN_OTHER_WORDS = {"modelUri": "model", "completionOptions": "temperature"}
PLUMBING = {"get_conn", "get_async_conn", "twin", "pause", "cancel_if_running", "test_connection"}
"""Methods of the hook that are not about a feature of the service."""

OF_OUR_OWN = {"TriggerEventError"}
"""Errors that say nothing of the service."""

WHOLE = ("test_guides.py", "test_live.py")
"""Tests that are all on the page: each plays a sample of the vendor, or a scenario on the real service."""

MEANS = {"test_guides.py::test_the_curl_that_the_guides_call_is_here"}
"""Tests beside them that are about none."""

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


BEHAVIOUR = {
    "a stream that breaks, or tells an error",
    "no stream in asynchronous mode",
    "… and a schema that refers elsewhere, never ends, or is none",
    "a conversation across tasks",
    "tools within a conversation",
    "an error with HTTP 200",
    "a connection of the Apache provider (`yandexcloud`)",
    "tokens: cached, renewed in time and when refused, once for all who wait",
    "the vendor's own SDK",
}
"""Features that have no name in a guide or in the code."""


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


def section_of(page: str, guide: str) -> str:
    _, _, section = page.partition(f"\n## {guide}")
    return section.partition("\n## ")[0]


def parameters_of(*kinds: type) -> set[str]:
    """Return what a DAG may give to these, beside what Airflow takes."""
    inits = {vars(base)["__init__"] for kind in kinds for base in kind.__mro__ if _is_ours(base)}
    given = [each for init in inits for each in inspect.signature(inspect.unwrap(init)).parameters.values()]
    return {each.name for each in given if each.kind is each.KEYWORD_ONLY}


def _is_ours(kind: type) -> bool:
    return kind.__module__.startswith("airflow_provider.") and "__init__" in vars(kind)


def scenarios_in(path: str) -> set[str]:
    return {f"{path}::{name}" for name in functions_in(TESTS / path) if name.startswith("test_")} - MEANS


def features_of_the_code() -> set[str]:
    """Return what a user of this package may name: it must stand on the page, in its own words."""
    asking = {name for name, value in vars(YandexAIStudioHook).items() if callable(value) and name[0] != "_"}
    errors = {name for name in exceptions.__all__ if not getattr(exceptions, name).__subclasses__()} - OF_OUR_OWN
    parameters = parameters_of(
        YandexAIStudioCompletionOperator, YandexAIStudioResponseOperator, YandexAIStudioOperationSensor
    )
    return {name for name in asking - PLUMBING if not name.endswith("_request")} | errors | parameters | set(FIELDS)


def missing_from(page: str) -> set[str]:
    """Return what the page must hold and does not."""
    words = {guide: wanted - words_in(section_of(page, f"{guide}:")) for guide, wanted in WORDS.items()}
    features = {line.split("|")[1].strip() for line in page.splitlines() if line.startswith("| ")}
    samples = set().union(*map(scenarios_in, WHOLE))
    shown = {f"{path}::{name}" for path, name in re.findall(r"`([\w/]+\.py)::(\w+)`", page)}
    dags = {f"dags/{path.name}" for path in TESTS.parent.glob("dags/*.py")}
    return {
        *set().union(*words.values()),
        *features_of_the_code() - words_in(page),
        *BEHAVIOUR - features,
        *samples - shown,
        *{path for path in dags if path not in page},
    }


def test_every_guide_has_its_section() -> None:
    assert {path.stem for path in TESTS.glob("guides/*.md")} == set(re.findall(r"^## ([\w-]+):", PAGE, re.M))
    assert WORDS.keys() == {path.stem for path in TESTS.glob("guides/*.md")}


def test_nothing_that_the_guides_the_code_and_the_samples_hold_is_left_out() -> None:
    assert missing_from(PAGE) == set()


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_no_row_can_be_taken_out_unseen(row: str) -> None:
    without = PAGE.replace(f"{row}\n", "")
    assert missing_from(without) - missing_from(PAGE), f"Hold it, by WORDS or BEHAVIOUR: {row}"
