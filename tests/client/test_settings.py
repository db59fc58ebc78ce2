"""A connection is read with errors that name the field, or gives settings that are checked."""

import errno
import json
import os

import pytest

from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.client import sending
from airflow_provider.yandex_ai_studio.client.credentials import ApiKey, IamToken, ServiceAccountKey
from airflow_provider.yandex_ai_studio.client.network import CA_VARIABLES
from airflow_provider.yandex_ai_studio.client.settings import CREDENTIAL_FIELDS, FIELDS, POLLS_PER_SECOND, Settings
from airflow_provider.yandex_ai_studio.client.worker import Client
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError

PEM = "-----BEGIN PRIVATE KEY-----\nMII\n-----END PRIVATE KEY-----\n"
KEY_FILE = {"id": "ajekey", "service_account_id": "ajeaccount", "private_key": "Do not remove!\n" + PEM}
KEY = ServiceAccountKey("ajekey", "ajeaccount", PEM)
FILES = {"/keys/sa.json": json.dumps(KEY_FILE).encode(), "/keys/text.json": b"hello", "/keys/list.json": b"[]"}
FILES |= {"/keys/part.json": b'{"id": "ajekey"}', "/keys/binary.json": b"\x30\x82\xff"}


def read_text(path):
    if path not in FILES:
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
    return FILES[path].decode()


def settings(password="AQVN1", host=None, **extra):
    return Settings.of(conn_id="studio", host=host, password=password, extra=extra, read_text=read_text)


def refusal(**fields):
    with pytest.raises(ConfigurationError, match=r"Nothing was sent to the service\.$") as error:
        settings(**fields)
    return str(error.value)


GIVEN = {"iam_token": "t1.given", "service_account_json": KEY_FILE, "service_account_json_path": "/keys/sa.json"}


@pytest.mark.parametrize(
    ("fields", "credential"),
    [
        ({"password": "AQVN1"}, ApiKey("AQVN1")),
        ({"password": " AQVN1\n"}, ApiKey("AQVN1")),
        ({"iam_token": "t1.given"}, IamToken("t1.given")),
        ({"service_account_json": KEY_FILE}, KEY),
        ({"service_account_json": json.dumps(KEY_FILE)}, KEY),
        ({"service_account_json_path": "/keys/sa.json"}, KEY),
    ],
)
def test_each_way_to_prove_who_asks_is_understood(fields, credential):
    assert settings(**{"password": None, **fields}).credential == credential


@pytest.mark.parametrize(
    "fields",
    [
        {"password": None},
        {"password": ""},
        {"password": "  \n"},
        {"password": None, "iam_token": ""},
        {"password": None, "iam_token": "  "},
        {"password": None, "service_account_json_path": " "},
        {"password": "", **dict.fromkeys(CREDENTIAL_FIELDS)},
    ],
)
def test_without_a_credential_the_error_names_the_fields_that_could_hold_one(fields):
    said = refusal(**fields)
    assert "'studio'" in said
    assert "no credential" in said
    for name in ("password", *CREDENTIAL_FIELDS):
        assert name in said


@pytest.mark.parametrize(
    "names",
    [
        ("password", "iam_token"),
        ("password", "service_account_json"),
        ("service_account_json", "service_account_json_path"),
        ("password", "iam_token", "service_account_json_path"),
    ],
)
def test_of_more_than_one_credential_the_error_names_each_and_shows_none(names):
    said = refusal(**{"password": None} | {name: {**GIVEN, "password": "AQVN1"}[name] for name in names})
    has = said.split("It needs")[0]
    assert [name for name in ("password", *CREDENTIAL_FIELDS) if f"{name}`" in has or f"the {name} " in has] == [
        name for name in ("password", *CREDENTIAL_FIELDS) if name in names
    ]
    for secret in ("AQVN1", "t1.given", "PRIVATE KEY"):
        assert secret not in said


