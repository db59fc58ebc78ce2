"""The hook and the worker's sender, against the emulator."""

from __future__ import annotations

import json
import socket
from collections.abc import Callable
from typing import Any

import pytest
from airflow.sdk.exceptions import AirflowFailException

from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.client import credentials
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import (
    AuthenticationError,
    BadRequest,
    ConfigurationError,
    ConnectionNotFound,
    NotFound,
    PermissionDenied,
    RateLimited,
    ServiceUnavailable,
)
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from airflow_provider.yandex_ai_studio.waiting.decision import Wait
from support import API_KEY, FOLDER, SteppedTime

TEXT = "A pipeline that runs twice does no harm. «Идемпотентность» 🦆\tis the word."


def test_submit_wait_and_read_give_the_text_of_a_synchronous_call(hook: YandexAIStudioHook) -> None:
    request = hook.completion_request(prompt=TEXT, instructions="Repeat.", temperature=0.1, max_tokens=100)
    operation = hook.submit_completion(request)
    assert not operation.done
    end = hook.wait_for_operation(Wait(operation.id, submitted_at=hook.clock()))
    assert end.outcome == "ended"
    assert end.operation is not None
    assert end.operation.generation == hook.complete(request)
    assert end.operation.generation.text in TEXT
    assert "Идемпотентность" in TEXT


def test_an_hour_of_waiting_costs_tens_of_requests(
    hook: YandexAIStudioHook, emulator: Emulator, clock: SteppedTime
) -> None:
    operation = hook.submit_completion(hook.completion_request(prompt=TEXT))
    started = clock.now
    hook.wait_for_operation(Wait(operation.id, submitted_at=started))
    assert clock.now - started <= 3600 * 1.1
    assert emulator.stats()["requests"]["operations.get"] < 120


def test_the_models_of_the_folder_are_listed(hook: YandexAIStudioHook) -> None:
    assert f"gpt://{FOLDER}/yandexgpt/latest" in hook.list_models()


def test_the_connection_s_model_is_used_where_the_task_names_none(
    emulator: Emulator, connect: Callable[..., None]
) -> None:
    connect(host=emulator.url, password=API_KEY, extra={"folder_id": FOLDER, "model": "aliceai-llm"})
    hook = YandexAIStudioHook()
    assert hook.completion_request(prompt="x").model_uri == f"gpt://{FOLDER}/aliceai-llm"
    assert hook.completion_request(prompt="x", model="yandexgpt/rc").model_uri == f"gpt://{FOLDER}/yandexgpt/rc"


@pytest.mark.parametrize(
    ("status", "error"),
    [(400, BadRequest), (401, AuthenticationError), (403, PermissionDenied), (404, NotFound)],
)
def test_what_will_not_get_better_is_not_repeated(
    hook: YandexAIStudioHook, emulator: Emulator, clock: SteppedTime, status: int, error: type[Exception]
) -> None:
    emulator.fault("completionAsync", "status", status=status, body={"code": 3, "message": "no"}, times=None)
    with pytest.raises(error, match="no"):
        hook.submit_completion(hook.completion_request(prompt=TEXT))
    assert clock.slept == []
    assert emulator.stats()["requests"]["completionAsync"] == 1


@pytest.mark.parametrize("status", [429, 503])
def test_a_submission_that_was_surely_not_taken_is_repeated(
    hook: YandexAIStudioHook, emulator: Emulator, clock: SteppedTime, status: int
) -> None:
    emulator.fault("completionAsync", "status", status=status, body="busy", times=2)
    hook.submit_completion(hook.completion_request(prompt=TEXT))
    assert len(clock.slept) == 2
    assert emulator.stats()["submissions"] == 1


