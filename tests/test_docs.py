"""The documents show what is there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from airflow_provider.yandex_ai_studio import exceptions
from airflow_provider.yandex_ai_studio.operators.completion import YandexAIStudioCompletionOperator
from tools import floors

ROOT = Path(__file__).parent.parent
PAGES = sorted([*ROOT.glob("*.md"), *ROOT.glob("docs/*.md")])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_link_within_the_project_leads_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#]+)(?:#[^)]*)?\)", page.read_text())
    missing = [target for target in targets if "://" not in target and not (page.parent / target).exists()]
    assert missing == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_every_snippet_that_names_a_file_is_that_file(page: Path) -> None:
    for name, snippet in re.findall(r"<!-- (\S+) -->\n```python\n(.*?)```", page.read_text(), flags=re.DOTALL):
        assert snippet == (ROOT / name).read_text(), f"{page.name} shows another {name} than the repository has"


def test_every_python_snippet_of_the_readme_names_its_file() -> None:
    readme = (ROOT / "README.md").read_text()
    assert readme.count("```python") == len(re.findall(r"<!-- dags/\S+ -->\n```python", readme)) > 0


def test_the_readme_s_parameters_are_the_operator_s() -> None:
    table = (ROOT / "README.md").read_text().split("| what you give | |")[1].split("\n\n")[0]
    named = set(re.findall(r"`(\w+)`", "\n".join(line.split("|")[1] for line in table.splitlines() if "|" in line)))
    assert named
    with_defaults = YandexAIStudioCompletionOperator(task_id="generate", prompt="x")
    assert {name for name in named if not hasattr(with_defaults, name)} == set()


def test_the_errors_that_the_pages_name_exist() -> None:
    named = set(re.findall(r"`((?:Operation|Submission|Content)[A-Z]\w+)`", "".join(p.read_text() for p in PAGES)))
    assert named - {"OperationPoller"} <= set(exceptions.__all__)


def test_the_drawing_of_the_floors_is_that_of_the_imports() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text()
    assert f"<!-- make floors -->\n```\n{floors.drawing()}\n```" in page, "`make floors` draws another one"
