"""Whatever comes back for a request is a value or an error that says what it means; and what goes along with one."""

import json
from dataclasses import astuple

import pendulum
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider.yandex_ai_studio.api import completion, iam, responses
from airflow_provider.yandex_ai_studio.api.call import Answer, answer_of_grpc, clean, no_answer, result_of, unsendable
from airflow_provider.yandex_ai_studio.api.completion_request import CompletionRequest
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.models import Failure, Generation, IssuedToken, Message, Operation
from airflow_provider.yandex_ai_studio.client.retry import may_repeat
from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    BadRequest,
    NotFound,
    PermissionDenied,
    RateLimited,
    RequestError,
    ServiceUnavailable,
)

NOW = 1_795_000_000.0
VENDOR = Endpoints()
REQUEST = CompletionRequest("gpt://b1g/yandexgpt", (Message("user", "ping"),))
SUBMIT = completion.submit_completion(VENDOR, REQUEST)
COMPLETE = completion.complete(VENDOR, REQUEST)
GET = completion.get_operation(VENDOR, "d7q1")
CANCEL = completion.cancel_operation(VENDOR, "d7q1", method="GET")
TOKENS = completion.count_tokens(VENDOR, REQUEST)
MODELS = responses.list_models(VENDOR)
EXCHANGE = iam.exchange_jwt(VENDOR, "ey.J.hb", now=NOW)

SESSION = "Error in session internal_id=1-2&request_id=3&client_request_id=undefined&folder_id=b1g: "


def answer(status, body=b"", **headers):
    return Answer(status, body if isinstance(body, bytes) else json.dumps(body).encode(), headers)


def raised(call, seen):
    with pytest.raises(RequestError) as error:
        result_of(call, seen)
    return error.value


def refusal(call, status, body=b"", **headers):
    return raised(call, answer(status, body, **headers))


PASSES = (RateLimited, ServiceUnavailable)

MEANINGS = [
    # what comes back, class, whether the request may have been taken
    *[(f"HTTP {status}", ServiceUnavailable, False) for status in (300, 301, 302, 304, 307, 308)],  # none is followed
    ("HTTP 303", ServiceUnavailable, True),  # "see what your POST has made there"
    ("HTTP 400", BadRequest, False),
    ("HTTP 401", AuthenticationError, False),
    ("HTTP 403", PermissionDenied, False),
    ("HTTP 404", NotFound, False),
    ("HTTP 405", BadRequest, False),
    ("HTTP 407", ServiceUnavailable, False),
    ("HTTP 408", ServiceUnavailable, False),
    ("HTTP 409", BadRequest, False),
    ("HTTP 411", BadRequest, False),
    ("HTTP 413", BadRequest, False),
    ("HTTP 425", ServiceUnavailable, False),
    ("HTTP 429", RateLimited, False),
    ("HTTP 451", BadRequest, False),
    ("HTTP 499", ServiceUnavailable, True),
    ("HTTP 500", ServiceUnavailable, True),
    ("HTTP 501", BadRequest, False),
    ("HTTP 502", ServiceUnavailable, True),
    ("HTTP 503", ServiceUnavailable, False),
    ("HTTP 504", ServiceUnavailable, True),
    ("HTTP 511", ServiceUnavailable, False),
    *[(f"HTTP {status}", ServiceUnavailable, True) for status in (100, 505, 520, 599, 600)],  # nobody said no
    ("gRPC 1", ServiceUnavailable, True),  # CANCELLED: by whom, and when?
    ("gRPC 2", ServiceUnavailable, True),
    ("gRPC 3", BadRequest, False),
    ("gRPC 4", ServiceUnavailable, True),
    ("gRPC 5", NotFound, False),
    ("gRPC 6", BadRequest, False),
    ("gRPC 7", PermissionDenied, False),
    ("gRPC 8", RateLimited, False),
    ("gRPC 9", BadRequest, False),
    ("gRPC 10", BadRequest, False),
    ("gRPC 11", BadRequest, False),
    ("gRPC 12", BadRequest, False),
    ("gRPC 13", ServiceUnavailable, True),
    ("gRPC 14", ServiceUnavailable, False),
    ("gRPC 15", ServiceUnavailable, True),
    ("gRPC 16", AuthenticationError, False),
    *[(f"gRPC {code}", ServiceUnavailable, True) for code in (-1, 0, 17)],
]


