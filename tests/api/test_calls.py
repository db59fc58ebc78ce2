"""Each endpoint: where it is, what a repeat would cost, and that no oddity of an answer loses what it holds."""

import json

import pytest

from airflow_provider.yandex_ai_studio.api import completion, iam, responses
from airflow_provider.yandex_ai_studio.api.call import Answer, result_of
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.models import Failure, Generation, Message, Operation, Usage
from airflow_provider.yandex_ai_studio.api.response_request import ResponseRequest
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError, ServiceUnavailable

NOW = 1_795_000_000.0
VENDOR = Endpoints()
REQUEST = CompletionRequest("gpt://b1g/yandexgpt", (Message("user", "ping"),))
ANSWER = {"alternatives": [{"message": {"role": "assistant", "text": "pong"}, "status": "ALTERNATIVE_STATUS_FINAL"}]}


def calls(endpoints):
    return {
        "submit": completion.submit_completion(endpoints, REQUEST),
        "complete": completion.complete(endpoints, REQUEST),
        "get": completion.get_operation(endpoints, "d7q1"),
        "cancel": completion.cancel_operation(endpoints, "d7q1", method="GET"),
        "tokens": completion.count_tokens(endpoints, REQUEST),
        "models": responses.list_models(endpoints),
        "exchange": iam.exchange_jwt(endpoints, "ey.J.hb", now=NOW),
    }


CALLS = calls(VENDOR)


def told(name, answer):
    """Return what a call makes of an answer with HTTP 200: a JSON value, or bytes as they are."""
    body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
    return result_of(calls(VENDOR)[name], Answer(200, body, {}))


def names_where(holds):
    return {name for name, call in calls(VENDOR).items() if holds(call)}


def test_the_vendors_services_live_on_their_own_hosts():
    assert {name: call.url for name, call in calls(VENDOR).items()} == {
        "submit": "https://llm.api.cloud.yandex.net/foundationModels/v1/completionAsync",
        "complete": "https://llm.api.cloud.yandex.net/foundationModels/v1/completion",
        "get": "https://operation.api.cloud.yandex.net/operations/d7q1",
        "cancel": "https://operation.api.cloud.yandex.net/operations/d7q1:cancel",
        "tokens": "https://llm.api.cloud.yandex.net/foundationModels/v1/tokenizeCompletion",
        "models": "https://ai.api.cloud.yandex.net/v1/models",
        "exchange": "https://iam.api.cloud.yandex.net/iam/v1/tokens",
    }


@pytest.mark.parametrize("base_url", ["http://127.0.0.1:8085", "http://127.0.0.1:8085/"])
def test_a_base_url_takes_the_place_of_every_host_and_changes_no_path(base_url):
    for name, call in calls(Endpoints.at(base_url)).items():
        assert call.url == "http://127.0.0.1:8085/" + CALLS[name].url.split("/", 3)[3]


def test_a_repeat_costs_money_where_the_model_would_run_again():
    assert names_where(lambda call: call.billed) == {"submit", "complete"}


def test_only_the_exchange_of_a_jwt_goes_without_the_credential():
    assert names_where(lambda call: not call.authorized) == {"exchange"}


def test_only_an_answer_that_is_written_meanwhile_gets_minutes():
    assert names_where(lambda call: call.timeout > 60) == {"complete"}
    at_once, later = (ResponseRequest("gpt://b1g/m", (Message("user", "ping"),), background=b) for b in (False, True))
    assert responses.create_response(VENDOR, at_once).timeout == 180.0
    assert responses.create_response(VENDOR, later).timeout == 60.0


def test_who_is_on_the_same_host_answers_soon_or_is_not_there():
    assert iam.metadata_token(Endpoints(), now=0.0).timeout == 5.0


@pytest.mark.parametrize("call", [completion.get_operation, responses.get_response, responses.cancel_response])
@pytest.mark.parametrize(
    "operation_id",
    [
        "",
        " ",
        "None",
        ".",
        "..",
        "d7q1/..",
        "a/b",
        "a?b",
        "a#b",
        "a b",
        "a%2fb",
        "a:cancel",
        "d7q1\n",
        "операция",
        "x" * 201,
    ],
)
def test_what_is_no_operation_id_never_becomes_part_of_a_url(call, operation_id):
    with pytest.raises(ConfigurationError, match=r"is not an operation id\. Nothing was sent to the service\."):
        call(VENDOR, operation_id)


