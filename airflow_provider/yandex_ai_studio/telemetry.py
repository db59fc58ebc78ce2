"""
What monitoring is told: numbers for Airflow's metrics, and attributes for the span of a task where Airflow traces.

What is to be counted is a value; here it is handed over. That never fails and never waits: no answer is lost because
nobody could count it.

.. seealso:: https://opentelemetry.io/docs/specs/semconv/gen-ai/gen-ai-spans/
"""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any, Literal, NamedTuple

from airflow.sdk.exceptions import AirflowRescheduleException, AirflowSkipException, AirflowTaskTimeout

if TYPE_CHECKING:
    from concurrent.futures import ThreadPoolExecutor

log = logging.getLogger(__name__)

PREFIX = "yandex_ai_studio"

LONGEST_TAG = 60
"""Characters of a tag: in InfluxDB's style, a metric's name with all its tags has 250 at most."""

_NOT_TAKEN = re.compile(r"[^A-Za-z0-9_./-]")
"""What Airflow takes in no tag of InfluxDB's style: it would drop the metric, and log an error for each."""

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


def tags_of(conn_id: Any = None, model: Any = None) -> Tags:
    """
    Return the tags that tell metrics apart, as far as they are known. What a template made no text of is not.

    :param model: Its name or its URI; the folder in it is left out.
    """
    known = {"conn_id": conn_id, "model": name_of(model) if isinstance(model, str) else None}
    return {name: value for name, value in known.items() if isinstance(value, str) and value}


def name_of(model: str) -> str:
    """Return the name of a model, with its branch, from its URI or its name."""
    return model.partition("://")[2].partition("/")[2] or model


def tell(*metrics: Metric, tags: Tags | None = None) -> None:
    """
    Hand metrics over to Airflow, which does with them as it is configured. Those of nothing are left out.

    The first of a process make its backend ready, which may look up a host for seconds. An event loop does not wait for
    that: a thread does, and hands over what comes meanwhile.
    """
    try:
        if _ready_in != os.getpid() and _in_event_loop():
            _thread_of(os.getpid()).submit(_hand_over, metrics, tags)
        else:
            _hand_over(metrics, tags)
    except Exception:
        log.debug("Metrics could not be told", exc_info=True)


_ready_in: int | None = None
"""The process whose backend is ready: a fork makes its own."""


def _in_event_loop() -> bool:
    if asyncio := sys.modules.get("asyncio"):  # who runs a loop has imported it
        with suppress(RuntimeError):
            return asyncio.get_running_loop() is not None
    return False


@cache
def _thread_of(process: int) -> ThreadPoolExecutor:
    from concurrent.futures import ThreadPoolExecutor

    return ThreadPoolExecutor(1, "yandex_ai_studio_metrics")


def _hand_over(metrics: tuple[Metric, ...], tags: Tags | None) -> None:
    global _ready_in
    try:
        from airflow.sdk.observability.stats import Stats  # a DAG file needs none

        for name, value, reason in metrics:
            named = {**(tags or {}), **({"reason": reason} if reason else {})}
            all_tags = {tag: _NOT_TAKEN.sub("_", text)[:LONGEST_TAG] for tag, text in named.items()}
            if name == "waited":
                Stats.timing(f"{PREFIX}.{name}", timedelta(seconds=value), tags=all_tags)
            elif value > 0:
                Stats.incr(f"{PREFIX}.{name}", int(value), tags=all_tags)
            else:
                continue
            _ready_in = os.getpid()
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