@pytest.mark.parametrize(("what", "kind", "arrived"), MEANINGS, ids=[row[0] for row in MEANINGS])
def test_an_error_says_what_is_wrong_and_whether_the_request_may_have_been_taken(what, kind, arrived):
    road, number = what.split()
    over_http = answer(int(number), {"id": "d7q1"})
    error = raised(SUBMIT, over_http if road == "HTTP" else answer_of_grpc(int(number), "no", {}))
    assert type(error) is kind
    assert error.arrived is arrived
    assert error.status == int(number) if road == "HTTP" else error.grpc_code == int(number)
    assert may_repeat(error, billed=True) is (kind in PASSES and not arrived)
    assert may_repeat(error, billed=False) is (kind in PASSES)


@pytest.mark.parametrize("code", range(-1, 18))
def test_a_grpc_code_inside_a_good_answer_means_the_same(code):
    inside, alone = refusal(SUBMIT, 200, {"error": {"code": code}}), raised(SUBMIT, answer_of_grpc(code, "", {}))
    assert (type(inside), inside.arrived, str(inside)) == (type(alone), alone.arrived, str(alone))


@pytest.mark.parametrize("status", [200, 201, 202, 203])
def test_an_answer_that_holds_an_operation_is_one_whatever_shade_of_yes_it_comes_with(status):
    assert result_of(SUBMIT, answer(status, {"id": "d7q1"})).id == "d7q1"
    assert refusal(SUBMIT, status, b"<html>").arrived
    assert refusal(SUBMIT, 204).arrived


@pytest.mark.parametrize("status", [301, 401, 403, 407, 429, 501])
def test_an_error_leads_with_what_to_do(status):
    advice, told = str(refusal(SUBMIT, status, {"message": "no"})).split("\n")
    assert advice.split()[0] in ("Check", "Correct", "Wait,")
    assert told.startswith(f"Could not submit the completion: the service answered HTTP {status}: no.")
    assert told.endswith("The service did not take it.")


@pytest.mark.parametrize(
    ("status", "body", "kind", "grpc_code", "message"),
    [
        # the letters are those of the facts sheet, section 4.2
        (429, {"error": {"grpcCode": 8, "httpCode": 429, "message": "gauge quota", "httpStatus": "Too Many Requests",
                         "details": []}}, RateLimited, 8, "gauge quota"),  # (a)
        (400, {"error": {"grpcCode": 3, "httpCode": 400, "message": SESSION + "invalid message role 'x'",
                         "httpStatus": "Bad Request", "details": []}}, BadRequest, 3, "invalid message role 'x'"),
        (400, {"error": "invalid character '}'", "code": 3, "message": "invalid character '}' looking for a value",
               "details": []}, BadRequest, 3, "invalid character '}' looking for a value"),  # (b)
        (400, {"error": SESSION + "it violates the terms"}, BadRequest, None, "it violates the terms"),
        (401, {"code": 16, "message": "The apikey has expired 2026-07-31T19:00:00Z.", "details": [{}]},
         AuthenticationError, 16, "The apikey has expired 2026-07-31T19:00:00Z"),  # (c)
        (429, {"code": 8, "message": "rate quota limit exceed"}, RateLimited, 8, "rate quota limit exceed"),
        (400, {"error": {"message": SESSION + "number of input tokens must be no more than 32768, got 59830",
                         "type": "invalid_request_error"}}, BadRequest, None,
         "number of input tokens must be no more than 32768, got 59830"),  # (d)
        (404, {"code": "not_found", "message": "No answer", "param": "id", "type": "x"}, NotFound, None, "No answer"),
        (502, b"<html>Bad Gateway</html>", ServiceUnavailable, None, "without a reason that can be read"),  # (f)
        (503, b"", ServiceUnavailable, None, "without a reason that can be read"),
        (504, b"upstream timed out \xff", ServiceUnavailable, None, "without a reason that can be read"),
        (500, {"error": None, "code": None, "message": None}, ServiceUnavailable, None, "without a reason"),
    ],
)  # fmt: skip
def test_every_shape_of_an_error_is_read(status, body, kind, grpc_code, message):
    error = refusal(GET, status, body, **{"x-request-id": "a1b2"})
    assert type(error) is kind
    assert (error.status, error.grpc_code, error.request_id) == (status, grpc_code, "a1b2")
    assert f"Could not read operation d7q1: the service answered HTTP {status}" in str(error)
    for part in (message, "a1b2"):
        assert part in str(error)
    for noise in ("session", "html", "upstream", "None", ".."):
        assert noise not in str(error)


