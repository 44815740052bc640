"""The page after real runs: what it says is what their ledgers say, and what the hubs hold."""

from __future__ import annotations

from typing import Any

from airflow_provider_tenable.run.report import report_run
from airflow_provider_tenable.ui.page import build
from airflow_provider_tenable.ui.render import render
from airflow_provider_tenable.ui.snapshot import read_snapshot
from airflow_provider_tenable.ui.urls import Urls
from tests.integration.pipeline_driver import DAG_ID, Run, Variables
from tests.sandbox_driver import Sandbox


def test_the_page_says_what_the_ledger_says(sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]) -> None:
    sandbox.hub_fault(
        {"on": "BatchImportFindings", "do": "fail_findings", "code": "InvalidInput", "share": 0.2, "times": None}
    )
    run = Run(defaults={**defaults, "max_rejected_ratio": 1.0})
    run.execute()
    report_run(run.context)
    ledger = run.ledger
    assert ledger["rejected"], "nothing was rejected: this proves little"

    snapshot = read_snapshot(str(run.folder.dag_root.parent), DAG_ID)
    assert snapshot.problems == []
    page = build(snapshot, None, Urls(), now=float(ledger["window"]["until"]))
    [row] = page["runs"]
    assert (row.run_id, row.state, row.rejected) == (run.run_id, "complete", sum(ledger["rejected"].values()))
    assert page["coverage"]["total"] == ledger["exported"]
    of_records = {box.label: box.value for box in page["coverage"]["first"]}
    assert of_records["findings"] == ledger["findings"]
    assert sum(of_records.values()) == ledger["exported"]
    assert sum(box.value for box in page["coverage"]["second"]) == ledger["findings"]
    active = sum(each["RecordState"] == "ACTIVE" for each in sandbox.documents().values())
    assert page["findings"]["total"] == active == sum(place.total for place in page["places"])
    assert page["now"]["last"]["outcome"].startswith("Complete: every record is accounted for")
    first = page["rejected"][0].line
    assert first.run_id == run.run_id
    assert f"{first.account}/{first.region}" in ledger["destinations"]
    assert first.code in ledger["rejected"]
    assert first.title
    text = render("page.html", "nonce", page=page, scans={}, dags=[DAG_ID], tables=["runs"]).decode()
    assert run.run_id in text
