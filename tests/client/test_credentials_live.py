"""Every kind of credential at work on the emulator, and what the Test button says about it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import requests

from airflow_provider.yandex_ai_studio.api import operations
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.client import credentials
from airflow_provider.yandex_ai_studio.emulator import Emulator
from airflow_provider.yandex_ai_studio.exceptions import ServiceUnavailable
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook
from support import API_KEY, FOLDER

TEXT = "A key opens the door, and a token is a key that melts."
METADATA = "/computeMetadata/v1/instance/service-accounts/default/token"
KINDS = ("password", "iam_token", "service_account_json", "service_account_json_path", "use_metadata_service")
RENEWED = KINDS[2:]

Open = Callable[..., YandexAIStudioHook]


@pytest.fixture(autouse=True)
def hours_pass_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The emulator's clock is put forward, the client's own is not: to it, each token is new when it is refused."""
    monkeypatch.setattr(credentials, "SETTLING", 0.0)


@pytest.fixture
def fields(emulator: Emulator, tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Return the connection fields that hold one kind of credential."""

    def of(kind: str) -> dict[str, Any]:
        if kind == "password":
            return {"password": API_KEY}
        if kind == "use_metadata_service":
            return {"extra": {kind: True}}
        if kind == "iam_token":
            answer = requests.get(emulator.url + METADATA, headers={"Metadata-Flavor": "Google"}, timeout=5)
            return {"extra": {kind: answer.json()["access_token"]}}
        key = json.dumps(emulator.create_service_account_key())
        if kind == "service_account_json":
            return {"extra": {kind: key}}
        path = tmp_path / "authorized_key.json"
        path.write_text(key)
        return {"extra": {kind: str(path)}}

    return of


@pytest.fixture
def opened(emulator: Emulator, connect: Callable[..., None]) -> Iterator[Open]:
    """Make a connection to the emulator of these fields, and return a hook on it."""
    hooks: list[YandexAIStudioHook] = []

    def open_with(extra: dict[str, Any] | None = None, **given: Any) -> YandexAIStudioHook:
        connect(**{"host": emulator.url, "extra": {"folder_id": FOLDER, **(extra or {})}, **given})
        hooks.append(YandexAIStudioHook(sleep=lambda seconds: None))
        return hooks[-1]

    yield open_with
    for hook in hooks:
        if "_client" in vars(hook):
            hook.get_conn().close()


@pytest.mark.parametrize("kind", KINDS)
def test_the_test_button_says_that_a_credential_works(
    opened: Open, fields: Callable[[str], dict[str, Any]], emulator: Emulator, kind: str
) -> None:
    works, said = opened(**fields(kind)).test_connection()
    assert works, said
    assert f"gpt://{FOLDER}/yandexgpt" in said
    assert emulator.stats()["generations"] == 0


@pytest.mark.parametrize("kind", KINDS)
async def test_each_credential_opens_every_api_on_worker_and_triggerer(
    opened: Open, fields: Callable[[str], dict[str, Any]], emulator: Emulator, kind: str
) -> None:
    hook = opened(**fields(kind))
    operation = hook.submit_completion(hook.completion_request(prompt=TEXT))
    response = hook.create_response(hook.response_request(prompt=TEXT, background=True))
    assert hook.list_models()
    emulator.advance(3600)
    async with await hook.get_async_conn() as client:
        for waited in (operation, response):
            read = await client.send(operations.read(hook.settings.endpoints, waited.api, waited.id))
            assert read.generation is not None
            assert read.generation.text == TEXT


@pytest.mark.parametrize("kind", RENEWED)
def test_a_token_is_fetched_once_and_again_when_it_is_refused(
    opened: Open, fields: Callable[[str], dict[str, Any]], emulator: Emulator, kind: str
) -> None:
    hook = opened(**fields(kind))
    for _ in range(3):
        hook.list_models()
    assert emulator.stats()["tokens_issued"] == 1
    emulator.advance(13 * 3600)  # the token has expired, and the hook's clock has not moved
    for _ in range(3):
        hook.list_models()
    assert emulator.stats()["tokens_issued"] == 2


@pytest.mark.parametrize("kind", RENEWED)
def test_a_token_is_fetched_once_for_all_who_ask_at_once(
    opened: Open, fields: Callable[[str], dict[str, Any]], emulator: Emulator, kind: str
) -> None:
    """A bulk run asks in many threads, with one client."""
    hook = opened(**fields(kind))
    hook.get_conn()
    route = "metadata.token" if kind == "use_metadata_service" else "iam.tokens"
    emulator.fault(route, "delay", seconds=0.5, times=None)
    with ThreadPoolExecutor(5) as threads:
        assert all(threads.map(lambda _: hook.list_models(), range(5)))
    assert emulator.stats()["tokens_issued"] == 1


def test_the_metadata_service_is_asked_as_it_insists(opened: Open, emulator: Emulator) -> None:
    opened({"use_metadata_service": True}).list_models()
    asked = emulator.stats()
    assert (asked["requests"]["metadata.token"], asked["requests"]["iam.tokens"]) == (1, 0)
    assert asked["responses"]["metadata.token"] == {"200": 1}


def test_without_a_metadata_service_nothing_is_submitted(opened: Open, emulator: Emulator) -> None:
    emulator.fault("metadata.token", "status", status=404, body="not found", times=None)
    hook = opened({"use_metadata_service": True})
    works, said = hook.test_connection()
    assert not works
    assert "virtual machine with a service account" in said
    emulator.clear_faults()
    emulator.fault("metadata.token", "drop", times=None)
    with pytest.raises(ServiceUnavailable, match="metadata service") as caught:
        hook.submit_completion(hook.completion_request(prompt=TEXT))
    assert not caught.value.arrived
    assert emulator.stats()["requests"]["completionAsync"] == 0


def test_a_hiccup_of_the_metadata_service_is_survived(opened: Open, emulator: Emulator) -> None:
    emulator.fault("metadata.token", "status", status=503, body="", times=2)
    assert opened({"use_metadata_service": True}).list_models()


@pytest.mark.parametrize("prefix", ["", "extra__yandexcloud__"], ids=["plain", "prefixed"])
@pytest.mark.parametrize("kind", RENEWED)
def test_a_connection_of_the_apache_provider_works_as_it_is(
    opened: Open, fields: Callable[[str], dict[str, Any]], emulator: Emulator, kind: str, prefix: str
) -> None:
    credential = {} if kind == "use_metadata_service" else fields(kind)["extra"]  # that is what is left
    extra = {f"{prefix}{name}": value for name, value in {**credential, "folder_id": FOLDER}.items()}
    hook = opened(conn_type="yandexcloud", host=None, extra=extra | {"public_ssh_key": "ssh-rsa AAAA"})
    assert hook.settings.endpoints == Endpoints()
    hook.settings = replace(hook.settings, endpoints=Endpoints.at(emulator.url))
    works, said = hook.test_connection()
    assert works, said
    assert emulator.stats()["requests"]["metadata.token"] == (kind == "use_metadata_service")
    assert hook.complete(hook.completion_request(prompt=TEXT)).text == TEXT


def test_an_oauth_token_of_the_apache_provider_is_refused_with_its_mend(opened: Open) -> None:
    hook = opened(conn_type="yandexcloud", extra={"oauth": "y0_secret"})
    works, said = hook.test_connection()
    assert not works
    assert "service_account_json" in said
    assert "y0_secret" not in said


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "use_metadata_service"])
def test_the_test_button_says_that_a_credential_is_not_accepted(
    opened: Open, fields: Callable[[str], dict[str, Any]], emulator: Emulator, kind: str
) -> None:
    given = fields(kind)
    with Emulator(api_key="AQVNanother", folder_id=FOLDER) as elsewhere:  # it knows none of these
        works, said = opened(**given, host=elsewhere.url).test_connection()
    assert not works
    assert said.startswith("Check the ")
    assert "in the Airflow connection (Admin > Connections)" in said
    for secret in (API_KEY, given.get("extra", {}).get("iam_token", "t1."), "PRIVATE KEY", "eyJ"):
        assert secret not in said


def test_the_test_button_says_that_a_token_has_expired(
    opened: Open, fields: Callable[[str], dict[str, Any]], emulator: Emulator
) -> None:
    given = fields("iam_token")
    emulator.advance(13 * 3600)
    works, said = opened(**given).test_connection()
    assert not works
    assert "has expired" in said
    assert given["extra"]["iam_token"] not in said


def test_the_test_button_names_a_key_file_that_is_gone(opened: Open, tmp_path: Path) -> None:
    works, said = opened({"service_account_json_path": str(tmp_path / "gone.json")}).test_connection()
    assert not works
    assert "gone.json" in said
