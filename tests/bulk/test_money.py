"""What tokens cost, and what a run may take: sums that a person can check."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api.models import Usage
from airflow_provider.yandex_ai_studio.bulk.money import Bounds, Price, missing_price, plus, price_of, times
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError

RUBLES = Price(0.2, 0.4, "RUB")


def test_a_usage_costs_its_two_sides_per_thousand_to_a_millionth() -> None:
    assert RUBLES.of(Usage(1000, 500, 1500)) == 0.4
    assert Price(0.0001, 0.0003, "RUB").of(Usage(7, 9, 16)) == 0.000003


@pytest.mark.parametrize(
    ("cost", "words", "digits"),
    [
        (0.0, "0.00", "0"),
        (0.000021, "0.000021", "0.000021"),
        (0.0099, "0.009900", "0.0099"),
        (0.01, "0.01", "0.01"),
        (0.1, "0.10", "0.1"),
        (1.16304, "1.16", "1.16304"),
        (100.0, "100.00", "100"),
    ],
)
def test_a_cost_is_said_to_the_hundredth_where_there_is_one_or_to_the_last_digit(
    cost: float, words: str, digits: str
) -> None:
    assert (RUBLES.words(cost), RUBLES.digits(cost)) == (f"{words} RUB", f"{digits} RUB")
    nameless = Price(0.2, 0.4, "")
    assert (nameless.words(cost), nameless.digits(cost)) == (words, digits)


def test_usages_add_up_and_multiply_in_each_of_their_numbers() -> None:
    assert plus(Usage(1, 2, 3, 4), Usage(10, 20, 30, 40)) == Usage(11, 22, 33, 44)
    assert times(Usage(1, 2, 3, 4), 10) == Usage(10, 20, 30, 40)


ENTRY = {"async": {"input": "0.2", "output": 0.4}}


@pytest.mark.parametrize(
    ("prices", "model", "price"),
    [
        ({"currency": "RUB", "yandexgpt": ENTRY}, "gpt://f/yandexgpt/rc", RUBLES),
        ({"currency": "RUB", "yandexgpt/rc": ENTRY}, "gpt://f/yandexgpt/rc", RUBLES),
        ({"currency": "RUB", "gpt://f/yandexgpt/rc": ENTRY}, "gpt://f/yandexgpt/rc", RUBLES),
        ({"currency": "RUB", "yandexgpt/latest": ENTRY}, "gpt://f/yandexgpt/rc", None),
        ({"currency": "RUB", "yandexgpt": {"sync": ENTRY["async"]}}, "gpt://f/yandexgpt", None),
        ({"currency": "RUB", "tuned": ENTRY}, "gpt://f/tuned/a/b", RUBLES),
        ({"yandexgpt": ENTRY}, "gpt://f/yandexgpt", Price(0.2, 0.4, "")),
        ({}, "gpt://f/yandexgpt", None),
        (None, "gpt://f/yandexgpt", None),
    ],
)
def test_a_model_is_looked_up_by_its_uri_its_branch_or_its_name(prices: Any, model: str, price: Price | None) -> None:
    assert price_of(prices, model, "async") == price


def test_a_price_is_that_of_asynchronous_mode_where_none_is_named() -> None:
    assert price_of({"currency": "RUB", "yandexgpt": ENTRY}, "gpt://f/yandexgpt") == RUBLES


@pytest.mark.parametrize(
    ("longest_answer", "longest_seen", "most"),
    [
        (100, 5000, Usage(1064, 100, 1164)),  # what the request allows, whatever was seen
        (None, 0, Usage(1064, 2000, 3064)),
        (None, 5000, Usage(1064, 5000, 6064)),
    ],
)
def test_a_request_is_taken_for_the_most_that_it_may_use(
    longest_answer: int | None, longest_seen: int, most: Usage
) -> None:
    assert Bounds(10**6, None, None, longest_answer).most(1000, longest_seen) == most


@pytest.mark.parametrize(
    ("tokens", "cost", "price", "allowed"),
    [
        (None, None, None, True),
        (None, None, RUBLES, True),
        (1500, None, None, True),
        (1499, None, None, False),
        (None, 0.4, RUBLES, True),
        (None, 0.399, RUBLES, False),
        (1499, 0.4, RUBLES, False),
        (1500, 0.399, RUBLES, False),
    ],
)
def test_a_usage_is_allowed_up_to_its_bounds(
    tokens: int | None, cost: float | None, price: Price | None, allowed: bool
) -> None:
    bounds = Bounds(tokens, cost, price, None)
    assert bounds.allow(Usage(1000, 500, 1500)) is allowed
    assert bounds.any is (tokens is not None or cost is not None)


def test_a_bound_of_the_cost_needs_a_price() -> None:
    with pytest.raises(ConfigurationError, match=r"^Add a price of bread, or leave `max_cost` out"):
        Bounds(cost=1.0, lacks="a price of bread")


@pytest.mark.parametrize(
    ("model", "name"),
    [
        ("gpt://f/yandexgpt/latest", "yandexgpt"),
        ("gpt://f/yandexgpt", "yandexgpt"),
        ("ds://bt1a", "ds://bt1a"),
    ],
)
def test_a_price_that_is_missing_is_named_as_the_connection_may_have_it(model: str, name: str) -> None:
    said = f"a price of '{name}' in the mode 'async' in `prices` of the connection 'mine'"
    assert missing_price("mine", model) == said
    assert price_of({name: ENTRY}, model) == replace(RUBLES, currency="")


SPENT, ROW = Usage(3000, 700, 3700), Usage(300, 100, 400)


@pytest.mark.parametrize(
    ("bounds", "lost", "names", "story"),
    [
        (
            Bounds(tokens=4000, longest_answer=100),
            Usage(),
            "`max_total_tokens`",
            "`max_total_tokens` is 4,000 tokens: 3,700 tokens were spent, and the next row may take 400 tokens.",
        ),
        (
            Bounds(tokens=4000),
            Usage(),
            "`max_total_tokens`",
            "`max_total_tokens` is 4,000 tokens: 3,700 tokens were spent, and the next row may take 400 tokens. "
            "Without `max_tokens`, its answer is taken to have 100 tokens.",
        ),
        (
            Bounds(cost=0.97, price=RUBLES, longest_answer=100),
            Usage(),
            "`max_cost`",
            "`max_cost` is 0.97 RUB: 0.88 RUB were spent, and the next row may take 0.1 RUB.",
        ),
        (
            Bounds(tokens=4200, cost=10.0, price=RUBLES, longest_answer=100),
            ROW,
            "`max_total_tokens`",
            "`max_total_tokens` is 4,200 tokens: 3,700 tokens were spent, up to 400 tokens may have been without a "
            "use, and the next row may take 400 tokens. `max_cost` is 10 RUB: 0.88 RUB were spent, up to 0.1 RUB "
            "may have been without a use, and the next row may take 0.1 RUB.",
        ),
    ],
)
def test_who_meets_a_bound_is_told_what_another_one_would_have_to_be(
    bounds: Bounds, lost: Usage, names: str, story: str
) -> None:
    assert bounds.excess(SPENT, lost, ROW) == (names, story)


def test_each_bound_that_a_row_could_go_beyond_is_to_be_raised() -> None:
    both = Bounds(tokens=4099, cost=0.5, price=RUBLES)
    assert both.excess(SPENT, Usage(), ROW).names == "`max_total_tokens` and `max_cost`"
    assert Bounds(tokens=4100, cost=0.5, price=RUBLES).excess(SPENT, Usage(), ROW).names == "`max_cost`"


def test_usages_add_up_to_what_can_be_written_down() -> None:
    """A service out of its mind must not leave a ledger that nobody can write."""
    most = 2**63 - 1
    assert plus(Usage(most, most, most, most), Usage(1, 2, 3, 4)) == Usage(most, most, most, most)
    assert plus(Usage(most - 1, 1, 2, 3), Usage(1, 1, 1, 1)) == Usage(most, 2, 3, 4)
