"""What a bulk run would take, before any of it is paid for."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from airflow_provider.yandex_ai_studio.api.models import Message, Usage
from airflow_provider.yandex_ai_studio.bulk.money import Price
from airflow_provider.yandex_ai_studio.bulk.plan import Plan, Reader, Request

if TYPE_CHECKING:
    from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
    from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook

SAMPLE = 50
"""Rows whose tokens are counted at most."""

SAMPLED_CHUNKS = 10


def estimate(
    hook: YandexAIStudioHook, base: CompletionRequest, reader: Reader, plan: Plan, chunk_size: int, price: Price | None
) -> dict[str, Any]:
    """
    Count the tokens of some rows, and return what all of them would take.

    The answers are not known before they are there: ``max_tokens`` bounds them, where it is set.
    """
    instructions = base.messages[:-1]
    counted = characters = 0
    sample = list(_sample(reader, plan, chunk_size))
    for request in sample:
        counted += hook.count_tokens(replace(base, messages=(*instructions, Message("user", request.prompt))))
        characters += len(request.prompt)
    requests = plan.rows - sum(map(len, plan.twins.values()))
    before = sum(len(message.text or "") for message in instructions)
    whole = plan.characters_asked + before * requests
    tokens = round(counted * whole / (characters + before * len(sample))) if sample else 0
    output = None if base.max_tokens is None else base.max_tokens * requests
    return {
        "rows": plan.rows,
        "requests": requests,
        "sampled_rows": len(sample),
        "input_tokens": tokens,
        "output_tokens_at_most": output,
        "input_cost": price.of(Usage(tokens)) if price else None,
        "cost_at_most": price.of(Usage(tokens, output)) if price and output is not None else None,
        "currency": price.currency if price else None,
    }


def _sample(reader: Reader, plan: Plan, chunk_size: int) -> Iterator[Request]:
    """Give rows from all over the inputs, at most :data:`SAMPLE`."""
    step = max(1, -(-len(plan.places) // SAMPLED_CHUNKS))
    chosen = range(0, len(plan.places), step)
    of_each = SAMPLE // max(1, len(chosen))
    for number in chosen:
        twins = plan.twins.get(number, {})
        requests = reader.chunk(number, chunk_size, plan.places[number])
        asked = [request for row, request in enumerate(requests) if row not in twins]
        yield from asked[:: max(1, len(asked) // of_each)][:of_each]
