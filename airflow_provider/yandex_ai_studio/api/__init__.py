"""
The endpoints of the service, without I/O: what to send to each, and how to read its good answers.

Each is a function that returns a :class:`~airflow_provider.yandex_ai_studio.call.Call`. The names of the wire appear
here, those of its errors and headers in :mod:`~airflow_provider.yandex_ai_studio.call`, and nowhere else.
"""

from __future__ import annotations

from collections.abc import Sequence

from airflow_provider.yandex_ai_studio.api.completion import (
    cancel_operation,
    complete,
    count_tokens,
    get_operation,
    stream_completion,
    submit_completion,
)
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.iam import JWT_AUDIENCE, exchange_jwt, metadata_token
from airflow_provider.yandex_ai_studio.api.responses import (
    cancel_response,
    create_response,
    get_response,
    list_models,
)
from airflow_provider.yandex_ai_studio.call import Call
from airflow_provider.yandex_ai_studio.models import Api, Operation

__all__ = [
    "JWT_AUDIENCE",
    "Endpoints",
    "cancel",
    "cancel_operation",
    "cancel_response",
    "complete",
    "count_tokens",
    "create_response",
    "exchange_jwt",
    "get_operation",
    "get_response",
    "list_models",
    "metadata_token",
    "read",
    "stream_completion",
    "submit_completion",
]


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
