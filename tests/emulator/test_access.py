"""Who gets in: API keys, IAM tokens, the exchange of a signed JWT, and folders."""

from __future__ import annotations

import time
from typing import Any

import grpc
import jwt
import pytest
import requests
from cryptography.hazmat.primitives.asymmetric import rsa

from airflow_provider.yandex_ai_studio.emulator import Emulator

KEY = "AQVNsecretsecretsecret"
AUDIENCE = "https://iam.api.cloud.yandex.net/iam/v1/tokens"
METADATA = "/computeMetadata/v1/instance/service-accounts/default/token"
FOREIGN_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


@pytest.fixture(scope="module")
def account_key() -> dict[str, str]:
    """Hold a key whose emulator is gone: only its form is looked at."""
    with Emulator() as emulator:
        return emulator.create_service_account_key()


def signed(key: dict[str, str], headers: dict[str, str] | None = None, **claims: Any) -> str:
    now = int(time.time())
    payload = {"iss": key["service_account_id"], "aud": AUDIENCE, "iat": now, "exp": now + 3600, **claims}
    pem = key["private_key"].split("\n", 1)[1]
    return jwt.encode(payload, pem, algorithm="PS256", headers={"kid": key["id"], **(headers or {})})


def exchange(emulator: Emulator, token: str) -> requests.Response:
    return requests.post(f"{emulator.url}/iam/v1/tokens", json={"jwt": token}, timeout=5)


def test_a_key_file_has_the_vendors_form(account_key: dict[str, str]) -> None:
    assert list(account_key) == [
        "id",
        "service_account_id",
        "created_at",
        "key_algorithm",
        "public_key",
        "private_key",
    ]
    assert account_key["key_algorithm"] == "RSA_2048"
    warning, pem = account_key["private_key"].split("\n", 1)
    assert warning.startswith("PLEASE DO NOT REMOVE THIS LINE!")
    assert pem.startswith("-----BEGIN PRIVATE KEY-----\n")


def test_a_signed_jwt_is_exchanged_for_a_token_that_works_until_it_expires(emulator: Emulator, connect: Any) -> None:
    key = emulator.create_service_account_key(token_seconds=600)
    answer = exchange(emulator, signed(key))
    assert answer.status_code == 200
    assert answer.json().keys() == {"iamToken", "expiresAt"}
    client = connect(emulator, f"Bearer {answer.json()['iamToken']}")
    assert client.submit().json()["createdBy"] == key["service_account_id"]
    emulator.advance(599)
    assert client.submit().status_code == 200
    emulator.advance(1)
    late = client.submit()
    assert late.status_code == 401
    assert late.json()["message"].startswith("The token has expired 20")
    assert emulator.stats()["tokens_issued"] == 1


def test_a_client_whose_clock_is_real_gets_a_token_after_the_emulators_was_advanced(emulator: Emulator) -> None:
    key = emulator.create_service_account_key()
    emulator.advance(24 * 3600)
    assert exchange(emulator, signed(key)).status_code == 200


def test_a_client_whose_clock_was_advanced_along_gets_a_token(emulator: Emulator) -> None:
    key = emulator.create_service_account_key()
    emulator.advance(24 * 3600)
    ahead = int(time.time()) + 24 * 3600
    assert exchange(emulator, signed(key, iat=ahead, exp=ahead + 3600)).status_code == 200


@pytest.mark.parametrize(
    ("headers", "claims", "complaint"),
    [
        ({"kid": "ajeunknown"}, {}, "key 'ajeunknown' is unknown"),
        ({}, {"iss": "ajesomebody"}, "issuer"),
        ({}, {"aud": "https://iam.example.com"}, "udience"),
        ({}, {"exp": int(time.time()) + 7200}, "more than 3600 seconds"),
        ({}, {"iat": int(time.time()) + 600, "exp": int(time.time()) + 700}, "issued in the future"),
        ({}, {"iat": int(time.time()) - 700, "exp": int(time.time()) - 600}, "expired"),
        ({}, {"exp": None}, "exp"),
    ],
)
def test_a_wrong_jwt_is_refused(
    emulator: Emulator, headers: dict[str, str], claims: dict[str, Any], complaint: str
) -> None:
    answer = exchange(emulator, signed(emulator.create_service_account_key(), headers, **claims))
    assert answer.status_code == 401
    assert answer.json()["code"] == 16
    assert complaint in answer.json()["message"]


