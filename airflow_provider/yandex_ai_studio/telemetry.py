"""
What monitoring is told: numbers for Airflow's metrics, and attributes for the span of a task where Airflow traces.

What is to be counted is a value; here it is handed over. That never fails and never waits: no answer is lost because
nobody could count it.

.. seealso:: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from typing import Literal, NamedTuple

from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException, AirflowTaskTimeout

log = logging.getLogger(__name__)

PREFIX = "yandex_ai_studio"

Name = Literal[
    "submitted", "found", "succeeded", "failed", "tokens.input", "tokens.output", "waited", "reads", "rate_limited"
]
Tags = Mapping[str, str]
Attributes = dict[str, str | int | list[str]]


class Metric(NamedTuple):
    """
    Something that is counted, or timed.

    :param value: How many; for ``waited``, seconds.
    :param reason: Why it failed.
    """

    name: Name
    value: float = 1
    reason: str | None = None


def tokens(input_tokens: int, output_tokens: int) -> tuple[Metric, Metric]:
    """Return what is counted of an answer's usage, or of many."""
    return Metric("tokens.input", input_tokens), Metric("tokens.output", output_tokens)


def tags_of(conn_id: str | None = None, model: str | None = None) -> Tags:
    """
    Return the tags that tell metrics apart, as far as they are known.

    :param model: Its name or its URI; the folder in it is left out.
    """
    known = {"conn_id": conn_id, "model": None if model is None else name_of(model)}
    return {name: value for name, value in known.items() if value}


def name_of(model: str) -> str:
    """Return the name of a model, with its branch, from its URI or its name."""
    return model.partition("://")[2].partition("/")[2] or model


def tell(*metrics: Metric, tags: Tags | None = None) -> None:
    """Hand metrics over to Airflow, which does with them as it is configured. Those of nothing are left out."""
    try:
        from airflow.sdk.observability.stats import Stats  # a DAG file needs none

        for name, value, reason in metrics:
            all_tags = {**(tags or {}), **({"reason": reason} if reason else {})}
            if name == "waited":
                Stats.timing(f"{PREFIX}.{name}", timedelta(seconds=value), tags=all_tags)
            elif value > 0:
                Stats.incr(f"{PREFIX}.{name}", int(value), tags=all_tags)
    except Exception:
        log.debug("Metrics could not be told", exc_info=True)


def describe(attributes: Attributes) -> None:
    """Set attributes of the span of this task. Where nobody traces, there is none, and nothing is imported for it."""
    try:
        if trace := sys.modules.get("opentelemetry.trace"):
            trace.get_current_span().set_attributes(attributes)
    except Exception:
        log.debug("The span could not be described", exc_info=True)


def request_attributes(model: str | None, operation_id: str | None = None) -> Attributes:
    """Return how the conventions for generative AI name what was asked for. No text is in it."""
    known = {
        "gen_ai.operation.name": "chat",
        "gen_ai.provider.name": PREFIX,
        "gen_ai.request.model": None if model is None else name_of(model),
        "gen_ai.response.id": operation_id,
    }
    return {name: value for name, value in known.items() if value}


def answer_attributes(status: str, input_tokens: int, output_tokens: int) -> Attributes:
    """Return how they name what came of it."""
    reasons = [_FINISH_REASONS.get(status, status)]
    return {"gen_ai.response.finish_reasons": reasons, **usage_attributes(input_tokens, output_tokens)}


def usage_attributes(input_tokens: int, output_tokens: int) -> Attributes:
    """Return how they name what it took."""
    return {"gen_ai.usage.input_tokens": input_tokens, "gen_ai.usage.output_tokens": output_tokens}


_FINISH_REASONS = {"final": "stop", "truncated": "length", "tool_calls": "tool_call"}


@contextmanager
def telling_failures(tags: Callable[[], Tags]) -> Iterator[None]:
    """Count what ends an attempt of a task without an answer, and note it in the span. A skip is no failure."""
    try:
        yield
    except (AirflowSkipException, AirflowRescheduleException):
        raise
    except (Exception, AirflowTaskTimeout) as error:
        reason = type(error).__name__
        try:
            tell(Metric("failed", reason=reason), tags=tags())
        except Exception:
            log.debug("The failure could not be told", exc_info=True)
        describe({"error.type": reason})
        raise