@pytest.mark.parametrize(
    ("body", "kind", "status", "arrived"),
    [
        ({"error": {"grpcCode": 8, "httpCode": 429, "message": "gauge quota"}}, RateLimited, 429, False),
        (
            {"error": {"code": "model_call_error", "message": "at most 32768 tokens, got 56832"}, "output": []},
            BadRequest,
            400,
            False,
        ),
        ({"error": {"code": "model_call_error", "message": "upstream is gone"}}, ServiceUnavailable, 500, True),
        ({"error": {"httpCode": 200, "message": "odd"}}, ServiceUnavailable, 500, True),
        ({"error": "boom"}, ServiceUnavailable, 500, True),
    ],
)
def test_an_error_inside_an_answer_with_http_200_is_an_error(body, kind, status, arrived):
    error = refusal(COMPLETE, 200, body)
    assert type(error) is kind
    assert (error.status, error.arrived) == (status, arrived)


def test_an_operation_that_failed_is_a_good_answer():
    failed = answer(200, {"id": "d7q1", "done": True, "error": {"code": 13, "message": "boom"}})
    assert result_of(GET, failed).error.message == "boom"


@pytest.mark.parametrize(("arrived", "fate"), [(True, "may have been taken"), (False, "did not reach the service")])
def test_no_answer_says_whether_the_request_may_have_been_taken(arrived, fate):
    error = no_answer(SUBMIT, "the connection failed", arrived=arrived)
    assert (type(error), error.arrived, error.status) == (ServiceUnavailable, arrived, None)
    assert "Could not submit the completion: the connection failed (asked llm.api.cloud.yandex.net)." in str(error)
    assert fate in str(error)
    assert not error.lasting


@pytest.mark.parametrize("lasting", [True, False])
def test_no_answer_says_whether_to_wait_helps(lasting):
    assert no_answer(SUBMIT, "no TLS there", arrived=False, lasting=lasting).lasting is lasting


@pytest.mark.parametrize(
    ("status", "lasting"), [(300, True), (301, True), (308, True), (303, False), (400, False), (503, False)]
)
def test_to_wait_does_not_help_where_the_base_url_redirects(status: int, lasting: bool):
    assert refusal(SUBMIT, status, {}).lasting is lasting


WIRE = [
    *["alternatives", "message", "text", "status", "usage", "totalTokens", "completionTokensDetails", "modelVersion"],
    *["id", "done", "response", "result", "error", "code", "grpcCode", "httpCode", "createdAt", "modifiedAt"],
    *["tokens", "data", "iamToken", "expiresAt", "details", "reasoningTokens"],
]
scalars = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=12) | st.sampled_from(["now", "7"])
keys = st.sampled_from(WIRE) | st.text(max_size=5)
values = st.recursive(scalars, lambda some: st.lists(some, max_size=3) | st.dictionaries(keys, some, max_size=6))
objects = st.dictionaries(st.sampled_from(WIRE), values, max_size=8)
bodies = st.binary() | (values | objects | objects.map(lambda one: {"id": "d7q1"} | one)).map(
    lambda one: json.dumps(one).encode()
)
headers = st.dictionaries(st.sampled_from(["x-request-id", "content-type", "x"]), st.text(max_size=9))
statuses = st.just(200) | st.integers(100, 599)


def well_typed(value):
    match value:
        case Operation():
            return (
                isinstance(value.id, str)
                and isinstance(value.done, bool)
                and (value.error is None or list(map(type, astuple(value.error))) == [int, str])
                and (value.generation is None or well_typed(value.generation))
                and all(isinstance(at, pendulum.DateTime | None) for at in (value.created_at, value.modified_at))
            )
        case Generation():
            return (
                (type(value.text), type(value.status)) == (str, str)
                and {type(count) for count in astuple(value.usage)} == {int}
                and isinstance(value.model_version, str | None)
            )
        case str() as token, pendulum.DateTime():
            return bool(token)
        case list():
            return all(isinstance(model, str) for model in value)
    return isinstance(value, int)