def test_a_jwt_that_another_key_or_algorithm_signed_is_refused(emulator: Emulator) -> None:
    key = emulator.create_service_account_key()
    now = int(time.time())
    claims = {"iss": key["service_account_id"], "aud": AUDIENCE, "iat": now, "exp": now + 60}
    own = key["private_key"].split("\n", 1)[1]
    for secret, algorithm in ((FOREIGN_KEY, "PS256"), (own, "RS256")):
        token = jwt.encode(claims, secret, algorithm=algorithm, headers={"kid": key["id"]})
        assert exchange(emulator, token).status_code == 401
    assert exchange(emulator, "no.jwt").status_code == 401


def test_an_exchange_without_a_jwt_is_refused_as_a_status(emulator: Emulator) -> None:
    answer = requests.post(f"{emulator.url}/iam/v1/tokens", json={"yandexPassportOauthToken": "y0_x"}, timeout=5)
    assert answer.status_code == 400
    assert (answer.json()["code"], answer.json()["details"][0]["requestId"]) == (3, answer.headers["x-request-id"])


def test_the_metadata_service_hands_out_a_token_to_those_who_know_its_header(emulator: Emulator, connect: Any) -> None:
    assert requests.get(emulator.url + METADATA, timeout=5).status_code == 403
    answer = requests.get(emulator.url + METADATA, headers={"Metadata-Flavor": "Google"}, timeout=5).json()
    assert (answer["token_type"], answer["expires_in"]) == ("Bearer", 43200)
    assert connect(emulator, f"Bearer {answer['access_token']}").submit().status_code == 200


@pytest.mark.parametrize(
    ("authorization", "message"),
    [
        ("", "Authorization is missing: send an IAM token or an API key"),
        ("Api-Key ", "Authorization is missing: send an IAM token or an API key"),
        (f"Token {KEY}", "Authorization is missing: send an IAM token or an API key"),
        ("Bearer t1.forged.token", "The token is invalid"),
        (f"Bearer {KEY}", "The token is invalid"),
        ("Api-Key AQVNanothersecretkey", "Unknown api key 'AQVN…'"),
        ("Api-Key short", "Unknown api key '…'"),
    ],
)
def test_a_stranger_is_refused_and_his_secret_is_not_repeated(
    emulator: Emulator, connect: Any, authorization: str, message: str
) -> None:
    answer = connect(emulator, authorization).submit()
    assert answer.status_code == 401
    assert answer.json() == {"error": message, "code": 16, "message": message, "details": []}


def test_any_api_key_will_do_unless_one_was_chosen(connect: Any) -> None:
    with Emulator(seconds=0) as open_emulator:
        assert connect(open_emulator, "Api-Key anything").submit().status_code == 200
        open_emulator.revoke_api_key("anything")
        assert connect(open_emulator, "Api-Key anything").submit().status_code == 401
        open_emulator.add_api_key("anything")
        assert connect(open_emulator, "Api-Key anything").submit().status_code == 200


def test_keys_rotate(emulator: Emulator, client: Any, connect: Any) -> None:
    assert client.post("/_emulator/api-keys", {"add": "AQVNnewnewnew", "revoke": KEY}).status_code == 200
    assert client.submit().status_code == 401
    assert connect(emulator, "Api-Key AQVNnewnewnew").submit().status_code == 200


def test_a_rotated_key_is_the_only_one_on_both_fronts(
    grpc_emulator: Emulator, rest: Any, connect: Any, channel: Any, grpc_client: Any
) -> None:
    operation_id = rest.submit().json()["id"]
    grpc_emulator.rotate_api_key("AQVNnewnewnew")
    old, new = grpc_client(channel), grpc_client(channel, authorization="Api-Key AQVNnewnewnew")
    assert rest.operation(operation_id).status_code == 401
    with pytest.raises(grpc.RpcError) as refused:
        old.operation(operation_id)
    assert refused.value.code() is grpc.StatusCode.UNAUTHENTICATED
    renewed = connect(grpc_emulator, "Api-Key AQVNnewnewnew")
    assert renewed.operation(operation_id).status_code == 200
    assert new.operation(operation_id).id == operation_id
    assert rest.post("/_emulator/api-keys", {"rotate": KEY}).status_code == 200
    assert (rest.operation(operation_id).status_code, renewed.operation(operation_id).status_code) == (200, 401)


