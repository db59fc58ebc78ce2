"""The demo must not be content with an outcome that is wrong."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tools.demo import INSTRUCTIONS, OPTIONS, PROMPT, complaints, empty
from tools.direct import Direct


def operation(id_: str, state: str = "succeeded", **changes: Any) -> dict[str, Any]:
    options = {"stream": False, "temperature": 0.2, "maxTokens": 200}
    return {"id": id_, "state": state, "options": {"modelUri": MODEL_URI, "completionOptions": options, **changes}}


MODEL_URI = "gpt://b1gemulator/yandexgpt"
GOOD: dict[str, Any] = {
    "rows": [("a", "Text of a.", 7, "d7q1"), ("b", "Text of b.", 8, "d7q2")],
    "expected": {"a": Direct("Text of a.", 7), "b": Direct("Text of b.", 8)},
    "operations": [operation("d7q1"), operation("d7q2")],
    "tries": {"extract[-1]": 1, "summarize[0]": 1},
}


def test_a_good_outcome_is_good() -> None:
    assert complaints(**GOOD) == []


@pytest.mark.parametrize(
    ("change", "complaint"),
    [
        ({"rows": [("a", "Text of a. ", 7, "d7q1"), GOOD["rows"][1]]}, "a: 'Text of a. ' instead of"),
        ({"rows": [("a", "Text of b.", 8, "d7q2"), ("b", "Text of a.", 7, "d7q1")]}, "instead of"),
        ({"rows": [("a", "Text of a.", 9, "d7q1"), GOOD["rows"][1]]}, "a: 9 tokens instead of 7"),
        ({"rows": GOOD["rows"][:1]}, "b: no summary"),
        ({"rows": [*GOOD["rows"], ("c", "", 0, "d7q3")]}, "c: nobody asked"),
        ({"rows": [GOOD["rows"][0], ("b", "Text of b.", 8, "d7q1")]}, "the table names the operations"),
        ({"operations": [*GOOD["operations"], operation("d7q3", "cancelled")]}, "the emulator created"),
        ({"operations": [operation("d7q1", "failed"), operation("d7q2")]}, "d7q1 is failed"),
        *(
            ({"operations": [operation("d7q1"), operation("d7q2", **changes)]}, "d7q2 was asked with")
            for changes in (
                {"completionOptions": {"maxTokens": 200}},
                {"completionOptions": {"temperature": 0.6, "maxTokens": 200}},
                {"completionOptions": {"temperature": 0.2}},
                {"completionOptions": {"temperature": 0.2, "maxTokens": 200, "stream": True}},
                {"modelUri": "gpt://b1gemulator/yandexgpt-lite"},
                {"jsonObject": True},
            )
        ),
        ({"tries": {"summarize[3]": 2}}, r"summarize\[3\] took 2 attempts"),
    ],
)
def test_a_wrong_outcome_is_told(change: dict[str, Any], complaint: str) -> None:
    assert any(re.search(complaint, said) for said in complaints(**{**GOOD, **change}))


def test_an_empty_text_is_told_whoever_answers() -> None:
    assert empty(GOOD["rows"]) == []
    assert empty([("a", " ", 7, "d7q1"), GOOD["rows"][1]]) == ["a: the summary is empty"]


def test_the_demo_asks_what_the_dag_asks() -> None:
    dag = (Path(__file__).parents[2] / "dags" / "summarize_dependencies.py").read_text()
    assert INSTRUCTIONS.format(today="{{ data_interval_end | ds }}") in dag
    question = PROMPT.format(package="{readme['package']}", text="{readme['text']}").replace("\n", "\\n")
    assert question in dag
    assert f"temperature={OPTIONS['temperature']}" in dag
    assert f"max_tokens={OPTIONS['maxTokens']}" in dag
