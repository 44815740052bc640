"""The whole job against the strict servers: what must arrive arrives, nothing else does, and the ledger agrees."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Any

import pytest

from tests.integration.oracle import delivered, expected
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

DAY = 86400


def test_first_run_delivers_exactly_what_the_ground_truth_holds(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    truth = sandbox.tenable("truth")
    run = Run(defaults=defaults)
    result = run.execute()

    oracle = expected(truth, accounts=sandbox.accounts)
    assert len(oracle) > 300
    assert delivered(sandbox.documents()) == oracle
    ledger = run.ledger
    assert ledger["accepted"] == len(oracle) == len(sandbox.documents())
    assert ledger["findings"] == ledger["accepted"] + ledger["never_imported"]
    # What was fixed before the first run is not even asked for; what was accepted is, and is not sent.
    asked = [each for each in truth["vulnerabilities"] if each["severity_id"] in (3, 4) and each["state"] != "FIXED"]
    assert ledger["exported"] == len(asked)
    assert ledger["exported"] == ledger["findings"] + sum(ledger["skipped"].values())
    assert set(ledger["skipped"]) == {"account_not_configured", "no_aws_account", "no_ec2_instance"}
    assert variables.watermark == str(result["after"])
    assert int(truth["now"]) - 60 <= result["after"] <= truth["now"] + 60


def test_second_run_brings_only_what_changed_and_the_hub_follows(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    first = Run(defaults=defaults)
    first.execute()
    before = variables.watermark
    sandbox.advance(DAY)
    second = Run(defaults=defaults)
    second.execute()

    truth = sandbox.tenable("truth")
    since = int(before or 0) - 3600
    changed = [each for each in truth["vulnerabilities"] if each["severity_id"] in (3, 4) and each["indexed"] >= since]
    assert 0 < second.ledger["exported"] == len(changed) < first.ledger["exported"]
    assert delivered(sandbox.documents()) == expected(truth, accounts=sandbox.accounts)
    assert int(variables.watermark or 0) > int(before or 0)


def test_a_run_without_changes_sends_nothing_and_moves_the_watermark(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    Run(defaults=defaults).execute()
    variables.watermark = str(int(variables.watermark or 0) + 1)
    calls = sandbox.aws("stats")["calls"].get("BatchImportFindings", 0)
    run = Run(defaults=defaults)
    run.execute()
    assert run.ledger["exported"] == 0
    assert run.ledger["findings"] == 0
    assert sandbox.aws("stats")["calls"].get("BatchImportFindings", 0) == calls
    assert "Complete" in run.report


def test_the_same_run_again_sends_nothing(sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]) -> None:
    Run(defaults=defaults).execute()
    held, calls = sandbox.documents(), sandbox.aws("stats")["calls"]["BatchImportFindings"]
    variables.watermark = None
    again = Run(defaults=defaults)
    again.execute()
    assert sandbox.documents() == held
    assert sandbox.aws("stats")["calls"]["BatchImportFindings"] == calls
    assert again.ledger["unchanged"] == len(held) > 300
    assert again.ledger["accepted"] == 0


def test_customers_fields_survive_an_update(sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]) -> None:
    Run(defaults=defaults).execute()
    identity, finding = next(
        (key, each) for key, each in sandbox.documents().items() if each["RecordState"] == "ACTIVE"
    )
    place = {"account": finding["AwsAccountId"], "region": finding["Region"], "id": identity}
    note = {"Text": "known", "UpdatedBy": "someone"}
    sandbox.aws("customer", {**place, "set": {"Workflow": {"Status": "SUPPRESSED"}, "Note": note}})
    vulnerability = next(
        each
        for each in sandbox.tenable("truth")["vulnerabilities"]
        if f"/{each['instance_id']}/{each['plugin_id']}/{each['protocol']}/{each['port']}" in identity
    )
    sandbox.advance(3 * 3600)
    sandbox.tenable("change", {"do": "fix", "finding_id": vulnerability["finding_id"]})
    Run(defaults=defaults).execute()
    after = sandbox.documents()[identity]
    assert after["RecordState"] == "ARCHIVED"
    assert after["Workflow"]["Status"] == "SUPPRESSED"
    assert after["Note"]["Text"] == "known"


def test_backfill_covers_its_interval_and_leaves_the_watermark(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    truth = sandbox.tenable("truth")
    times = sorted(_own_time(each) for each in truth["vulnerabilities"])
    start, end = (datetime.fromtimestamp(int(times[len(times) * share // 10]), UTC) for share in (3, 7))
    variables.watermark = "1000000"
    run = Run(defaults=defaults, run_type="backfill", interval=(start, end))
    run.execute()
    inside = [each for each in truth["vulnerabilities"] if start.timestamp() <= _own_time(each) < end.timestamp()]
    oracle = expected({"vulnerabilities": inside}, accounts=sandbox.accounts)
    assert 0 < len(oracle) < 400
    assert delivered(sandbox.documents()) == oracle
    assert run.ledger["skipped"].get("outside_window", 0) > 0
    assert variables.watermark == "1000000"
    assert variables.writes == []


def _own_time(vulnerability: dict[str, Any]) -> float:
    return float(vulnerability["last_fixed"] if vulnerability["state"] == "FIXED" else vulnerability["last_found"])


def test_params_that_narrow_keep_the_watermark(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    run = Run(params={"severities": ["critical"]}, defaults=defaults)
    assert "stays" in run.execute()["why"]
    assert variables.watermark is None
    assert delivered(sandbox.documents()) == expected(
        sandbox.tenable("truth"), accounts=sandbox.accounts, severities=(4,)
    )


def test_destinations_that_leave_out_a_usual_account_keep_the_watermark(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    one = [{**defaults["destinations"][0], "accounts": sandbox.accounts[:1]}]
    assert (
        "deliver less than the DAG's own defaults"
        in Run(params={"destinations": one}, defaults=defaults).execute()["why"]
    )
    assert variables.watermark is None
    assert {finding["AwsAccountId"] for finding in sandbox.documents().values()} == set(sandbox.accounts[:1])


def test_destinations_in_other_regions_keep_the_watermark(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    # The DAG's own default has one hub Region for everything; test_params_and_watermark.py has destinations that only
    # add.
    assert "or deliver it differently" in Run(params=defaults).execute()["why"]
    assert variables.watermark is None


def test_dry_run_sends_nothing_and_keeps_the_watermark(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    run = Run(params={"dry_run": True}, defaults=defaults)
    assert "dry_run" in run.execute()["why"]
    assert sandbox.documents() == {}
    assert sandbox.aws("stats")["calls"].get("BatchImportFindings", 0) == 0
    assert run.ledger["findings"] > 300
    assert variables.watermark is None
    assert "dry_run: none sent" in run.report


@pytest.mark.parametrize("batch_size", [1, 7])
def test_batch_size_bounds_each_call(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], batch_size: int
) -> None:
    run = Run(params={"batch_size": batch_size, "severities": ["critical"]}, defaults=defaults)
    run.execute()
    stats = sandbox.aws("stats")
    assert stats["largest_batch"] == batch_size
    assert run.ledger["accepted"] == run.ledger["findings"] - run.ledger["never_imported"] > 0
    assert sum(each["calls"] for each in run.ledger["destinations"].values()) == stats["calls"]["BatchImportFindings"]


def test_accepted_risks_are_archived_or_imported_as_chosen(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    truth = sandbox.tenable("truth")["vulnerabilities"]
    accepted = {
        f"{each['region']}/{each['account']}/{each['instance_id']}/{each['plugin_id']}/{each['protocol']}/"
        f"{each['port']}"
        for each in truth
        if each["severity_modification_type"] == "ACCEPTED"
        and each["state"] != "FIXED"
        and each["account"] in sandbox.accounts
        and each["severity_id"] >= 3
    }
    assert accepted
    Run(params={"accepted_risks": "import"}, defaults=defaults).execute()
    assert {sandbox.documents()[identity]["RecordState"] for identity in accepted} == {"ACTIVE"}
    sandbox.aws("reset", {})
    variables.watermark = None
    Run(params={"accepted_risks": "archive"}, defaults=defaults).execute()
    assert {sandbox.documents()[identity]["RecordState"] for identity in accepted} == {"ARCHIVED"}


def test_assets_that_are_no_instance_become_other_resources_where_chosen(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    run = Run(params={"non_ec2_assets": "other"}, defaults=defaults)
    run.execute()
    others = [finding for finding in sandbox.documents().values() if finding["Resources"][0]["Type"] == "Other"]
    truth = sandbox.tenable("truth")["vulnerabilities"]
    assert len(others) == sum(
        1
        for each in truth
        if each["severity_id"] >= 3
        and (each["account"] is None or each["instance_id"] is None)
        and each["state"] != "FIXED"
        and each["severity_modification_type"] != "ACCEPTED"
    )
    assert {finding["AwsAccountId"] for finding in others} == {sandbox.accounts[0]}
    assert "no_ec2_instance" not in run.ledger["skipped"]


def test_fixed_routing_sends_all_findings_to_one_region(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    Run(params={"region_routing": "fixed"}, defaults=defaults).execute()
    held = sandbox.documents()
    assert {finding["Region"] for finding in held.values()} == {"us-east-1"}
    assert {identity.split("/")[0] for identity in held} == {"us-east-1", "eu-west-1"}
    assert len(held) == len(expected(sandbox.tenable("truth"), accounts=sandbox.accounts))


@pytest.mark.parametrize("length", [30, 250], ids=lambda length: f"run ids of {length}")
def test_a_record_whose_asset_is_not_published_yet_is_parked_and_delivered_later(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch, length: int
) -> None:
    truth = sandbox.tenable("truth")
    oracle = expected(truth, accounts=sandbox.accounts)
    asset = next(
        each["asset_id"]
        for each in truth["vulnerabilities"]
        if each["account"] == sandbox.accounts[1] and each["severity_id"] == 4
    )
    sandbox.tenable("change", {"do": "hide_asset", "asset_id": asset, "singly": False})
    first = Run(defaults=defaults, run_id=f"{'manual__':x<{length - 1}}0")
    first.execute()
    assert first.ledger["parked"] > 0
    assert (
        first.ledger["exported"]
        == sum(first.ledger["skipped"].values()) + first.ledger["parked"] + first.ledger["findings"]
    )
    assert len(sandbox.documents()) == len(oracle) - first.ledger["parked"]

    still = Run(defaults=defaults, run_id=f"{'manual__':x<{length - 1}}1")
    still.execute()
    assert (still.ledger["unparked"], still.ledger["parked"]) == (first.ledger["parked"], first.ledger["parked"])

    sandbox.tenable("change", {"do": "show_asset", "asset_id": asset})
    later = Run(defaults=defaults, run_id=f"{'manual__':x<{length - 1}}2")
    later.execute()
    assert (later.ledger["unparked"], later.ledger["parked"]) == (first.ledger["parked"], 0)
    assert delivered(sandbox.documents()) == oracle

    last = Run(defaults=defaults, run_id=f"{'manual__':x<{length - 1}}3")
    last.execute()
    assert last.ledger["unparked"] == 0


def test_a_missing_asset_is_looked_up_singly(sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]) -> None:
    truth = sandbox.tenable("truth")
    asset = next(
        each["asset_id"]
        for each in truth["vulnerabilities"]
        if each["account"] == sandbox.accounts[1] and each["severity_id"] == 4
    )
    sandbox.tenable("change", {"do": "hide_asset", "asset_id": asset, "singly": True})
    run = Run(defaults=defaults)
    run.execute()
    assert run.ledger["parked"] == 0
    # One look-up per task that needs it, not one per record.
    assert 1 <= sandbox.tenable("stats")["calls"]["asset"] <= 2
    assert delivered(sandbox.documents()) == expected(truth, accounts=sandbox.accounts)


def test_a_parked_record_is_given_up_after_its_days_and_the_run_goes_on(
    sandbox: Sandbox,
    variables: Variables,
    defaults: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    truth = sandbox.tenable("truth")
    asset = next(
        each["asset_id"]
        for each in truth["vulnerabilities"]
        if each["account"] == sandbox.accounts[1] and each["severity_id"] == 4
    )
    sandbox.tenable("change", {"do": "hide_asset", "asset_id": asset, "singly": False})
    first = Run(defaults=defaults)
    first.execute()
    time.sleep(1.1)
    monkeypatch.setenv("AIRFLOW__TENABLE__PARKED_DAYS", "0")
    given_up = Run(params={"max_rejected_ratio": 0.0}, defaults=defaults)
    assert given_up.execute()["why"].startswith("moves")
    assert given_up.ledger["skipped"]["asset_missing_given_up"] == first.ledger["parked"]
    assert given_up.ledger["parked"] == 0
    assert "their assets are missing" in caplog.text
    monkeypatch.delenv("AIRFLOW__TENABLE__PARKED_DAYS")
    after = Run(defaults=defaults)
    after.execute()
    assert after.ledger["unparked"] == 0


def test_files_of_complete_runs_are_removed_after_the_retention_and_those_of_failed_runs_stay(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    complete = Run(params={"severities": ["critical"]}, defaults=defaults)
    complete.execute()
    failed = Run(params={"severities": ["high"], "max_rejected_ratio": 0}, defaults=defaults)
    variables.watermark = None
    sandbox.aws(
        "faults",
        {
            "on": "BatchImportFindings",
            "do": "fail_findings",
            "code": "InvalidInput",
            "message": "no",
            "share": 1.0,
            "times": None,
        },
    )
    with pytest.raises(Exception, match="max_rejected_ratio"):
        failed.execute()
    sandbox.aws("reset", {})
    monkeypatch.setenv("AIRFLOW__TENABLE__RETENTION_DAYS", "0")
    last = Run(params={"severities": ["critical"]}, defaults=defaults)
    last.execute()
    assert not complete.folder.ledger.exists()
    assert failed.folder.ledger.exists()
    assert last.folder.ledger.exists()