@pytest.mark.parametrize(
    "fields",
    [
        {"password": "AQVN 1"},
        {"password": "ключ"},
        {"password": "AQ\nVN"},
        {"password": None, "iam_token": "t1\u200b.x"},
    ],
)
def test_a_secret_with_characters_that_no_header_takes_is_refused_unseen(fields):
    said = refusal(**fields)
    assert "something else pasted along" in said
    for secret in filter(None, fields.values()):
        assert secret not in said


@pytest.mark.parametrize("name", ["folder", "api_key", "extra__yandex_ai_studio__folder_id"])
def test_an_unknown_extra_field_is_named_beside_the_known_ones(name):
    said = refusal(**{name: "b1g"})
    assert name in said
    assert ", ".join(FIELDS) in said


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *[(name, value) for name in ("folder_id", "model", "iam_token") for value in (5, ["b1g"], {"id": "b1g"}, True)],
        ("service_account_json_path", 5),
        *[
            (name, value)
            for name in ("polls_per_second", "submits_per_second", "timeout")
            for value in (0, -1, "fast", "nan", "inf", [1], {}, True)
        ],
        *[("disable_data_logging", value) for value in ("yes please", 2, [], "1.0")],
    ],
)
def test_a_wrong_value_is_refused_with_the_name_of_its_field(name, value):
    said = refusal(**{"password": None if name in CREDENTIAL_FIELDS else "AQVN1", name: value})
    assert f"`{name}`" in said
    assert "'studio'" in said


@pytest.mark.parametrize(
    ("path", "reason"),
    [
        ("/keys/gone.json", "No such file or directory: /keys/gone.json"),
        ("/keys/text.json", "authorized key"),
        ("/keys/list.json", "authorized key"),
        ("/keys/part.json", "authorized key"),
        ("/keys/binary.json", "`service_account_json_path`"),
    ],
)
def test_a_key_file_that_cannot_be_used_is_an_error_with_the_reason(path, reason):
    said = refusal(password=None, service_account_json_path=path)
    assert "`service_account_json_path`" in said
    assert reason in said


@pytest.mark.parametrize("nothing", [None, ""])
def test_a_field_that_is_empty_counts_as_absent(nothing):
    """So does Airflow's form save the fields that nobody filled in."""
    assert (
        settings(host=nothing, **dict.fromkeys(FIELDS, nothing))
        == settings()
        == Settings(ApiKey("AQVN1"), conn_id="studio")
    )


def test_what_the_connection_says_goes_before_the_defaults():
    assert (settings().model, settings().polls_per_second) == ("yandexgpt", POLLS_PER_SECOND)
    assert settings(
        folder_id=" b1g ",
        model="yandexgpt-lite/rc",
        polls_per_second="12.5",
        disable_data_logging="True",
        timeout=30,
    ) == Settings(
        ApiKey("AQVN1"),
        folder_id="b1g",
        conn_id="studio",
        model="yandexgpt-lite/rc",
        polls_per_second=12.5,
        data_logging=False,
        timeout=30.0,
    )


@pytest.mark.parametrize(("value", "logging"), [(True, False), ("true", False), (False, True), ("false", True)])
def test_data_logging_is_opted_out_of_by_a_flag_or_its_text(value, logging):
    assert settings(disable_data_logging=value).data_logging is logging


@pytest.mark.parametrize(
    ("host", "base_url"),
    [
        ("gateway.example", "https://gateway.example"),
        ("gateway.example:8443", "https://gateway.example:8443"),
        ("https://gateway.example/", "https://gateway.example"),
        ("http://127.0.0.1:8085", "http://127.0.0.1:8085"),
        (" https://gateway.example\n", "https://gateway.example"),
        ("https://gateway.example/yandex/", "https://gateway.example/yandex"),
    ],
)
def test_a_host_is_one_base_url_for_all_services(host, base_url):
    assert settings(host=host).endpoints == Endpoints(*[base_url] * 5)


@pytest.mark.parametrize(
    "host",
    [
        *["ftp://gateway.example", "://gateway.example", "http://", "https:///path"],
        *["https://gateway.example:port", "gateway.example:99999", "https://gateway.example?key=canary", "a#canary"],
    ],
)
def test_a_host_that_is_no_base_url_is_refused(host):
    said = refusal(host=host)
    assert "`host`" in said
    assert "canary" not in said


