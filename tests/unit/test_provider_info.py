"""What Airflow reads about the package."""

from __future__ import annotations

import importlib
import importlib.metadata
import json
import pathlib
import re
import subprocess
import sys

import airflow
import jsonschema
import pytest

from airflow_provider_tenable import __version__
from airflow_provider_tenable._compat import AIRFLOW_V_3_2_PLUS
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.provider_info import CONN_FIELDS, get_provider_info

SCHEMAS = pathlib.Path(airflow.__file__).parent


def test_the_entry_point_leads_here():
    (entry,) = [
        each
        for each in importlib.metadata.entry_points(group="apache_airflow_provider")
        if each.value.startswith("airflow_provider_tenable")
    ]
    assert entry.load() is get_provider_info


def test_the_metadata_is_valid_for_the_airflow_that_is_installed():
    schema = json.loads((SCHEMAS / "provider_info.schema.json").read_text())
    info = get_provider_info()
    if not AIRFLOW_V_3_2_PLUS:
        # Older ones do not know the form's part of it, and do not look at it.
        info["connection-types"] = [
            {
                name: value
                for name, value in each.items()
                if name in schema["properties"]["connection-types"]["items"]["properties"]
            }
            for each in info["connection-types"]
        ]
    jsonschema.validate(info, schema)


def test_the_form_of_old_airflow_is_valid():
    schema = json.loads((SCHEMAS / "customized_form_field_behaviours.schema.json").read_text())
    jsonschema.validate(TenableHook.get_ui_field_behaviour(), schema)


def test_the_version_is_the_packages():
    info = get_provider_info()
    assert info["versions"] == [__version__]
    assert info["package-name"] == "airflow-provider-tenable"


def test_everything_that_is_named_can_be_imported():
    info = get_provider_info()
    for layer in ("hooks", "operators", "sensors", "triggers"):
        for entry in info[layer]:
            for module in entry["python-modules"]:
                importlib.import_module(module)
    uris = [entry[name] for entry in info["asset-uris"] for name in ("handler", "to_openlineage_converter")]
    for path in [
        *uris,
        *info["extra-links"],
        *info["notifications"],
        *(each["hook-class-name"] for each in info["connection-types"]),
    ]:
        module, name = path.rsplit(".", 1)
        assert getattr(importlib.import_module(module), name)


def test_every_module_of_a_layer_is_named():
    package = pathlib.Path(importlib.import_module("airflow_provider_tenable").__file__).parent
    info = get_provider_info()
    for layer, marker in (("operators", "Operator"), ("sensors", "Sensor"), ("triggers", "Trigger")):
        there = {
            f"airflow_provider_tenable.{layer}.{path.stem}"
            for path in (package / layer).glob("*.py")
            if re.search(rf"^class [A-Z]\w*{marker}\b", path.read_text(), re.MULTILINE)
        }
        assert {module for entry in info[layer] for module in entry["python-modules"]} == there


@pytest.mark.parametrize("name", CONN_FIELDS)
def test_each_field_of_the_form_has_a_schema_that_takes_nothing(name):
    schema = CONN_FIELDS[name]["schema"]
    jsonschema.validate(None, schema)
    jsonschema.Draft7Validator.check_schema(schema)


def test_the_timeout_of_the_form_has_the_hooks_bounds():
    schema = CONN_FIELDS["timeout"]["schema"]
    for good in (1, 3600):
        jsonschema.validate(good, schema)
    for bad in (0, 3601):
        with pytest.raises(jsonschema.ValidationError):
            jsonschema.validate(bad, schema)


def test_airflow_itself_finds_the_provider_its_connection_and_its_options():
    code = """if True:
        from airflow.providers_manager import ProvidersManager
        manager = ProvidersManager()
        assert "airflow-provider-tenable" in manager.providers
        assert manager.hooks["tenable"].hook_name == "Tenable Vulnerability Management"
        assert "staging_path" in dict(manager.provider_configs)["airflow-provider-tenable"]["tenable"]["options"]
    """
    # In a process of its own: the manager keeps for ever what it found at its first look.
    done = subprocess.run([sys.executable, "-c", code], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
