"""Hand an answer to its task: what goes beside it into XCom, and what its log says of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from airflow_provider.yandex_ai_studio.answers.outcome import OWNER, Advice, refuse_withheld, story_of, xcoms_of
from airflow_provider.yandex_ai_studio.telemetry import (
    Metric,
    Tags,
    answer_attributes,
    describe,
    request_attributes,
    tell,
    tokens,
)

if TYPE_CHECKING:
    from airflow.sdk.types import Logger, RuntimeTaskInstanceProtocol

    from airflow_provider.yandex_ai_studio.api.models import Generation


def deliver(
    ti: RuntimeTaskInstanceProtocol,
    generation: Generation,
    operation_id: str | None,
    log: Logger,
    *,
    tags: Tags | None,
    beside: Mapping[str, Any] | None = None,
    advice: Advice = OWNER,
) -> None:
    """
    Push what goes beside an answer to XCom, and tell log and monitoring of it.

    :param tags: Of its metrics; None where it was counted before.
    :param beside: XComs of the task's own.
    :param advice: What its errors tell.
    :raises ContentFiltered: The answer was withheld.
    :raises AnswerRefused: The model declined to answer; its words are in the XCom ``text``.
    :raises AnswerUnreadable: This release can't read the answer.
    """
    for key, value in xcoms_of(generation, operation_id, ti.try_number).items():
        ti.xcom_push(key, value)
    log.info(story_of(generation, operation_id))
    if tags is not None:
        tell_answer(generation, operation_id, tags)
    if generation.status == "refusal":
        ti.xcom_push("text", generation.text)
    refuse_withheld(generation, operation_id, advice)
    for key, value in (beside or {}).items():
        ti.xcom_push(key, value)
    if generation.status == "truncated":
        log.warning("The answer is cut off at `max_tokens`. Allow more, or ask for less.")


def tell_answer(generation: Generation, operation_id: str | None, tags: Tags) -> None:
    """Tell monitoring of an answer, whatever it is worth: it was billed."""
    used = generation.usage.input_tokens, generation.usage.completion_tokens
    tell(*tokens(*used), tags=tags)
    asked = request_attributes(tags.get("model"), operation_id)
    describe({**asked, **answer_attributes(generation.status, *used)})


def tell_success(since: float | None, now: float, tags: Tags) -> None:
    """
    Tell monitoring that a task has what it waited for.

    :param since: When that was submitted, in seconds since the epoch, as far as it is known.
    """
    waited = (Metric("waited", max(0.0, now - since)),) if since else ()
    tell(Metric("succeeded"), *waited, tags=tags)
