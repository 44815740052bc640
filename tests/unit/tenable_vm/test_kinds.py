"""The kinds of records: what is asked for, and that a further kind needs no other place than its entry."""

from __future__ import annotations

import dataclasses
import time

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.export.state import Finished
from airflow_provider_tenable.export.state_machine import ExportRun
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.hooks.tenable import new_client
from airflow_provider_tenable.operators.tenable import TenableExportOperator
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.tenable_vm import kinds
from airflow_provider_tenable.tenable_vm.client import TenableApi
from airflow_provider_tenable.tenable_vm.kinds import ASSETS, COMPLIANCE, KINDS, VULNERABILITIES, WAS, kind_of
from tests.local_server import client_arguments

JOB = "1d896500-2f92-467c-aa4d-6fe8d007b127"


@pytest.mark.parametrize(
    ("kind", "plugin_output", "body"),
    [
        (VULNERABILITIES, True, {"num_assets": 7, "include_unlicensed": True, "include_software_vulns": True}),
        (
            VULNERABILITIES,
            False,
            {
                "num_assets": 7,
                "include_unlicensed": True,
                "include_software_vulns": True,
                "include_plugin_output": False,
            },
        ),
        (ASSETS, True, {"chunk_size": 7, "include_open_ports": False, "include_resource_tags": True}),
        (ASSETS, False, {"chunk_size": 7, "include_open_ports": False, "include_resource_tags": True}),
        (COMPLIANCE, True, {"num_findings": 7}),
        (COMPLIANCE, False, {"num_findings": 7}),
        # Of web applications, the output is what tells findings apart: it cannot be left out.
        (WAS, True, {"num_assets": 7, "include_unlicensed": True}),
        (WAS, False, {"num_assets": 7, "include_unlicensed": True}),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_the_body_of_a_request_states_what_the_api_s_defaults_leave_open(kind, plugin_output, body):
    filters = {"since": 5}
    made = kind.body(filters, size=7, plugin_output=plugin_output)
    assert made == {**body, "filters": {"since": 5}}
    assert made["filters"] is not filters


def test_every_kind_is_found_by_its_name():
    assert {name: kind.name for name, kind in KINDS.items()} == {
        name: name for name in ("vulnerabilities", "assets", "compliance", "was")
    }
    assert kind_of("assets") is ASSETS


@pytest.mark.parametrize("name", ["", "Assets", "webapps", "assets\nINFO forged"])
def test_an_unknown_kind_is_a_mistake_of_the_user(name):
    with pytest.raises(ConfigurationError, match="is not one of vulnerabilities, assets, compliance, was") as caught:
        kind_of(name)
    assert "\n" not in str(caught.value)


def test_sizes_without_an_option_are_those_of_the_options():
    from airflow_provider_tenable import config

    assert {kind.name: config.get(kind.size_option) for kind in KINDS.values() if kind.size_option} == {
        kind.name: kind.size for kind in KINDS.values() if kind.size_option
    }


def test_a_kind_that_is_a_table_gives_the_rows_of_what_can_be_read():
    rows = ASSETS.rows(b'[{"id": "a", "cloud": {"aws": {"owner_id": "1"}}}, {"id": null}, 5, {"id": "b"}]')
    assert [(row.id, row.owner_id) for row in rows] == [("a", "1"), ("b", None)]
    with pytest.raises(ValueError, match=r"."):
        ASSETS.rows(b"{}")


def test_a_further_kind_needs_no_other_place_than_its_entry(server, tmp_path, monkeypatch):
    """Asked for, fetched, staged and counted, without a line of code that knows it."""
    kind = dataclasses.replace(
        COMPLIANCE, name="webapps", start_path="was/v2/export", path="was/export", size_field="num_scans", size=9
    )
    monkeypatch.setattr(kinds, "KINDS", {**KINDS, "webapps": kind})
    api = TenableApi(new_client(client_arguments(server.url), retries=0), name="c")
    server.answers = [
        (200, {}, b'{"export_uuid": "%s"}' % JOB.encode()),
        (200, {}, b'{"status": "FINISHED", "chunks_available": [1]}'),
        (200, {"Content-Length": "16"}, b'[{"a": 1}, "no"]'),
    ]
    run = ExportRun(
        kind="webapps",
        body=TenableExportOperator(task_id="t", export="webapps", filters={"since": 1})._body(),
        client=api,
        store=StagedExport(open_path(f"file://{tmp_path}"), "webapps"),
        now=time.time,
    )
    finished = run.step()
    assert isinstance(finished, Finished)
    assert [(part.name, part.records) for part in finished.state.parts.values()] == [
        (f"part-{JOB[:8]}-000001.json.zst", 2)
    ]
    assert [path for _, path, *_ in server.requests] == [
        "/was/v2/export",
        f"/was/export/{JOB}/status",
        f"/was/export/{JOB}/chunks/1",
    ]
    assert finished.state.body == {"num_scans": 9, "filters": {"since": 1}}
    api._client._session.close()


def test_nobody_changes_a_kind_by_accident():
    with pytest.raises(TypeError):
        kinds.KINDS["x"] = ASSETS  # type: ignore[index]
    with pytest.raises(TypeError):
        ASSETS.switches["x"] = True  # type: ignore[index]
    with pytest.raises(AttributeError):
        ASSETS.path = "x"  # type: ignore[misc]
