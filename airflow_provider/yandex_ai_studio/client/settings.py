"""What an Airflow connection says, checked and typed."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from airflow_provider.yandex_ai_studio.api.call import Rpc
from airflow_provider.yandex_ai_studio.api.endpoints import Endpoints
from airflow_provider.yandex_ai_studio.api.models import DEFAULT_MODEL
from airflow_provider.yandex_ai_studio.api.words import ended
from airflow_provider.yandex_ai_studio.client.credentials import (
    ApiKey,
    Credential,
    IamToken,
    MetadataService,
    ServiceAccountKey,
)
from airflow_provider.yandex_ai_studio.client.network import is_local, is_public, shown_path
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError

POLLS_PER_SECOND = 40.0
"""Reads of results a second. The vendor's default quota is 50 for a whole cloud."""

SUBMITS_PER_SECOND = 8.0
"""Submissions a second. The vendor's default quota is 10 for a whole cloud."""

LONGEST_TIMEOUT = 86_400.0
"""Seconds that a request may be given: no answer takes a day, and timers take no more than some years."""

CREDENTIAL_FIELDS = ("service_account_json", "service_account_json_path", "iam_token", "use_metadata_service")
FIELDS = (
    *CREDENTIAL_FIELDS,
    "folder_id",
    "model",
    "polls_per_second",
    "submits_per_second",
    "prices",
    "timeout",
    "disable_data_logging",
    "transport",
    "grpc_target",
    "ca_bundle",
)
TRANSPORTS = ("rest", "grpc")

GRPC_TARGETS = {
    "yandex.cloud.operation": "operation.api.cloud.yandex.net:443",
    "yandex.cloud.ai.foundation_models.v1": "llm.api.cloud.yandex.net:443",
}
"""Where the vendor's gRPC services are, by package."""


@dataclass(frozen=True)
class Settings:
    """
    How to reach the service, and as whom.

    :param conn_id: The connection that says so, for metrics.
    :param folder_id: The folder of models that are given by a short name.
    :param model: The model of tasks that name none.
    :param polls_per_second: Reads of results a second, for all waits of one triggerer process.
    :param submits_per_second: Submissions a second of one bulk task.
    :param prices: By model and mode: ``input`` and ``output`` per 1,000 tokens; and their ``currency``.
    :param data_logging: Whether the service may keep the prompts.
    :param timeout: Seconds for one request, or None for each endpoint's own.
    :param transport: ``rest``, or ``grpc`` for the calls that the vendor offers over it.
    :param grpc_target: ``host:port`` of all gRPC services, or None for the vendor's own.
    :param ca_bundle: The path of a PEM file with the certificates to trust, or None for what the environment says.
    """

    credential: Credential
    endpoints: Endpoints = Endpoints()  # noqa: RUF009 - it is frozen
    folder_id: str | None = None
    conn_id: str | None = None
    model: str = DEFAULT_MODEL
    polls_per_second: float = POLLS_PER_SECOND
    submits_per_second: float = SUBMITS_PER_SECOND
    prices: Mapping[str, Any] | None = None
    data_logging: bool = True
    timeout: float | None = None
    transport: str = "rest"
    grpc_target: str | None = None
    ca_bundle: str | None = None

    def grpc_target_of(self, rpc: Rpc) -> tuple[str, bool]:
        """Return ``host:port`` for a call over gRPC, and whether TLS is spoken there: as it is over HTTP."""
        if self.grpc_target:
            return self.grpc_target, self.endpoints.llm.startswith("https://")
        return GRPC_TARGETS[rpc.service.rpartition(".")[0]], True

    @property
    def exposed_to(self) -> str | None:
        """The host that gets the credential through a network without encryption, or None."""
        urls = [self.endpoints.llm, _url_of(self.grpc_target if self.transport == "grpc" else None, self.endpoints)]
        hosts = [urlsplit(url).hostname or "" for url in urls if url.startswith("http://")]
        return next((host for host in hosts if not is_local(host)), None)

    @classmethod
    def of(
        cls,
        *,
        conn_id: str,
        host: str | None,
        password: str | None,
        extra: Mapping[str, Any],
        read_text: Callable[[str], str],
    ) -> Settings:
        """
        Check the fields of a connection.

        :param conn_id: The name of the connection, for errors and metrics.
        :param host: A base URL for all services, or nothing for the vendor's own.
        :param password: The API key.
        :param extra: The extra fields; one that is empty counts as absent.
        :param read_text: Reads the file that ``service_account_json_path`` names.
        :raises ConfigurationError: It names the field that is wrong.
        """
        fields = _Fields(conn_id, {name: value for name, value in extra.items() if not _is_empty(value)})
        endpoints = fields.endpoints(host)
        return cls(
            credential=fields.credential(password, read_text),
            endpoints=endpoints,
            folder_id=fields.identifier("folder_id"),
            conn_id=conn_id,
            model=fields.text("model") or DEFAULT_MODEL,
            polls_per_second=fields.positive("polls_per_second") or POLLS_PER_SECOND,
            submits_per_second=fields.positive("submits_per_second") or SUBMITS_PER_SECOND,
            prices=fields.prices(),
            data_logging=not fields.flag("disable_data_logging"),
            timeout=fields.positive("timeout", LONGEST_TIMEOUT),
            transport=fields.choice("transport", TRANSPORTS) or "rest",
            grpc_target=fields.target(endpoints),
            ca_bundle=fields.text("ca_bundle"),
        )


