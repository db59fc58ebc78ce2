"""Why a request got no answer, in words, whichever library sent it."""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Iterator
from dataclasses import dataclass

from airflow_provider.yandex_ai_studio.api.words import within

CHECK_TRUST = (
    "Check what is between here and the service: if your company's network ends TLS, put the path of its CA's PEM file "
    "into `ca_bundle` of the Airflow connection."
)
CHECK_SCHEME = (
    "Check the base URL of the Airflow connection: should it begin with http://? Without a scheme it means https://."
)
CHECK_PLAIN = "Check the base URL and `grpc_target` of the Airflow connection: does gRPC listen there, and is it TLS?"
CHECK_NAME = "Check the base URL of the Airflow connection, and the DNS of this machine."
CHECK_PROXY = "Check the proxy that HTTPS_PROXY or HTTP_PROXY names, or exempt the host by NO_PROXY."
CHECK_HOST = "Check that the service runs there, and that a firewall lets this machine through."

NO_ANSWER_IN_TIME = "the service did not answer in time"


@dataclass(frozen=True)
class Cause:
    """
    Why there is no answer.

    :param text: What happened, to be read after "Could not …: ".
    :param advice: What to do.
    :param lasting: Whether to wait won't help: the two ends don't speak the same, or don't trust each other.
    """

    text: str
    advice: str = ""
    lasting: bool = False


def cause_of(error: BaseException, *, details: str = "", sent: bool, proxied: bool) -> Cause:
    """
    Say why a request got no answer.

    :param error: What the library raised.
    :param details: What it says, where the words are in no exception.
    :param sent: Whether the request was under way by then.
    :param proxied: Whether it goes through a proxy.
    """
    chain = list(chain_of(error))
    words = " ".join([details, *map(str, chain)]).lower()
    if status := re.search(r"tunnel connection failed: (\d+)|proxy returned response code (\d+)", words):
        return Cause(f"the proxy refused the connection (HTTP {status[1] or status[2]})", CHECK_PROXY)
    for one in chain:
        if type(one).__name__ == "ClientHttpProxyError":
            return Cause(f"the proxy refused the connection (HTTP {getattr(one, 'status', '?')})", CHECK_PROXY)
    if cause := _of_tls(chain, words, sent):
        return cause
    if sent:
        late = any(isinstance(one, TimeoutError) for one in chain) or "timed out" in words or "deadline" in words
        return Cause(NO_ANSWER_IN_TIME if late else f"the connection broke on the way ({_root(chain, details)})")
    if any(isinstance(one, socket.gaierror) for one in chain) or "resolv" in words or "domain name not found" in words:
        what, advice = "the name of the host is not known (DNS)", CHECK_NAME
    elif any(isinstance(one, ConnectionRefusedError) for one in chain) or "connection refused" in words:
        what, advice = "connection refused", CHECK_HOST
    elif any(isinstance(one, TimeoutError) for one in chain) or "timed out" in words or "deadline" in words:
        what, advice = "the host was not reached in time", CHECK_HOST
    else:
        what, advice = f"the connection failed ({_root(chain, details)})", ""
    return Cause(f"the proxy can't be reached: {what}", CHECK_PROXY) if proxied else Cause(what, advice)


def _of_tls(chain: list[BaseException], words: str, sent: bool) -> Cause | None:
    for one in chain:
        if isinstance(one, ssl.SSLCertVerificationError) and hasattr(one, "verify_message"):
            return Cause(
                f"the certificate of the host is not trusted ({one.verify_message})", CHECK_TRUST, lasting=True
            )
    if "certificate_verify_failed" in words or "certificate verify failed" in words or "hostname verif" in words:
        return Cause("the certificate of the host is not trusted", CHECK_TRUST, lasting=True)
    if re.search(r"wrong.version.number|record.layer.failure|http.request\b.*ssl|packet.length.too.long", words):
        return Cause("the port does not speak TLS", CHECK_SCHEME, lasting=True)
    if "http1.x server" in words or "expected settings frame" in words:
        return Cause("the port does not speak gRPC", CHECK_PLAIN, lasting=True)
    if any(isinstance(one, ssl.SSLError) and not sent for one in chain) or "handshake" in words:
        return Cause(f"the TLS handshake failed ({_root(chain, '')})", CHECK_HOST)
    return None


def chain_of(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those behind it: its causes and contexts, and those that libraries put into arguments."""
    waiting, seen = [error], set[int]()
    while waiting:
        one = waiting.pop(0)
        if id(one) in seen:
            continue
        seen.add(id(one))
        yield one
        behind = (one.__cause__, one.__context__, getattr(one, "reason", None), getattr(one, "os_error", None))
        waiting += [each for each in (*behind, *one.args) if isinstance(each, BaseException)]


def _root(chain: list[BaseException], details: str) -> str:
    """Return the reason in a word or few, but no text of unknown make: it may repeat what was sent."""
    if details:
        return within(details.rpartition("last error: ")[2][:200])
    reasons = [one.strerror for one in chain if isinstance(one, OSError) and one.strerror]
    return reasons[-1] if reasons else type(chain[0]).__name__
