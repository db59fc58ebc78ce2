"""
The way out of this machine: through which proxy, and whose certificates are trusted. The same for every sender.

The variables are those that requests reads, so that a worker, the triggerer and gRPC never differ: ``HTTPS_PROXY``,
``HTTP_PROXY``, ``ALL_PROXY`` and ``NO_PROXY`` in either case; ``REQUESTS_CA_BUNDLE``, ``CURL_CA_BUNDLE``,
``SSL_CERT_FILE``.
"""

from __future__ import annotations

import base64
import ipaddress
import os
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import certifi

from airflow_provider.yandex_ai_studio.api.words import within
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError

CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE")

VENDOR_DOMAINS = ("yandex.net", "yandexcloud.net", "yandex.cloud", "yandex.ru", "yandex.com")


@dataclass(frozen=True)
class Proxy:
    """
    A proxy of the environment.

    :param url: Its URL, without the login.
    :param login: What to send it as ``Proxy-Authorization``, or None.
    :param full_url: Its URL with the login.
    """

    url: str
    login: str | None = field(repr=False)
    full_url: str = field(repr=False)

    @property
    def secrets(self) -> tuple[str, ...]:
        """The login as it is sent, as it is meant, and as the URL has it."""
        if self.login is None:
            return ()
        sent = self.login.removeprefix("Basic ")
        userinfo = urlsplit(self.full_url).netloc.rpartition("@")[0]
        return sent, base64.b64decode(sent).decode(), *([userinfo] if ":" in userinfo else [])


class Network:
    """
    The way out, for one client. The environment is read once.

    :param ca_bundle: What the connection trusts: the path of a PEM file; it goes before the variables. ``trusts`` says
        which, and in what state it was.
    :raises ConfigurationError: There is nothing to trust where the connection or a variable says.
    """

    def __init__(self, ca_bundle: str | None, environ: Mapping[str, str] | None = None) -> None:
        self._environ = dict(os.environ if environ is None else environ)
        named = {"the connection's `ca_bundle`": ca_bundle} | {name: self._environ.get(name) for name in CA_VARIABLES}
        self._ca_named_by, self.ca_path = next(
            ((name, path) for name, path in named.items() if path), ("", certifi.where())
        )
        self.trusts = (self.ca_path, _state_of(self.ca_path))
        self._proxies: dict[str, Proxy | None] = {}
        if self._ca_named_by:
            self.tls_context()

    def proxy(self, url: str) -> Proxy | None:
        """
        Return the proxy for a URL, or None for the direct way.

        :raises ConfigurationError: The variable that names it can't be used.
        """
        origin = "/".join(url.split("/")[:3])
        if origin not in self._proxies:
            self._proxies[origin] = proxy_for(origin, self._environ)
        return self._proxies[origin]

    def conceal(self, text: str) -> str:
        """Take the logins of proxies out of a text: one may repeat its own where it refuses it."""
        for proxy in self._proxies.values():
            for secret in proxy.secrets if proxy else ():
                text = text.replace(secret, "***")
        return text

    def tls_context(self) -> ssl.SSLContext:
        """
        Return a context that trusts what is to be trusted, and nothing else.

        :raises ConfigurationError: It can't be read.
        """
        try:
            return _trusting(self.ca_path, _state_of(self.ca_path))
        except (OSError, ValueError) as error:
            raise self._no_trust(error) from None

    def ca_certificates(self) -> bytes:
        """
        Return what is to be trusted as PEM.

        :raises ConfigurationError: It can't be read.
        """
        path = Path(self.ca_path)
        try:
            files = sorted(one for one in path.iterdir() if one.is_file()) if path.is_dir() else [path]
            return b"\n".join(one.read_bytes() for one in files)
        except OSError as error:
            raise self._no_trust(error) from None

    def _no_trust(self, error: Exception) -> ConfigurationError:
        reason = "it holds no certificate" if isinstance(error, ssl.SSLError) else getattr(error, "strerror", None)
        return ConfigurationError(
            f"Correct {self._ca_named_by or 'the installation of certifi'}: it must be the path of a PEM file with "
            f"certificates, on workers and triggerer alike.\n{shown_path(self.ca_path)} can't be used "
            f"({within(reason or error)}). Nothing was sent to the service."
        )


