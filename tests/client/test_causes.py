"""Why there was no answer, told from what a library raised: as values, without a network."""

from __future__ import annotations

import socket
import ssl
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.client.causes import (
    CHECK_HOST,
    CHECK_NAME,
    CHECK_PLAIN,
    CHECK_PROXY,
    CHECK_SCHEME,
    CHECK_TRUST,
    Cause,
    cause_of,
)


class ClientHttpProxyError(Exception):
    """As aiohttp's."""

    status = 407


class Unnumbered(Exception):
    """As aiohttp's, should it lose its status."""


Unnumbered.__name__ = "ClientHttpProxyError"


class Wrapper(Exception):
    """As urllib3 and aiohttp wrap what the system said."""

    def __init__(self, *args: Any, reason: Any = None, os_error: Any = None) -> None:
        super().__init__(*args)
        self.reason, self.os_error = reason, os_error


def of_certificate(why: str | None) -> ssl.SSLCertVerificationError:
    error = ssl.SSLCertVerificationError(1, "canary")
    if why:
        error.verify_message = why
    return error


def behind(error: BaseException, how: str) -> BaseException:
    """Return an error with another one behind it."""
    if how in ("args", "reason", "os_error"):
        return Wrapper(error) if how == "args" else Wrapper(**{how: error})
    outer = Wrapper("outer")
    setattr(outer, how, error)
    return outer


REFUSED = ConnectionRefusedError(111, "Connection refused")
RESET = ConnectionResetError(104, "Connection reset by peer")
TRUST = Cause("the certificate of the host is not trusted", CHECK_TRUST, lasting=True)
NO_TLS = Cause("the port does not speak TLS", CHECK_SCHEME, lasting=True)
NO_GRPC = Cause("the port does not speak gRPC", CHECK_PLAIN, lasting=True)
NO_NAME = Cause("the name of the host is not known (DNS)", CHECK_NAME)
NOBODY = Cause("connection refused", CHECK_HOST)
LATE = Cause("the host was not reached in time", CHECK_HOST)


def proxy_said(status: str) -> Cause:
    return Cause(f"the proxy refused the connection (HTTP {status})", CHECK_PROXY)


EITHER_WAY = [
    (OSError("Tunnel connection failed: 403 Forbidden"), "", proxy_said("403")),
    (Exception(), "PROXY returned response code 407 from", proxy_said("407")),
    (ClientHttpProxyError(), "", proxy_said("407")),
    (Unnumbered(), "", proxy_said("?")),
    (Wrapper(ClientHttpProxyError()), "", proxy_said("407")),
    (
        of_certificate("expired"),
        "",
        Cause("the certificate of the host is not trusted (expired)", CHECK_TRUST, lasting=True),
    ),
    (of_certificate(None), "certificate verify failed", TRUST),
    (Exception("[SSL: CERTIFICATE_VERIFY_FAILED]"), "", TRUST),
    (Exception(), "Ssl handshake failed: certificate verify failed", TRUST),
    (Exception(), "Hostname Verification Check failed.", TRUST),
    (ssl.SSLError(1, "[SSL: WRONG_VERSION_NUMBER] wrong version number"), "", NO_TLS),
    (Exception("record layer failure"), "", NO_TLS),
    (Exception(), "HTTP_REQUEST: SSL routines", NO_TLS),
    (Exception("SSL routines"), "HTTP_REQUEST", NO_TLS),
    (Exception("packet length too long"), "", NO_TLS),
    (Exception(), "Trying to connect an HTTP1.x server", NO_GRPC),
    (Exception(), "Failed parsing: expected SETTINGS frame as the first frame", NO_GRPC),
    (Exception(), "Handshaker shutdown", Cause("the TLS handshake failed (Exception)", CHECK_HOST)),
]


