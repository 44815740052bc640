"""Results of audits in the hubs, compared with the simulated Tenable's own objects as a set."""

from __future__ import annotations

from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from airflow_provider_tenable.run import watermark
from airflow_provider_tenable.run.status import read_status
from airflow_provider_tenable.scan import audited_accounts
from airflow_provider_tenable.scan.audited_accounts import Audited
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

REASON = "tenable/vulnerability-management/archived_because"
AUDIT = "CIS_Amazon_Web_Services_Foundations_v{}.0.0_L1.audit"
HOST_AUDIT = "CIS_CentOS_8_Server_L1_v1.0.0.audit"
ASSETS = [str(UUID(int=number + 1)) for number in range(4)]


def record(tmp_path: Path, number: int, account: str, asset: str) -> None:
    audited_accounts.record(
        f"file://{tmp_path / 'staging'}",
        f"template-00000000-0000-4000-8000-{number:012d}0000000000000000",
        Audited(
            account=account,
            partition="aws",
            regions=("us-east-1",),
            audits=(),
            credential="c",
            name=f"audit {account}",
            assets=(asset,),
        ),
    )


def expected(sandbox: Sandbox, accounts: dict[str, str]) -> set[tuple[str, str, str, str]]:
    """(resource, audit file, check, status) of every open result of a known account, or of a host in one."""
    truth = sandbox.truth()
    arns = {
        host["asset_id"]: f"arn:aws:ec2:{host['region']}:{host['account']}:instance/{host['instance_id']}"
        for host in truth["assets"]
        if host["account"] in sandbox.accounts
    }
    owners = {asset: f"AWS::::Account:{account}" for asset, account in accounts.items()}
    return {
        ((owners if each["is_aws"] else arns)[each["asset_id"]], each["audit_file"], each["check"], each["status"])
        for each in truth["compliance"]
        if each["state"] != "FIXED" and each["asset_id"] in (owners if each["is_aws"] else arns)
    }


def held(sandbox: Sandbox) -> set[tuple[str, str, str, str]]:
    prefix = "tenable/vulnerability-management/"
    return {
        (
            finding["Resources"][0]["Id"],
            finding["ProductFields"][f"{prefix}audit_file"],
            finding["ProductFields"][f"{prefix}check_id"],
            finding["Compliance"]["Status"],
        )
        for finding in sandbox.documents().values()
        if "Compliance" in finding and finding["RecordState"] == "ACTIVE"
    }


