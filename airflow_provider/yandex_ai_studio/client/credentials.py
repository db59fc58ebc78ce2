"""
The ways to prove who is asking, without I/O.

An API key or an IAM token is a header and nothing more. For a service-account key, or by the metadata service, a token
is issued that expires: :class:`TokenCache` says which call is due before the next request, and somebody with a socket
makes it.

.. seealso:: https://aistudio.yandex.ru/docs/en/ai-studio/api-ref/authentication
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from airflow_provider.yandex_ai_studio.api.call import Call
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.iam import JWT_AUDIENCE, exchange_jwt, metadata_token
from airflow_provider.yandex_ai_studio.api.models import IssuedToken
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError

JWT_LIFETIME = 3600
"""Seconds; the longest that the vendor accepts."""

TOKEN_USE = 3600.0
"""Seconds after which a token is replaced: the vendor advises not to wait for the 12 hours that it may live."""

SETTLING = 10.0
"""Seconds after which a refused token is replaced at the earliest."""


@dataclass(frozen=True)
class ApiKey:
    """The API key of a service account."""

    secret: str = field(repr=False)


@dataclass(frozen=True)
class IamToken:
    """An IAM token that somebody else obtained. It can't be refreshed and lives for at most 12 hours."""

    secret: str = field(repr=False)


@dataclass(frozen=True)
class ServiceAccountKey:
    """The authorized key of a service account, which is exchanged for IAM tokens."""

    id: str
    service_account_id: str
    private_key: str = field(repr=False)

    @classmethod
    def of(cls, value: str | Mapping[str, Any], *, where: str) -> ServiceAccountKey:
        """
        Read the JSON that ``yc iam key create`` writes.

        :param where: The connection field that it stands in, for the error.
        :raises ConfigurationError: It is not such a JSON.
        """
        try:
            data = json.loads(value) if isinstance(value, str) else value
            private_key = str(data["private_key"])
            begin = private_key.index("-----BEGIN")  # the vendor puts a warning line before it
            ids = (data["id"], data["service_account_id"])
            if not all(isinstance(name, str) and name for name in ids):
                raise ValueError("no id")
            return cls(*ids, private_key[begin:])
        except (ValueError, KeyError, TypeError):
            raise ConfigurationError(
                f"The connection's `{where}` must hold the JSON of an authorized key with the fields id, "
                "service_account_id and private_key, as `yc iam key create` writes it. "
                "Nothing was sent to the service."
            ) from None

    def signed_jwt(self, now: float) -> str:
        """
        Return a JWT that the vendor exchanges for an IAM token.

        :param now: Seconds since the epoch.
        """
        import jwt

        claims = {
            "iss": self.service_account_id,
            "aud": JWT_AUDIENCE,
            "iat": int(now),
            "exp": int(now) + JWT_LIFETIME,
        }
        try:
            return jwt.encode(claims, self.private_key, algorithm="PS256", headers={"kid": self.id})
        except Exception:  # of PyJWT, of cryptography, or of the libraries below it
            raise ConfigurationError(
                f"The private key of the authorized key {self.id} can't be read; create a new one with "
                "`yc iam key create`. Nothing was sent to the service."
            ) from None


_SECRETS = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+|\bt1\.[\w=-]+(?:\.[\w=-]+)*")
"""A JWT, and an IAM token: one that was renewed meanwhile may still be good."""


@dataclass(frozen=True)
class MetadataService:
    """The service account of the virtual machine or function that this runs on."""


Credential = ApiKey | IamToken | ServiceAccountKey | MetadataService


class TokenCache:
    """
    Holds the ``Authorization`` header of one credential, and knows when it must be renewed.

    :param endpoints: Where tokens are issued.
    :param conceal: Takes out of a text what else is secret.
    """

    def __init__(
        self, credential: Credential, endpoints: Endpoints, conceal: Callable[[str], str] | None = None
    ) -> None:
        self._conceal = conceal
        self._credential = credential
        self._endpoints = endpoints
        self._token: str | None = None
        self._renew_at = 0.0
        self._taken_at = float("-inf")

    def is_good(self, now: float) -> bool:
        """Tell whether the next request can go without an exchange."""
        if isinstance(self._credential, ApiKey | IamToken):
            return True
        return self._token is not None and now < self._renew_at

    def due(self, now: float) -> Call[IssuedToken] | None:
        """
        Return the exchange that must come before the next request, or None while the token is good.

        It takes some 10 ms of CPU to sign what is exchanged.
        """
        if self.is_good(now):
            return None
        match self._credential:
            case ServiceAccountKey() as key:
                return exchange_jwt(self._endpoints, key.signed_jwt(now), now=now)
            case MetadataService():
                return metadata_token(self._endpoints, now=now)
        return None

    def accept(self, token: IssuedToken, now: float) -> None:
        """Take the outcome of the exchange: use it for an hour, and for nine tenths of its life at most."""
        self._token = token.secret
        self._taken_at = now
        self._renew_at = now + min(TOKEN_USE, 0.9 * (token.expires_at - now))

    def header(self) -> str:
        """Return the value of the ``Authorization`` header."""
        match self._credential:
            case ApiKey(secret):
                return f"Api-Key {secret}"
            case IamToken(secret):
                return f"Bearer {secret}"
            case ServiceAccountKey() | MetadataService():
                return f"Bearer {self._token}"

    def refused(self, header: str, now: float) -> bool:
        """
        Note that the service did not accept a header. A token that is refused when new is kept for some seconds: the
        next one would fare no better, and all that is under way would ask for one.

        :return: Whether another try may do better: with a token that is newer, or about to be.
        """
        if isinstance(self._credential, ApiKey | IamToken):
            return False
        if header == self.header():
            if now - self._taken_at < SETTLING:
                return False
            self._token = None
        return True

    def conceal(self, text: str) -> str:
        """Take the secrets out of a text: the service repeats some of them in its errors."""
        text = _SECRETS.sub("***", text)
        secrets = [self._token]
        if isinstance(self._credential, ApiKey | IamToken):
            secrets.append(self._credential.secret)
        for secret in filter(None, secrets):
            text = text.replace(secret, "***")
        return self._conceal(text) if self._conceal else text
