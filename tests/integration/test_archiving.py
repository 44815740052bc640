"""What Tenable does not report any more is archived by the next full run, and by that alone; not if it is too much."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from airflow_provider_tenable.exceptions import TooManyArchivedError
from airflow_provider_tenable.run.brake import TOLERATED
from tests.faults.set_oracle import active_by_tenable, active_in_hubs, wrong
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

REASON = "tenable/vulnerability-management/archived_because"


def ghosts(sandbox: Sandbox) -> dict[str, str]:
    return wrong(active_in_hubs(sandbox.documents()), active_by_tenable(sandbox.tenable("truth"), sandbox.accounts))


def active_of(sandbox: Sandbox, asset: str) -> list[str]:
    return [
        identity
        for identity, finding in sandbox.documents().items()
        if finding["RecordState"] == "ACTIVE"
        and finding["ProductFields"]["tenable/vulnerability-management/asset_uuid"] == asset
    ]


def busiest_asset(sandbox: Sandbox) -> str:
    """An asset with findings in a hub, but few enough for the brake."""
    counts: dict[str, int] = {}
    for finding in sandbox.documents().values():
        if finding["RecordState"] == "ACTIVE":
            asset = finding["ProductFields"]["tenable/vulnerability-management/asset_uuid"]
            counts[asset] = counts.get(asset, 0) + 1
    return max((asset for asset in counts if counts[asset] <= 50), key=lambda asset: counts[asset])


def full(defaults: dict[str, Any], **params: Any) -> Run:
    return Run(defaults=defaults, params={"full": True, **params})


def test_findings_of_an_asset_that_aged_out_are_archived_by_the_next_full_run(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    Run(defaults=defaults).execute()
    asset = busiest_asset(sandbox)
    gone = active_of(sandbox, asset)
    before = sandbox.documents()
    place = {"account": before[gone[0]]["AwsAccountId"], "region": before[gone[0]]["Region"], "id": gone[0]}
    sandbox.aws("customer", {**place, "set": {"Workflow": {"Status": "SUPPRESSED"}, "UserDefinedFields": {"a": "b"}}})
    sandbox.tenable("change", {"do": "age_out", "asset_id": asset})
    sandbox.advance(3600)

    ordinary = Run(defaults=defaults)
    ordinary.execute()
    assert set(active_of(sandbox, asset)) == set(gone)
    assert "archived" not in ordinary.ledger.get("gone", {}) or not ordinary.ledger["gone"]["archived"]

    run = full(defaults)
    run.execute()
    after = sandbox.documents()
    assert {after[each]["RecordState"] for each in gone} == {"ARCHIVED"}
    assert {after[each]["ProductFields"][REASON] for each in gone} == {"not_reported"}
    assert after[gone[0]]["Workflow"]["Status"] == "SUPPRESSED"
    assert after[gone[0]]["UserDefinedFields"] == {"a": "b"}
    assert run.ledger["gone"]["archived"] == {"not_reported": len(gone)}
    assert "Archived, not in Tenable any more" in run.report
    # Nothing else was touched, and the next full run finds nothing to do.
    others = {each: after[each] for each in before if each not in gone}
    assert {each: finding["RecordState"] for each, finding in others.items()} == {
        each: before[each]["RecordState"] for each in others
    }
    again = full(defaults)
    again.execute()
    assert again.ledger["gone"]["archived"] == {}
    assert again.ledger["accepted"] == 0


def test_a_recast_below_the_chosen_severities_is_archived_and_comes_back(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    Run(defaults=defaults).execute()
    held = sandbox.documents()
    identity = next(each for each in sorted(held) if held[each]["RecordState"] == "ACTIVE")
    finding = held[identity]["ProductFields"]["tenable/vulnerability-management/finding_id"]
    sandbox.tenable("change", {"do": "recast", "finding_id": finding, "severity_id": 1, "silently": True})
    full(defaults).execute()
    assert sandbox.documents()[identity]["RecordState"] == "ARCHIVED"
    sandbox.tenable("change", {"do": "restore", "finding_id": finding, "silently": True})
    full(defaults).execute()
    assert sandbox.documents()[identity]["RecordState"] == "ACTIVE"


def test_too_many_findings_are_not_archived_until_somebody_confirms_it(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    Run(defaults=defaults).execute()
    held = sandbox.documents()
    account, found = sandbox.accounts[0], sandbox.tenable("truth")["vulnerabilities"]
    for asset in {each["asset_id"] for each in found if each["account"] == account}:
        sandbox.tenable("change", {"do": "age_out", "asset_id": asset})
    before = int(variables.watermark or 0)
    run = full(defaults, accept_fewer_assets=True)
    with pytest.raises(TooManyArchivedError, match="max_archived_ratio 1"):
        run.execute()
    # All else was done: the run is complete, and the watermark has moved.
    assert int(variables.watermark or 0) >= before
    assert run.ledger["complete"]
    assert run.ledger["gone"]["stopped"]
    assert run.ledger["gone"]["archived"] == {}
    assert {each: finding["RecordState"] for each, finding in sandbox.documents().items()} == {
        each: finding["RecordState"] for each, finding in held.items()
    }
    confirmed = full(defaults, max_archived_ratio=1)
    confirmed.execute()
    assert confirmed.ledger["gone"]["stopped"] == {}
    assert confirmed.ledger["gone"]["archived"]["not_reported"] > 50
    assert not [each for each, what in ghosts(sandbox).items() if what == "ghost" and account in each]


def test_a_share_of_all_accounts_is_too_much_although_it_is_little_in_each(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    Run(defaults=defaults).execute()
    by_asset: Counter[tuple[str, str, str]] = Counter()
    for finding in sandbox.documents().values():
        if finding["RecordState"] == "ACTIVE":
            asset = finding["ProductFields"]["tenable/vulnerability-management/asset_uuid"]
            by_asset[finding["AwsAccountId"], finding["Region"], asset] += 1
    lost: Counter[str] = Counter()
    for (account, region, asset), count in by_asset.items():
        if lost[f"{account}/{region}"] + count <= TOLERATED:
            lost[f"{account}/{region}"] += count
            sandbox.tenable("change", {"do": "age_out", "asset_id": asset})
    assert len(lost) == 6
    assert lost.total() > max(TOLERATED, 0.1 * by_asset.total())
    held = sandbox.documents()
    run = full(defaults, accept_fewer_assets=True)
    with pytest.raises(TooManyArchivedError, match=rf"does not report {lost.total():,} findings any more"):
        run.execute()
    assert run.ledger["gone"]["stopped"] == dict(sorted(lost.items()))
    assert run.ledger["gone"]["archived"] == {}
    assert {each: finding["RecordState"] for each, finding in sandbox.documents().items()} == {
        each: finding["RecordState"] for each, finding in held.items()
    }
    confirmed = full(defaults, max_archived_ratio=1)
    confirmed.execute()
    assert confirmed.ledger["gone"]["archived"] == {"not_reported": lost.total()}
    assert ghosts(sandbox) == {}


@pytest.mark.parametrize(("verb", "reason"), [("terminate", "asset_terminated"), ("delete", "asset_deleted")])
def test_findings_of_a_host_that_is_gone_are_archived_by_the_next_run_although_it_is_not_full(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], verb: str, reason: str
) -> None:
    Run(defaults=defaults).execute()
    asset = busiest_asset(sandbox)
    gone = active_of(sandbox, asset)
    sandbox.advance(2 * 3600)
    sandbox.tenable("change", {"do": verb, "asset_id": asset})
    sandbox.advance(60)
    run = Run(defaults=defaults)
    run.execute()
    assert not run.ledger["full"]
    after = sandbox.documents()
    assert {after[each]["RecordState"] for each in gone} == {"ARCHIVED"}
    assert {after[each]["ProductFields"][REASON] for each in gone} == {reason}
    assert ghosts(sandbox) == {}
    # A full run agrees: what Tenable still exports of the host does not bring it back.
    again = full(defaults)
    again.execute()
    assert ghosts(sandbox) == {}
    assert again.ledger["gone"]["archived"] == {}
    # What is exported of it has another content, once.
    assert again.ledger["accepted"] <= len(gone)
    third = full(defaults)
    third.execute()
    assert third.ledger["accepted"] == 0


def test_without_the_permission_the_run_is_complete_and_says_what_is_missing(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    Run(defaults=defaults).execute()
    asset = busiest_asset(sandbox)
    gone = active_of(sandbox, asset)
    sandbox.tenable("change", {"do": "age_out", "asset_id": asset})
    for account in sandbox.accounts:
        role = f"arn:aws:iam::{account}:role/TenableSecurityHubImport"
        sandbox.aws("roles", {"arn": role, "deny": ["securityhub:GetFindings"]})
    run = full(defaults)
    run.execute()
    assert run.ledger["complete"]
    assert run.ledger["gone"]["not_archived"] == {"not_allowed": len(gone)}
    assert set(active_of(sandbox, asset)) == set(gone)
    assert "securityhub:GetFindings is not allowed, so findings are not archived" in caplog.text
    assert "not archived: not_allowed" in run.report


def test_what_a_run_could_not_know_stays_and_a_dry_run_archives_nothing(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    """An asset that Tenable does not publish at present; and a dry run archives nothing."""
    Run(defaults=defaults).execute()
    held = sandbox.documents()
    asset = busiest_asset(sandbox)
    hidden = active_of(sandbox, asset)
    # Its records are parked, because no export has their asset.
    sandbox.tenable("change", {"do": "hide_asset", "asset_id": asset, "singly": False})
    other = next(each for each in sorted(held) if held[each]["RecordState"] == "ACTIVE" and each not in hidden)
    other_asset = held[other]["ProductFields"]["tenable/vulnerability-management/asset_uuid"]
    aged = active_of(sandbox, other_asset)
    sandbox.tenable("change", {"do": "age_out", "asset_id": other_asset})
    dry = full(defaults, dry_run=True)
    dry.execute()
    assert sandbox.documents() == held
    assert "would be" in dry.report
    run = full(defaults)
    run.execute()
    after = sandbox.documents()
    assert {after[each]["RecordState"] for each in hidden} == {"ACTIVE"}
    assert {after[each]["RecordState"] for each in aged} == {"ARCHIVED"}
    assert run.ledger["gone"]["left"] == {"asset_has_waiting_records": len(hidden)}
