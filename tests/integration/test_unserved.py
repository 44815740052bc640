"""A run that leaves out most of what it is there for fails, names the accounts, and keeps the watermark; on-premises
assets and small shares never fail one.
"""

from __future__ import annotations

import re
from typing import Any

import pytest

from airflow_provider_tenable.exceptions import UnservedError
from tests.integration.oracle import delivered, expected
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

#: One account of three: without a role, only that of the credentials can be reached.
NO_ROLE = [{"aws_conn_id": "aws_default", "accounts": "*", "role_name": None, "region": None}]


def fails(run: Run) -> str:
    with pytest.raises(UnservedError) as failure:
        run.execute()
    return str(failure.value)


@pytest.mark.parametrize("agents", [False, True])
def test_estate_without_the_connector_fails_and_says_so(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], agents: bool
) -> None:
    """With agents, Tenable knows instance ids, and no account."""
    sandbox.tenable("change", {"do": "disconnect", "agents": agents})
    run = Run(defaults=defaults)
    text = fails(run)
    assert re.search(r"None of the \d\d assets that Tenable exports has an AWS account, so none of \d{3} records", text)
    assert "Tenable's AWS connector is not set up" in text
    assert "Can View" in text
    assert (variables.watermark, sandbox.documents()) == (None, {})
    assert ("no_aws_account" in run.ledger["skipped"]) == agents
    assert "NOT COMPLETE" in run.report


def test_dry_run_finds_it_too(sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]) -> None:
    sandbox.tenable("change", {"do": "disconnect"})
    assert "has an AWS account" in fails(Run(params={"dry_run": True}, defaults=defaults))


def test_assets_that_are_not_in_aws_may_be_all_there_is_where_that_is_said(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    sandbox.tenable("change", {"do": "disconnect"})
    run = Run(params={"non_ec2_assets": "other"}, defaults={**defaults, "non_ec2_assets": "other"})
    run.execute()
    assert run.ledger["accepted"] == run.ledger["findings"] - run.ledger["never_imported"] > 300
    monkeypatch.setenv("AIRFLOW__TENABLE__MAX_UNSERVED_RATIO", "1")
    variables.watermark = None
    assert Run(defaults=defaults).execute()["why"].startswith("moves")


def test_accounts_that_cannot_be_reached_are_named_with_their_records(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    run = Run(defaults={**defaults, "destinations": NO_ROLE})
    text = fails(run)
    unserved = run.ledger["unserved"]
    assert set(unserved) == {*sandbox.accounts[1:], "999900001111"}
    for account, reasons in unserved.items():
        assert f"{account} ({sum(reasons.values()):,}: account_not_reachable_without_role)" in text
        assert f"not delivered: {account}" in run.report
    assert "more than [tenable] max_unserved_ratio 0.5 allows" in text
    assert "give the destination a role_name" in text
    assert (
        sum(sum(reasons.values()) for reasons in unserved.values())
        == run.ledger["skipped"]["account_not_reachable_without_role"]
    )
    # What can be reached was delivered, and comes again until the others are served: the watermark stays.
    assert delivered(sandbox.documents()) == expected(sandbox.tenable("truth"), accounts=sandbox.accounts[:1])
    assert variables.watermark is None

    again = Run(defaults=defaults)
    again.execute()
    assert delivered(sandbox.documents()) == expected(sandbox.tenable("truth"), accounts=sandbox.accounts)
    assert set(again.ledger["unserved"]) == {"999900001111"}


def test_accounts_that_are_not_configured_are_named(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    one = [{**defaults["destinations"][0], "accounts": sandbox.accounts[:1]}]
    text = fails(Run(defaults={**defaults, "destinations": one}))
    assert all(account in text for account in sandbox.accounts[1:])
    assert sandbox.accounts[0] not in text
    assert "add the account to a destination" in text


@pytest.mark.parametrize("ratio", ["0.9", "1"])
def test_option_accepts_what_is_intended(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], ratio: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__MAX_UNSERVED_RATIO", ratio)
    assert Run(defaults={**defaults, "destinations": NO_ROLE}).execute()["why"].startswith("moves")


def test_option_may_be_stricter(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__MAX_UNSERVED_RATIO", "0")
    # An account that nobody configured, and instances whose account Tenable does not know: part of every estate.
    text = fails(Run(defaults=defaults))
    assert "999900001111" in text
    assert "instances whose account Tenable does not know" in text


def test_accounts_that_one_run_leaves_out_on_purpose_do_not_fail_it(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    one = [{**defaults["destinations"][0], "accounts": sandbox.accounts[:1]}]
    run = Run(params={"destinations": one}, defaults=defaults)
    assert "deliver less than the DAG's own defaults" in run.execute()["why"]
    assert set(sandbox.accounts[1:]) <= set(run.ledger["unserved"])


def test_run_whose_only_records_are_of_an_account_without_destination_does_not_fail_where_most_instances_have_one(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    """As on the day on which nothing but that account is scanned."""
    Run(defaults=defaults).execute()
    sandbox.advance(3 * 3600)
    variables.watermark = str(int(sandbox.tenable("clock")["now"]) - 60)
    foreign = next(
        each
        for each in sandbox.tenable("truth")["vulnerabilities"]
        if each["asset_kind"] == "foreign_account" and each["severity_id"] >= 3
    )
    sandbox.tenable("change", {"do": "rescan", "asset_id": foreign["asset_id"], "found_ago": 1})
    run = Run(defaults=defaults)
    assert run.execute()["why"].startswith("moves")
    assert set(run.ledger["unserved"]) == {"999900001111"}
    assert "have no destination (999900001111" in caplog.text


def test_run_whose_only_records_are_of_assets_that_are_not_in_aws_does_not_fail(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    Run(defaults=defaults).execute()
    sandbox.advance(3 * 3600)
    variables.watermark = str(int(sandbox.tenable("clock")["now"]) - 60)
    other = next(
        each
        for each in sandbox.tenable("truth")["vulnerabilities"]
        if each["asset_kind"] == "on_prem" and each["severity_id"] >= 3
    )
    sandbox.tenable("change", {"do": "rescan", "asset_id": other["asset_id"], "found_ago": 1})
    run = Run(defaults=defaults)
    assert run.execute()["why"].startswith("moves")
    assert run.ledger["skipped"]["no_ec2_instance"] > 0
    assert run.ledger["findings"] == 0


def test_later_run_fails_where_most_instances_are_without_a_destination(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    Run(defaults=defaults).execute()
    mark = variables.watermark
    sandbox.advance(86400)
    # Somebody has dropped the role.
    assert sandbox.accounts[1] in fails(Run(defaults={**defaults, "destinations": NO_ROLE}))
    assert variables.watermark == mark
