"""The documents show what is there."""

from __future__ import annotations

import re
from importlib import import_module
from pathlib import Path
from typing import get_args

import pytest

from airflow_provider.yandex_ai_studio import exceptions, telemetry
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


def test_the_public_names_are_where_the_page_says() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text().split("## Public names")[1].split("\n## ")[0]
    rows = re.findall(r"^\| `([\w.]+)` \| `(\w+)`", page, flags=re.M)
    package = "airflow_provider.yandex_ai_studio"
    assert len(rows) >= 6
    assert [row for row in rows if not hasattr(import_module(f"{package}.{row[0]}"), row[1])] == []


def test_what_readme_and_dags_import_is_public() -> None:
    page = (ROOT / "docs" / "architecture.md").read_text().split("## Public names")[1].split("\n## ")[0]
    files = [*PAGES, *ROOT.glob("dags/*.py")]
    imported = {
        found
        for file in files
        for found in re.findall(r"^from airflow_provider\.yandex_ai_studio\.([\w.]+) import", file.read_text(), re.M)
    }
    assert imported
    assert {name for name in imported if f"| `{name}` |" not in page} == set()


def test_the_metrics_and_attributes_on_the_page_are_those_of_the_code() -> None:
    page = (ROOT / "docs" / "observability.md").read_text()
    metrics = re.findall(r"^\| `yandex_ai_studio\.([\w.]+)` \|", page, flags=re.M)
    assert sorted(metrics) == sorted(get_args(telemetry.Name))
    attributes = re.findall(r"^\| `((?:gen_ai|error)\.[\w.]+)` \|", page, flags=re.M)
    known = telemetry.request_attributes("yandexgpt", "d7q1") | telemetry.answer_attributes("final", 1, 1)
    assert sorted(attributes) == sorted([*known, "error.type"])
