"""What a connection's errors say, word for word, and what a connection of the Apache provider means here."""

from __future__ import annotations

import errno
import os
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.api.call import Rpc
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.client.credentials import ApiKey, MetadataService
from airflow_provider.yandex_ai_studio.client.settings import Settings, fields_of_yandexcloud
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError

KEY = "AQVN1"
ONE_OF = (
    "It needs exactly one of: the password (an API key), `service_account_json`, `service_account_json_path`, "
    "`iam_token`, `use_metadata_service`"
)
PRICED = (
    'has no list of prices in `prices`; it must be like {"currency": "RUB", "yandexgpt": {"async": {"input": 0.1, '
    '"output": 0.1}}}, per 1,000 tokens'
)
MISPLACED = "has what does not belong there"
IN_THE_CLEAR = "would send the credential through the internet without encryption. Use https://"


def read_text(path: str) -> str:
    if path == "/keys/binary.json":
        return b"\xff".decode()
    raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)


def settings(password: str | None = KEY, host: str | None = None, **extra: Any) -> Settings:
    return Settings.of(conn_id="studio", host=host, password=password, extra=extra, read_text=read_text)


def odd(where: str) -> str:
    return f"has characters in {where} that do not belong there; was something else pasted along?"


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"password": None}, f"has no credential. {ONE_OF}"),
        (
            {"iam_token": "t1.x", "use_metadata_service": True},
            f"has the password (an API key) and `iam_token` and `use_metadata_service`. {ONE_OF}",
        ),
        ({"password": None, "use_metadata_service": False}, f"has no credential. {ONE_OF}"),
        ({"model": 5}, "has a int in `model`; it must be a text"),
        ({"password": "AQ VN"}, odd("the password")),
        ({"password": None, "iam_token": "t1.é"}, odd("`iam_token`")),
        ({"folder_id": "b1g\tb1g"}, odd("`folder_id`")),
        ({"transport": "soap"}, "has 'soap' in `transport`; it must be one of rest, grpc"),
        ({"timeout": "0"}, "has '0' in `timeout`; it must be a number above 0, up to 86,400"),
        ({"timeout": 86_401}, "has 86401 in `timeout`; it must be a number above 0, up to 86,400"),
        (
            {"polls_per_second": 1e7},
            "has 10000000.0 in `polls_per_second`; it must be a number above 0, up to 1,000,000",
        ),
        ({"timeout": "AQVNcanary" + "x" * 30}, f"{MISPLACED} in `timeout`; it must be a number above 0, up to 86,400"),
        ({"transport": '{"private_key": "canary"}'}, f"{MISPLACED} in `transport`; it must be one of rest, grpc"),
        (
            {"disable_data_logging": "AQVNcanary" + "x" * 30},
            f"{MISPLACED} in `disable_data_logging`; it must be true or false",
        ),
        (
            {"password": None, "service_account_json_path": '{"private_key": "canary"}'},
            "names a file in `service_account_json_path` that can't be read (No such file or directory: what is there)",
        ),
        ({"disable_data_logging": "no"}, "has 'no' in `disable_data_logging`; it must be true or false"),
        ({"prices": "free"}, PRICED),
        ({"prices": '"currency"'}, PRICED),
        (
            {"host": "u:p@gateway.example"},
            "has a login in `host`. Take it out: it is sent nowhere, but shown in logs",
        ),
        (
            {"host": "ftp://gateway.example"},
            "has 'ftp://gateway.example' in `host`; it must be empty or a base URL like https://gateway.example",
        ),
        (
            {"host": "gateway.example:0"},
            "has 'gateway.example:0' in `host`; it must be empty or a base URL like https://gateway.example",
        ),
        (
            {"host": "gateway.example?key=1"},
            "has something in `host`; it must be empty or a base URL like https://gateway.example",
        ),
        (
            {"host": "gateway.example#key"},
            "has something in `host`; it must be empty or a base URL like https://gateway.example",
        ),
        ({"grpc_target": "u:p@gateway.example"}, "has more than host:port in `grpc_target`"),
        ({"grpc_target": "https://gateway.example"}, "has more than host:port in `grpc_target`"),
        ({"host": "http://yandex.cloud"}, IN_THE_CLEAR),
        ({"host": "http://10.0.0.7:8080", "grpc_target": "yandex.cloud:443"}, IN_THE_CLEAR),
        (
            {"password": None, "service_account_json_path": "/keys/gone.json"},
            "names a file in `service_account_json_path` that can't be read (No such file or directory: "
            "/keys/gone.json)",
        ),
        (
            {"password": None, "service_account_json_path": "/keys/binary.json"},
            "names a file in `service_account_json_path` that can't be read (it is no text: /keys/binary.json)",
        ),
    ],
)
def test_an_error_names_the_connection_the_field_and_what_it_must_be(fields: dict[str, Any], said: str) -> None:
    with pytest.raises(ConfigurationError) as caught:
        settings(**fields)
    end = "" if said.endswith("?") else "."
    assert str(caught.value) == f"The connection 'studio' {said}{end} Nothing was sent to the service."


