"""A credential proves who asks, is renewed in time, and never shows."""

import json

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.models import IssuedToken
from airflow_provider.yandex_ai_studio.client.credentials import (
    TOKEN_USE,
    ApiKey,
    IamToken,
    MetadataService,
    ServiceAccountKey,
    TokenCache,
)
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError

NOW = 1_700_000_000.0
HALF_A_DAY = 43_200.0
GATEWAY = Endpoints.at("https://gateway.example")


def pem_of(private_key, encryption=None):
    return private_key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        encryption or serialization.NoEncryption(),
    ).decode()


RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
PUBLIC_PEM = (
    RSA_KEY.public_key()
    .public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
    .decode()
)
KEY_FILE = {
    "id": "ajekey",
    "service_account_id": "ajeaccount",
    "created_at": "2026-11-20T22:00:00Z",
    "key_algorithm": "RSA_2048",
    "public_key": PUBLIC_PEM,
    "private_key": "PLEASE DO NOT REMOVE THIS LINE! Yandex.Cloud SA Key ID <ajekey>\n" + pem_of(RSA_KEY),
}
KEY = ServiceAccountKey.of(KEY_FILE, where="service_account_json")


def cache_of(credential=KEY, *, issued_at=None, life=HALF_A_DAY, token="t1.first"):
    cache = TokenCache(credential, GATEWAY)
    if issued_at is not None:
        cache.accept(IssuedToken(token, issued_at + life), issued_at)
    return cache


@pytest.mark.parametrize("form", [dict, json.dumps], ids=["an object", "a text"])
def test_a_signed_jwt_is_what_the_vendor_asks_for(form):
    signed = ServiceAccountKey.of(form(KEY_FILE), where="service_account_json").signed_jwt(NOW)
    assert jwt.get_unverified_header(signed) == {"typ": "JWT", "alg": "PS256", "kid": "ajekey"}
    claims = jwt.decode(
        signed,
        PUBLIC_PEM,
        algorithms=["PS256"],
        audience="https://iam.api.cloud.yandex.net/iam/v1/tokens",
        issuer="ajeaccount",
        options={"verify_exp": False, "verify_iat": False, "require": ["iss", "aud", "iat", "exp"]},
    )
    assert claims["iat"] == NOW
    assert 0 < claims["exp"] - claims["iat"] <= 3600


@pytest.mark.parametrize(
    "value",
    [
        "",
        "t1.token",
        "{",
        "[]",
        "5",
        5,
        [],
        {},
        *[{name: value for name, value in KEY_FILE.items() if name != gone} for gone in ("id", "private_key")],
        KEY_FILE | {"service_account_id": None},
        KEY_FILE | {"id": ""},
        KEY_FILE | {"private_key": None},
        KEY_FILE | {"private_key": "no PEM at all"},
    ],
)
def test_what_is_no_key_file_is_named_by_its_field_and_not_shown(value):
    with pytest.raises(ConfigurationError, match=r"`service_account_json`.*Nothing was sent") as error:
        ServiceAccountKey.of(value, where="service_account_json")
    assert "PRIVATE KEY" not in str(error.value)
    assert error.value.__suppress_context__


@pytest.mark.parametrize(
    "pem",
    [
        "-----BEGIN PRIVATE KEY-----\ncut off",
        PUBLIC_PEM,
        pem_of(ec.generate_private_key(ec.SECP256R1())),
        pem_of(RSA_KEY, serialization.BestAvailableEncryption(b"password")),
    ],
    ids=["cut off", "the public key", "another algorithm", "with a password"],
)
def test_a_private_key_that_cannot_sign_is_an_error_of_configuration(pem):
    with pytest.raises(ConfigurationError, match=r"ajekey can't be read.*Nothing was sent") as error:
        ServiceAccountKey("ajekey", "ajeaccount", pem).signed_jwt(NOW)
    assert pem not in str(error.value)


@pytest.mark.parametrize(
    ("credential", "header"), [(ApiKey("AQVN1"), "Api-Key AQVN1"), (IamToken("t1.given"), "Bearer t1.given")]
)
def test_a_key_or_token_from_elsewhere_is_a_header_and_nothing_more(credential, header):
    cache = cache_of(credential)
    assert cache.header() == header
    assert cache.due(NOW) is None
    assert cache.refused(header, NOW) is False
    assert cache.due(NOW + HALF_A_DAY) is None


def test_an_exchange_is_due_before_the_first_request():
    call = cache_of().due(NOW)
    assert (call.method, call.url) == ("POST", "https://gateway.example/iam/v1/tokens")
    assert not call.authorized
    assert jwt.decode(call.body["jwt"], options={"verify_signature": False})["iat"] == NOW
    assert call.parse({"iamToken": "t1.x", "expiresAt": "one day"}) == IssuedToken("t1.x", NOW)