@pytest.mark.parametrize("call", [SUBMIT, COMPLETE, GET, CANCEL, TOKENS, MODELS, EXCHANGE], ids=lambda call: call.aim)
@given(seen=st.builds(Answer, statuses, bodies, headers))
def test_any_answer_is_a_value_or_a_request_error(call, seen):
    try:
        outcome = result_of(call, seen)
    except RequestError as error:
        outcome = error
    if isinstance(outcome, RequestError):
        assert f"Could not {call.aim}: " in str(outcome)
        assert outcome.arrived or 300 <= outcome.status < 500 or outcome.status in (501, 503, 511)
    else:
        assert 200 <= seen.status < 300
        assert well_typed(outcome)


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        ({"code": 8, "message": "quota"}, RateLimited),
        ({"grpcCode": 16, "message": "Unknown api key"}, AuthenticationError),
        ({"code": "rate_limit_exceeded", "message": "quota"}, RateLimited),
        ({"code": "model_call_error", "message": "number of input tokens"}, BadRequest),
        ({"code": "model_call_error", "message": "Tokens: 9"}, BadRequest),
    ],
)
def test_an_error_that_comes_with_200_is_known_by_its_code(error, kind):
    with pytest.raises(kind):
        result_of(responses.list_models(Endpoints()), Answer(200, json.dumps({"error": error}).encode(), {}))


@pytest.mark.parametrize(
    ("call", "body", "kind", "arrived"),
    [
        (SUBMIT, {"error": {"code": 8, "message": "busy"}}, RateLimited, False),
        (SUBMIT, {"id": None, "error": {"code": 8, "message": "busy"}}, RateLimited, False),
        (SUBMIT, {"id": None, "error": None}, ServiceUnavailable, True),
        (GET, {"id": None, "error": {"code": 8, "message": "busy"}}, RateLimited, False),
    ],
)
def test_an_error_about_nothing_is_a_refusal_whatever_the_status_says(call, body, kind, arrived):
    error = refusal(call, 200, body)
    assert (type(error), error.arrived) == (kind, arrived)


def test_garbage_is_told_with_its_status():
    assert refusal(SUBMIT, 203, b"<html>").status == 203


def test_an_error_about_an_operation_is_its_end_and_no_refusal_even_where_its_id_is_missing():
    failed = {"id": None, "status": "failed", "error": {"code": "rate_limit_exceeded", "message": "busy"}}
    assert result_of(responses.get_response(VENDOR, "1e5e"), answer(200, failed)).error.code == "rate_limit_exceeded"
    ended = result_of(GET, answer(200, {"id": None, "done": True, "error": {"code": 8, "message": "busy"}}))
    assert (ended.id, ended.done, ended.error.code) == ("d7q1", True, 8)


@pytest.mark.parametrize(
    ("told", "lasts"),
    [("3600", 3600), (3600, 3600), (float("nan"), 0), (float("inf"), 0), (-1, 0), ("soon", 0), (None, 0)],
)
def test_the_metadata_service_s_token_is_used_whatever_it_says_of_its_life(told, lasts):
    body = {"access_token": "t1.x", "expires_in": told}
    assert result_of(iam.metadata_token(VENDOR, now=NOW), answer(200, body)) == IssuedToken("t1.x", NOW + lasts)


