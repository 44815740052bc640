"""The demo's third day: everything is scanned again, two hosts are gone, and two rules of a person move no time."""

from __future__ import annotations

import re
from collections import Counter
from datetime import datetime
from typing import Any

import pytest

from airflow_provider_tenable import _compat
from airflow_provider_tenable.run.asset_event import event_extra
from airflow_provider_tenable.run.report import report_of
from airflow_provider_tenable.run.status import archived_of, read_status
from sandbox.standalone import third_day
from tests.faults.set_oracle import active_by_tenable, active_in_hubs, wrong
from tests.integration.pipeline_driver import Run, Variables
from tests.integration.test_metrics import Stats
from tests.sandbox_driver import Sandbox

REASON = "tenable/vulnerability-management/archived_because"
SEVERITIES = {"CRITICAL": "critical", "HIGH": "high", "MEDIUM": "medium", "LOW": "low", "INFORMATIONAL": "info"}
LEVELS = {"critical": 15, "high": 30, "medium": 90, "low": 180}


def test_a_full_run_sends_the_few_that_changed_and_archives_what_is_gone(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    Run(defaults=defaults).execute()
    sandbox.advance(86400)
    Run(defaults=defaults).execute()
    before = archived_by_reason(sandbox)
    third_day.begin(sandbox.process.tenable, sandbox.process.aws)
    stats = Stats()
    monkeypatch.setattr(_compat, "Stats", stats)
    run = Run(defaults=defaults, params={"full": True})
    run.execute()
    # What Tenable still reports of the terminated host is sent, to archive it; of the deleted one it reports nothing.
    assert run.ledger["gone"]["archived"]["asset_deleted"] > 1
    assert run.ledger["sent"]["archived"] > 1
    assert 0 < run.ledger["accepted"] < run.ledger["findings"] / 10
    assert run.ledger["unchanged"] > run.ledger["findings"] / 2
    assert wrong(active_in_hubs(sandbox.documents()), active_by_tenable(sandbox.truth(), sandbox.accounts)) == {}

    # Every finding that was archived says why, and the ledger has counted them.
    archived = archived_by_reason(sandbox)
    assert "" not in archived
    assert archived - before == Counter(archived_of(run.ledger)) == Counter(stats.by("tenable.archived"))
    assert {"risk_accepted", "asset_terminated", "asset_deleted"} <= archived.keys()

    check_what_the_run_says_of_the_hubs(sandbox, run, stats)


def archived_by_reason(sandbox: Sandbox) -> Counter[str]:
    documents = [each for each in sandbox.documents().values() if each["RecordState"] == "ARCHIVED"]
    return Counter(each["ProductFields"].get(REASON, "") for each in documents)


def check_what_the_run_says_of_the_hubs(sandbox: Sandbox, run: Run, stats: Stats) -> None:
    """Status file, ledger, report, event and metrics, against the documents in the hubs."""
    folder = run.folder
    status = read_status(folder)
    assert status is not None
    assert (status["run_id"], status["full"]) == (run.run_id, True)
    places: dict[str, Counter[str]] = {}
    overdue: Counter[str] = Counter()
    ages: list[int] = []
    for document in sandbox.documents().values():
        if document["RecordState"] == "ACTIVE":
            severity = SEVERITIES[document["FindingProviderFields"]["Severity"]["Label"]]
            region = document["ProductArn"].split(":")[3]
            places.setdefault(f"{document['AwsAccountId']}/{region}", Counter())[severity] += 1
            first = datetime.fromisoformat(document["FirstObservedAt"]).timestamp()
            ages.append(int((status["at"] - first) // 86400))
            overdue[severity] += ages[-1] >= LEVELS.get(severity, 10**9)
    hubs = status["hubs"]
    assert {place: Counter(entry["by_severity"]) for place, entry in hubs["places"].items()} == places
    assert hubs["unknown"] == []
    assert Counter(hubs["total"]["overdue"]) == +overdue
    # A finding may have become a day older between the two looks.
    assert abs(hubs["total"]["oldest_days"] - max(ages)) <= 1
    assert run.ledger["active"] == hubs["total"] == event_extra(folder, run.ledger)["active"]
    total = sum(places.values(), Counter())
    assert {name: stats.gauges[f"tenable.active.{name}"] for name in SEVERITIES.values()} == {
        name: total[name] for name in SEVERITIES.values()
    }
    assert {name: stats.gauges[f"tenable.overdue.{name}"] for name in LEVELS} == {
        name: overdue[name] for name in LEVELS
    }
    report = report_of(folder)
    assert "Active in the hubs" in report
    for severity, count in total.items():
        assert re.search(rf"active: {severity} +\| +{count:,}\b", report)
