"""What a bulk run may cost, and what it has. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

from airflow_provider.yandex_ai_studio.api.checks import wrong
from airflow_provider.yandex_ai_studio.api.models import Usage
from airflow_provider.yandex_ai_studio.api.values import INT64

CHARACTERS_BESIDE = 64
"""What a request may count beside the characters of its messages: a token is at least one character."""

LONGEST_ANSWER = 2000
"""Tokens that an answer is taken to have at most, where the request does not say, until a longer one was seen."""

MOST_TOKENS = INT64 - 1
"""More than anybody pays for, and the most that Airflow's database and messages surely hold."""


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

    def digits(self, cost: float) -> str:
        """Return a cost to the last digit, as a sum is told whose parts must add up."""
        return f"{f'{cost:.6f}'.rstrip('0').rstrip('.')} {self.currency}".rstrip()


def price_of(prices: Mapping[str, Any] | None, model_uri: str, mode: str = "async") -> Price | None:
    """
    Look up what a model costs in a mode.

    :param prices: Of the connection: model, then mode, then ``input`` and ``output`` per 1,000 tokens. The model is a
        full URI, a name with its branch, or a name; ``currency`` stands beside the models.
    :return: None where the connection does not say.
    """
    if not prices:
        return None
    for name in _names(model_uri):
        if name in prices and mode in prices[name]:
            entry = prices[name][mode]
            return Price(float(entry["input"]), float(entry["output"]), str(prices.get("currency", "")))
    return None


def missing_price(conn_id: str, model_uri: str, mode: str = "async") -> str:
    """Say what a connection lacks where :func:`price_of` finds nothing."""
    name = next(name for name in reversed(_names(model_uri)) if name)
    return f"a price of {name!r} in the mode {mode!r} in `prices` of the connection {conn_id!r}"


def model_name(model_uri: str) -> str:
    """Return what a model is called in its folder, with its branch if it has one."""
    return model_uri.partition("://")[2].partition("/")[2]


def _names(model_uri: str) -> tuple[str, str, str]:
    """Return the names of a model, the fullest first."""
    name = model_name(model_uri)
    return model_uri, name, name.partition("/")[0]


Measure = tuple[float, Callable[[Usage], float], Callable[[Any], str]]
"""A bound, how much of it a usage takes, and how that is said."""


class Excess(NamedTuple):
    """
    Why one more row could go beyond a bound.

    :param names: The parameters to raise.
    :param story: What each of them is, beside what was spent and what the row may take.
    """

    names: str
    story: str


@dataclass(frozen=True)
class Bounds:
    """
    What a run must not go beyond.

    :param tokens: Of all attempts together.
    :param cost: In the currency of the price.
    :param price: What tokens cost.
    :param longest_answer: ``max_tokens`` of the requests, if it is set.
    :param lacks: What there must be for a price, where there is none.
    """

    tokens: int | None = None
    cost: float | None = None
    price: Price | None = None
    longest_answer: int | None = None
    lacks: str = "a price"

    def __post_init__(self) -> None:
        """
        Check that the bounds can be kept.

        :raises ConfigurationError: A bound of the cost, and no price.
        """
        if self.cost is not None and self.price is None:
            raise wrong(f"Add {self.lacks}, or leave `max_cost` out: without it, nobody knows what the rows cost")

    @property
    def any(self) -> bool:
        """Whether there is one."""
        return bool(self._by_parameter)

    @property
    def _by_parameter(self) -> dict[str, Measure]:
        found: dict[str, Measure] = {}
        if self.tokens is not None:
            found["max_total_tokens"] = self.tokens, lambda usage: usage.total_tokens, lambda count: f"{count:,} tokens"
        if self.cost is not None and self.price:
            found["max_cost"] = self.cost, self.price.of, self.price.digits
        return found

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
        return all(of(spent) <= bound for bound, of, _ in self._by_parameter.values())

    def excess(self, spent: Usage, lost: Usage, row: Usage) -> Excess:
        """
        Return why one more row could go beyond a bound.

        :param spent: What the answers so far took.
        :param lost: The most that submissions took of which nobody knows.
        :param row: The most that the next row may take.
        """
        names, sides = [], []
        for name, (bound, of, words) in self._by_parameter.items():
            if of(plus(plus(spent, lost), row)) > bound:
                names.append(f"`{name}`")
            unknown = f", up to {words(of(lost))} may have been without a use" if lost != Usage() else ""
            sides.append(
                f"`{name}` is {words(bound)}: {words(of(spent))} were spent{unknown}, and the next row may take "
                f"{words(of(row))}."
            )
        if not self.longest_answer:
            sides.append(f"Without `max_tokens`, its answer is taken to have {row.completion_tokens:,} tokens.")
        return Excess(" and ".join(names), " ".join(sides))


def plus(one: Usage, other: Usage) -> Usage:
    """Add two usages up, as far as Airflow can write the sum down."""
    return Usage(
        min(MOST_TOKENS, one.input_tokens + other.input_tokens),
        min(MOST_TOKENS, one.completion_tokens + other.completion_tokens),
        min(MOST_TOKENS, one.total_tokens + other.total_tokens),
        min(MOST_TOKENS, one.reasoning_tokens + other.reasoning_tokens),
    )


def times(one: Usage, count: int) -> Usage:
    """Return a usage so many times over."""
    return Usage(
        one.input_tokens * count,
        one.completion_tokens * count,
        one.total_tokens * count,
        one.reasoning_tokens * count,
    )