@pytest.mark.parametrize(
    "fault",
    [
        {"kind": "status", "status": 500, "body": "<html>"},
        {"kind": "status", "status": 502, "body": "<html>"},
        {"kind": "status", "status": 504, "body": ""},
        {"kind": "drop"},
        {"kind": "garbage"},
        {"kind": "lost_answer"},
    ],
    ids=lambda fault: f"{fault['kind']}{fault.get('status', '')}",
)
def test_a_submission_that_may_have_been_taken_is_not_repeated(
    hook: YandexAIStudioHook, emulator: Emulator, fault: dict[str, Any]
) -> None:
    emulator.fault("completionAsync", **fault)
    with pytest.raises(ServiceUnavailable) as caught:
        hook.submit_completion(hook.completion_request(prompt=TEXT))
    assert caught.value.arrived
    assert emulator.stats()["requests"]["completionAsync"] == 1


@pytest.mark.parametrize("kind", ["drop", "garbage", "lost_answer"])
def test_a_read_is_repeated_whatever_broke(hook: YandexAIStudioHook, emulator: Emulator, kind: str) -> None:
    operation = hook.submit_completion(hook.completion_request(prompt=TEXT))
    emulator.fault("operations.get", kind, times=3)
    assert hook.get_operation(operation.id).id == operation.id


def test_repetition_gives_up_and_says_why(hook: YandexAIStudioHook, emulator: Emulator, clock: SteppedTime) -> None:
    emulator.fault(
        "completionAsync", "status", status=429, body={"code": 8, "message": "quota limit exceed"}, times=None
    )
    with pytest.raises(RateLimited, match="quota limit exceed"):
        hook.submit_completion(hook.completion_request(prompt=TEXT))
    assert 10 < sum(clock.slept) < 60


def test_a_connection_that_airflow_does_not_find_says_what_to_do_and_may_be_found_by_a_retry() -> None:
    with pytest.raises(
        ConnectionNotFound, match=r"^Create the Airflow connection 'nowhere' .*\n.*secrets backend"
    ) as e:
        YandexAIStudioHook("nowhere").get_conn()
    assert not isinstance(e.value, AirflowFailException)
    works, said = YandexAIStudioHook("nowhere").test_connection()
    assert not works
    assert "Create the Airflow connection" in said


def test_a_service_that_can_t_be_reached_took_nothing(connect: Callable[..., None]) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        connect(host=f"http://127.0.0.1:{closed.getsockname()[1]}", password=API_KEY, extra={"folder_id": FOLDER})
        hook = YandexAIStudioHook(sleep=lambda seconds: None)
        with pytest.raises(ServiceUnavailable, match="did not reach the service") as caught:
            hook.submit_completion(hook.completion_request(prompt=TEXT))
    assert not caught.value.arrived


def test_a_wait_outlives_an_outage_and_a_storm_of_429(
    hook: YandexAIStudioHook, emulator: Emulator, clock: SteppedTime
) -> None:
    operation = hook.submit_completion(hook.completion_request(prompt=TEXT))
    emulator.fault("operations.get", "status", status=503, body="<html>down</html>", times=20)
    emulator.fault("operations.get", "status", status=429, body={"code": 8, "message": "quota"}, times=20)
    end = hook.wait_for_operation(Wait(operation.id, submitted_at=clock.now, deadline=clock.now + 7200))
    assert end.outcome == "ended"


def test_a_wait_ends_at_its_deadline(hook: YandexAIStudioHook, clock: SteppedTime) -> None:
    operation = hook.submit_completion(hook.completion_request(prompt=TEXT))
    deadline = clock.now + 600
    end = hook.wait_for_operation(Wait(operation.id, submitted_at=clock.now, deadline=deadline))
    assert end.outcome == "timeout"
    assert deadline <= clock.now < deadline + 1


def test_a_worker_asks_about_an_operation_of_the_future_as_about_one_of_now(
    hook: YandexAIStudioHook, emulator: Emulator, clock: SteppedTime
) -> None:
    asked = []
    for ahead in (0.0, 600.0):
        operation = hook.submit_completion(hook.completion_request(prompt=TEXT))
        before = emulator.stats()["requests"]["operations.get"]
        hook.wait_for_operation(Wait(operation.id, submitted_at=clock.now + ahead, deadline=clock.now + 600))
        asked.append(emulator.stats()["requests"]["operations.get"] - before)
    assert abs(asked[0] - asked[1]) <= 5  # not 600


