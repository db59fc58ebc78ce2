"""Which rows stay within the bounds, by value: each is counted at the most that it may take."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.models import Message, Usage
from airflow_provider.yandex_ai_studio.api.output import Output
from airflow_provider.yandex_ai_studio.bulk.budget import Budget
from airflow_provider.yandex_ai_studio.bulk.chunks import Chunks, OpenChunk
from airflow_provider.yandex_ai_studio.bulk.money import CHARACTERS_BESIDE, LONGEST_ANSWER, Bounds, Excess
from airflow_provider.yandex_ai_studio.bulk.result import Result
from bulk_scene import MODEL, NOW, Scene

ROWS = ["x" * 10, "y" * 20, "z" * 30]
ANSWER = 100
EACH = [CHARACTERS_BESIDE + len(row) + ANSWER for row in ROWS]
"""What each row may take."""


def of(
    tokens: int | None, *, base: CompletionRequest | None = None, longest: int | None = ANSWER
) -> tuple[Budget, Chunks, OpenChunk]:
    scene = Scene(ROWS, base=base or CompletionRequest(MODEL, (Message("user", "-"),)))
    chunks = scene.chunks()
    opened = chunks.begin_next()
    return Budget(chunks, scene.base, Bounds(tokens, longest_answer=longest)), chunks, opened


def test_without_a_bound_all_may_be_submitted() -> None:
    budget, _, opened = of(None)
    assert budget.affordable(opened, [2, 0]) == [2, 0]


@pytest.mark.parametrize(
    ("tokens", "rows"),
    [(sum(EACH), [0, 1, 2]), (sum(EACH) - 1, [0, 1]), (sum(EACH[:2]), [0, 1]), (sum(EACH[:2]) - 1, [0])],
)
def test_the_first_rows_are_submitted_that_surely_stay_within(tokens: int, rows: list[int]) -> None:
    budget, _, opened = of(tokens)
    assert budget.affordable(opened, [0, 1, 2]) == rows


def test_a_bound_that_the_next_row_could_pass_is_told_with_what_was_spent() -> None:
    budget, _, opened = of(EACH[0] - 1)
    assert isinstance(budget.affordable(opened, [0]), Excess)
    budget, _, opened = of(1000)
    opened.chunk.ids[2] = ("op2", NOW)
    opened.chunk.repeat(2, Usage(300, 400, 900))
    found = budget.affordable(opened, [1])
    assert isinstance(found, Excess)
    assert "900 tokens were spent" in found.story
    assert f"the next row may take {EACH[1]} tokens" in found.story


def test_an_operation_that_runs_counts_as_the_longest_row_that_there_is() -> None:
    budget, _, opened = of(EACH[2] + EACH[0])
    opened.chunk.submitted(1, "op1", NOW)
    assert budget.affordable(opened, [0]) == [0]
    budget, _, opened = of(EACH[2] + EACH[0] - 1)
    opened.chunk.submitted(1, "op1", NOW)
    assert budget.affordable(opened, [0]) == []  # it may be less, once it has ended


def test_an_answer_counts_as_what_it_took() -> None:
    budget, _, opened = of(500 + EACH[0])
    opened.chunk.submitted(1, "op1", NOW)
    opened.answers[1] = Result("success", "Quack.", usage=Usage(200, 300, 500))
    assert budget.affordable(opened, [0]) == [0]
    budget, _, opened = of(500 + EACH[0] - 1)
    opened.chunk.submitted(1, "op1", NOW)
    opened.answers[1] = Result("success", "Quack.", usage=Usage(200, 300, 500))
    assert isinstance(budget.affordable(opened, [0]), Excess)


@pytest.mark.parametrize("how", ["lost", "late"])
def test_what_nobody_knows_counts_as_the_longest_row_and_is_told(how: str) -> None:
    for tokens, allowed in ((EACH[2] + EACH[0], True), (EACH[2] + EACH[0] - 1, False)):
        budget, _, opened = of(tokens)
        if how == "lost":
            opened.chunk.intend([1])
            opened.chunk.lose(1)
        else:
            opened.chunk.submitted(1, "op1", NOW)
            opened.chunk.conclude(1, "error", None, Usage(), keep_operation=True)
        found = budget.affordable(opened, [0])
        if allowed:
            assert found == [0]
        else:
            assert isinstance(found, Excess)
            assert f"up to {EACH[2]} tokens may have been without a use" in found.story


def test_an_answer_counts_as_the_longest_one_so_far_where_no_request_bounds_it() -> None:
    longest = 3 * LONGEST_ANSWER
    most = CHARACTERS_BESIDE + len(ROWS[0]) + longest
    for tokens, allowed in ((most, True), (most - 1, False)):
        budget, chunks, opened = of(tokens, longest=None)
        chunks.head.longest_answer = longest
        assert (budget.affordable(opened, [0]) == [0]) is allowed
    running = CHARACTERS_BESIDE + len(ROWS[2]) + longest
    for tokens, allowed in ((most + running, True), (most + running - 1, False)):
        budget, chunks, opened = of(tokens, longest=None)
        chunks.head.longest_answer = longest
        opened.chunk.submitted(1, "op1", NOW)
        assert (budget.affordable(opened, [0]) == [0]) is allowed


SCHEMA: dict[str, Any] = {"type": "object", "properties": {"title": {"type": "string"}}}


@pytest.mark.parametrize(
    ("base", "beside"),
    [
        (CompletionRequest(MODEL, (Message("system", "Be brief."), Message("user", "not this"))), 9),
        (CompletionRequest(MODEL, (Message("system", None), Message("user", "not this"))), 0),
        (
            CompletionRequest(MODEL, (Message("user", "-"),), output=Output(schema=SCHEMA)),
            len(json.dumps(SCHEMA)),
        ),
        (
            CompletionRequest(
                MODEL, (Message("system", "Be brief."), Message("user", "-")), output=Output(schema=SCHEMA)
            ),
            len(json.dumps(SCHEMA)) + 9,
        ),
    ],
)
def test_instructions_and_schema_count_with_each_row(base: CompletionRequest, beside: int) -> None:
    for tokens, rows in ((EACH[0] + EACH[1] + 2 * beside, [0, 1]), (EACH[0] + EACH[1] + 2 * beside - 1, [0])):
        budget, _, opened = of(tokens, base=base)
        assert budget.affordable(opened, [0, 1]) == rows
    for tokens, rows in ((EACH[2] + EACH[1] + 2 * beside, [1]), (EACH[2] + EACH[1] + 2 * beside - 1, [])):
        budget, _, opened = of(tokens, base=base)
        opened.chunk.submitted(0, "op0", NOW)
        assert budget.affordable(opened, [1]) == rows