def test_a_key_can_be_rotated_where_any_was_accepted(connect: Any) -> None:
    with Emulator() as emulator:
        emulator.rotate_api_key("AQVNonly")
        statuses = [connect(emulator, f"Api-Key {key}").submit().status_code for key in ("anything", "AQVNonly")]
    assert statuses == [401, 200]


def test_a_revoked_service_account_key_gets_no_token_and_its_tokens_go_on(emulator: Emulator, connect: Any) -> None:
    key, other = (emulator.create_service_account_key() for _ in range(2))
    token = exchange(emulator, signed(key)).json()["iamToken"]
    emulator.revoke_service_account_key(key["id"])
    assert exchange(emulator, signed(key)).status_code == 401
    assert exchange(emulator, signed(other)).status_code == 200
    client = connect(emulator, f"Bearer {token}")
    assert client.submit().status_code == 200
    assert client.post("/_emulator/service-account-keys", {"revoke": other["id"]}).json() == {}
    assert exchange(emulator, signed(other)).status_code == 401
    assert client.post("/_emulator/service-account-keys", {"revoke": other["id"]}).status_code == 400


def test_revoked_tokens_are_refused_and_new_ones_are_not(emulator: Emulator, connect: Any) -> None:
    key = emulator.create_service_account_key()

    def client() -> Any:
        return connect(emulator, f"Bearer {exchange(emulator, signed(key)).json()['iamToken']}")

    first, second = client(), client()
    emulator.revoke_iam_tokens()
    assert (first.submit().status_code, second.submit().status_code) == (401, 401)
    third = client()
    assert third.submit().status_code == 200
    assert third.post("/_emulator/iam-tokens/revoke").status_code == 200
    assert third.submit().status_code == 401


@pytest.mark.parametrize("scheme", ["Bearer", "Api-Key"])
def test_the_openai_compatible_api_takes_an_api_key_under_both_schemes(
    emulator: Emulator, connect: Any, scheme: str
) -> None:
    answer = connect(emulator, f"{scheme} {KEY}").get("/v1/models", **{"OpenAI-Project": "b1gtestfolder"})
    assert answer.status_code == 200
    assert answer.json()["data"][0]["id"].startswith("gpt://b1gtestfolder/")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/models"),
        ("POST", "/v1/responses"),
        ("GET", "/v1/responses/{id}"),
        ("GET", "/v1/responses/{id}/input_items"),
        ("POST", "/v1/responses/{id}/cancel"),
        ("DELETE", "/v1/responses/{id}"),
    ],
)
def test_the_openai_compatible_api_wants_to_know_the_folder(client: Any, method: str, path: str) -> None:
    url = client.url + path.format(id=client.respond(background=True).json()["id"])
    asked = {"model": "gpt://b1gtestfolder/yandexgpt", "input": "x", "background": True}

    def answer(name: str) -> requests.Response:
        key = {"Authorization": f"Bearer {KEY}"}
        folder = {name: "b1gtestfolder"} if name else {}
        return requests.request(method, url, json=asked, headers={**key, **folder}, timeout=5)

    refused = answer("")
    assert refused.status_code == 400
    assert refused.json()["error"]["type"] == "invalid_request_error"
    assert answer("OpenAI-Project").status_code == 200


def test_a_folder_may_come_in_the_header_of_the_native_api(client: Any) -> None:
    headers = {"Authorization": f"Bearer {KEY}", "x-folder-id": "b1gtestfolder"}
    assert requests.get(f"{client.url}/v1/models", headers=headers, timeout=5).status_code == 200


MISMATCH = "Specified folder ID 'b1gother' does not match with service account folder ID 'b1gtestfolder'"


def test_another_folder_in_a_header_is_refused(client: Any) -> None:
    answer = client.post("/foundationModels/v1/completionAsync", {}, **{"x-folder-id": "b1gother"})
    assert (answer.status_code, answer.json()["message"]) == (400, MISMATCH)


def test_another_folder_in_the_model_uri_is_refused(client: Any) -> None:
    answer = client.submit(modelUri="gpt://b1gother/yandexgpt")
    assert (answer.status_code, answer.json()["message"]) == (400, MISMATCH)