def test_a_wait_goes_on_with_a_rotated_key(
    hook: YandexAIStudioHook,
    emulator: Emulator,
    clock: SteppedTime,
    connect: Callable[..., None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    operation = hook.submit_completion(hook.completion_request(prompt=TEXT))
    emulator.revoke_api_key(API_KEY)
    emulator.add_api_key("AQVNthe-next-key")
    connect(host=emulator.url, password="AQVNthe-next-key", extra={"folder_id": FOLDER})
    closed: list[str] = []
    close = hook.get_conn().close
    monkeypatch.setattr(hook.get_conn(), "close", lambda: closed.append("the old client") or close())
    end = hook.wait_for_operation(Wait(operation.id, submitted_at=clock.now))
    assert end.outcome == "ended"
    assert closed == ["the old client"]


@pytest.mark.parametrize("before", ["a dead host", "a key without the role"])
def test_a_wait_goes_on_with_an_edited_connection_where_an_error_lasts(
    emulator: Emulator, connect: Callable[..., None], clock: SteppedTime, before: str
) -> None:
    right = {"host": emulator.url, "password": API_KEY, "extra": {"folder_id": FOLDER}}
    connect(**{**right, "host": "http://127.0.0.1:1"} if before == "a dead host" else right)
    hook = YandexAIStudioHook(clock=lambda: clock.now, sleep=clock.sleep)
    if before == "a key without the role":
        emulator.fault("operations.get", "status", status=403, times=3)
    first = hook.get_conn()
    connect(**right)
    operation = YandexAIStudioHook().submit_completion(hook.completion_request(prompt=TEXT))
    end = hook.wait_for_operation(Wait(operation.id, submitted_at=clock.now, deadline=clock.now + 3600))
    assert end.outcome == "ended"
    assert (hook.get_conn() is first) is (before == "a key without the role")  # there, nothing was edited


WRONG_KEY = json.dumps({"id": "a", "service_account_id": "b", "private_key": "-----BEGIN x"})
WRONG: dict[str, dict[str, Any]] = {
    "no credential": {"extra": {"folder_id": FOLDER}},
    "nothing to trust": {"password": "AQVNnext", "extra": {"folder_id": FOLDER, "ca_bundle": "/nowhere.pem"}},
    "a key that can't be read": {"extra": {"folder_id": FOLDER, "service_account_json": WRONG_KEY}},
}


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize(("mended", "outcome"), [(True, "ended"), (False, "refused")])
def test_a_wait_has_patience_with_a_connection_that_is_wrong_for_a_while(
    hook: YandexAIStudioHook,
    emulator: Emulator,
    clock: SteppedTime,
    connect: Callable[..., None],
    wrong: dict[str, Any],
    mended: bool,
    outcome: str,
) -> None:
    operation = hook.submit_completion(hook.completion_request(prompt=TEXT))
    emulator.revoke_api_key(API_KEY)
    emulator.add_api_key("AQVNnext")
    connect(host=emulator.url, **wrong)
    started, slept = clock.now, clock.sleep

    def sleep(seconds: float) -> None:
        slept(seconds)
        if mended and clock.now - started > 200:
            connect(host=emulator.url, password="AQVNnext", extra={"folder_id": FOLDER})

    hook.sleep = sleep
    end = hook.wait_for_operation(Wait(operation.id, submitted_at=started))
    assert end.outcome == outcome
    assert clock.now - started > 300


def test_a_service_account_key_is_exchanged_once_and_again_before_the_token_expires(
    emulator: Emulator, connect: Callable[..., None], clock: SteppedTime, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credentials, "SETTLING", 0.0)  # no time passes for the client
    key = emulator.create_service_account_key()
    connect(host=emulator.url, extra={"folder_id": FOLDER, "service_account_json": json.dumps(key)})
    hook = YandexAIStudioHook()
    for _ in range(3):
        hook.list_models()
    assert emulator.stats()["tokens_issued"] == 1
    emulator.advance(13 * 3600)  # the emulator no longer accepts the token, and the client's clock has not moved
    hook.list_models()
    assert emulator.stats()["tokens_issued"] == 2


def test_a_failed_token_exchange_submits_nothing(emulator: Emulator, connect: Callable[..., None]) -> None:
    key = emulator.create_service_account_key()
    connect(host=emulator.url, extra={"folder_id": FOLDER, "service_account_json": json.dumps(key)})
    emulator.fault("iam.tokens", "drop", times=None)
    hook = YandexAIStudioHook(sleep=lambda seconds: None)
    with pytest.raises(ServiceUnavailable, match="exchange the service-account key") as caught:
        hook.submit_completion(hook.completion_request(prompt=TEXT))
    assert not caught.value.arrived
    assert emulator.stats()["submissions"] == 0


@pytest.mark.parametrize("refusal", [404, 405, 501])
def test_a_cancellation_survives_either_verb(hook: YandexAIStudioHook, emulator: Emulator, refusal: int) -> None:
    first = hook.submit_completion(hook.completion_request(prompt=TEXT))
    hook.cancel_operation(first.id)
    second = hook.submit_completion(hook.completion_request(prompt=TEXT))
    emulator.fault("operations.cancel", "status", status=refusal, body="Method Not Allowed")
    hook.cancel_operation(second.id)
    assert emulator.stats()["operations"]["cancelled"] == 2


def test_the_test_button_says_what_works(hook: YandexAIStudioHook, emulator: Emulator) -> None:
    works, message = hook.test_connection()
    assert works, message
    assert f"gpt://{FOLDER}/yandexgpt" in message
    assert emulator.stats()["generations"] == 0


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"password": None}, "no credential"),
        ({"password": "AQVNwrong"}, "Check the credential"),
        ({"extra": {"folder_id": "b1gother"}}, "does not match with service account folder"),
        ({"extra": {}}, "Set `folder_id`"),
        ({"host": "http://127.0.0.1:1"}, "connection refused"),
    ],
    ids=["no key", "wrong key", "wrong folder", "no folder", "network"],
)
def test_the_test_button_names_what_is_wrong(
    emulator: Emulator, connect: Callable[..., None], fields: dict[str, Any], message: str
) -> None:
    connect(**{"host": emulator.url, "password": API_KEY, "extra": {"folder_id": FOLDER}, **fields})
    works, said = YandexAIStudioHook(sleep=lambda seconds: None).test_connection()
    assert not works
    assert message in said
    assert "AQVNwrong" not in said