def fields_of_yandexcloud(conn_id: str, extra: Mapping[str, Any]) -> dict[str, Any]:
    """
    Return what a connection of the Apache provider for Yandex Cloud says, in the fields of this package.

    :raises ConfigurationError: It holds an OAuth token, which the vendor retires.
    """
    plain = {name.removeprefix("extra__yandexcloud__"): value for name, value in extra.items()}
    taken = {name: plain.get(name) for name in ("folder_id", "service_account_json", "service_account_json_path")}
    keys = [name for name in taken if name != "folder_id" and not _is_empty(taken[name])]
    if not keys and not _is_empty(plain.get("oauth")):
        raise ConfigurationError(
            f"The connection {conn_id!r} of the type yandexcloud holds an OAuth token, which this package does not "
            "take. Give it a service-account key (`service_account_json`). Nothing was sent to the service."
        )
    return taken if keys else {**taken, "use_metadata_service": True}


class _Fields:
    """The extra fields of one connection, each read with an error that names it."""

    def __init__(self, conn_id: str, values: Mapping[str, Any]) -> None:
        self._conn_id = conn_id
        self._values = values
        if unknown := sorted(set(values) - set(FIELDS)):
            raise self._wrong(
                f"has the unknown extra field{'s' * (len(unknown) > 1)} {', '.join(unknown)}. "
                f"The known ones are {', '.join(FIELDS)}"
            )

    def _wrong(self, what: str) -> ConfigurationError:
        return ConfigurationError(f"The connection {self._conn_id!r} {ended(what)} Nothing was sent to the service.")

    def text(self, name: str) -> str | None:
        value = self._values.get(name)
        if value is None:
            return None
        if not isinstance(value, str):
            raise self._wrong(f"has a {type(value).__name__} in `{name}`; it must be a text")
        return value.strip() or None

    def identifier(self, name: str) -> str | None:
        value = self.text(name)
        return None if value is None else _header_value(value, f"`{name}`", self._wrong)

    def choice(self, name: str, choices: Sequence[str]) -> str | None:
        value = self.text(name)
        if value is not None and value not in choices:
            raise self._wrong(f"has {_shown(value)} in `{name}`; it must be one of {', '.join(choices)}")
        return value

    def positive(self, name: str, most: float = 1e6) -> float | None:
        value = self._values.get(name)
        if value is None:
            return None
        try:
            number = 0.0 if isinstance(value, bool) else float(value)
        except (TypeError, ValueError, OverflowError):
            number = 0.0
        if not 0 < number <= most:
            raise self._wrong(f"has {_shown(value)} in `{name}`; it must be a number above 0, up to {most:,.0f}")
        return number

    def flag(self, name: str) -> bool:
        value = self._values.get(name, False)
        if isinstance(value, str):
            value = {"true": True, "false": False}.get(value.strip().lower(), value)
        if not isinstance(value, bool):
            raise self._wrong(f"has {_shown(value)} in `{name}`; it must be true or false")
        return value

    def prices(self) -> Mapping[str, Any] | None:
        value = self._values.get("prices")
        if isinstance(value, str):
            try:
                value = json.loads(value)
            except ValueError:
                value = "no JSON"
        if value is None:
            return None
        if not isinstance(value, Mapping) or not all(
            _is_priced(modes) for model, modes in value.items() if model != "currency"
        ):
            raise self._wrong(
                'has no list of prices in `prices`; it must be like {"currency": "RUB", "yandexgpt": {"async": '
                '{"input": 0.1, "output": 0.1}}}, per 1,000 tokens'
            )
        return value

    def endpoints(self, host: str | None) -> Endpoints:
        host = (host or "").strip()
        if not host:
            return Endpoints()
        base_url = host if "://" in host else f"https://{host}"
        if "@" in host:
            raise self._wrong("has a login in `host`. Take it out: it is sent nowhere, but shown in logs")
        if not re.fullmatch(r"https?://[^/\s?#]+(/[^\s?#]*)?", base_url) or not _port_is_good(base_url):
            shown = "something" if "?" in host or "#" in host else repr(host)
            raise self._wrong(f"has {shown} in `host`; it must be empty or a base URL like https://gateway.example")
        return Endpoints.at(base_url)

    def target(self, endpoints: Endpoints) -> str | None:
        target = self.identifier("grpc_target")
        if target is not None and ("@" in target or "://" in target):
            raise self._wrong("has more than host:port in `grpc_target`")
        if target is None and endpoints != Endpoints() and self.text("transport") == "grpc":
            raise self._wrong(
                "has `host` and `transport: grpc`, but no `grpc_target`: gRPC would go past the host to the vendor. "
                "Name host:port of gRPC there, or leave `host` empty"
            )
        for url in (endpoints.llm, _url_of(target, endpoints)):
            if url.startswith("http://") and is_public(urlsplit(url).hostname or ""):
                raise self._wrong("would send the credential through the internet without encryption. Use https://")
        return target

    def credential(self, password: str | None, read_text: Callable[[str], str]) -> Credential:
        password = (password or "").strip()
        given = [name for name in CREDENTIAL_FIELDS if name in self._values]
        if not self.flag("use_metadata_service") and "use_metadata_service" in given:
            given.remove("use_metadata_service")
        names = (["the password (an API key)"] if password else []) + [f"`{name}`" for name in given]
        if len(names) != 1:
            what = " and ".join(names) if names else "no credential"
            raise self._wrong(
                f"has {what}. It needs exactly one of: the password (an API key), "
                f"{', '.join(f'`{name}`' for name in CREDENTIAL_FIELDS)}"
            )
        if "use_metadata_service" in given:
            return MetadataService()
        if password:
            return ApiKey(_header_value(password, "the password", self._wrong))
        if token := self.text("iam_token"):
            return IamToken(_header_value(token, "`iam_token`", self._wrong))
        if path := self.text("service_account_json_path"):
            try:
                return ServiceAccountKey.of(read_text(path), where="service_account_json_path")
            except (OSError, UnicodeDecodeError) as error:
                reason = getattr(error, "strerror", None) or "it is no text"
                raise self._wrong(
                    f"names a file in `service_account_json_path` that can't be read ({reason}: {shown_path(path)})"
                ) from None
        return ServiceAccountKey.of(self._values["service_account_json"], where="service_account_json")


