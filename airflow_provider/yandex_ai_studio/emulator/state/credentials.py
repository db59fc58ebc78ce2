"""Who may call: API keys, IAM tokens, and the service-account keys that tokens are exchanged for."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from airflow_provider.yandex_ai_studio.emulator.state.clock import Clock, timestamp
from airflow_provider.yandex_ai_studio.emulator.state.ids import Ids

#: What a JWT for the exchange is addressed to. It names the vendor even when the emulator checks it.
AUDIENCE = "https://iam.api.cloud.yandex.net/iam/v1/tokens"

#: The vendor's IAM tokens live up to twelve hours.
TOKEN_SECONDS = 12 * 3600.0

_LONGEST_JWT_SECONDS = 3600
_CLOCK_SKEW_SECONDS = 60
_KEY_WARNING = "PLEASE DO NOT REMOVE THIS LINE! Yandex.Cloud SA Key ID"


class RefusedCredential(Exception):
    """A credential does not authenticate anybody."""


@dataclass(frozen=True)
class Token:
    """Hold an IAM token that was issued."""

    value: str
    account_id: str
    expires_at: float


@dataclass(frozen=True)
class _ServiceAccountKey:
    account_id: str
    public_key: rsa.RSAPublicKey
    token_seconds: float


class Credentials:
    """Issue and recognize credentials.

    :param clock: tells when tokens end.
    :param ids: where ids and tokens are drawn from.
    :param api_key: the only API key accepted at first; any non-empty one when ``None``.
    """

    def __init__(self, clock: Clock, ids: Ids, api_key: str | None) -> None:
        self._clock = clock
        self._ids = ids
        self._accepted = None if api_key is None else {api_key}
        self._revoked: set[str] = set()
        self._tokens: dict[str, Token] = {}
        self._refused_tokens: set[str] = set()
        self._keys: dict[str, _ServiceAccountKey] = {}
        self.account_id = ids.resource("aje")

    @property
    def tokens_issued(self) -> int:
        """Return how many IAM tokens were issued, expired ones included."""
        return len(self._tokens)

    def add_api_key(self, key: str) -> None:
        """Accept this API key from now on."""
        self._revoked.discard(key)
        if self._accepted is not None:
            self._accepted.add(key)

    def revoke_api_key(self, key: str) -> None:
        """Refuse this API key from now on."""
        self._revoked.add(key)

    def rotate_api_key(self, key: str) -> None:
        """Accept this API key and no other from now on."""
        self._accepted = {key}
        self._revoked.clear()

    def revoke_tokens(self) -> None:
        """Refuse all IAM tokens that were issued until now."""
        self._refused_tokens.update(self._tokens)

    def revoke_service_account_key(self, key_id: str) -> None:
        """Exchange nothing any more that this authorized key has signed.

        :raises ValueError: when there is no such key.
        """
        if self._keys.pop(key_id, None) is None:
            raise ValueError(f"there is no authorized key {key_id!r}")

    def knows_api_key(self, key: str) -> bool:
        """Say whether an API key is accepted."""
        return bool(key) and key not in self._revoked and (self._accepted is None or key in self._accepted)

    def account_of_token(self, value: str) -> str:
        """Return the service account that an IAM token was issued to.

        :raises RefusedCredential: when the token was not issued here or has expired.
        """
        token = self._tokens.get(value)
        if token is None or value in self._refused_tokens:
            raise RefusedCredential("The token is invalid")
        if token.expires_at <= self._clock.now():
            raise RefusedCredential(f"The token has expired {timestamp(token.expires_at)}")
        return token.account_id

    def issue_token(self, account_id: str, seconds: float = TOKEN_SECONDS) -> Token:
        """Issue an IAM token."""
        token = Token(self._ids.iam_token(), account_id, self._clock.now() + seconds)
        self._tokens[token.value] = token
        return token

    def create_service_account_key(self, token_seconds: float = TOKEN_SECONDS) -> dict[str, Any]:
        """Create an authorized key in the form of the file that the vendor hands out.

        :param token_seconds: how long the tokens live that this key is exchanged for.
        """
        private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        key_id, account_id = self._ids.resource("aje"), self._ids.resource("aje")
        self._keys[key_id] = _ServiceAccountKey(account_id, private_key.public_key(), token_seconds)
        public_pem = private_key.public_key().public_bytes(
            serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        )
        private_pem = private_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        return {
            "id": key_id,
            "service_account_id": account_id,
            "created_at": timestamp(self._clock.now()),
            "key_algorithm": "RSA_2048",
            "public_key": public_pem.decode(),
            "private_key": f"{_KEY_WARNING} <{key_id}>\n{private_pem.decode()}",
        }

    def exchange(self, encoded: str) -> Token:
        """Exchange a JWT, signed with an authorized key, for an IAM token.

        :raises RefusedCredential: saying what is wrong with the JWT.
        """
        try:
            key_id = jwt.get_unverified_header(encoded).get("kid")
            key = self._keys.get(str(key_id))
            if key is None:
                raise RefusedCredential(f"JWT: key '{key_id}' is unknown")
            claims = jwt.decode(
                encoded,
                key.public_key,
                algorithms=["PS256"],
                audience=AUDIENCE,
                issuer=key.account_id,
                options={"require": ["exp", "iat"], "verify_exp": False, "verify_iat": False},
            )
            self._check_lifetime(float(claims["iat"]), float(claims["exp"]))
        except (jwt.InvalidTokenError, TypeError, ValueError) as error:
            raise RefusedCredential(f"JWT: {error}") from None
        return self.issue_token(key.account_id, key.token_seconds)

    def _check_lifetime(self, issued: float, expires: float) -> None:
        # A client's clock is the real one, or its test moves it along with the emulator's: both are right.
        if expires - issued > _LONGEST_JWT_SECONDS:
            raise ValueError(f"it is valid for more than {_LONGEST_JWT_SECONDS} seconds")
        if issued > self._clock.now() + _CLOCK_SKEW_SECONDS:
            raise ValueError("it was issued in the future")
        if expires <= self._clock.wall():
            raise ValueError("it has expired")
