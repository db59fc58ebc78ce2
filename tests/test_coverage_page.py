"""The page on coverage names guides and tests that exist."""

from __future__ import annotations

import ast
import re
from functools import cache
from pathlib import Path

import pytest

TESTS = Path(__file__).parent
PAGE = (TESTS.parent / "docs" / "coverage.md").read_text("utf-8")
ROWS = [line for line in PAGE.splitlines() if line.startswith("| ") and not line.startswith("| feature ")]


@cache
def names_in(path: Path) -> frozenset[str]:
    tree = ast.parse(path.read_text("utf-8"))
    return frozenset(node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.split("|")[1].strip())
def test_every_row_names_tests_that_exist(row: str) -> None:
    named = re.findall(r"`([\w/]+\.py)::(\w+)`", row)
    assert named
    assert len(named) == row.count("::")
    assert [name for path, name in named if name not in names_in(TESTS / path)] == []


def test_every_guide_has_its_section() -> None:
    assert {path.stem for path in TESTS.glob("guides/*.md")} == set(re.findall(r"^## ([\w-]+):", PAGE, re.M))


def test_every_example_dag_is_named() -> None:
    assert [path.name for path in TESTS.parent.glob("dags/*.py") if f"dags/{path.name}" not in PAGE] == []
