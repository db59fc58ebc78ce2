"""Under which names the emulator answers what: the vendor's own names mean what they mean there."""

from __future__ import annotations

import ipaddress

from airflow_provider.yandex_ai_studio.emulator import names

_DOMAIN = "api.cloud.yandex.net"

_NATIVE = frozenset({names.COMPLETION, names.COMPLETION_ASYNC, names.TOKENIZE, names.TOKENIZE_COMPLETION})
_RESPONSES = names.RESPONSES | {names.RESPONSES_DELETE, names.RESPONSES_INPUT_ITEMS}
_OPENAI = frozenset({names.CHAT_COMPLETIONS, names.MODELS})

#: What each of the vendor's hosts serves; one of its domain that is missing here serves nothing of ours.
VENDOR_HOSTS = {
    # It answers reads of operations too, as the older guides ask for them, and no responses.
    f"llm.{_DOMAIN}": _NATIVE | _OPENAI | {names.OPERATIONS_GET},
    f"ai.{_DOMAIN}": _NATIVE | _OPENAI | _RESPONSES,
    f"operation.{_DOMAIN}": frozenset({names.OPERATIONS_GET, names.OPERATIONS_CANCEL}),
    f"iam.{_DOMAIN}": frozenset({names.IAM_TOKENS}),
    _DOMAIN: frozenset({names.ENDPOINTS_LIST, names.ENDPOINTS_GET}),
    "169.254.169.254": frozenset({names.METADATA}),
}


def serves(host: str, route: str) -> bool:
    """Say whether a route is served under this name: all are, unless the name is one of the vendor's.

    :param host: what the request's ``Host`` says, with or without a port.
    """
    name = _name(host)
    if name.endswith("." + _DOMAIN) or name in VENDOR_HOSTS:
        return route in VENDOR_HOSTS.get(name, ())
    return True


def is_local(host: str, own: str) -> bool:
    """Say whether a request was sent to this machine by a name that nobody else can give it.

    A page in a browser can let a name of its own resolve to 127.0.0.1; the browser then sends that name.

    :param own: the name or address that the emulator listens on.
    """
    name = _name(host)
    if name in ("localhost", _name(own)):
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _name(host: str) -> str:
    bare = host.lower()
    if bare.startswith("["):
        return bare[1:].partition("]")[0]
    return bare if bare.count(":") > 1 else bare.partition(":")[0].rstrip(".")
