"""Which rows surely stay within the bounds of tokens and cost, whatever the operations under way take."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import TYPE_CHECKING

from airflow_provider.yandex_ai_studio.bulk.chunks import Chunks, OpenChunk
from airflow_provider.yandex_ai_studio.bulk.money import Bounds, Excess, plus, times

if TYPE_CHECKING:
    from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest


class Budget:
    """
    What a run may still submit.

    :param base: What all requests have in common; its last message gives way to the prompt of each.
    """

    def __init__(self, chunks: Chunks, base: CompletionRequest, bounds: Bounds) -> None:
        self._chunks = chunks
        self._bounds = bounds
        schema = base.output.schema
        form = len(json.dumps(schema)) if schema else 0  # whether it is billed is not documented
        self._beside = form + sum(len(message.text or "") for message in base.messages[:-1])

    def affordable(self, opened: OpenChunk, rows: Sequence[int]) -> list[int] | Excess:
        """Return the first of these rows that stay within; or why none ever will, where nothing is under way."""
        bounds = self._bounds
        if not bounds.any:
            return list(rows)
        head = self._chunks.head
        tally = self._chunks.tally()
        running = self._chunks.running
        expected = bounds.most(head.longest_prompt + self._beside, head.longest_answer)
        lost = times(expected, tally.lost + self._chunks.late)
        most = plus(plus(tally.spent, lost), times(expected, running))
        within: list[int] = []
        for row in rows:
            characters = len(self._chunks.requests(opened.chunk)[row].prompt) + self._beside
            next_one = bounds.most(characters, head.longest_answer)
            most = plus(most, next_one)
            if not bounds.allow(most):
                return within if within or running else bounds.excess(tally.spent, lost, next_one)
            within.append(row)
        return within
