"""The connection: its form, its Test button, and the commands that see it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider.yandex_ai_studio.get_provider_info import get_provider_info
from system.scene import AIRFLOW
from tools.harness.airflow import LocalAirflow
from tools.harness.emulator import LocalEmulator

pytestmark = pytest.mark.system


def test_the_provider_is_known_to_airflow(airflow: LocalAirflow) -> None:
    answer = airflow.cli("providers", "get", "airflow-provider-yandex-ai-studio", "--output", "json")
    assert answer.returncode == 0, answer.stderr
    assert "airflow-provider-yandex-ai-studio" in answer.stdout


def test_the_command_tests_a_good_connection(airflow: LocalAirflow) -> None:
    answer = airflow.cli("connections", "test", "yandex_ai_studio_default")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    assert "Connection success!" in answer.stdout


def test_the_command_names_what_is_wrong_with_a_key(airflow: LocalAirflow) -> None:
    answer = airflow.cli("connections", "test", "wrong_key")
    assert answer.returncode == (1 if AIRFLOW >= (3, 3) else 0)
    assert "Connection failed!" in answer.stdout
    assert "key" in answer.stdout.split("Connection failed!")[1]


def press_test(airflow: LocalAirflow, connection: dict[str, Any]) -> dict[str, Any]:
    """Press the Test button of a connection's form."""
    body = {**connection, "connection_id": "typed_in", "extra": json.dumps(connection["extra"])}
    answer: dict[str, Any] = airflow.post("/api/v2/connections/test", json=body)
    return answer


def test_the_button_tests_a_good_connection(airflow: LocalAirflow, service: LocalEmulator) -> None:
    answer = press_test(airflow, service.connection)
    assert answer["status"] is True
    assert f"gpt://{service.folder_id}/yandexgpt" in answer["message"]


@pytest.mark.parametrize(
    ("wrong", "named"),
    [
        ({"password": "AQVNwrong-key-of-nobody"}, "key"),
        ({"password": ""}, "password"),
        ({"extra": {}}, "folder_id"),
        ({"extra": {"folder_id": "b1gsomebodyelse"}}, "folder"),
    ],
)
def test_the_button_names_what_is_wrong(
    airflow: LocalAirflow, service: LocalEmulator, wrong: dict[str, Any], named: str
) -> None:
    answer = press_test(airflow, {**service.connection, **wrong})
    assert answer["status"] is False
    assert named in answer["message"]


def test_the_form_shows_every_field(airflow: LocalAirflow) -> None:
    (form,) = (
        meta for meta in airflow.get("/ui/connections/hook_meta") if meta["connection_type"] == "yandex_ai_studio"
    )
    (declared,) = get_provider_info()["connection-types"]
    assert form["hook_name"] == "Yandex AI Studio"
    shown = form["extra_fields"]
    assert shown.keys() == declared["conn-fields"].keys()
    for name, field in declared["conn-fields"].items():
        assert shown[name]["schema"]["title"] == field["label"]
        assert shown[name]["schema"]["type"] == field["schema"]["type"]
        assert shown[name]["schema"].get("format") == field["schema"].get("format")
        assert shown[name]["description"] == field["description"]
    standard = form["standard_fields"]
    assert {name: standard[name]["title"] for name in ("password", "host")} == {
        "password": "API key",
        "host": "Base URL",
    }
    assert {name for name, field in standard.items() if field and field["hidden"]} == {"login", "url_schema", "port"}