def test_every_check_of_every_account_and_host_with_its_status(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], tmp_path: Path
) -> None:
    usual = {name: value for name, value in defaults.items() if name not in ("severities", "states")}

    def run(**params: Any) -> Run:
        made = Run(defaults=usual, params=params, kind="compliance")
        made.execute()
        return made

    first, second = sandbox.accounts[:2]
    accounts = {ASSETS[0]: first, ASSETS[1]: second}
    for number, (asset, account) in enumerate(accounts.items()):
        record(tmp_path, number, account, asset)
        sandbox.change(
            {"do": "audit", "asset_id": asset, "audit_file": AUDIT.format(6), "checks": 70, "aws": True},
        )
    host = next(
        each["asset_id"]
        for each in sandbox.truth()["assets"]
        if each["account"] == first and each["asset_kind"] == "ec2" and not each["terminated_at"]
    )
    sandbox.change({"do": "audit", "asset_id": host, "audit_file": HOST_AUDIT})
    # No audit of this deployment made these.
    sandbox.change({"do": "audit", "asset_id": ASSETS[2], "audit_file": AUDIT.format(6), "aws": True, "checks": 5})
    made = run()
    assert held(sandbox) == expected(sandbox, accounts)
    assert made.ledger["skipped"]["unknown_account"] == made.ledger["waiting"]["unknown_account"] == 5
    assert made.ledger["audits"][second][AUDIT.format(6)] == {"failed": 24, "passed": 23, "warning": 23}
    assert "24 failed, 23 warning, 23 passed" in made.report
    status = read_status(made.folder)
    assert status
    assert status["audits"]["accounts"] == made.ledger["audits"]
    assert "unknown_account" in made.report
    identity = f"us-east-1/{second}/audit/"
    found = next(each for each in sandbox.documents() if "/audit/" in each and second in each)
    assert found.split("/")[1:3] == [second, "audit"], identity
    assert all(len(each["Compliance"]["RelatedRequirements"]) <= 32 for each in sandbox.documents().values())

    # A customer suppresses one; results change, there and back.
    place = sandbox.documents()[found]
    sandbox.aws(
        "customer",
        {
            "account": place["AwsAccountId"],
            "region": place["Region"],
            "id": found,
            "set": {"Workflow": {"Status": "SUPPRESSED"}},
        },
    )
    changed = {"do": "set_result", "asset_id": ASSETS[0], "audit_file": AUDIT.format(6)}
    for status in ("PASSED", "FAILED"):
        sandbox.advance(3600)
        sandbox.change({**changed, "number": 0, "status": status}, {**changed, "number": 1, "status": status})
        run()
        assert held(sandbox) == expected(sandbox, accounts)
    sandbox.change({**changed, "number": 2, "state": "FIXED"})
    run()
    assert held(sandbox) == expected(sandbox, accounts)
    assert sandbox.documents()[found]["Workflow"]["Status"] == "SUPPRESSED"

    # The account becomes known: what waited is delivered by an ordinary run.
    third = sandbox.accounts[2]
    accounts[ASSETS[2]] = third
    record(tmp_path, 7, third, ASSETS[2])
    run()
    assert held(sandbox) == expected(sandbox, accounts)

    # A new version of the audit replaces the old one: archived without a confirmation, by the next full run.
    sandbox.advance(3600)
    sandbox.change(
        {"do": "audit", "asset_id": ASSETS[1], "audit_file": AUDIT.format(7), "checks": 70, "aws": True},
        {"do": "drop_audit", "asset_id": ASSETS[1], "audit_file": AUDIT.format(6)},
    )
    made = run(full=True)
    assert held(sandbox) == expected(sandbox, accounts)
    assert made.ledger["gone"]["archived"] == {"superseded_audit": 70}
    assert sandbox.documents()[found]["Workflow"]["Status"] == "SUPPRESSED"
    assert {
        each["ProductFields"].get(REASON) for each in sandbox.documents().values() if each["RecordState"] == "ARCHIVED"
    } >= {"superseded_audit"}

    # An account leaves.
    sandbox.change({"do": "drop_audit", "asset_id": ASSETS[2]})
    del accounts[ASSETS[2]]
    made = run(full=True)
    assert held(sandbox) == expected(sandbox, accounts)
    assert made.ledger["gone"]["archived"] == {"not_reported": 5}
    again = run(full=True)
    assert again.ledger["accepted"] == 0
    assert again.ledger["gone"]["archived"] == {}


def test_vulnerabilities_and_audits_of_one_hub_leave_each_other_alone(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], tmp_path: Path
) -> None:
    usual = {name: value for name, value in defaults.items() if name not in ("severities", "states")}
    account = sandbox.accounts[0]
    record(tmp_path, 0, account, ASSETS[0])
    sandbox.change({"do": "audit", "asset_id": ASSETS[0], "audit_file": AUDIT.format(6), "checks": 8, "aws": True})
    Run(defaults=defaults).execute()
    of_vulnerabilities = sandbox.documents()
    Run(defaults=usual, kind="compliance").execute()
    assert held(sandbox) == expected(sandbox, {ASSETS[0]: account})
    # Each has a watermark and an index of its own: what the other has sent is neither gone nor known.
    sandbox.advance(3600)
    for run in (
        Run(defaults=defaults, params={"full": True}),
        Run(defaults=usual, params={"full": True}, kind="compliance"),
    ):
        before = dict(variables.values)
        run.execute()
        assert run.ledger["full"]
        assert (run.ledger["accepted"], run.ledger["gone"]["archived"]) == (0, {})
        changed = {name for name, value in variables.values.items() if value != before.get(name)}
        assert changed == {watermark.variable_name(run.folder.dag_id)}
    assert held(sandbox) == expected(sandbox, {ASSETS[0]: account})
    assert of_vulnerabilities.items() <= sandbox.documents().items()


def test_an_asset_of_two_accounts_is_explained_and_never_guessed(
    sandbox: Sandbox,
    variables: Variables,
    defaults: dict[str, Any],
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
) -> None:
    for number, account in enumerate(sandbox.accounts[:2]):
        record(tmp_path, number, account, ASSETS[0])
    sandbox.change({"do": "audit", "asset_id": ASSETS[0], "audit_file": AUDIT.format(6), "aws": True})
    usual = {name: value for name, value in defaults.items() if name not in ("severities", "states")}
    run = Run(defaults=usual, kind="compliance")
    run.execute()
    assert sandbox.documents() == {}
    assert run.ledger["skipped"] == {"unknown_account": 12}
    assert f"Audits of 2 accounts share asset {ASSETS[0]}" in caplog.text