def test_the_metadata_service_is_asked_before_the_first_request():
    call = cache_of(MetadataService()).due(NOW)
    path = "computeMetadata/v1/instance/service-accounts/default/token"
    assert (call.method, call.url) == ("GET", f"https://gateway.example/{path}")
    assert not call.authorized
    assert call.parse({"access_token": "t1.x", "expires_in": 600}) == IssuedToken("t1.x", NOW + 600)


def test_a_token_is_used_for_an_hour_though_it_lives_for_twelve():
    cache = cache_of(issued_at=NOW)
    assert cache.header() == "Bearer t1.first"
    assert cache.due(NOW) is None
    assert cache.due(NOW + TOKEN_USE - 1) is None
    assert cache.due(NOW + TOKEN_USE) is not None


@pytest.mark.parametrize("life", [10, 600, 3600, 3900, HALF_A_DAY])
def test_a_token_is_renewed_before_it_expires_but_not_at_once(life):
    cache = cache_of(issued_at=NOW, life=life)
    assert cache.due(NOW + min(0.85 * life, TOKEN_USE - 1)) is None
    assert cache.due(NOW + min(0.95 * life, TOKEN_USE)) is not None


def test_a_token_that_is_expired_on_arrival_is_used_once_and_renewed():
    cache = cache_of(issued_at=NOW, life=-60)
    assert cache.header() == "Bearer t1.first"
    assert cache.due(NOW) is not None


def test_a_refused_token_is_renewed_before_its_time():
    cache = cache_of(issued_at=NOW)
    assert cache.refused("Bearer t1.first", NOW + 10) is True
    assert cache.due(NOW + 1) is not None
    cache.accept(IssuedToken("t1.second", NOW + HALF_A_DAY), NOW + 1)
    assert cache.header() == "Bearer t1.second"
    assert cache.due(NOW + 2) is None


def test_a_token_that_is_refused_when_new_is_not_exchanged_for_each_question():
    cache = cache_of(issued_at=NOW)
    assert cache.refused("Bearer t1.first", NOW + 9.9) is False
    assert cache.due(NOW + 9.9) is None


def test_the_refusal_of_an_old_token_is_worth_a_try_with_the_new_one_and_does_not_renew_that():
    cache = cache_of(issued_at=NOW, token="t1.second")
    assert cache.refused("Bearer t1.first", NOW + 1) is True
    assert cache.due(NOW + 1) is None


@pytest.mark.parametrize(
    ("cache", "secret"),
    [
        (cache_of(ApiKey("AQVN1")), "AQVN1"),
        (cache_of(IamToken("t1.given")), "t1.given"),
        (cache_of(issued_at=NOW), "t1.first"),
    ],
)
def test_a_secret_that_the_service_repeats_is_taken_out(cache, secret):
    assert cache.conceal(f"Unknown key '{secret}', yes, {secret}.") == "Unknown key '***', yes, ***."
    assert cache.conceal("Nothing of that kind.") == "Nothing of that kind."


def test_a_token_that_was_renewed_meanwhile_is_taken_out():
    cache = cache_of(issued_at=NOW, token="t1.old")
    cache.refused("Bearer t1.old", NOW + 10)
    assert cache.conceal("Permission of t1.old denied.") == "Permission of *** denied."
    cache.accept(IssuedToken("t1.new", NOW + HALF_A_DAY), NOW)
    assert cache.conceal("t1.9euelZqMkJ-x=.LZzMy4_Q-a== and t1.new") == "*** and ***"


def test_a_jwt_that_the_service_repeats_is_taken_out():
    """It is good for an hour, for anyone who reads the log."""
    cache = cache_of()
    signed = cache.due(NOW).body["jwt"]
    assert cache.conceal(f"JWT {signed} is not valid") == "JWT *** is not valid"


@pytest.mark.parametrize(
    ("value", "secret"),
    [
        (ApiKey("AQVN1"), "AQVN1"),
        (IamToken("t1.given"), "t1.given"),
        (KEY, "PRIVATE KEY"),
        (cache_of(ApiKey("AQVN1")), "AQVN1"),
        (cache_of(issued_at=NOW), "t1.first"),
        *[(Settings(credential), "secret-1") for credential in (ApiKey("secret-1"), IamToken("secret-1"))],
        (Settings(KEY), "PRIVATE KEY"),
        (cache_of().due(NOW), "eyJ"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_no_secret_shows_in_a_repr(value, secret):
    assert secret not in repr(value)
    assert secret not in str(value)