@pytest.mark.parametrize(("error", "details", "cause"), EITHER_WAY)
@pytest.mark.parametrize("sent", [False, True])
@pytest.mark.parametrize("proxied", [False, True])
def test_a_proxy_s_refusal_and_tls_are_told_whatever_the_way(
    error: Exception, details: str, cause: Cause, sent: bool, proxied: bool
) -> None:
    assert cause_of(error, details=details, sent=sent, proxied=proxied) == cause


@pytest.mark.parametrize("of", [lambda error: error, Wrapper])
def test_tls_that_breaks_is_a_handshake_that_failed_until_something_was_sent(of: Any) -> None:
    error = of(ssl.SSLEOFError(8, "EOF occurred"))
    before = cause_of(error, sent=False, proxied=False)
    assert before == Cause("the TLS handshake failed (EOF occurred)", CHECK_HOST)
    assert cause_of(error, sent=True, proxied=False) == Cause("the connection broke on the way (EOF occurred)")


UNREACHED = [
    (socket.gaierror(-2, "Name or service not known"), "", NO_NAME),
    (Exception("Failed to resolve 'nosuch'"), "", NO_NAME),
    (Exception(), "DNS: Domain name not found", NO_NAME),
    (REFUSED, "", NOBODY),
    (ConnectionRefusedError(), "", NOBODY),
    (Exception(), "tcp: Connection refused (111)", NOBODY),
    (TimeoutError(), "", LATE),
    (Exception("Connection timed out"), "", LATE),
    (Exception(), "Deadline Exceeded", LATE),
    (RESET, "", Cause("the connection failed (Connection reset by peer)")),
    (Wrapper("canary"), "", Cause("the connection failed (Wrapper)")),
    (Wrapper("canary", os_error=OSError("canary")), "", Cause("the connection failed (Wrapper)")),
    (Wrapper(RESET, OSError(5, "Input/output error")), "", Cause("the connection failed (Input/output error)")),
    (Exception(), "a; last error: b; last error: gone away", Cause("the connection failed (gone away)")),
    (RESET, "x" * 300, Cause(f"the connection failed ({'x' * 200})")),
]


@pytest.mark.parametrize(("error", "details", "cause"), UNREACHED)
def test_what_was_not_sent_names_what_could_not_be_reached(error: Exception, details: str, cause: Cause) -> None:
    assert cause_of(error, details=details, sent=False, proxied=False) == cause
    proxied = cause_of(error, details=details, sent=False, proxied=True)
    assert proxied == Cause(f"the proxy can't be reached: {cause.text}", CHECK_PROXY)


@pytest.mark.parametrize(
    ("error", "details", "text"),
    [
        (TimeoutError(), "", "the service did not answer in time"),
        (Wrapper(TimeoutError(), RESET), "", "the service did not answer in time"),
        (Exception("Read timed out."), "", "the service did not answer in time"),
        (Exception(), "Deadline Exceeded", "the service did not answer in time"),
        (RESET, "", "the connection broke on the way (Connection reset by peer)"),
        (Exception("canary"), "", "the connection broke on the way (Exception)"),
        (RESET, "Socket closed", "the connection broke on the way (Socket closed)"),
    ],
)
def test_what_was_sent_is_late_or_broken_and_needs_no_advice(error: Exception, details: str, text: str) -> None:
    for proxied in (False, True):
        assert cause_of(error, details=details, sent=True, proxied=proxied) == Cause(text)


def test_details_are_for_those_whose_words_are_in_no_exception() -> None:
    cause = cause_of(RESET, sent=False, proxied=False)
    assert cause == Cause("the connection failed (Connection reset by peer)")


@pytest.mark.parametrize("how", ["__cause__", "__context__", "args", "reason", "os_error"])
def test_a_cause_is_found_however_a_library_wraps_it(how: str) -> None:
    twice = behind(behind(REFUSED, how), how)
    assert cause_of(twice, sent=False, proxied=False) == NOBODY


def test_errors_that_lead_back_to_each_other_come_to_an_end() -> None:
    one, other = Exception("one"), Wrapper("other", os_error=REFUSED)
    one.__context__, other.reason = other, one
    assert cause_of(one, sent=False, proxied=False) == NOBODY