def _is_priced(modes: Any) -> bool:
    """Tell whether the prices of a model are by mode, and each for input and output."""
    return isinstance(modes, Mapping) and all(
        isinstance(price, Mapping)
        and set(price) == {"input", "output"}
        and all(isinstance(one, int | float) and not isinstance(one, bool) and one >= 0 for one in price.values())
        for price in modes.values()
    )


def _is_empty(value: Any) -> bool:
    return value is None or (isinstance(value, str) and not value.strip())


def _shown(value: Any) -> str:
    """Return a value as an error may repeat it; a longer one may be a key that went into the wrong field."""
    shown = repr(value)
    return shown if len(shown) <= 24 else "what does not belong there"


def _port_is_good(url: str) -> bool:
    try:
        return urlsplit(url).port != 0
    except ValueError:
        return False


def _url_of(target: str | None, endpoints: Endpoints) -> str:
    """Return a gRPC target as a URL: TLS is spoken there as it is over HTTP."""
    return f"{endpoints.llm.partition(':')[0]}://{target}" if target else ""


def _header_value(secret: str, where: str, wrong: Callable[[str], ConfigurationError]) -> str:
    secret = secret.strip()
    if not secret.isascii() or not secret.isprintable() or " " in secret:
        raise wrong(f"has characters in {where} that do not belong there; was something else pasted along?")
    return secret
