"""The kinds of records: what is asked for, and that a further kind needs no other place than its entry."""

from __future__ import annotations

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.tenable_vm import kinds
from airflow_provider_tenable.tenable_vm.kinds import ASSETS, COMPLIANCE, KINDS, VULNERABILITIES, kind_of


@pytest.mark.parametrize(
    ("kind", "plugin_output", "body"),
    [
        (VULNERABILITIES, True, {"num_assets": 7, "include_unlicensed": True, "include_software_vulns": True}),
        (VULNERABILITIES, False, {"num_assets": 7, "include_unlicensed": True, "include_software_vulns": True, "include_plugin_output": False}),
        (ASSETS, True, {"chunk_size": 7, "include_open_ports": False, "include_resource_tags": True}),
        (ASSETS, False, {"chunk_size": 7, "include_open_ports": False, "include_resource_tags": True}),
        (COMPLIANCE, True, {"num_findings": 7}),
        (COMPLIANCE, False, {"num_findings": 7}),
    ],
    ids=str,
)
def test_the_body_of_a_request_states_what_the_api_s_defaults_leave_open(kind, plugin_output, body):
    filters = {"since": 5}
    made = kind.body(filters, size=7, plugin_output=plugin_output)
    assert made == {**body, "filters": {"since": 5}}
    assert made["filters"] is not filters


def test_every_kind_is_found_by_its_name():
    assert {name: kind.name for name, kind in KINDS.items()} == {name: name for name in ("vulnerabilities", "assets", "compliance")}
    assert kind_of("assets") is ASSETS


@pytest.mark.parametrize("name", ["", "Assets", "webapps", "assets\nINFO forged"])
def test_an_unknown_kind_is_a_mistake_of_the_user(name):
    with pytest.raises(ConfigurationError, match="is not one of vulnerabilities, assets, compliance") as caught:
        kind_of(name)
    assert "\n" not in str(caught.value)


def test_sizes_without_an_option_are_those_of_the_options():
    from airflow_provider_tenable import config

    assert {kind.name: config.get(kind.size_option) for kind in KINDS.values() if kind.size_option} == {
        kind.name: kind.size for kind in KINDS.values() if kind.size_option
    }


def test_nobody_changes_a_kind_by_accident():
    with pytest.raises(TypeError):
        kinds.KINDS["x"] = ASSETS  # type: ignore[index]
    with pytest.raises(TypeError):
        ASSETS.switches["x"] = True  # type: ignore[index]
    with pytest.raises(AttributeError):
        ASSETS.path = "x"  # type: ignore[misc]
