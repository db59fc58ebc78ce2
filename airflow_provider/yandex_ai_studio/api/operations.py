"""
An operation of either API: which call reads it, and which calls may cancel it.

Text generation in asynchronous mode and the Responses API in background mode have one shape: a request gives an id, the
id gives the answer. What differs is chosen here, so that nobody above has to.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta

from airflow_provider.yandex_ai_studio.api.call import Call
from airflow_provider.yandex_ai_studio.api.completion import cancel_operation, get_operation
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.models import Api, Operation
from airflow_provider.yandex_ai_studio.api.responses import cancel_response, get_response

KEPT: Mapping[Api, timedelta] = {"completion": timedelta(days=3), "responses": timedelta(days=30)}
"""How long the service keeps a result."""


def read(endpoints: Endpoints, api: Api, operation_id: str) -> Call[Operation]:
    """Ask how far an operation is, and for its answer."""
    return (get_response if api == "responses" else get_operation)(endpoints, operation_id)


def cancel(endpoints: Endpoints, api: Api, operation_id: str) -> Sequence[Call[Operation]]:
    """
    Return the ways to cancel an operation, to be tried in turn.

    For text generation, the protos say GET and the vendor's design guide says POST. Which of them the service takes,
    and whether it cancels at all, is not confirmed: treat it as an attempt.
    """
    if api == "responses":
        return [cancel_response(endpoints, operation_id)]
    return [cancel_operation(endpoints, operation_id, method=method) for method in ("GET", "POST")]