def shown_path(path: str) -> str:
    """Return a path as an error may repeat it; what is none may be a key that went into the wrong field."""
    return path if re.fullmatch(r"[/~.][^\n\"{}]{0,255}", path) or len(path) <= 24 else "what is there"


def _state_of(path: str) -> tuple[int, int, int] | None:
    """Return what changes with a file; None where there is none."""
    try:
        state = os.stat(path)
    except (OSError, ValueError):
        return None
    return state.st_mtime_ns, state.st_size, state.st_ino


@lru_cache(maxsize=8)
def _trusting(path: str, _state: tuple[int, int, int] | None) -> ssl.SSLContext:
    """
    Return a context that trusts what is at a path, as long as the file there is in one state.

    To read it keeps the event loop for 20 ms, and a key that rotates renews clients.
    """
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)  # it asks for a certificate, and for the host's name in it
    if os.path.isdir(path):
        context.load_verify_locations(capath=path)
    else:
        context.load_verify_locations(cafile=path)
    return context


def proxy_for(url: str, environ: Mapping[str, str]) -> Proxy | None:
    """
    Return the environment's proxy for a URL, or None for the direct way.

    What only this machine can reach, the metadata service above all, never goes through one.

    :raises ConfigurationError: The variable that names it can't be used.
    """
    parts = urlsplit(url)
    host, port = parts.hostname or "", parts.port
    if is_local(host) or _is_exempt(host, port, _variable(environ, "no_proxy")[1]):
        return None
    for name in (f"{parts.scheme}_proxy", "all_proxy"):
        variable, value = _variable(environ, name)
        if value:
            return _proxy(variable, value)
    return None


def is_local(host: str) -> bool:
    """Tell whether only this machine can reach a host: loopback, or link-local as the metadata service."""
    address = _address(host)
    if address is None:
        return host == "localhost" or host.endswith(".localhost")
    return address.is_loopback or address.is_link_local


def is_public(host: str) -> bool:
    """Tell whether a host is surely out in the internet. Of most names that can't be said."""
    address = _address(host)
    if address is not None:
        return address.is_global
    return any(host == domain or host.endswith(f".{domain}") for domain in VENDOR_DOMAINS)


def _variable(environ: Mapping[str, str], name: str) -> tuple[str, str]:
    """Return the name and the value of a variable; the lower case goes before."""
    for spelled in (name, name.upper()):
        if spelled in environ:
            return spelled, environ[spelled].strip()
    return name, ""


def _proxy(variable: str, value: str) -> Proxy:
    try:
        parts = urlsplit(value if "://" in value else f"http://{value}")
        host, port = parts.hostname, parts.port
    except ValueError:
        host, port = None, None
    if not host or parts.scheme not in ("http", "https"):
        raise ConfigurationError(
            f"Correct the variable {variable}: it must name an HTTP proxy, like http://proxy.example:3128. "
            "Nothing was sent to the service."
        )
    host = f"[{host}]" if ":" in host else host
    url = f"{parts.scheme}://{host}:{port or (443 if parts.scheme == 'https' else 80)}"
    if parts.username is None:
        return Proxy(url, None, url)
    login = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    userinfo = parts.netloc.rpartition("@")[0]
    return Proxy(url, f"Basic {base64.b64encode(login.encode()).decode()}", url.replace("://", f"://{userinfo}@"))


def _is_exempt(host: str, port: int | None, no_proxy: str) -> bool:
    """Tell whether ``NO_PROXY`` names a host: by its name or domain, with or without a port, or by its network."""
    address = _address(host)
    for entry in (one.strip().lower() for one in no_proxy.split(",")):
        if entry == "*":
            return True
        if address is not None and "/" in entry:
            try:
                if address in ipaddress.ip_network(entry, strict=False):
                    return True
            except ValueError:
                continue
        name, suffix = entry.split(":") if entry.count(":") == 1 else (entry, "")
        if suffix and suffix != str(port):
            continue
        name = name.removeprefix("*").removeprefix(".").strip("[]")
        if name and (host == name or host.endswith(f".{name}")):
            return True
    return False


def _address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None
