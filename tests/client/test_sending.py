"""A call as an HTTP request, and what fails on its way: as values, without a socket."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import replace
from http.client import BadStatusLine
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api.call import Answer, Call
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.client import sending
from airflow_provider.yandex_ai_studio.client.body import TooLong
from airflow_provider.yandex_ai_studio.client.causes import CHECK_HOST, CHECK_PROXY
from airflow_provider.yandex_ai_studio.client.credentials import ApiKey, TokenCache
from airflow_provider.yandex_ai_studio.client.sending import (
    CONNECT_TIMEOUT,
    HttpRequest,
    before_the_call,
    failures_of,
    http_request,
    read,
    under_way,
    warn_of_exposure,
)
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.exceptions import (
    BadRequest,
    ConfigurationError,
    RateLimited,
    RequestError,
    ServiceUnavailable,
)
from airflow_provider.yandex_ai_studio.telemetry import Metric

SECRET = "AQVNcanary"
SETTINGS = Settings(ApiKey(SECRET), conn_id="studio", folder_id="b1g")
TOKENS = TokenCache(SETTINGS.credential, Endpoints())
CALL: Call[Any] = Call(
    "do it", "POST", "https://ai.example/v1/it", lambda value: value, {"text": "Утка"}, timeout=7.0, project=True
)


def test_a_service_is_reached_soon_or_not_at_all() -> None:
    assert CONNECT_TIMEOUT == 10.0


def test_a_call_goes_with_its_headers_and_its_body_as_utf_8() -> None:
    request = http_request(CALL, "Bearer t1.x", replace(SETTINGS, data_logging=False))
    request_id = request.headers["x-client-request-id"]
    assert str(uuid.UUID(request_id)) == request_id
    logged = http_request(CALL, "Bearer t1.x", SETTINGS).headers
    assert "x-data-logging-enabled" not in logged
    assert logged["x-client-request-id"] != request_id
    assert request == HttpRequest(
        "POST",
        "https://ai.example/v1/it",
        {
            "Accept": "application/json",
            "Accept-Encoding": "gzip, deflate",
            "x-client-request-id": request_id,
            "Content-Type": "application/json",
            "Authorization": "Bearer t1.x",
            "x-folder-id": "b1g",
            "OpenAI-Project": "b1g",
            "x-data-logging-enabled": "false",
        },
        '{"text": "Утка"}'.encode(),
        7.0,
    )
    assert http_request(replace(CALL, body=None), None, SETTINGS).body is None


@pytest.mark.parametrize(
    ("call", "connection", "seconds"),
    [
        (60.0, None, 60.0),
        (60.0, 3.0, 3.0),
        (60.0, 600.0, 600.0),
        (180.0, 600.0, 600.0),
        (180.0, None, 180.0),
        (10.0, None, 10.0),
        (10.0, 600.0, 10.0),
        (10.0, 3.0, 3.0),
    ],
)
def test_the_timeout_of_a_connection_goes_before_that_of_a_call_but_stretches_none_that_is_to_be_short(
    call: float, connection: float | None, seconds: float
) -> None:
    assert http_request(replace(CALL, timeout=call), None, replace(SETTINGS, timeout=connection)).timeout == seconds


@pytest.mark.parametrize("value", ["Bearer t1.canary\nX: y", "Bearer canaryé"])
def test_what_fits_in_no_header_is_told_by_its_name_alone(value: str) -> None:
    with pytest.raises(BadRequest, match="what is to go as the header Authorization fits in none") as caught:
        http_request(CALL, value, SETTINGS)
    assert "Could not do it" in str(caught.value)
    assert "canary" not in str(caught.value)
    assert not caught.value.arrived


@pytest.mark.parametrize(("value", "kind"), [({1, 2}, "TypeError"), ("\ud83e", "UnicodeEncodeError")])
def test_what_can_t_be_written_as_json_is_told_by_its_kind_alone(value: Any, kind: str) -> None:
    with pytest.raises(BadRequest, match=rf"what it is to say can't be written as JSON \({kind}\)") as caught:
        http_request(replace(CALL, body={"text": value}), None, SETTINGS)
    assert "Could not do it" in str(caught.value)
    assert caught.value.__suppress_context__
    assert not caught.value.arrived


def library(error: Exception, sent: bool) -> None:
    if sent:
        under_way.set(True)
    raise error


def failures(**how: Any) -> AbstractContextManager[None]:
    return failures_of(CALL, conceal=TOKENS.conceal, **how)


def failure(error: Exception, *, sent: bool = False, **how: Any) -> RequestError:
    """Return what becomes of an error that a library raises."""
    with pytest.raises(ServiceUnavailable, match=r"Could not do it") as caught, failures(**how):
        library(error, sent)
    return caught.value


@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("reading", [False, True])
def test_a_failure_may_have_arrived_if_a_byte_was_sent_or_an_answer_had_begun(sent: bool, reading: bool) -> None:
    under_way.set(True)  # of a call before this one
    told = failure(ConnectionResetError(104, "Connection reset"), sent=sent, proxied=False, reading=reading)
    assert told.arrived is (sent or reading)
    on_the_way = "the connection broke on the way (Connection reset)"
    assert (on_the_way if told.arrived else "the connection failed (Connection reset)") in str(told)


def test_whether_it_is_under_way_is_known_while_it_is() -> None:
    with failures(proxied=False, reading=True):
        assert under_way.get() is True
    with failures(proxied=False):
        assert under_way.get() is False


@pytest.mark.parametrize(("proxied", "advice"), [(False, CHECK_HOST), (True, CHECK_PROXY)])
def test_a_failure_says_its_cause_and_what_to_check(proxied: bool, advice: str) -> None:
    refused = ConnectionRefusedError(111, "Connection refused")
    told = failure(refused, proxied=proxied)
    assert advice in str(told)
    assert "connection refused" in str(told)
    assert told.__cause__ is refused


def test_a_value_error_is_not_shown_for_it_repeats_what_it_was_given() -> None:
    told = failure(ValueError(f"Invalid header {SECRET}"), proxied=False)
    assert told.__cause__ is None
    assert told.__suppress_context__
    assert SECRET not in str(told)


@pytest.mark.parametrize("behind", [False, True], ids=["in itself", "behind it"])
def test_what_a_library_raises_is_not_shown_where_it_repeats_a_secret(behind: bool) -> None:
    said: Exception = BadStatusLine(f"Unknown key {SECRET}")
    told = failure(ConnectionError("Connection aborted.", said) if behind else said, sent=True, proxied=False)
    assert told.__cause__ is None
    assert told.__suppress_context__
    assert SECRET not in str(told)


def test_an_answer_that_is_too_long_has_arrived() -> None:
    told = failure(TooLong(), proxied=False)
    assert "the answer is longer than 8 MiB" in str(told)
    assert told.arrived
    assert told.__suppress_context__


def test_an_error_of_ours_is_left_as_it_is() -> None:
    error = ConfigurationError("Correct it.")
    with pytest.raises(ConfigurationError) as caught, failures(proxied=False):
        raise error
    assert caught.value is error


@pytest.fixture
def counted(monkeypatch: pytest.MonkeyPatch) -> list[Any]:
    told: list[Any] = []
    monkeypatch.setattr(sending, "tell", lambda *metrics, tags: told.append((*metrics, dict(tags))))
    return told


def answer(status: int, value: Any) -> Any:
    return read(CALL, Answer(status, json.dumps(value).encode(), {}), TOKENS, SETTINGS)


def test_a_good_answer_is_what_the_call_asked_for(counted: list[Any]) -> None:
    assert answer(200, {"id": "d7q1"}) == {"id": "d7q1"}
    assert counted == []


@pytest.mark.parametrize(
    ("status", "error", "metrics"),
    [(400, BadRequest, []), (429, RateLimited, [(Metric("rate_limited"), {"conn_id": "studio"})])],
)
def test_an_error_shows_no_secret_and_a_429_is_counted(
    status: int, error: type[RequestError], metrics: list[Any], counted: list[Any]
) -> None:
    with pytest.raises(error, match=r"Key '\*\*\*' may not") as caught:
        answer(status, {"error": {"message": f"Key '{SECRET}' may not"}})
    assert SECRET not in str(caught.value)
    assert counted == metrics


def test_what_an_answer_says_in_words_holds_no_secret_and_the_rest_is_as_it_came() -> None:
    told = {"id": "d7q1", "error": {"code": 16, "message": f"Key '{SECRET}'"}, "response": {"text": "AQVN"}}
    assert answer(200, told) == {**told, "error": {"code": 16, "message": "Key '***'"}}
    assert answer(200, {"id": "r", "error": f"no {SECRET}"}) == {"id": "r", "error": "no ***"}
    reason = {"id": "r", "incomplete_details": {"reason": SECRET}}
    assert answer(200, reason) == {"id": "r", "incomplete_details": {"reason": "***"}}
    assert answer(200, {"id": "r", "error": None}) == {"id": "r", "error": None}
    assert answer(200, [SECRET]) == [SECRET]


@pytest.mark.parametrize("shape", [lambda error: {"error": error}, lambda error: error], ids=["inner", "outer"])
def test_a_secret_at_the_end_of_a_long_message_is_not_cut_but_hidden(shape: Callable[[Any], Any]) -> None:
    with pytest.raises(BadRequest) as caught:
        answer(400, shape({"message": "x" * 995 + SECRET}))
    assert SECRET[:4] not in str(caught.value)
    assert "x" * 995 + "***" in str(caught.value)


def test_what_a_tool_shows_of_a_request_and_an_answer_holds_no_secret() -> None:
    shown = repr(http_request(CALL, f"Api-Key {SECRET}", SETTINGS)) + repr(Answer(200, b"t1.x", {"set-cookie": "y"}))
    for secret in (SECRET, "\u0423\u0442\u043a\u0430", "t1.x", "set-cookie"):
        assert secret not in shown


def test_a_call_whose_token_could_not_be_had_was_never_sent() -> None:
    with pytest.raises(ServiceUnavailable) as caught, before_the_call():
        raise ServiceUnavailable("No token.", arrived=True)
    assert caught.value.arrived is False


def test_a_credential_in_the_clear_is_told_with_the_host_that_gets_it(caplog: pytest.LogCaptureFixture) -> None:
    sending._warn_of_exposure_to.cache_clear()
    warn_of_exposure(SETTINGS)
    assert caplog.records == []
    warn_of_exposure(replace(SETTINGS, endpoints=Endpoints.at("http://gateway.example")))
    assert [record.args for record in caplog.records] == [("gateway.example",)]