WHOLE = [
    (
        lambda: refusal(SUBMIT, 500, {"message": "boom."}, **{"x-request-id": "r1"}),
        "Could not submit the completion: the service answered HTTP 500: boom. It may have been taken all the same. "
        "Request id for the vendor's support: r1.",
    ),
    (
        lambda: refusal(SUBMIT, 503),
        "Could not submit the completion: the service answered HTTP 503, without a reason that can be read. "
        "The service did not take it.",
    ),
    (
        lambda: refusal(GET, 503, {"error": "X marks no spot. X"}),
        f"Could not {GET.aim}: the service answered HTTP 503: X marks no spot. X.",
    ),
    (
        lambda: refusal(SUBMIT, 200, b"<html>", **{"content-type": "text/html", "x-request-id": "r2"}),
        "Could not submit the completion: the service answered with HTTP 200 and something that its documentation does "
        "not know (text/html, 6 bytes). It may have been taken all the same. "
        "Request id for the vendor's support: r2.",
    ),
    (
        lambda: raised(SUBMIT, answer_of_grpc(14, "away", {})),
        "Could not submit the completion: the service answered HTTP 503: away. The service did not take it.",
    ),
    (
        lambda: no_answer(SUBMIT, "connection refused", arrived=False),
        "Could not submit the completion: connection refused (asked llm.api.cloud.yandex.net). "
        "It did not reach the service.",
    ),
    (
        lambda: no_answer(SUBMIT, "the connection broke", arrived=True, advice="Look at the network."),
        "Look at the network.\nCould not submit the completion: the connection broke (asked llm.api.cloud.yandex.net). "
        "It may have been taken all the same.",
    ),
    (
        lambda: unsendable(SUBMIT, "a number is too large"),
        "Correct the request; to repeat it as it is will not help.\n"
        "Could not submit the completion: a number is too large. It did not reach the service.",
    ),
]


@pytest.mark.parametrize(("said", "text"), WHOLE, ids=[text.partition(":")[2][:30] for _, text in WHOLE])
def test_an_error_is_whole_sentences(said, text):
    error = said()
    assert str(error) == text
    assert error.request_id == (text.rpartition(": ")[2].rstrip(".") if "Request id" in text else None)


def test_what_cannot_be_written_down_was_not_sent():
    error = unsendable(SUBMIT, "a number is too large")
    assert type(error) is BadRequest
    assert error.arrived is False


@pytest.mark.parametrize(("told", "status"), [(400, 400), (503, 503), (599, 599), (399, 429), (600, 429), ("503", 429)])
def test_an_error_inside_a_good_answer_has_the_status_that_it_names_or_that_of_its_code(told, status):
    assert refusal(SUBMIT, 200, {"error": {"grpcCode": 8, "httpCode": told}}).status == status


def hidden(said):
    return said.replace("AQVN", "***")


def test_what_an_answer_says_in_words_loses_its_secrets_and_the_rest_is_as_it_came():
    told = {"id": "d7q1", "done": True, "error": {"code": 16, "message": "Key AQVN", "details": ["AQVN"]}}
    assert result_of(GET, answer(200, told), conceal=hidden).error == Failure(16, "Key ***")
    assert result_of(GET, answer(200, {**told, "error": "no AQVN"}), conceal=hidden).error == Failure(0, "no ***")
    seen = {"id": "d7q1", "done": True, "error": None, "response": {"alternatives": [{"message": {"text": "AQVN"}}]}}
    assert result_of(GET, answer(200, seen), conceal=hidden).generation.text == "AQVN"
    cut = {"id": "r1", "status": "incomplete", "incomplete_details": {"reason": "AQVN"}}
    read = result_of(responses.get_response(VENDOR, "r1"), answer(200, cut), conceal=hidden)
    assert read.error == Failure("***", "the response is incomplete (***)")
    assert result_of(GET, answer(200, told)).error == Failure(16, "Key AQVN")


def test_a_refusal_says_how_long_to_wait():
    noon, later = "Sat, 21 Nov 2026 12:00:00 GMT", "Sat, 21 Nov 2026 12:00:09 GMT"
    assert refusal(GET, 429).retry_after == 0.0
    assert raised(GET, Answer(429, b"", {"retry-after": "5"})).retry_after == 5.0
    assert raised(GET, Answer(503, b"", {"retry-after": later, "date": noon})).retry_after == 9.0


def test_an_error_beside_a_result_is_none():
    whole = {"alternatives": [{"message": {"role": "assistant", "text": "pong"}, "status": "ALTERNATIVE_STATUS_FINAL"}]}
    assert result_of(COMPLETE, answer(200, {"error": {"code": 8}, "result": whole})).text == "pong"


def test_a_message_is_cut_to_a_thousand_characters():
    assert clean(SESSION + "x" * 1001) == "x" * 1000
