"""The steps of ``tenable_scan``, the asset of a scan, and the import that follows it."""

from __future__ import annotations

import os
import runpy
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS, asset_alias
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.run.asset_event import announce_scan, completed_scan, scans_from_option
from airflow_provider_tenable.run.ephemeral_scanner import EPHEMERAL_SCANNER
from airflow_provider_tenable.run.scan import SCAN, plan_scan, remove_old_scans
from airflow_provider_tenable.staging.layout import RunFolder

ROOT = Path(__file__).resolve().parents[3]
RESULT = {
    "scan": 36,
    "name": "Weekly: DMZ / a",
    "run_uuid": "44346bcb-4afc-4db0-b283-2dd823fa8579",
    "status": "completed",
    "started_at": 1.0,
    "ended_at": 2.0,
    "hosts": 3,
    "severities": {"high": 1},
    "compliance": {},
}


def context_of(**params: Any) -> dict[str, Any]:
    dag_run = SimpleNamespace(dag_id="tenable_scan", run_id="now", conf=None)
    return {"dag_run": dag_run, "params": {**{name: each.default for name, each in SCAN.items()}, **params}}


def test_the_params_are_handed_on() -> None:
    planned = plan_scan(context_of(targets=["192.0.2.1"], name="Nightly"))
    # What describes an ephemeral scanner has tests of its own.
    assert {name: planned[name] for name in SCAN if name not in EPHEMERAL_SCANNER} == {
        "name": "Nightly",
        "template": "basic",
        "targets": ["192.0.2.1"],
        "credentials": [],
        "scanner": "",
        "formats": ["nessus"],
        "path": "",
        "delete_after": False,
    }


def test_credentials_that_are_left_empty_are_none() -> None:
    # Airflow 3's form gives null, if something was typed and removed.
    assert plan_scan(context_of(targets=["192.0.2.1"], credentials=None))["credentials"] == []


def test_lines_without_text_are_ignored() -> None:
    planned = plan_scan(context_of(targets=["192.0.2.1 ", "", "  "], credentials=[""]))
    assert (planned["targets"], planned["credentials"]) == (["192.0.2.1"], [])
    with pytest.raises(ConfigurationError, match="The scan has no targets"):
        plan_scan(context_of(targets=["", " "]))


def test_the_form_requires_only_what_a_scan_needs() -> None:
    # Airflow 2's form requires a text in each field whose type does not include null.
    required = {
        name for name, param in SCAN.items() if param.default in ("", [], None) and "null" not in param.schema["type"]
    }
    assert required == {"targets"}


@pytest.mark.parametrize(
    ("params", "text"),
    [
        ({}, "The scan has no targets"),
        ({"targets": "192.0.2.1"}, "targets is '192"),
        ({"targets": [1]}, "targets is"),
        ({"formats": ["db"]}, "formats is"),
        ({"formats": []}, "formats is"),
        ({"name": ""}, "name is ''"),
        ({"name": "x" * 201}, "name is"),
        ({"name": None}, "name is None"),
        ({"delete_after": "yes"}, "delete_after is 'yes'"),
        ({"scanner": 5}, "scanner is 5"),
        ({"targets": None}, "targets is None"),
        ({"credentials": "admin"}, "credentials is 'admin'"),
    ],
)
def test_params_that_bypassed_the_form_are_checked(params: dict[str, Any], text: str) -> None:
    with pytest.raises(ConfigurationError, match=text):
        plan_scan(context_of(**{"targets": ["192.0.2.1"], **params} if params else {}))


def test_a_misspelt_param_is_refused() -> None:
    context = context_of(targets=["192.0.2.1"])
    context["dag_run"].conf = {"tragets": ["192.0.2.2"]}
    with pytest.raises(ConfigurationError, match="did you mean 'targets'"):
        plan_scan(context)


def test_an_event_names_the_scan_and_describes_its_run() -> None:
    added: list[tuple[Any, dict[str, Any]]] = []
    alias = asset_alias("tenable_scan")
    accessor = SimpleNamespace(add=lambda asset, extra: added.append((asset, extra)))
    announce_scan({"outlet_events": {alias: accessor}}, alias, RESULT)
    [(asset, extra)] = added
    assert asset.uri == completed_scan(RESULT["name"]).uri == "tenable://scan/Weekly%3A%20DMZ%20%2F%20a"
    described = ("scan", "run_uuid", "status", "started_at", "ended_at", "hosts")
    assert extra == {**{name: RESULT[name] for name in described}, "severity_high": 1}