@pytest.mark.parametrize("status", [403])
def test_the_test_button_tells_roles_and_billing_apart_from_the_key(
    hook: YandexAIStudioHook, emulator: Emulator, status: int
) -> None:
    emulator.fault("tokenizeCompletion", "status", status=status, body={"code": 7, "message": "Permission denied"})
    works, said = hook.test_connection()
    assert not works
    assert "ai.languageModels.user" in said
    assert "billing" in said


@pytest.mark.parametrize(
    ("host", "url"),
    [
        ("gw.example", "https://gw.example:8443"),
        ("https://gw.example/", "https://gw.example:8443"),
        ("https://gw.example/prefix", "https://gw.example:8443/prefix"),
        ("http://[::1]/prefix/", "http://[::1]:8443/prefix"),
    ],
)
def test_the_port_of_a_connection_belongs_to_its_host(connect: Callable[..., None], host: str, url: str) -> None:
    connect(host=host, port=8443, password=API_KEY, extra={"folder_id": FOLDER})
    assert YandexAIStudioHook().settings.endpoints == Endpoints.at(url)


def test_a_connection_of_another_type_is_refused(connect: Callable[..., None]) -> None:
    connect(conn_type="http", password=API_KEY)
    with pytest.raises(ConfigurationError, match="type 'http'"):
        YandexAIStudioHook().get_conn()


def test_an_entry_of_netrc_does_not_replace_the_credential(
    hook: YandexAIStudioHook, tmp_path: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    netrc = tmp_path / "netrc"
    netrc.write_text("default login somebody password else\n")
    monkeypatch.setenv("NETRC", str(netrc))
    assert hook.list_models()
