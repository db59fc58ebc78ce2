"""Which call reads an operation of either API, and which calls may cancel it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from airflow_provider.yandex_ai_studio.api import operations
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.models import Api

AT = Endpoints(operation="https://operation.example", ai="https://ai.example")


@pytest.mark.parametrize(
    ("api", "read", "cancel"),
    [
        (
            "completion",
            ("GET", "https://operation.example/operations/d7q1"),
            [
                ("GET", "https://operation.example/operations/d7q1:cancel"),
                ("POST", "https://operation.example/operations/d7q1:cancel"),
            ],
        ),
        (
            "responses",
            ("GET", "https://ai.example/v1/responses/d7q1"),
            [("POST", "https://ai.example/v1/responses/d7q1/cancel")],
        ),
    ],
)
def test_an_operation_is_read_and_cancelled_where_its_api_is(
    api: Api, read: tuple[str, str], cancel: list[tuple[str, str]]
) -> None:
    call = operations.read(AT, api, "d7q1")
    assert (call.method, call.url) == read
    assert [(call.method, call.url) for call in operations.cancel(AT, api, "d7q1")] == cancel


def test_a_result_is_kept_for_days() -> None:
    assert operations.KEPT["completion"] == timedelta(days=3)
    assert operations.KEPT["responses"] == timedelta(days=30)
