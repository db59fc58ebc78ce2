"""The pure parts of a bulk run, by values."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from jinja2 import Environment

from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.models import Usage
from airflow_provider.yandex_ai_studio.bulk.earlier import parameters_of
from airflow_provider.yandex_ai_studio.bulk.estimate import sample
from airflow_provider.yandex_ai_studio.bulk.finish import manifest_of
from airflow_provider.yandex_ai_studio.bulk.folder import json_lines_of, parquet_of, rows_of_parquet
from airflow_provider.yandex_ai_studio.bulk.hourly_quota import LONGEST_PAUSE, SHORTEST_PAUSE, HourlyQuota
from airflow_provider.yandex_ai_studio.bulk.ledger import Chunk, Head
from airflow_provider.yandex_ai_studio.bulk.money import Bounds, Price, price_of
from airflow_provider.yandex_ai_studio.bulk.plan import Plan, Reader, look_through
from airflow_provider.yandex_ai_studio.bulk.progress import Progress
from airflow_provider.yandex_ai_studio.bulk.prompts import template
from airflow_provider.yandex_ai_studio.bulk.result import failed
from airflow_provider.yandex_ai_studio.bulk.rows import InMemory
from airflow_provider.yandex_ai_studio.bulk.tally import Tally
from airflow_provider.yandex_ai_studio.durability.journal import fingerprint_of

SIZE = 8
USED = Usage(3, 2, 5)

steps = st.lists(
    st.tuples(
        st.sampled_from(["submit", "refuse", "lose", "fail", "refuse for good", "end", "kill", "another attempt"]),
        st.integers(min_value=0, max_value=SIZE - 1),
    ),
    max_size=60,
)


class Service:
    """What the service has taken, beside what the ledger says of it."""

    def __init__(self) -> None:
        self.taken = 0
        self.suspected = 0


def lived(moves: list[tuple[str, int]]) -> tuple[Chunk, Service, set[int]]:
    """Let a chunk live through anything, written down and read again before and after each move."""
    chunk, service, ended = Chunk(0, SIZE, "digest", twins={2: (1, "row-2")}), Service(), set[int]()
    for move, number in moves:
        chunk = Chunk.of(json.loads(json.dumps(chunk.value())))
        waiting, running = chunk.waiting, [row for row in chunk.running if row not in ended]
        match move:
            case "submit" | "refuse" | "lose" | "refuse for good" | "kill" if waiting:
                row = waiting[number % len(waiting)]
                chunk.intend([row])
                chunk = Chunk.of(json.loads(json.dumps(chunk.value())))
                if move in ("submit", "lose", "kill"):
                    service.taken += 1
                if move == "submit":
                    chunk.submitted(row, f"op{service.taken}", 1.0)
                elif move == "refuse":
                    chunk.refused(row)
                elif move == "lose":
                    chunk.lose(row)
                    service.suspected += 1
                elif move == "refuse for good":
                    chunk.conclude(row, "error", {"type": "refused"}, Usage())
                else:
                    service.suspected += chunk.lose_intent()
            case "fail" if running:
                chunk.repeat(running[number % len(running)], USED)
            case "end" if running:
                ended.add(running[number % len(running)])
            case "another attempt":
                chunk.start_over()
    return chunk, service, ended


@given(steps)
def test_whatever_happens_each_row_is_in_one_place_and_each_submission_is_known_or_suspected(
    moves: list[tuple[str, int]],
) -> None:
    chunk, service, _ = lived(moves)
    places = [*chunk.waiting, *chunk.running, *chunk.verdicts, *chunk.twins]
    assert sorted(places) == list(range(SIZE))
    assert chunk.intent == ()
    assert chunk.tally.submissions + chunk.tally.lost == service.taken
    assert chunk.tally.lost == service.suspected
    assert chunk.tally.spent.total_tokens == 5 * chunk.tally.repeated


@given(steps)
def test_a_chunk_that_is_done_asks_only_what_is_opened_again(moves: list[tuple[str, int]]) -> None:
    chunk, _, _ = lived(moves)
    before = chunk.tally
    chunk.complete((5, 2, 1, 0, 0, 0), USED)
    chunk = Chunk.of(json.loads(json.dumps(chunk.value())))
    assert chunk.tally.spent.total_tokens == before.spent.total_tokens + 5
    assert chunk.tally.flawed
    chunk.reopen([0, 5])
    assert set(chunk.waiting) | set(chunk.running) == {0, 5}
    assert not chunk.done


def test_a_head_is_read_as_it_was_written() -> None:
    plan = Plan("f", 25, 100, 90, 9, (0, 10, 20), ("a", "b", "c"), {})
    head = Head.begin(plan, 10, 1.0, "s3://out", "jsonl")
    head.opened, head.done, head.hour = 2, {0: Tally((10, 0, 0, 0, 0, 0), USED, 11, 1, 0)}, {"7": 3}
    again = Head.of(json.loads(json.dumps(head.value())))
    assert again == head
    assert (again.open, again.chunks, again.size_of(2)) == ([1], 3, 5)


def test_a_pace_is_of_this_attempt_s_own_work() -> None:
    progress = Progress(rows=1000, done=600, again=0, running=50, failed=3, spent=USED, restored=500, seconds=360.0)
    assert progress.rows_per_hour == 1000
    assert progress.seconds_left == 1440
    line = progress.line(Price(1000.0, 2000.0, "RUB"))
    assert "600 of 1000 rows done, 50 running, 3 failed" in line
    assert "7.00 RUB" in line
    assert "1000 rows an hour, 24 min left" in line
    fresh = Progress(1000, 500, 0, 0, 0, USED, 500, 10.0)
    assert (fresh.rows_per_hour, fresh.seconds_left) == (None, None)


@given(st.lists(st.floats(min_value=0, max_value=3600), max_size=20))
def test_the_hour_is_tried_again_in_time(ages: list[float]) -> None:
    now = 1_000_000.0
    hour = HourlyQuota()
    for age in ages:
        hour.submitted(now - age, 1)
    opens = HourlyQuota(json.loads(json.dumps(hour.value(now)))).opens_at(now)
    assert SHORTEST_PAUSE <= opens - now <= LONGEST_PAUSE
    if ages and max(ages) > 3540:
        assert opens - now <= 120


@pytest.mark.parametrize(
    ("counts", "reason"),
    [
        ((3, 0, 0, 0, 0, 0), "succeeded"),
        ((2, 1, 0, 0, 0, 0), "partial"),
        ((2, 0, 0, 0, 0, 1), "partial"),
        ((0, 1, 0, 1, 1, 0), "expired"),
        ((1, 1, 0, 0, 1, 0), "cancelled"),
    ],
)
def test_a_manifest_says_how_the_run_ended_in_the_words_of_common_ai(counts: tuple[int, ...], reason: str) -> None:
    head = Head.begin(Plan("f", 3, 100, 90, 9, (0,), ("a",), {}), 10, 1.0, "s3://out", "jsonl")
    assert manifest_of(head, Tally(counts), {}, None, [], 2.0)["terminal_reason"] == reason


@pytest.mark.parametrize(
    ("rows", "chunk_size", "looked_at"),
    [(50, 250, range(50)), (99, 250, range(0, 99, 2)), (1000, 100, range(0, 1000, 20))],
)
def test_an_estimate_looks_at_rows_from_all_over_the_inputs(rows: int, chunk_size: int, looked_at: range) -> None:
    reader = Reader(InMemory([f"Row {row}" for row in range(rows)]), None, None)
    plan = look_through(reader, parameters="", chunk_size=chunk_size, deduplicate=True)
    assert [request.index for request in sample(reader, plan, chunk_size)] == list(looked_at)


PRICES: dict[str, Any] = {
    "currency": "RUB",
    "yandexgpt": {"async": {"input": 1, "output": 2}, "sync": {"input": 4, "output": 4}},
    "yandexgpt/rc": {"async": {"input": 3, "output": 3}},
}


@pytest.mark.parametrize(
    ("model", "mode", "price"),
    [
        ("gpt://f/yandexgpt", "async", Price(1, 2, "RUB")),
        ("gpt://f/yandexgpt/latest", "async", Price(1, 2, "RUB")),
        ("gpt://f/yandexgpt/rc", "async", Price(3, 3, "RUB")),
        ("gpt://f/yandexgpt", "sync", Price(4, 4, "RUB")),
        ("gpt://f/other", "async", None),
    ],
)
def test_a_price_is_that_of_the_model_and_the_mode(model: str, mode: str, price: Price | None) -> None:
    assert price_of(PRICES, model, mode) == price


def test_a_bound_counts_the_most_that_a_request_may_take() -> None:
    bounds = Bounds(1000, None, None, 100)
    assert bounds.most(36, 0).total_tokens == 200
    assert bounds.allow(Usage(0, 0, 1000))
    assert not bounds.allow(Usage(0, 0, 1001))
    costs = Bounds(None, 2.0, Price(1, 2, "RUB"), None)
    assert costs.allow(Usage(1000, 500, 1500))
    assert not costs.allow(Usage(1000, 501, 1501))


rows = st.lists(
    st.fixed_dictionaries(
        {
            "custom_id": st.text(max_size=5),
            "index": st.integers(0, 10**6),
            "status": st.just("success"),
            "output": st.one_of(st.none(), st.text(max_size=9), st.dictionaries(st.text(max_size=3), st.integers())),
            "raw_output": st.none(),
            "error": st.one_of(st.none(), st.just(failed("a", "b").error), st.just(failed("a", "b", "id").error)),
            "model": st.none(),
            "usage": st.one_of(st.none(), st.just(USED.as_dict())),
            "finish_reason": st.none(),
            "cost": st.one_of(st.none(), st.just(0.5)),
        }
    ),
    max_size=5,
)


@given(rows)
def test_both_formats_give_back_what_was_written(written: list[dict[str, Any]]) -> None:
    assert rows_of_parquet(parquet_of(written)) == written
    assert [json.loads(line) for line in json_lines_of(written).split(b"\n") if line] == written


def test_what_tells_a_run_from_others_is_told_by_the_same_recipe_in_each_release() -> None:
    """A run that an earlier release began is paid for again where one of these values is another: change none."""
    rows = [{"id": number, "text": text} for number, text in enumerate(("Утка.", "Duck.", "Duck."))]
    reader = Reader(InMemory(rows), template("Of {{ row.text }}", Environment(), {}), "id")
    base = CompletionRequest.of(
        model="yandexgpt-lite",
        folder_id="b1g",
        prompt="a row",
        instructions="Be brief.",
        temperature=0.3,
        max_tokens=100,
        json_schema={"type": "object", "properties": {"title": {"type": "string"}}},
    )
    parameters = parameters_of(base, "id", "yandexgpt-lite")
    plan = look_through(reader, parameters=fingerprint_of(parameters), chunk_size=2, deduplicate=True)
    assert {name: value[:8] for name, value in parameters.items()} == {
        "model": "aa0f8b46",
        "instructions": "56d0abfc",
        "temperature": "d6b0453b",
        "max_tokens": "f4a03ce0",
        "reasoning": "cc8b5340",
        "json_object": "31dc210d",
        "json_schema": "fd7050ce",
        "id_field": "ed800daa",
    }
    assert plan.digests == ("5ee22bfe5793b89d2a956a38b395d358", "4c9edd545f33b1a330ab38307aae7d34")
    assert plan.fingerprint == "31805c4f4a558910fe583b7e1047b8b93561a638da5b0ee4bac402f17d6060c2"
