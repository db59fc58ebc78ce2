"""What stands between a chaos run's Airflow and its emulator, and fails on demand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import requests

from airflow_provider.yandex_ai_studio.emulator import Emulator
from tools.chaos.gateway import Gateway
from tools.chaos.lookups import FOLDER, FlakyBackend, Vault
from tools.harness.airflow import free_port

CONNECTION = {"conn_type": "yandex_ai_studio", "password": "AQVNsecret", "extra": {"folder_id": "b1g"}}


@pytest.fixture
def vault(tmp_path: Path) -> Vault:
    vault = Vault(tmp_path)
    vault.keep({"chaos_vault": CONNECTION})
    return vault


def test_a_vault_gives_what_it_keeps(vault: Vault) -> None:
    assert json.loads(str(vault.look_up("chaos_vault", triggerer=False))) == CONNECTION
    assert vault.look_up("another", triggerer=True) is None


def test_the_trouble_begins_with_a_triggerer_and_is_everybody_s(vault: Vault) -> None:
    vault.break_down()
    assert vault.look_up("chaos_vault", triggerer=False)
    assert vault.broken_since is None
    for triggerer in (True, False):
        with pytest.raises(ConnectionError):
            vault.look_up("chaos_vault", triggerer=triggerer)
    assert vault.broken_since
    vault.recover()
    assert vault.look_up("chaos_vault", triggerer=True)
    vault.break_down()
    assert vault.broken_since is None


def test_airflow_reads_the_vault_through_its_backend(vault: Vault, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(FOLDER, str(vault.folder))
    connection = FlakyBackend().get_connection("chaos_vault")
    assert (connection.password, connection.extra_dejson) == ("AQVNsecret", {"folder_id": "b1g"})


def test_a_gateway_passes_everything_on_until_it_dies_and_once_it_is_back() -> None:
    with Emulator() as emulator, Gateway(free_port(), int(emulator.url.rpartition(":")[2])) as gateway:
        url = f"{gateway.url}/_emulator/stats"
        assert requests.get(url, timeout=5).json()["submissions"] == 0
        gateway.kill()
        with pytest.raises(requests.ConnectionError):
            requests.get(url, timeout=5)
        gateway.start()
        assert requests.get(url, timeout=5).status_code == 200
