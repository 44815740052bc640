"""When a run that left records without a destination fails: by what it holds, by what Tenable knows, and by what was
said.
"""

from __future__ import annotations

import json

import pytest

from airflow_provider_tenable.exceptions import UnservedError
from airflow_provider_tenable.export.state import ExportState
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.run import ledger
from airflow_provider_tenable.run.unserved import check_served
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.transform.routing import NOT_CONFIGURED, NOT_REACHABLE

A, B, C, REGION = "111111111111", "222222222222", "333333333333", "eu-west-1"
OWN = {
    "aws_conn_id": "aws_default",
    "accounts": [A],
    "role_name": None,
    "region": None,
    "caller_account": A,
    "connection_region": REGION,
}
ALL = {**OWN, "accounts": []}


@pytest.fixture
def run(tmp_path):
    return RunFolder(f"file://{tmp_path}", "dag", "run")


def export(run, *owners):
    """Stage an asset per owner: an EC2 instance, with an account or without one; "" is an asset that is not in AWS."""
    store = StagedExport(run.export("assets"), "assets")
    records = [
        {"id": str(number), **({"cloud": {"aws": aws_of(owner)}} if owner != "" else {})}
        for number, owner in enumerate(owners)
    ]
    parts = {
        str(chunk): store.put("0", chunk, json.dumps(half).encode())
        for chunk, half in ((1, records[::2]), (2, records[1::2]))
    }
    store.save(ExportState("assets", {}, 0.0, uuid="u", data_from=1.0, complete=True, parts=parts))


def aws_of(owner):
    return {"owner_id": owner, "ec2_instance_id": "i-0123456789abcdef0", "region": REGION}


def check(
    run, *, served=0, unserved=None, skipped=None, not_ec2=0, since=1, destinations=(ALL,), own=False, exported=1
):
    plan = {
        "window": {"since": since},
        "destinations": list(destinations),
        "settings": {"region_routing": "fixed", "severities": ["high", "critical"], "states": ["open", "fixed"]},
        "usual_destinations": [] if own else None,
    }
    check_served(
        {
            "exported": exported,
            "findings": served,
            "unserved": unserved or {},
            "skipped": skipped or {},
            "not_ec2": not_ec2,
        },
        run,
        plan,
    )


def test_run_that_asks_for_everything_and_gets_nothing_fails(run, monkeypatch):
    with pytest.raises(
        UnservedError,
        match=r"no vulnerabilities at all.* severities high, critical and states open, fixed\. .*'Can View'",
    ):
        check(run, exported=0)
    # A day without news is no news.
    check(run, exported=0, since=2)
    monkeypatch.setenv("AIRFLOW__TENABLE__MAX_UNSERVED_RATIO", "1")
    check(run, exported=0)


@pytest.mark.parametrize(
    ("served", "unserved", "fails"), [(50, 50, False), (50, 51, True), (0, 1, True), (1, 0, False), (0, 0, False)]
)
def test_full_run_fails_above_the_ratio(run, served, unserved, fails):
    found = {B: {NOT_REACHABLE: unserved}} if unserved else {}
    if not fails:
        check(run, served=served, unserved=found)
        return
    with pytest.raises(
        UnservedError,
        match=rf"{unserved} of {served + unserved} records of AWS assets have no destination.*{B} \({unserved}: "
        rf"{NOT_REACHABLE}\)",
    ):
        check(run, served=served, unserved=found)


@pytest.mark.parametrize("ratio", ["0.6", "1"])
def test_ratio_is_the_deployments(run, monkeypatch, ratio):
    monkeypatch.setenv("AIRFLOW__TENABLE__MAX_UNSERVED_RATIO", ratio)
    check(run, served=45, unserved={B: {NOT_REACHABLE: 55}})
    monkeypatch.setenv("AIRFLOW__TENABLE__MAX_UNSERVED_RATIO", "0")
    with pytest.raises(UnservedError):
        check(run, served=99, unserved={B: {NOT_REACHABLE: 1}})


def test_assets_that_are_not_in_aws_do_not_count_and_neither_do_choices(run):
    check(
        run,
        served=1,
        skipped={
            "no_ec2_instance": 900,
            "severity_not_chosen": 900,
            "state_not_chosen": 9,
            "outside_window": 9,
            "unreadable_record": 9,
        },
    )


def test_findings_of_assets_that_are_not_in_aws_hide_no_account_that_is_not_served(run):
    with pytest.raises(UnservedError, match="20 of 22 records of AWS assets"):
        check(run, served=902, not_ec2=900, unserved={B: {NOT_REACHABLE: 20}})


