"""What tokens cost, and what a run may take: sums that a person can check."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api.models import Usage
from airflow_provider.yandex_ai_studio.bulk.money import Bounds, Price, plus, price_of, times
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError

RUBLES = Price(0.2, 0.4, "RUB")


def test_a_usage_costs_its_two_sides_per_thousand_to_a_millionth() -> None:
    assert RUBLES.of(Usage(1000, 500, 1500)) == 0.4
    assert Price(0.0001, 0.0003, "RUB").of(Usage(7, 9, 16)) == 0.000003


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
    assert Bounds.of(10**6, None, None, longest_answer).most(1000, longest_seen) == most


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
    bounds = Bounds.of(tokens, cost, price, None)
    assert bounds.allow(Usage(1000, 500, 1500)) is allowed
    assert bounds.any is (tokens is not None or cost is not None)


def test_a_bound_of_the_cost_needs_a_price() -> None:
    with pytest.raises(ConfigurationError, match="`prices`"):
        Bounds.of(None, 1.0, None, None)
