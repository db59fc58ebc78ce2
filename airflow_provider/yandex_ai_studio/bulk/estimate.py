"""What a bulk run would take, before any of it is paid for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from airflow_provider.yandex_ai_studio.api.models import Message, Usage
from airflow_provider.yandex_ai_studio.bulk.money import LONGEST_ANSWER, Bounds
from airflow_provider.yandex_ai_studio.bulk.plan import Plan, Reader, Request

if TYPE_CHECKING:
    from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
    from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook

SAMPLE = 50
"""Rows whose tokens are counted at most."""

SAMPLED_CHUNKS = 10


@dataclass(frozen=True)
class Estimate:
    """
    What a run would take.

    :param rows: How many there are.
    :param requests: How many of them would be asked; the others are the same as one of these.
    :param sampled_rows: How many were counted.
    :param input_tokens: Of all requests.
    :param output_tokens_at_most: Of all answers.
    :param bounds: Of the run, with its price.
    """

    rows: int
    requests: int
    sampled_rows: int
    input_tokens: int
    output_tokens_at_most: int
    bounds: Bounds

    def value(self) -> dict[str, Any]:
        """Return what the task returns; costs are None where the connection has no price."""
        price = self.bounds.price
        return {
            "rows": self.rows,
            "requests": self.requests,
            "sampled_rows": self.sampled_rows,
            "input_tokens": self.input_tokens,
            "output_tokens_at_most": self.output_tokens_at_most,
            "input_cost": price.of(Usage(self.input_tokens)) if price else None,
            "cost_at_most": price.of(Usage(self.input_tokens, self.output_tokens_at_most)) if price else None,
            "currency": price.currency if price else None,
        }

    def line(self) -> str:
        """Return what the log says of it."""
        parts = [f"{_count(self.requests, 'request')} for {_count(self.rows, 'row')}"]
        parts.append(f"about {self.input_tokens:,} tokens in, by {_count(self.sampled_rows, 'row')} counted")
        unbound = f" (`max_tokens` is not set: {LONGEST_ANSWER:,} for each answer)"
        parts.append(f"at most {self.output_tokens_at_most:,} out{'' if self.bounds.longest_answer else unbound}")
        value, price = self.value(), self.bounds.price
        if price is None:
            parts.append(f"no cost: that needs {self.bounds.lacks}")
        else:
            parts.append(
                f"{price.words(value['input_cost'])} for the input, {price.words(value['cost_at_most'])} in all at most"
            )
        return f"{'; '.join(parts)}. Nothing was submitted."


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"


def estimate(
    hook: YandexAIStudioHook, base: CompletionRequest, reader: Reader, plan: Plan, chunk_size: int, bounds: Bounds
) -> Estimate:
    """
    Count the tokens of some rows, and say what all of them would take, asked once.

    The answers are not known before they are there. They are taken to be as long as they may be: ``max_tokens``, or as
    the bounds of a run have it where that is not set.
    """
    instructions = base.messages[:-1]
    counted = characters = 0
    looked_at = list(sample(reader, plan, chunk_size))
    for request in looked_at:
        counted += hook.count_tokens(replace(base, messages=(*instructions, Message("user", request.prompt))))
        characters += len(request.prompt)
    requests = plan.rows - sum(map(len, plan.twins.values()))
    before = sum(len(message.text or "") for message in instructions)
    whole = plan.characters_asked + before * requests
    tokens = round(counted * whole / (characters + before * len(looked_at))) if looked_at else 0
    return Estimate(plan.rows, requests, len(looked_at), tokens, bounds.most(0, 0).completion_tokens * requests, bounds)


def sample(reader: Reader, plan: Plan, chunk_size: int) -> Iterator[Request]:
    """Give rows from all over the inputs, at most :data:`SAMPLE`."""
    step = max(1, -(-len(plan.places) // SAMPLED_CHUNKS))
    chosen = range(0, len(plan.places), step)
    of_each = SAMPLE // max(1, len(chosen))
    for number in chosen:
        twins = plan.twins.get(number, {})
        requests = reader.chunk(number, chunk_size, plan.places[number])
        asked = [request for row, request in enumerate(requests) if row not in twins]
        yield from asked[:: max(1, -(-len(asked) // of_each))]