def test_what_is_no_operation_id_is_shown_as_far_as_it_fits():
    with pytest.raises(ConfigurationError, match=f"^'{'x' * 80}' is not an operation id"):
        completion.get_operation(VENDOR, "x" * 201)


@pytest.mark.parametrize("operation_id", ["d7qqr3frkl81js0udlr9", "D7Q", "1e5ee267-2d01-49d7", "resp_68af4030"])
def test_an_operation_id_is_not_checked_for_what_the_vendor_never_promised(operation_id):
    assert completion.get_operation(VENDOR, operation_id).url.endswith(f"/operations/{operation_id}")


@pytest.mark.parametrize(
    ("seen", "meant"),
    [
        ({}, {}),
        ({"done": False, "metadata": None, "error": None, "response": None, "createdAt": None}, {}),
        ({"done": True}, {"done": True}),
        ({"done": True, "response": {}}, {"done": True}),
        ({"done": True, "response": {"alternatives": []}}, {"done": True}),
        ({"error": {"code": 8, "message": "quota"}}, {"error": Failure(8, "quota")}),
        ({"done": True, "error": {"code": 1}}, {"done": True, "error": Failure(1, "")}),
        ({"done": True, "error": {"message": "boom", "details": []}}, {"done": True, "error": Failure(0, "boom")}),
        (
            {"done": True, "error": {"code": 3, "message": "Error in session internal_id=1&folder_id=b1g: too long"}},
            {"done": True, "error": Failure(3, "too long")},
        ),
        (
            {"done": True, "response": {"alternatives": [{"message": {}}]}, "новое поле": 1},
            {"done": True, "generation": Generation("", "unspecified", Usage())},
        ),
    ],
)
def test_an_operation_has_four_outcomes_and_every_field_but_the_id_may_be_absent(seen, meant):
    assert told("get", {"id": "d7q1", **seen}) == Operation("d7q1", "completion", **meant)


def test_an_error_without_a_code_and_a_message_does_not_outweigh_the_answer_that_came_with_it():
    """Google.rpc.Status calls code 0 OK, and the vendor's SDK sees a failure in codes above 0 only."""
    operation = told("get", {"id": "d7q1", "done": True, "response": ANSWER, "error": {"code": 0, "message": ""}})
    assert operation.error is None
    assert operation.generation.text == "pong"


@pytest.mark.parametrize("time", ["yesterday", "", 0, "P1D", "2024-06-06/12:45:48+09:00", "7::5\u0661", "now", {}])
def test_a_time_that_cannot_be_read_does_not_lose_the_answer(time):
    operation = told("get", {"id": "d7q1", "done": True, "response": ANSWER, "createdAt": time, "modifiedAt": time})
    assert operation.generation.text == "pong"
    assert (operation.created_at, operation.modified_at) == (None, None)


@pytest.mark.parametrize(
    ("name", "answer"),
    [
        *[(name, answer) for name in CALLS for answer in (b"", b"<html>OK</html>", b"\xff\xfe", None, [], 5, "ok", {})],
        ("get", b"[" * 100_000),
        ("get", {"id": ""}),
        ("get", {"id": 5.5}),
        ("complete", {"result": {}}),
        ("complete", {"alternatives": []}),
        ("tokens", {"tokens": 15}),
        ("tokens", {"tokens": "fifteen"}),
        ("models", {"data": {"id": "gpt://b1g/yandexgpt"}}),
        ("models", {"data": [{"id": 5}]}),
        ("exchange", {"expiresAt": "2026-11-20T23:00:00Z"}),
        ("exchange", {"iamToken": None, "expiresAt": "2026-11-20T23:00:00Z"}),
        ("exchange", {"iamToken": "", "expiresAt": "2026-11-20T23:00:00Z"}),
    ],
)
def test_an_answer_that_makes_no_sense_may_still_have_been_paid_for(name, answer):
    with pytest.raises(ServiceUnavailable, match=f"^Could not {CALLS[name].aim}: .*HTTP 200") as error:
        told(name, answer)
    assert error.value.status == 200
    assert error.value.arrived


def test_the_models_are_listed_by_their_uris():
    listed = {
        "object": "list",
        "data": [{"id": "gpt://b1g/yandexgpt/latest", "object": "model"}, {"id": "emb://b1g/x"}],
    }
    assert told("models", listed) == ["gpt://b1g/yandexgpt/latest", "emb://b1g/x"]