def test_values_of_an_event_are_hashable() -> None:
    """Airflow 2 and 3.0 put them into a set."""
    added: list[dict[str, Any]] = []
    alias = asset_alias("tenable_scan")
    accessor = SimpleNamespace(add=lambda _asset, extra: added.append(extra))
    announce_scan({"outlet_events": {alias: accessor}}, alias, RESULT)
    [extra] = added
    assert dict(frozenset(extra.items())) == extra


def test_the_option_names_scans(monkeypatch: pytest.MonkeyPatch) -> None:
    assert scans_from_option() == []
    monkeypatch.setenv("AIRFLOW__TENABLE__IMPORT_AFTER_SCANS", " Weekly: DMZ,, Nightly ")
    assert [asset.uri for asset in scans_from_option()] == [
        "tenable://scan/Weekly%3A%20DMZ",
        "tenable://scan/Nightly",
    ]


@pytest.mark.parametrize("hours", ["24", "0"])
def test_the_import_follows_any_of_the_scans_and_the_clock(monkeypatch: pytest.MonkeyPatch, hours: str) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__IMPORT_AFTER_SCANS", "a, b")
    monkeypatch.setenv("AIRFLOW__TENABLE__SCHEDULE_HOURS", hours)
    dag = runpy.run_path(str(ROOT / "dags" / "tenable_to_security_hub.py"))["dag"]
    condition = dag.timetable.asset_condition if AIRFLOW_V_3_0_PLUS else dag.timetable.dataset_condition
    assert [asset.uri for asset in condition.objects] == ["tenable://scan/a", "tenable://scan/b"]
    assert type(condition).__name__ in ("AssetAny", "DatasetAny")
    assert ("OrTime" in type(dag.timetable).__name__) is (hours == "24")
    # What the scheduler reads.
    if AIRFLOW_V_3_0_PLUS:
        try:
            from airflow.serialization.serialized_objects import DagSerialization as Serialized
        except ImportError:
            from airflow.serialization.serialized_objects import SerializedDAG as Serialized
    else:
        from airflow.serialization.serialized_objects import SerializedDAG as Serialized
    again = Serialized.from_dict(Serialized.to_dict(dag))
    assert again.timetable.can_be_scheduled or hours == "0"
    assert "tenable://scan/b" in str(Serialized.to_dict(dag))


def test_old_runs_are_removed_and_others_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path}")
    for name, days in (("old", 8), ("young", 6), ("now", 30), ("deployment", 30)):
        jobs = tmp_path / "tenable_scan" / name / "jobs"
        jobs.mkdir(parents=True)
        (jobs / "run_scan.json").write_text("{}")
        os.utime(jobs / "run_scan.json", (time.time() - days * 86_400,) * 2)
        (jobs.parent / "exports").mkdir()
        (jobs.parent / "exports" / "a.nessus").write_text("x")
    (tmp_path / "tenable_scan" / "unknown").mkdir()
    assert remove_old_scans(context_of()) == ["old"]
    left = sorted(path.name for path in (tmp_path / "tenable_scan").iterdir())
    assert left == ["deployment", "now", "unknown", "young"]


def test_files_of_tasks_stay_below_the_run_whatever_the_task_is_called() -> None:
    run = RunFolder("file:///tmp/x", "dag", "run")
    for task in ("a", "..", ".", "group.task", "x" * 250):
        for index in (-1, 3):
            paths = [run.job(task, index), run.downloads(task, index)]
            for path, folder in zip(paths, ("jobs", "exports"), strict=True):
                assert os.path.normpath(path.path).startswith(f"/tmp/x/dag/run/{folder}/")
                assert all(len(part.encode()) < 240 for part in path.path.split("/"))
    assert run.job("x" * 250) != run.job("x" * 249)
    assert run.job("a").path.endswith("/jobs/a.json")
    assert run.job("a", 2).path.endswith("/jobs/a/2.json")
