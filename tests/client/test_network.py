"""The proxies and certificates of the environment mean the same to every sender."""

from __future__ import annotations

import ssl
from dataclasses import replace

import certifi
import pytest

from airflow_provider.yandex_ai_studio.client.credentials import ApiKey
from airflow_provider.yandex_ai_studio.client.network import Network, Proxy, is_local, is_public, proxy_for, shown_path
from airflow_provider.yandex_ai_studio.client.settings import Settings
from airflow_provider.yandex_ai_studio.client.triggerer import AsyncClient
from airflow_provider.yandex_ai_studio.client.worker import Client
from airflow_provider.yandex_ai_studio.exceptions import ConfigurationError
from wire import Authority

LLM = "https://llm.api.cloud.yandex.net"
PROXY = "http://proxy.example:3128"


@pytest.mark.parametrize(
    ("url", "environ", "proxy"),
    [
        (LLM, {}, None),
        (LLM, {"HTTPS_PROXY": PROXY}, PROXY),
        (LLM, {"https_proxy": PROXY}, PROXY),
        (LLM, {"https_proxy": PROXY, "HTTPS_PROXY": "http://other.example"}, PROXY),
        (LLM, {"https_proxy": "", "HTTPS_PROXY": PROXY}, None),
        (LLM, {"HTTP_PROXY": PROXY}, None),
        ("http://gateway.example", {"HTTP_PROXY": PROXY}, PROXY),
        (LLM, {"ALL_PROXY": PROXY}, PROXY),
        (LLM, {"all_proxy": PROXY}, PROXY),
        (LLM, {"HTTPS_PROXY": "proxy.example:3128"}, PROXY),
        (LLM, {"HTTPS_PROXY": "http://proxy.example"}, "http://proxy.example:80"),
        (LLM, {"HTTPS_PROXY": "https://proxy.example"}, "https://proxy.example:443"),
        (LLM, {"HTTPS_PROXY": "http://[2001:db8::1]:3128"}, "http://[2001:db8::1]:3128"),
        ("http://169.254.169.254", {"HTTP_PROXY": PROXY, "ALL_PROXY": PROXY}, None),
        ("http://[fe80::1]", {"HTTP_PROXY": PROXY}, None),
        ("http://127.0.0.1:8085", {"HTTP_PROXY": PROXY}, None),
        ("http://localhost:8085", {"HTTP_PROXY": PROXY}, None),
        ("http://localhost.example", {"HTTP_PROXY": PROXY}, PROXY),
    ],
)
def test_a_proxy_is_found_where_requests_would_look(url, environ, proxy):
    found = proxy_for(url, environ)
    assert (found and found.url) == proxy
    network = Network(None, environ)
    assert network.proxy(f"{url}/some/path") == network.proxy(url) == found
    assert network.proxy(f"{url}/another/path") is network.proxy(url)


@pytest.mark.parametrize(
    ("url", "no_proxy", "exempt"),
    [
        (LLM, "*", True),
        (LLM, "llm.api.cloud.yandex.net", True),
        (LLM, "a.example, .Yandex.Net ,b.example", True),
        (LLM, "a.example,.yandex.net,b.example", True),
        (LLM, "yandex.net", True),
        (LLM, "*.yandex.net", True),
        (LLM, "andex.net", False),
        (LLM, "x.llm.api.cloud.yandex.net", False),
        (LLM, "yandex.net:443", False),
        (LLM, "", False),
        (LLM, ",", False),
        ("https://gateway.example:8443", "gateway.example:8443", True),
        ("https://gateway.example:8443", "gateway.example:443", False),
        ("https://gateway.example:8443", "gateway.example:443,gateway.example", True),
        ("https://10.1.2.3", "10.0.0.0/8", True),
        ("https://10.1.2.3", "10.1.2.3", True),
        ("https://11.1.2.3", "10.0.0.0/8", False),
        ("https://10.1.2.3", "10.9.9.9/8", True),
        ("https://10.1.2.3", "10.0.0.0/99", False),
        ("https://10.1.2.3", "10.0.0.0/99,10.1.2.3", True),
        ("https://[2001:db8::1]", "2001:db8::/32", True),
        ("https://[2001:db8::1]", "[2001:db8::1]", True),
        ("https://ten.example", "10.0.0.0/8", False),
    ],
)
def test_no_proxy_exempts_by_name_domain_port_and_network(url, no_proxy, exempt):
    for name in ("no_proxy", "NO_PROXY"):
        assert (proxy_for(url, {"HTTPS_PROXY": PROXY, name: no_proxy}) is None) is exempt


def test_a_login_is_kept_apart_and_out_of_sight():
    proxy = proxy_for(LLM, {"HTTPS_PROXY": "http://user:p%40ss@proxy.example:3128"})
    assert proxy == Proxy(PROXY, "Basic dXNlcjpwQHNz", "http://user:p%40ss@proxy.example:3128")
    other = proxy_for(LLM, {"HTTPS_PROXY": "http://user:p@ss@proxy.example:3128"})
    assert other == Proxy(PROXY, "Basic dXNlcjpwQHNz", "http://user:p@ss@proxy.example:3128")
    nameless = proxy_for(LLM, {"HTTPS_PROXY": "http://user@proxy.example:3128"})
    assert nameless == Proxy(PROXY, "Basic dXNlcjo=", "http://user@proxy.example:3128")
    assert proxy_for(LLM, {"HTTPS_PROXY": PROXY}) == Proxy(PROXY, None, PROXY)
    assert "p%40ss" not in repr(proxy)
    assert "Basic" not in repr(proxy)


