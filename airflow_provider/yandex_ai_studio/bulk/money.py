"""What a bulk run may cost, and what it has. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from airflow_provider.yandex_ai_studio.api.checks import wrong
from airflow_provider.yandex_ai_studio.api.models import Usage

CHARACTERS_BESIDE = 64
"""What a request may count beside the characters of its messages: a token is at least one character."""

LONGEST_ANSWER = 2000
"""Tokens that an answer is taken to have at most, where the request does not say, until a longer one was seen."""


@dataclass(frozen=True)
class Price:
    """
    What 1,000 tokens cost.

    :param input: Of the request.
    :param output: Of the answer.
    :param currency: The word for the unit.
    """

    input: float
    output: float
    currency: str

    def of(self, usage: Usage) -> float:
        """Return what a usage costs."""
        cost = (usage.input_tokens * self.input + usage.completion_tokens * self.output) / 1000
        return round(cost, 6)

    def words(self, cost: float) -> str:
        """Return a cost as the log says it: to the hundredth, or further where there would be nothing to see."""
        return f"{cost:.{2 if cost >= 0.01 or not cost else 6}f} {self.currency}".rstrip()


def price_of(prices: Mapping[str, Any] | None, model_uri: str, mode: str = "async") -> Price | None:
    """
    Look up what a model costs in a mode.

    :param prices: Of the connection: model, then mode, then ``input`` and ``output`` per 1,000 tokens. The model is a
        full URI, a name with its branch, or a name; ``currency`` stands beside the models.
    :return: None where the connection does not say.
    """
    if not prices:
        return None
    path = model_uri.partition("://")[2].partition("/")[2]
    names = (model_uri, path, path.partition("/")[0])
    for name in names:
        if name in prices and mode in prices[name]:
            entry = prices[name][mode]
            return Price(float(entry["input"]), float(entry["output"]), str(prices.get("currency", "")))
    return None


@dataclass(frozen=True)
class Bounds:
    """
    What a run must not go beyond.

    :param tokens: Of all attempts together.
    :param cost: In the currency of the price.
    :param price: What tokens cost.
    :param longest_answer: ``max_tokens`` of the requests, if it is set.
    """

    tokens: int | None = None
    cost: float | None = None
    price: Price | None = None
    longest_answer: int | None = None

    @classmethod
    def of(cls, tokens: int | None, cost: float | None, price: Price | None, longest_answer: int | None) -> Bounds:
        """
        Check the bounds of a run.

        :raises ConfigurationError: A bound of the cost, and no price.
        """
        if cost is not None and price is None:
            raise wrong(
                "Add what this model costs in the mode 'async' to `prices` of the connection, or leave `max_cost` out"
            )
        return cls(tokens, cost, price, longest_answer)

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return self.tokens is not None or self.cost is not None

    @property
    def names(self) -> str:
        """The parameters that set them."""
        bounds = {"max_total_tokens": self.tokens, "max_cost": self.cost}
        return " or ".join(f"`{name}`" for name, bound in bounds.items() if bound is not None)

    def most(self, characters: int, longest_seen: int) -> Usage:
        """
        Return the most that a request is expected to take.

        :param characters: Of its messages.
        :param longest_seen: Tokens of the longest answer so far.
        """
        output = self.longest_answer or max(LONGEST_ANSWER, longest_seen)
        total = characters + CHARACTERS_BESIDE + output
        return Usage(characters + CHARACTERS_BESIDE, output, total)

    def allow(self, spent: Usage) -> bool:
        """Tell whether a usage stays within the bounds."""
        if self.tokens is not None and spent.total_tokens > self.tokens:
            return False
        return self.cost is None or self.price is None or self.price.of(spent) <= self.cost


def plus(one: Usage, other: Usage) -> Usage:
    """Add two usages up."""
    return Usage(
        one.input_tokens + other.input_tokens,
        one.completion_tokens + other.completion_tokens,
        one.total_tokens + other.total_tokens,
        one.reasoning_tokens + other.reasoning_tokens,
    )


def times(one: Usage, count: int) -> Usage:
    """Return a usage so many times over."""
    return Usage(
        one.input_tokens * count,
        one.completion_tokens * count,
        one.total_tokens * count,
        one.reasoning_tokens * count,
    )
