"""Under which names the emulator answers what: control routes on this machine alone, the vendor's hosts as there."""

from __future__ import annotations

from typing import Any

import pytest
import requests

from airflow_provider.yandex_ai_studio.emulator import Emulator, hosts, names

OWN = "emulator.example"


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "127.0.0.1:8085", "127.8.8.8:1", "localhost", "LocalHost:8085", "[::1]", "[::1]:8085", f"{OWN}:80"],
)
def test_a_name_that_only_this_machine_has_is_local(host: str) -> None:
    assert hosts.is_local(host, OWN)


@pytest.mark.parametrize(
    "host",
    [
        "",
        "rebound.example",
        "rebound.example:8085",
        "127.0.0.1.rebound.example",
        "localhost.rebound.example",
        "192.0.2.1",
    ],
)
def test_any_other_name_is_not(host: str) -> None:
    assert not hosts.is_local(host, OWN)


def test_the_control_routes_answer_to_no_name_of_a_stranger(emulator: Emulator, client: Any) -> None:
    port = client.url.rpartition(":")[2]
    for method, path in (("GET", "stats"), ("POST", "faults"), ("DELETE", "faults"), ("POST", "api-keys")):
        answer = client.session.request(
            method, f"{client.url}/_emulator/{path}", json={"rotate": "x"}, headers={"Host": f"rebound.example:{port}"}
        )
        assert answer.status_code == 403
        assert "loopback" in answer.json()["error"]
    assert client.submit().status_code == 200
    assert client.get("/_emulator/stats", Host=f"localhost:{port}").status_code == 200


def test_the_control_routes_ask_for_nothing_but_the_name(emulator: Emulator) -> None:
    assert requests.get(f"{emulator.url}/_emulator/stats", timeout=5).status_code == 200


def test_every_route_is_served_by_a_host_of_the_vendor() -> None:
    assert frozenset().union(*hosts.VENDOR_HOSTS.values()) == names.ALL


@pytest.mark.parametrize(
    ("host", "path", "status"),
    [
        ("llm.api.cloud.yandex.net", "/operations/d7q", 404),
        ("operation.api.cloud.yandex.net:443", "/operations/{id}", 200),
        ("llm.api.cloud.yandex.net", "/operations/{id}", 200),
        ("ai.api.cloud.yandex.net", "/operations/{id}", 404),
        ("OPERATION.api.cloud.yandex.net", "/v1/models", 404),
        ("ai.api.cloud.yandex.net", "/v1/models", 200),
        ("llm.api.cloud.yandex.net", "/v1/models", 200),
        ("llm.api.cloud.yandex.net", "/v1/responses/1", 404),
        ("rest-assistant.api.cloud.yandex.net", "/v1/models", 404),
        ("anything.example", "/v1/models", 200),
        ("notapi.cloud.yandex.net", "/v1/models", 200),
    ],
)
def test_a_host_of_the_vendor_serves_its_own_routes_alone(client: Any, host: str, path: str, status: int) -> None:
    operation_id = client.submit().json()["id"]
    answer = client.get(path.format(id=operation_id), Host=host, **{"OpenAI-Project": "b1gtestfolder"})
    assert answer.status_code == status


def test_a_response_is_not_to_be_had_from_the_host_of_the_models(emulator: Emulator, client: Any) -> None:
    asked = {"model": "gpt://b1gtestfolder/yandexgpt", "input": "Some text.", "background": True}
    headers = {"OpenAI-Project": "b1gtestfolder"}
    wrong = client.post("/v1/responses", asked, Host="llm.api.cloud.yandex.net", **headers)
    right = client.post("/v1/responses", asked, Host="ai.api.cloud.yandex.net", **headers)
    assert (wrong.status_code, right.status_code) == (404, 200)
    assert emulator.stats()["requests"]["unknown"] == 1
