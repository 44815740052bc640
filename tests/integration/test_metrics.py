"""What a run tells Airflow's metrics is what its ledger says."""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

import pytest

from airflow_provider_tenable import _compat
from airflow_provider_tenable.exceptions import TooManyArchivedError
from airflow_provider_tenable.operators.security_hub import SecurityHubImportFindingsOperator
from airflow_provider_tenable.run import plan as pipeline
from tests.integration.conftest import Sandbox
from tests.integration.pipeline_driver import DAG_ID, Run, Variables
from tests.integration.test_archiving import busiest_asset, full


class Stats:
    """Counters by name and chosen tags; the latest of gauges and timers."""

    def __init__(self) -> None:
        self.counters: Counter[tuple[str, ...]] = Counter()
        self.gauges: dict[str, float] = {}
        self.timers: Counter[str] = Counter()

    def incr(self, name: str, count: int, *, tags: dict[str, str]) -> None:
        self.counters[(name, *(tags[tag] for tag in ("account", "region") if tag in tags))] += count

    def gauge(self, name: str, value: float, *, tags: dict[str, str]) -> None:
        self.gauges[name] = value

    def timing(self, name: str, milliseconds: float, *, tags: dict[str, str]) -> None:
        assert milliseconds > 0
        self.timers[name] += 1

    def by(self, name: str) -> dict[str, int]:
        """What stands in the names: ``tenable.skipped.{reason}``."""
        found: Counter[str] = Counter()
        for (each, *_), number in self.counters.items():
            if each.startswith(f"{name}."):
                found[each.removeprefix(f"{name}.")] += number
        return dict(found)


def test_metrics_of_a_run_agree_with_its_ledger(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stats = Stats()
    monkeypatch.setattr(_compat, "Stats", stats)
    run = Run(defaults=defaults)
    run.execute()
    ledger = run.ledger
    assert ledger["findings"] > 300
    assert stats.by("tenable.exported")["vulnerabilities"] == ledger["exported"]
    assert stats.by("tenable.skipped") == ledger["skipped"]
    assert stats.counters["tenable.parked",] == ledger["parked"]
    for account, severities in ledger["severities"].items():
        assert {
            severity: stats.counters[f"tenable.findings.{severity}", account] for severity in severities
        } == severities
    for name, entry in ledger["destinations"].items():
        place = tuple(name.split("/"))
        assert (stats.counters[("tenable.accepted", *place)], stats.counters[("tenable.calls", *place)]) == (
            entry["accepted"],
            entry["calls"],
        )
    assert stats.by("tenable.rejected") == {}
    not_sent = {name: ledger[name] for name in ("unchanged", "superseded", "never_imported") if ledger[name]}
    assert not_sent
    assert stats.by("tenable.compared") == {
        **{name: number for name, number in ledger["sent"].items() if number},
        **not_sent,
    }
    # The watermark was not there before; now it is as old as the sandbox's clock is slow.
    assert 0 <= time.time() - int(variables.watermark or 0) - stats.gauges[f"tenable.watermark_lag.{DAG_ID}"] < 120
    assert (
        stats.timers["tenable.duration.export.vulnerabilities"] == stats.timers["tenable.duration.export.assets"] == 1
    )
    assert stats.timers["tenable.duration.import"] == len(ledger["destinations"])

    # An import that is cleared finds its receipts, and an export its chunks: nothing is counted twice.
    counted = stats.counters.copy()
    SecurityHubImportFindingsOperator(task_id="again", assignment=pipeline.plan_imports(run.context)[0]).execute(
        run.context
    )
    run.export("assets", {})
    assert stats.counters == counted


def test_number_of_places_that_refuse_is_the_ledgers(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    stats = Stats()
    monkeypatch.setattr(_compat, "Stats", stats)
    gauge = f"tenable.refused_destinations.{DAG_ID}"
    gone = sandbox.accounts[-1]
    sandbox.aws("account", {"account": gone, "state": "closed"})
    run = Run(defaults=defaults)
    run.execute()
    assert {place.split("/")[0] for place in run.ledger["refused"]} == {gone}
    assert stats.gauges[gauge] == len(run.ledger["refused"])

    # An alert ends when nothing refuses any more.
    sandbox.aws("account", {"account": gone, "state": "open"})
    Run(defaults=defaults).execute()
    assert stats.gauges[gauge] == 0


def test_what_was_archived_and_what_was_too_much_is_what_the_ledger_says(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    Run(defaults=defaults).execute()
    stats = Stats()
    monkeypatch.setattr(_compat, "Stats", stats)
    stopped = f"tenable.archiving_stopped.{DAG_ID}"
    sandbox.change({"do": "age_out", "asset_id": busiest_asset(sandbox)})
    run = full(defaults)
    run.execute()
    assert stats.by("tenable.archived") == run.ledger["gone"]["archived"] != {}
    assert stats.gauges[stopped] == 0
    account = sandbox.accounts[0]
    found = sandbox.truth()["vulnerabilities"]
    gone = {each["asset_id"] for each in found if each["account"] == account}
    sandbox.change(*({"do": "age_out", "asset_id": asset} for asset in gone))
    stats.counters.clear()
    braked = full(defaults, accept_fewer_assets=True)
    with pytest.raises(TooManyArchivedError):
        braked.execute()
    assert stats.by("tenable.archived") == braked.ledger["gone"]["archived"]
    assert stats.gauges[stopped] == sum(braked.ledger["gone"]["stopped"].values()) > 50


def test_findings_are_counted_also_by_a_try_that_fails(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    from airflow_provider_tenable.security_hub.importer import FindingsImport

    stats = Stats()
    monkeypatch.setattr(_compat, "Stats", stats)
    run = Run(defaults=defaults)
    plan = pipeline.plan_run(run.context)
    exports = run.export("assets", plan["asset_filters"]), run.export("vulnerabilities", plan["vulnerability_filters"])
    run.transform(plan, *exports)
    assignment = max(
        pipeline.plan_imports(run.context),
        key=lambda each: len(list(run.folder.destination(*each["title"].split("/")).iterdir())),
    )
    whole = FindingsImport.run

    def dies_at_the_end(self: Any, *arguments: Any, **options: Any) -> None:
        whole(self, *arguments, **options)
        raise OSError("the worker is lost")

    monkeypatch.setattr(FindingsImport, "run", dies_at_the_end)
    operator = SecurityHubImportFindingsOperator(task_id="import", assignment=assignment)
    with pytest.raises(OSError, match="is lost"):
        operator.execute(run.context)
    monkeypatch.setattr(FindingsImport, "run", whole)
    result = SecurityHubImportFindingsOperator(task_id="import", assignment=assignment).execute(run.context)
    place = tuple(assignment["title"].split("/"))
    assert stats.counters[("tenable.accepted", *place)] == result["accepted"] > 0