def test_a_key_that_is_none_is_named_by_its_field() -> None:
    with pytest.raises(ConfigurationError, match=r"^The connection's `service_account_json` must hold the JSON"):
        settings(password=None, service_account_json={"id": "ajekey"})


@pytest.mark.parametrize("yes", [True, "true", " True "])
def test_the_metadata_service_is_asked_where_the_flag_says_so(yes: Any) -> None:
    assert settings(password=None, use_metadata_service=yes).credential == MetadataService()


@pytest.mark.parametrize("no", [False, "false"])
def test_a_flag_that_says_no_is_no_credential(no: Any) -> None:
    assert settings(use_metadata_service=no).credential == ApiKey(KEY)


def test_numbers_begin_above_nought_and_prices_at_nought() -> None:
    assert settings(timeout=0.5).timeout == 0.5
    free = {"yandexgpt": {"async": {"input": 0, "output": 0}}}
    assert settings(prices=free).prices == free
    for price in (True, -0.1, None):
        with pytest.raises(ConfigurationError, match="no list of prices"):
            settings(prices={"yandexgpt": {"async": {"input": 0, "output": price}}})


def test_a_port_may_be_any_but_nought() -> None:
    assert settings(host="http://127.0.0.1:1").endpoints == Endpoints.at("http://127.0.0.1:1")


COMPLETION = Rpc("yandex.cloud.ai.foundation_models.v1.TextGenerationAsyncService", "Completion", {})
OPERATION = Rpc("yandex.cloud.operation.OperationService", "Get", {})


@pytest.mark.parametrize(
    ("host", "target", "rpc", "to"),
    [
        (None, None, COMPLETION, ("llm.api.cloud.yandex.net:443", True)),
        (None, None, OPERATION, ("operation.api.cloud.yandex.net:443", True)),
        (None, "gateway.example:443", OPERATION, ("gateway.example:443", True)),
        ("https://gateway.example:8443", "gateway.example:443", COMPLETION, ("gateway.example:443", True)),
        ("http://127.0.0.1:8085", "127.0.0.1:8086", COMPLETION, ("127.0.0.1:8086", False)),
    ],
)
def test_grpc_goes_to_the_vendor_or_to_the_one_target_with_tls_as_over_http(
    host: str | None, target: str | None, rpc: Rpc, to: tuple[str, bool]
) -> None:
    assert settings(host=host, grpc_target=target).grpc_target_of(rpc) == to


@pytest.mark.parametrize("host", ["http://127.0.0.1:8085", "https://gateway.example"])
def test_grpc_beside_a_base_url_needs_a_target(host: str) -> None:
    """Else the key, the prompts and the bill go past the host of the connection to the vendor."""
    with pytest.raises(ConfigurationError, match=r"Name host:port of gRPC there, or leave `host` empty"):
        settings(host=host, transport="grpc")
    assert settings(host=host, transport="grpc", grpc_target="127.0.0.1:8086").grpc_target == "127.0.0.1:8086"
    assert settings(host=host, transport="rest").grpc_target is None


def test_a_target_in_the_clear_is_judged_by_its_own_host_whatever_port_http_has() -> None:
    given = settings(host="http://127.0.0.1:8085", transport="grpc", grpc_target="emulator:8086")
    assert given.exposed_to == "emulator"


@pytest.mark.parametrize("prefix", ["", "extra__yandexcloud__"])
@pytest.mark.parametrize(
    ("given", "taken"),
    [
        ({}, {"use_metadata_service": True}),
        ({"folder_id": "b1g"}, {"folder_id": "b1g", "use_metadata_service": True}),
        ({"oauth": " "}, {"use_metadata_service": True}),
        ({"service_account_json": "", "oauth": None}, {"service_account_json": "", "use_metadata_service": True}),
        ({"service_account_json": "{}", "oauth": "y0_x"}, {"service_account_json": "{}"}),
        (
            {"service_account_json_path": "/keys/sa.json", "folder_id": "b1g", "endpoint": "x"},
            {"service_account_json_path": "/keys/sa.json", "folder_id": "b1g"},
        ),
    ],
)
def test_a_connection_of_the_apache_provider_gives_its_key_or_that_of_the_machine(
    prefix: str, given: dict[str, Any], taken: dict[str, Any]
) -> None:
    nothing = dict.fromkeys(("folder_id", "service_account_json", "service_account_json_path"))
    assert fields_of_yandexcloud("yc", {f"{prefix}{name}": value for name, value in given.items()}) == nothing | taken


@pytest.mark.parametrize("folder", [{}, {"folder_id": "b1g"}])
def test_an_oauth_token_is_refused_with_what_to_give_instead(folder: dict[str, str]) -> None:
    with pytest.raises(ConfigurationError, match=r"^The connection 'yc' of the type yandexcloud holds an OAuth token"):
        fields_of_yandexcloud("yc", {"extra__yandexcloud__oauth": "y0_x", **folder})
