"""The sensor for exports and the watched scan under Airflow itself."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS
from tests.integration.dag_runs import AirflowProcess, DagRuns
from tests.sandbox_driver import Sandbox

WAITING = """
from airflow_provider_tenable._compat import DAG, task
from airflow_provider_tenable.operators.tenable import TenableExportOperator
from airflow_provider_tenable.sensors.tenable_exports import TenableExportSensor

with DAG("waiting", schedule=None) as dag:
    export = TenableExportOperator(
        task_id="export", filters={"since": 1, "state": ["OPEN"], "severity": ["critical"]}, poll_interval=1
    )
    ours = TenableExportSensor(
        task_id="ours", external_dag_id="{{ dag.dag_id }}", external_run_id="{{ run_id }}", deferrable=True
    )

    @task
    def count(result):
        from airflow_provider_tenable.results import iter_vulnerabilities

        print("COUNTED", sum(1 for _ in iter_vulnerabilities(result)) == result["records"] > 0)

    export >> ours
    count(ours.output)
"""

WATCHING = """
from airflow_provider_tenable._compat import DAG, task
from airflow_provider_tenable.dags import watched_scan

# Airflow watches nothing for a DAG that is paused.
with DAG("watching", is_paused_upon_creation=False, schedule=[watched_scan("Weekly: DMZ", poll_interval=600)]) as dag:

    @task
    def look():
        pass

    look()
"""


def _file(folder: Path, name: str, text: str) -> Path:
    path = folder / "files" / f"{name}.py"
    path.parent.mkdir(exist_ok=True)
    path.write_text(text)
    return path


def test_a_sensor_hands_on_what_the_export_of_a_run_has_staged(
    sandbox: Sandbox, airflow_process: AirflowProcess, tmp_path: Path
) -> None:
    settings = {"AIRFLOW__TENABLE__STAGING_PATH": f"file://{tmp_path / 'staging'}"}
    runs = DagRuns(tmp_path, airflow_process, [_file(tmp_path, "waiting", WAITING)], settings)
    (outcome,) = runs.run(("waiting", {}), retries=0)
    assert outcome.state == "success", outcome.errors
    assert "COUNTED True" in outcome.output
    assert sandbox.jobs()["created"] == 1
    assert sandbox.jobs()["cancelled"] == 0


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="Airflow 2 has no asset watchers")
def test_airflow_hands_the_trigger_of_a_watched_scan_to_its_triggerer(
    airflow_process: AirflowProcess, tmp_path: Path
) -> None:
    runs = DagRuns(tmp_path, airflow_process, [_file(tmp_path, "watching", WATCHING)])
    airflow_process.ask(runs.database, runs.env, arguments=["dags", "reserialize"])
    with closing(sqlite3.connect(runs.database)) as database:
        watched = database.execute(
            "SELECT asset.uri, trigger.classpath FROM asset JOIN asset_watcher ON asset_watcher.asset_id = asset.id "
            "JOIN trigger ON trigger.id = asset_watcher.trigger_id"
        ).fetchall()
    assert watched == [
        (
            "tenable://scan/Weekly%3A%20DMZ",
            "airflow_provider_tenable.triggers.tenable_scan_events.TenableCompletedScanTrigger",
        )
    ]
