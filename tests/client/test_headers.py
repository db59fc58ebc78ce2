"""The headers that each call goes with."""

from __future__ import annotations

import pytest

from airflow_provider.yandex_ai_studio.api import completion, iam, responses
from airflow_provider.yandex_ai_studio.api.call import Call
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.models import Message
from airflow_provider.yandex_ai_studio.client.headers import headers_for

VENDOR = Endpoints()
REQUEST = CompletionRequest("gpt://b1g/yandexgpt", (Message("user", "ping"),))
SUBMIT = completion.submit_completion(VENDOR, REQUEST)
COMPLETE = completion.complete(VENDOR, REQUEST)
GET = completion.get_operation(VENDOR, "d7q1")
MODELS = responses.list_models(VENDOR)
EXCHANGE = iam.exchange_jwt(VENDOR, "ey.J.hb", now=1_795_000_000.0)


def sent(call, authorization="Api-Key k", folder_id="b1g", data_logging=True):
    headers = headers_for(
        call,
        authorization=authorization,
        folder_id=folder_id,
        data_logging=data_logging,
        client_request_id="0-1",
    )
    assert headers.pop("Accept") == "application/json"
    assert headers.pop("Accept-Encoding") == "gzip, deflate"
    assert headers.pop("x-client-request-id") == "0-1"
    assert headers.pop("Content-Type", None) == (None if call.body is None else "application/json")
    return headers


KEY = {"Authorization": "Api-Key k"}
TOKEN = {"Authorization": "Bearer t1.x"}
FOLDER = {"x-folder-id": "b1g"}
PROJECT = {"OpenAI-Project": "b1g"}
OPT_OUT = {"x-data-logging-enabled": "false"}


@pytest.mark.parametrize(
    ("call", "given", "expected"),
    [
        (SUBMIT, {}, KEY),
        (GET, {}, KEY),
        (SUBMIT, {"authorization": "Bearer t1.x"}, TOKEN | FOLDER),
        (GET, {"authorization": "Bearer t1.x", "folder_id": None}, TOKEN),
        (MODELS, {}, KEY | PROJECT),
        (MODELS, {"authorization": "Bearer t1.x"}, TOKEN | FOLDER | PROJECT),
        (MODELS, {"folder_id": None}, KEY),
        (SUBMIT, {"data_logging": False}, KEY | OPT_OUT),
        (COMPLETE, {"data_logging": False}, KEY | OPT_OUT),
        (EXCHANGE, {}, {}),
        (EXCHANGE, {"authorization": "Bearer t1.x", "data_logging": False}, {}),
        (Call("x", "GET", "https://x", parse=str), {"authorization": None}, {}),
    ],
)
def test_the_folder_goes_with_tokens_the_project_with_models_and_nothing_with_the_exchange(call, given, expected):
    assert sent(call, **given) == expected
