"""The scanner that a run of ``tenable_scan`` creates for itself: its params, its name, and the end of the run."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable._compat import AirflowFailException, AirflowSkipException
from airflow_provider_tenable.exceptions import ConfigurationError, IncompleteRunError
from airflow_provider_tenable.operators.nessus_terminate import NessusTerminateScannerOperator
from airflow_provider_tenable.run.ephemeral_scanner import scanner_name
from airflow_provider_tenable.run.scan import SCAN, plan_scan, report_scan
from airflow_provider_tenable.scan.bootstrap import check_name

TEMPLATE = "{{ conn.tenable_default.password }}"


def plan(run_id: str = "now", **params: Any) -> dict[str, Any]:
    dag_run = SimpleNamespace(dag_id="tenable_scan", run_id=run_id, conf=None)
    usual = {name: param.default for name, param in SCAN.items()}
    return plan_scan({"dag_run": dag_run, "params": {**usual, "targets": ["192.0.2.1"], **params}})


def test_a_run_scans_with_its_own_scanner() -> None:
    planned = plan(ephemeral_scanner=True, name="Weekly: DMZ")
    assert planned["scanner"] == planned["scanner_name"] == scanner_name("Weekly: DMZ", "tenable_scan", "now")
    assert planned["scanner"].startswith("Weekly-DMZ-")
    # A retry, or a cleared run, finds its scanner again; another run has another one.
    assert plan(ephemeral_scanner=True, name="Weekly: DMZ") == planned
    assert plan("later", ephemeral_scanner=True, name="Weekly: DMZ")["scanner"] != planned["scanner"]


def test_without_it_the_scanner_is_the_one_of_the_params() -> None:
    planned = plan(scanner="ireland-1")
    assert (planned["scanner"], planned["scanner_name"]) == ("ireland-1", "")
    # Airflow 3.0 does not accept null in an XCom.
    assert None not in plan().values()


@pytest.mark.parametrize("scan", ["Weekly: DMZ", "x" * 200, "\u0110\u00e0 N\u1eb5ng", TEMPLATE, "--;", "a'; reboot"])
@pytest.mark.parametrize("run_id", ["manual__2026-11-27T06:00:00+00:00", TEMPLATE, "x" * 250])
def test_any_name_of_a_scan_gives_a_name_that_a_scanner_may_have(scan: str, run_id: str) -> None:
    assert check_name(scanner_name(scan, "tenable_scan", run_id))


@pytest.mark.parametrize(
    "params",
    [
        {"ephemeral_scanner": "true"},
        {"scanner": "ireland-1"},
        {"region": TEMPLATE},
        {"aws_conn_id": TEMPLATE},
        {"subnet_id": TEMPLATE},
        {"instance_type": TEMPLATE},
        {"tags": {"a": TEMPLATE}},
        {"tags": {"tenable:scanner": "another"}},
    ],
    ids=str,
)
def test_what_the_form_would_not_accept_is_rejected(params: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        plan(**{"ephemeral_scanner": True, **params})


def test_who_triggers_a_run_does_not_choose_the_image() -> None:
    assert "image" not in SCAN
    assert plan(ephemeral_scanner=True)["image"] == "product_code:8fn69npzmbzcs4blc4583jd0y"


def test_the_product_is_that_of_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__NESSUS_PRODUCT_CODE", "0123456789abcdef")
    assert plan(ephemeral_scanner=True)["image"] == "product_code:0123456789abcdef"


def test_a_run_that_did_not_complete_fails_with_what_to_clear() -> None:
    with pytest.raises(IncompleteRunError, match=r"Run now is not complete, so it failed: .* clear with_scanner"):
        report_scan({"dag_run": SimpleNamespace(run_id="now")}, None, None)


def test_the_report_names_the_run_its_results_and_its_files(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    result = {"name": "DMZ\nforged", "run_uuid": "u", "status": "completed", "hosts": 3, "severities": {"high": 1}}
    report_scan({}, result, {"files": [{"format": "csv", "path": "s3://reports/a.csv", "bytes": 12}]})
    assert "Scan DMZ forged: run u is completed. 3 hosts; 1 high." in caplog.text
    assert "csv: s3://reports/a.csv (12 bytes)" in caplog.text


def test_a_run_without_a_scanner_has_none_to_remove() -> None:
    task = NessusTerminateScannerOperator(task_id="remove_scanner", name="", optional=True)
    with pytest.raises(AirflowSkipException, match="no scanner to remove"):
        task.execute({})
    with pytest.raises(AirflowFailException, match="does not know which scanner to remove"):
        NessusTerminateScannerOperator(task_id="remove_scanner", name="").execute({})
