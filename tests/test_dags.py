"""The example DAGs, and what a DAG file costs that uses the operators."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

from airflow_provider.yandex_ai_studio.emulator import Emulator
from dag_runs import DAGS, Home, python
from support import API_KEY, FOLDER, KEEPS_STATE

SKIPPED = {"triage_feedback": {"ask_a_person"}}
"""The tasks that a branch leaves out."""

DIGEST = """
import json, sys
from types import SimpleNamespace
from airflow.dag_processing.dagbag import DagBag
from airflow.sdk import Asset
events = {Asset("review_summaries"): [SimpleNamespace(extra=json.loads(sys.argv[2]))]}
prompt = DagBag(sys.argv[1]).dags["review_digest"].get_task("digest").python_callable(events)
print("RESULT", json.dumps(prompt, ensure_ascii=False))
"""

SDK = "import airflow.sdk as sdk, sys; sdk.BaseOperator, sdk.BaseSensorOperator, sdk.BaseHook, sdk.PokeReturnValue"
OURS = """
import airflow_provider.yandex_ai_studio.operators.bulk
import airflow_provider.yandex_ai_studio.operators.completion
import airflow_provider.yandex_ai_studio.sensors.operation
"""
LOADED = """
heavy = {"aiohttp", "requests", "httpx", "jwt", "cryptography", "sqlalchemy", "airflow.triggers.base"}
print("RESULT", sorted(heavy & set(sys.modules)))
"""


needs_state_store = pytest.mark.skipif(
    version("apache-airflow-core").startswith("3.2."), reason="the bulk operator refuses to run on Airflow 3.2"
)


@pytest.mark.parametrize(
    ("dag_id", "generations", "loaded"),
    [
        ("submit_and_wait", 1, {}),
        ("summarize_dependencies", 3, {"summaries": "tokens > 0 and length(summary) > 10"}),
        ("conversation", 2, {}),
        ("structured_output", 3, {"feedback": "topic = 'delivery' and urgency = 1 and length(summary) > 10"}),
        ("background_response", 2, {}),
        pytest.param("bulk_summaries", 12, {}, marks=needs_state_store),
        ("triage_feedback", 1, {}),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_an_example_dag_runs_as_it_is(dag_id: str, generations: int, loaded: dict[str, str], tmp_path: Path) -> None:
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=0.5) as emulator:
        folders = {
            "SUMMARIZE_DATABASE": str(tmp_path / "loaded.db"),
            "SUMMARIZE_PACKAGES": "3",
            "BULK_FOLDER": str(tmp_path / "bulk"),
            "BULK_ROWS": "12",
            "FEEDBACK_DATABASE": str(tmp_path / "loaded.db"),
        }
        result = Home(tmp_path, emulator, folders).test(dag_id)
        if dag_id == "bulk_summaries" and not KEEPS_STATE:
            assert (result["tasks"]["summarize"], emulator.stats()["submissions"]) == ("failed", 0)
            return
        assert result["run"] == "success", result
        skipped = SKIPPED.get(dag_id, set())
        assert result["tasks"] == {name: "skipped" if name in skipped else "success" for name in result["tasks"]}
        assert skipped <= set(result["tasks"])
        assert emulator.stats()["submissions"] == generations
        assert not [asked for asked in emulator.operations() if "{{" in asked["prompt_head"]]
    for table, condition in loaded.items():
        with closing(sqlite3.connect(tmp_path / "loaded.db")) as database:
            rows = database.execute(f"select count(*), count(*) filter (where {condition}) from {table}").fetchone()
        assert rows == (generations, generations)


def test_what_is_urgent_goes_to_a_person(tmp_path: Path) -> None:
    urgent = {"role": "assistant", "text": '{"topic": "payment", "urgency": 5}'}
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=0.5) as emulator:
        emulator.fault("completionAsync", "operation_answer", body={"alternatives": [{"message": urgent}]})
        tasks = Home(tmp_path, emulator).test("triage_feedback")["tasks"]
    assert (tasks["ask_a_person"], tasks["file"]) == ("success", "skipped")


@needs_state_store
@pytest.mark.skipif(not KEEPS_STATE, reason="the bulk operator refuses to run without a state store")
def test_the_event_of_an_asset_leads_the_next_dag_to_the_answers(tmp_path: Path) -> None:
    with Emulator(api_key=API_KEY, folder_id=FOLDER, seconds=0.5) as emulator:
        home = Home(tmp_path, emulator, {"REVIEWS_FOLDER": str(tmp_path / "reviews")})
        by_hand = home.test("review_digest")
        assert (by_hand["tasks"], emulator.stats()["submissions"]) == ({"digest": "skipped", "publish": "skipped"}, 0)
        assert home.test("summarize_reviews")["run"] == "success"
        assert emulator.stats()["submissions"] == 3
    with closing(sqlite3.connect(tmp_path / "airflow.db")) as database:
        (event,) = database.execute("select extra from asset_event where source_task_id = 'summarize'").fetchall()
    prompt = json.loads(python(DIGEST, str(DAGS), event[0], **home.environment))
    _, _, *summaries = prompt.splitlines()
    assert [summary[:2] for summary in summaries] == ["- "] * 3
    assert all(any(word in summary for summary in summaries) for word in ("courier", "Кассир", "charged twice"))


def test_a_dag_file_loads_no_more_libraries_than_airflow_itself() -> None:
    assert python(f"{SDK}\n{OURS}\n{LOADED}") == python(f"{SDK}\n{LOADED}")