@pytest.mark.parametrize(
    "host", ["https://user:canary@gateway.example", "canary@gateway.example", "ftp://u:canary@x", "http://u:canary@"]
)
def test_a_login_in_the_base_url_is_refused_unseen(host):
    said = refusal(host=host)
    assert "has a login in `host`. Take it out" in said
    assert "canary" not in said
    assert "canary" not in refusal(grpc_target=host)


@pytest.mark.parametrize(
    "host", ["http://llm.api.cloud.yandex.net", "http://yandex.cloud", "http://8.8.8.8:8080", "http://[2a02:6b8::1]/x"]
)
def test_a_key_does_not_go_through_the_internet_in_the_clear(host):
    assert "without encryption. Use https://" in refusal(host=host)
    assert settings(host=host.replace("http://", "https://")).exposed_to is None
    target = host.removeprefix("http://").partition("/")[0]
    assert "without encryption" in refusal(host="http://localhost", grpc_target=target, transport="grpc")


@pytest.mark.parametrize(
    ("host", "fields", "exposed_to"),
    [
        ("http://127.0.0.1:8085", {}, None),
        ("http://localhost:8085", {}, None),
        ("http://[::1]:8085", {}, None),
        ("https://gateway.example", {}, None),
        (None, {}, None),
        (None, {"transport": "grpc"}, None),
        ("http://gateway.example", {}, "gateway.example"),
        ("http://emulator:8085", {}, "emulator"),
        ("http://10.0.0.7", {}, "10.0.0.7"),
        ("http://127.0.0.1", {"transport": "grpc", "grpc_target": "emulator:8086"}, "emulator"),
        ("http://127.0.0.1", {"grpc_target": "emulator:8086"}, None),
        ("https://gateway.example", {"transport": "grpc", "grpc_target": "emulator:8086"}, None),
    ],
)
def test_within_a_company_a_key_in_the_clear_is_a_warning_once_per_host(host, fields, exposed_to, caplog):
    sending._warn_of_exposure_to.cache_clear()
    given = settings(host=host, **fields)
    assert given.exposed_to == exposed_to
    with Client(given), Client(given):
        warnings = [record.getMessage() for record in caplog.records]
    assert len(warnings) == (exposed_to is not None)
    assert all(f"go to {exposed_to} without encryption" in warning for warning in warnings)


@pytest.mark.parametrize("name", ["ca_bundle", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE"])
@pytest.mark.parametrize("content", [None, b"no certificate", b"\xff"], ids=["gone", "text", "binary"])
def test_certificates_that_can_t_be_read_are_an_error_that_names_where_they_are_named(
    name, content, tmp_path, monkeypatch
):
    path = tmp_path / "company.pem"
    if content is not None:
        path.write_bytes(content)
    for variable in CA_VARIABLES:
        monkeypatch.delenv(variable, raising=False)
    if name != "ca_bundle":
        monkeypatch.setenv(name, str(path))
    given = settings(ca_bundle=str(path) if name == "ca_bundle" else None)
    with pytest.raises(ConfigurationError, match=rf"^Correct .*{name}.*\n{path} can't be used .*Nothing was sent"):
        Client(given)


PRICES = {"currency": "RUB", "yandexgpt": {"async": {"input": 0.1, "output": 0.2}}}


def test_prices_may_be_json_or_its_text():
    assert settings(prices=PRICES).prices == settings(prices=json.dumps(PRICES)).prices == PRICES
    assert settings().prices is None


@pytest.mark.parametrize(
    "prices",
    [
        "free",
        [],
        {"yandexgpt": 1},
        {"yandexgpt": {"async": 1}},
        {"yandexgpt": {"async": {"input": 1}}},
        {"yandexgpt": {"async": {"input": 1, "output": -1}}},
        {"yandexgpt": {"async": {"input": 1, "output": "2"}}},
    ],
)
def test_what_is_no_list_of_prices_is_named(prices):
    assert "`prices`" in refusal(prices=prices)