@pytest.mark.parametrize("value", ["socks5://user:canary@proxy.example", "http://", "http://proxy.example:canary"])
def test_a_proxy_that_can_t_be_used_is_an_error_that_names_the_variable_alone(value):
    with pytest.raises(ConfigurationError, match=r"^Correct the variable HTTPS_PROXY") as error:
        proxy_for(LLM, {"HTTPS_PROXY": value})
    assert "canary" not in str(error.value)


@pytest.mark.parametrize(
    ("host", "local", "public"),
    [
        ("127.0.0.1", True, False),
        ("127.8.8.8", True, False),
        ("::1", True, False),
        ("localhost", True, False),
        ("task.localhost", True, False),
        ("nolocalhost", False, False),
        ("169.254.169.254", True, False),
        ("10.0.0.1", False, False),
        ("192.168.0.1", False, False),
        ("fd00::1", False, False),
        ("emulator", False, False),
        ("gateway.example", False, False),
        ("8.8.8.8", False, True),
        ("llm.api.cloud.yandex.net", False, True),
        ("yandex.cloud", False, True),
        ("notyandex.cloud", False, False),
    ],
)
def test_who_is_near_and_who_is_far(host, local, public):
    assert (is_local(host), is_public(host)) == (local, public)


def test_a_folder_of_certificates_is_trusted_as_requests_does(tmp_path):
    (tmp_path / "one.pem").write_bytes(b"one")
    (tmp_path / "two.pem").write_bytes(b"two")
    (tmp_path / "no.pem").mkdir()
    network = Network(None, {"REQUESTS_CA_BUNDLE": str(tmp_path)})
    assert network.ca_path == str(tmp_path)
    assert network.ca_certificates() == b"one\ntwo"


def test_one_file_is_trusted_and_nothing_else(tmp_path):
    pem = Authority(tmp_path).pem
    network = Network(str(pem), {"REQUESTS_CA_BUNDLE": "/elsewhere.pem"})
    assert network.ca_certificates() == pem.read_bytes()
    context = network.tls_context()
    assert (context.verify_mode, context.check_hostname) == (ssl.CERT_REQUIRED, True)
    assert [ssl.DER_cert_to_PEM_cert(one) for one in context.get_ca_certs(binary_form=True)] == [pem.read_text()]


def test_certificates_are_read_once_for_all_clients_and_anew_when_their_file_changes(tmp_path):
    pem = Authority(tmp_path).pem
    first = Network(str(pem), {}).tls_context()
    assert Network(str(pem), {}).tls_context() is first
    (tmp_path / "other").mkdir()
    other = Authority(tmp_path / "other").pem.read_text()
    pem.write_text(pem.read_text() + other)
    certificates = Network(str(pem), {}).tls_context().get_ca_certs(binary_form=True)
    assert other in [ssl.DER_cert_to_PEM_cert(one) for one in certificates]


@pytest.mark.parametrize("client", [Client, AsyncClient])
async def test_a_client_is_like_another_while_settings_and_certificates_are_the_same(client, tmp_path):
    pem = Authority(tmp_path).pem
    given = Settings(ApiKey("AQVN1"), ca_bundle=str(pem))

    async def closed(*made):
        for each in made:
            if (closing := each.close()) is not None:
                await closing

    first, same, other = client(given), client(given), client(replace(given, credential=ApiKey("AQVN2")))
    assert first.is_like(same)
    assert not first.is_like(other)
    pem.write_text(pem.read_text() + "\n")
    renewed = client(given)
    assert not first.is_like(renewed)
    await closed(first, same, other, renewed)


def test_without_a_word_certifi_is_trusted_and_the_environment_of_the_process_is_read(monkeypatch):
    assert Network(None, {}).ca_path == certifi.where()
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", "/gone.pem")
    with pytest.raises(ConfigurationError, match=r"^Correct REQUESTS_CA_BUNDLE: "):
        Network(None)


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file or directory"), (b"no PEM", "it holds no certificate")]
)
def test_what_can_t_be_trusted_is_named_with_the_reason(content, reason, tmp_path, monkeypatch):
    path = tmp_path / "company.pem"
    if content:
        path.write_bytes(content)
    said = (
        "Correct {}: it must be the path of a PEM file with certificates, on workers and triggerer alike.\n"
        f"{path} can't be used ({reason}). Nothing was sent to the service."
    )
    with pytest.raises(ConfigurationError) as error:
        Network(str(path), {})
    assert str(error.value) == said.format("the connection's `ca_bundle`")
    monkeypatch.setattr(certifi, "where", lambda: str(path))
    network = Network(None, {})
    with pytest.raises(ConfigurationError) as error:
        network.tls_context()
    assert str(error.value) == said.format("the installation of certifi")
    if not content:
        with pytest.raises(ConfigurationError) as error:
            network.ca_certificates()
        assert str(error.value) == said.format("the installation of certifi")


def test_a_path_that_no_file_can_have_is_named_with_the_reason():
    with pytest.raises(ConfigurationError, match=r"can't be used \(embedded null (byte|character)\)"):
        Network("/keys/\0.pem", {})


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/etc/my certs/ca.pem", True),
        ("~/ca.pem", True),
        ("./ca.pem", True),
        ("ca.pem", True),
        ("AQVNcanary" + "x" * 30, False),
        ('{"private_key": "canary"}', False),
        ("-----BEGIN PRIVATE KEY-----\ncanary\n", False),
        ("/etc/ssl/" + "x" * 300, False),
    ],
)
def test_a_key_that_went_into_the_field_of_a_path_is_not_repeated(path: str, shown: bool) -> None:
    assert (shown_path(path) == path) is shown
    with pytest.raises(ConfigurationError) as error:
        Network(path, {})
    assert (path in str(error.value)) is shown
