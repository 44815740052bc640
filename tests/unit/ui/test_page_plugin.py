"""The plugin: what each Airflow gets, that it can be switched off, and that nobody but the web server pays for it."""

from __future__ import annotations

import importlib.metadata
import subprocess
import sys
import warnings
from typing import Any

import pytest

from airflow_provider_tenable import _compat
from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS, AIRFLOW_V_3_1_1_PLUS
from airflow_provider_tenable.ui.plugin import TenablePlugin


def faces() -> dict[str, list[Any]]:
    plugin = TenablePlugin()
    return {name: getattr(plugin, name) for name in ("fastapi_apps", "external_views", "appbuilder_views")}


def test_airflow_finds_it_by_its_entry_point() -> None:
    found = {each.load() for each in importlib.metadata.entry_points(group="airflow.plugins") if each.name == "tenable"}
    assert found == {TenablePlugin}


def test_airflow_loads_it() -> None:
    from airflow import plugins_manager

    plugins_manager.ensure_plugins_loaded()
    with warnings.catch_warnings():
        # Flask AppBuilder's own, where Airflow 2 makes the view.
        warnings.simplefilter("ignore")
        info = {each["name"]: each for each in plugins_manager.get_plugin_info()}["tenable"]
    assert bool(info["appbuilder_views"]) is not AIRFLOW_V_3_0_PLUS
    if AIRFLOW_V_3_1_1_PLUS:
        assert [each["url_prefix"] for each in info["fastapi_apps"]] == ["/tenable"]
        assert [each["destination"] for each in info["external_views"]] == ["nav", "dag"]


@pytest.mark.skipif(not AIRFLOW_V_3_1_1_PLUS, reason="Airflow 2 and 3.0 have no external views")
def test_airflow_3_gets_an_application_and_two_views() -> None:
    found = faces()
    assert [(each["url_prefix"], each["name"]) for each in found["fastapi_apps"]] == [("/tenable", "Tenable")]
    # Relative, so that they hold behind any prefix.
    assert [(each["destination"], each["href"]) for each in found["external_views"]] == [
        ("nav", "tenable/"),
        ("dag", "tenable/?dag_id={DAG_ID}"),
    ]
    assert found["appbuilder_views"] == []


def test_airflow_3_0_gets_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(_compat, "AIRFLOW_V_3_0_PLUS", True)
    monkeypatch.setattr(_compat, "AIRFLOW_V_3_1_1_PLUS", False)
    assert faces() == {"fastapi_apps": [], "external_views": [], "appbuilder_views": []}


@pytest.mark.parametrize("value", ["False", "off", "no"])
def test_it_can_be_switched_off(monkeypatch: pytest.MonkeyPatch, value: str, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__UI", value)
    assert faces() == {"fastapi_apps": [], "external_views": [], "appbuilder_views": []}
    # What is not a boolean must not keep Airflow from starting.
    assert ("not of type boolean" in caplog.text) is (value == "off")


def test_loading_it_imports_nothing_that_only_the_web_server_needs() -> None:
    program = (
        "import sys, airflow.plugins_manager; before = set(sys.modules)\n"
        "from airflow_provider_tenable.ui.plugin import TenablePlugin\n"
        "plugin = TenablePlugin(); plugin.on_load(); plugin.validate()\n"
        "print(*sorted(set(sys.modules) - before))"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    name = "airflow_provider_tenable"
    assert set(done.stdout.splitlines()[-1].split()) - {name} == {f"{name}.ui", f"{name}.ui.plugin"}
