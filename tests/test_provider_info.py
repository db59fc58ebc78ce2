"""What Airflow reads about the provider is true: it fits Airflow's schema, the package and the connection's fields."""

import importlib
import json
import pkgutil
import subprocess
import sys
from importlib.metadata import entry_points, version
from pathlib import Path

import airflow
import pytest
from airflow.sdk._shared.secrets_masker import should_hide_value_for_key
from jsonschema import Draft7Validator

from airflow_provider.yandex_ai_studio.client.settings import CREDENTIAL_FIELDS, FIELDS
from airflow_provider.yandex_ai_studio.get_provider_info import get_provider_info
from airflow_provider.yandex_ai_studio.hooks.ai_studio import YandexAIStudioHook

SECRET_FIELDS = set(CREDENTIAL_FIELDS) - {"use_metadata_service"}

PACKAGE = "airflow_provider.yandex_ai_studio"
INFO = get_provider_info()
(CONNECTION,) = INFO["connection-types"]
FORM = CONNECTION["conn-fields"]


def paths_in(value):
    """Return every dotted path into the package that the provider info holds, at any depth."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        return [path for each in value for path in paths_in(each)]
    return [value] if isinstance(value, str) and value.startswith(PACKAGE) else []


def schema(name):
    return Draft7Validator(json.loads((Path(airflow.__file__).parent / name).read_text("utf-8")))


def test_it_fits_airflows_schema():
    schema("provider_info.schema.json").validate(INFO)


def test_the_form_fits_airflows_schema():
    behaviour = {name.replace("-", "_"): value for name, value in CONNECTION["ui-field-behaviour"].items()}
    schema("customized_form_field_behaviours.schema.json").validate(behaviour)
    for field in FORM.values():
        Draft7Validator.check_schema(field["schema"])


@pytest.mark.parametrize("path", paths_in(INFO))
def test_every_path_in_it_leads_somewhere(path):
    assert pkgutil.resolve_name(path) is not None


def test_every_module_with_a_class_for_dag_authors_is_in_it():
    root = Path(importlib.import_module(PACKAGE).__file__).parent
    for kind in ("hooks", "operators", "sensors", "triggers"):
        modules = [importlib.import_module(f"{PACKAGE}.{kind}.{path.stem}") for path in (root / kind).glob("[!_]*.py")]
        defining = {
            each.__module__
            for module in modules
            for name, each in vars(module).items()
            if name.startswith("YandexAIStudio")
        }
        declared = {module for entry in INFO[kind] for module in entry["python-modules"]}
        assert declared == {name for name in defining if name.startswith(f"{PACKAGE}.{kind}.")}


def test_the_connection_form_and_the_settings_know_the_same_fields():
    assert set(FORM) == set(FIELDS)


def test_the_form_of_a_new_connection_is_empty():
    assert {name: field["schema"]["default"] for name, field in FORM.items()} == dict.fromkeys(FORM)
    for field in FORM.values():
        Draft7Validator(field["schema"]).validate(None)


def test_the_connection_type_is_the_hooks():
    assert CONNECTION["connection-type"] == YandexAIStudioHook.conn_type
    assert CONNECTION["hook-name"] == YandexAIStudioHook.hook_name
    assert CONNECTION["hook-class-name"] == f"{YandexAIStudioHook.__module__}.{YandexAIStudioHook.__name__}"


def test_airflow_masks_the_secret_fields_by_their_names_and_no_others():
    assert {name for name in FIELDS if should_hide_value_for_key(name)} == SECRET_FIELDS


def test_the_form_hides_what_is_typed_into_a_secret_field():
    hidden = {name for name, field in FORM.items() if field["schema"].get("format") == "password"}
    assert hidden == SECRET_FIELDS - {"service_account_json_path"}


def test_airflow_finds_the_provider_by_its_entry_point():
    (entry,) = [one for one in entry_points(group="apache_airflow_provider") if one.module.startswith(PACKAGE)]
    assert entry.load()() == INFO
    assert entry.dist.name == INFO["package-name"]
    assert entry.dist.version == version(INFO["package-name"])


def test_discovery_imports_nothing_but_strings():
    code = f"import sys; import {PACKAGE}.get_provider_info; print([m for m in sys.modules if m.startswith('airflow')])"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, text=True).stdout
    assert json.loads(loaded.replace("'", '"')) == [
        "airflow_provider",
        PACKAGE,
        f"{PACKAGE}.get_provider_info",
    ]