def test_what_has_a_destination_and_could_not_be_mapped_counts_as_served(run):
    check(run, served=0, unserved={B: {NOT_REACHABLE: 5}}, skipped={"unmappable_record": 5})


def test_instances_without_an_account_count(run):
    with pytest.raises(
        UnservedError,
        match=r"instances whose account Tenable does not know \(60: no_aws_account\).*set up Tenable's AWS connector",
    ):
        check(run, served=40, skipped={"no_aws_account": 60})


def test_message_names_the_accounts_with_most_records_and_bounds_itself(run):
    unserved = {f"{number:012}": {NOT_CONFIGURED: number} for number in range(1, 301)}
    with pytest.raises(UnservedError) as failure:
        check(run, served=10, unserved=unserved)
    text = str(failure.value)
    assert text.index("000000000300 (300: account_not_configured)") < text.index("000000000291 (291:")
    assert "000000000290" not in text
    assert "290 more accounts, which ledger.json lists" in text
    assert "add the account to a destination" in text
    assert len(text) < 2000


def test_accounts_that_the_run_itself_does_not_list_are_left_out_on_purpose(run):
    check(run, served=1, unserved={B: {NOT_CONFIGURED: 99}}, own=True)
    with pytest.raises(UnservedError, match=B):
        check(run, served=1, unserved={B: {NOT_REACHABLE: 99}}, own=True)


@pytest.mark.parametrize(
    ("owners", "fails"),
    [([A, A, B], False), ([A, B, C], True), ([A, B, "", "", "", ""], False), ([A, B, None, "79a59df9"], True)],
)
def test_later_run_fails_only_where_most_instances_are_without_a_destination_too(run, owners, fails, caplog):
    """It holds what was scanned that day."""
    export(run, *owners)
    if fails:
        with pytest.raises(UnservedError):
            check(run, unserved={B: {NOT_REACHABLE: 7}}, since=1_790_000_000)
        return
    check(run, unserved={B: {NOT_REACHABLE: 7}}, since=1_790_000_000)
    assert f"7 of 7 records of AWS assets have no destination ({B} (7: {NOT_REACHABLE}))" in caplog.text


def test_later_run_whose_assets_are_not_on_record_is_judged_by_its_records(run):
    with pytest.raises(UnservedError):
        check(run, unserved={B: {NOT_REACHABLE: 7}}, since=1_790_000_000)


def test_instances_that_the_run_itself_does_not_list_do_not_count(run):
    export(run, A, A, B, C, C, C, C)
    check(
        run,
        unserved={B: {NOT_REACHABLE: 7}},
        since=1_790_000_000,
        destinations=[OWN, {**ALL, "accounts": [B]}],
        own=True,
    )


@pytest.mark.parametrize(
    ("owners", "fails"), [(["", "", ""], True), ([None, "79a59df9", ""], True), (["", "", A], False), ([], True)]
)
def test_run_without_a_record_of_an_aws_account_fails_where_no_asset_has_one(run, owners, fails):
    export(run, *owners)
    skipped = {"no_ec2_instance": 5, "no_aws_account": 0}
    if not fails:
        check(run, skipped=skipped)
        return
    with pytest.raises(
        UnservedError,
        match=rf"None of the {len(owners)} assets that Tenable exports has an AWS account, so none of 5 records",
    ):
        check(run, skipped=skipped)


def test_run_without_records_says_nothing_about_the_connector(run):
    export(run, "", "")
    check(run, skipped={"severity_not_chosen": 4})


def test_run_whose_assets_are_not_on_record_does_not_guess(run):
    check(run, skipped={"no_ec2_instance": 5})


def test_ledger_sums_the_accounts_of_all_shards_also_of_an_older_release(run):
    shards = [
        {"unserved": {B: {NOT_REACHABLE: 2}, A: {NOT_CONFIGURED: 1}}},
        {"unserved": {B: {NOT_REACHABLE: 3, NOT_CONFIGURED: 1}}},
        {},
    ]
    assert ledger.unserved_by_account(shards) == {A: {NOT_CONFIGURED: 1}, B: {NOT_CONFIGURED: 1, NOT_REACHABLE: 5}}


@pytest.mark.parametrize("reason", ["account_excluded", "region_excluded"])
def test_what_a_destination_excludes_does_not_count_as_unserved(run, reason):
    check(run, served=1, unserved={B: {reason: 99}})
