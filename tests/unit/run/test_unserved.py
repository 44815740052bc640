"""When a run that left records without a destination fails: by what it holds, by what Tenable knows, and by what was
said.
"""

from __future__ import annotations

import json

import pytest

from airflow_provider_tenable.exceptions import UnservedError
from airflow_provider_tenable.export.state import ExportState
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.run import manifests
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
        str(chunk): store.put("0", chunk, store.encode([json.dumps(half).encode()]))
        for chunk, half in ((1, records[::2]), (2, records[1::2]))
    }
    store.save(ExportState("assets", {}, 0.0, uuid="u", data_from=1.0, complete=True, parts=parts))


def aws_of(owner):
    return {"owner_id": owner, "ec2_instance_id": "i-0123456789abcdef0", "region": REGION}


def check(
    run,
    *,
    served=0,
    unserved=None,
    skipped=None,
    not_ec2=0,
    since=1,
    destinations=(ALL,),
    own=False,
    exported=1,
    refused=(),
    scope=None,
    **planned,
):
    plan = {
        **planned,
        "window": {"since": since},
        "destinations": list(destinations),
        "settings": {
            "region_routing": "fixed",
            "severities": ["high", "critical"],
            "states": ["open", "fixed"],
            "scope": scope or {},
        },
        "usual_destinations": [] if own else None,
    }
    check_served(
        {
            "exported": exported,
            "findings": served,
            "unserved": unserved or {},
            "skipped": skipped or {},
            "not_ec2": not_ec2,
            "refused": {place: {"records": 1, "why": "hub off", "reached": True} for place in refused},
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
    assert manifests.unserved_by_account(shards) == {A: {NOT_CONFIGURED: 1}, B: {NOT_CONFIGURED: 1, NOT_REACHABLE: 5}}


@pytest.mark.parametrize("reason", ["account_excluded", "region_excluded"])
def test_what_a_destination_excludes_does_not_count_as_unserved(run, reason):
    check(run, served=1, unserved={B: {reason: 99}})


def refusal(run, **found):
    with pytest.raises(UnservedError) as failure:
        check(run, **found)
    return str(failure.value)


def test_message_of_a_run_without_any_vulnerability_says_what_to_check(run):
    assert refusal(run, exported=0) == (
        "Tenable exported no vulnerabilities at all, although this run requested all of them with severities high, "
        "critical and states open, fixed. Usual causes: the API user lacks 'Can View' on the assets, and Tenable omits "
        "what a user may not see; the connection's keys belong to another container; nothing was scanned yet. Nothing "
        "was imported, and the watermark stays. If there really is nothing to import, set [tenable] "
        "max_unserved_ratio = 1, or trigger the DAG with the param since."
    )


def test_a_run_for_some_plugins_may_find_nothing(run, caplog):
    """What Tenable was asked for may be on no host."""
    check(run, exported=0, scope={"plugin_ids": [19506], "min_vpr": 7.0})
    assert "none has {'plugin_id': [19506], 'vpr_score': {'gte': 7.0}}" in caplog.text
    # Without a filter of Tenable's it is the same as without a scope.
    assert "exported no vulnerabilities" in refusal(run, exported=0, scope={"known_exploited_only": True})


def test_message_of_a_run_without_any_result_of_an_audit_is_about_audits(run):
    assert refusal(run, exported=0, kind="compliance", audit_statuses=["passed", "failed"]).startswith(
        "Tenable exported no results of audits at all, although this run requested all of them with statuses passed, "
        "failed. Usual causes: the API user lacks 'Can View' on the assets, and Tenable omits what a user may not see; "
        "the connection's keys belong to another container; no audit has run yet. "
    )


@pytest.mark.parametrize("reason", ["no_ec2_instance", "no_aws_account", "no_aws_region"])
def test_message_of_a_run_without_any_account_counts_every_record_and_says_what_to_set_up(run, reason):
    export(run, *[""] * 1_200)
    skipped = {"no_ec2_instance": 0, "no_aws_account": 0, "no_aws_region": 0, reason: 2_000}
    # Instances without an account have a check of their own.
    if reason == "no_aws_account":
        assert "(2,000: no_aws_account)" in refusal(run, served=1, skipped=skipped)
    assert refusal(run, skipped=skipped) == (
        "None of the 1,200 assets that Tenable exports has an AWS account, so none of 2,000 records could be imported "
        "into Security Hub CSPM. The watermark stays. Usual causes: Tenable's AWS connector is not set up (Settings > "
        "Cloud Connectors), or the API user has no Can View on its assets. Set it up, and run the DAG again once it "
        "has synchronised. If your assets are not in AWS on purpose, set non_ec2_assets=other to import them anyway, "
        "or [tenable] max_unserved_ratio = 1."
    )


def test_message_names_each_account_and_each_reason_with_what_to_do(run):
    unserved = {A: {NOT_CONFIGURED: 3}, B: {"other_partition": 2_000, "unheard_of": 1}, C: {NOT_REACHABLE: 3}}
    assert refusal(run, served=1_000, unserved=unserved, skipped={"no_aws_account": 1_500}) == (
        "3,507 of 4,507 records of AWS assets have no destination, more than [tenable] max_unserved_ratio 0.5 allows: "
        "222222222222 (2,001: other_partition, unheard_of), 111111111111 (3: account_not_configured), 333333333333 (3: "
        "account_not_reachable_without_role), instances whose account Tenable does not know (1,500: no_aws_account). "
        "Findings with a destination were delivered; the watermark stays. What to do: add the account to a "
        "destination; give the destination a role_name, and create that role in the account; set up Tenable's AWS "
        "connector for the accounts of these instances; add a destination whose connection and Region belong to the "
        "partition of these resources (such as aws-us-gov or aws-cn); look up unheard_of in mapping.md. Then clear the "
        "run. If you leave them out on purpose, raise [tenable] max_unserved_ratio; 1 accepts everything."
    )


@pytest.mark.parametrize("accounts", [10, 11])
def test_message_names_up_to_ten_accounts(run, accounts):
    text = refusal(run, unserved={f"{number:012}": {NOT_CONFIGURED: 1} for number in range(accounts)})
    assert text.count(f"(1: {NOT_CONFIGURED})") == 10
    assert (", 1 more accounts, which ledger.json lists." in text) == (accounts == 11)
    assert "instances whose account" not in text


@pytest.mark.parametrize(("chosen", "fails"), [(49, True), (51, False)])
def test_records_that_are_left_out_on_purpose_count_like_delivered_ones(run, chosen, fails):
    found = {"unserved": {A: {NOT_REACHABLE: 50}, B: {"region_excluded": chosen}}}
    if fails:
        assert refusal(run, **found).startswith("50 of 99 records")
    else:
        check(run, **found)


def test_refusing_account_without_another_destination_counts_and_says_what_to_do(run):
    text = refusal(run, served=1, unserved={B: {"destination_refused": 2}})
    assert (
        "What to do: remove the cause for which the account or Region refuses findings (the report names it), or leave "
        "it out with exclude_accounts or regions. Then clear the run."
    ) in text


@pytest.mark.parametrize(
    ("owners", "ratio", "fails"),
    [([A, B], "0.5", False), ([A, B, C], "0.5", True), ([A, B, C], "0.7", False), ([B], "0.99", True)],
)
def test_later_run_compares_the_share_of_instances_with_the_same_ratio(run, monkeypatch, owners, ratio, fails):
    monkeypatch.setenv("AIRFLOW__TENABLE__MAX_UNSERVED_RATIO", ratio)
    export(run, *owners)
    found = {"unserved": {B: {NOT_REACHABLE: 7}}, "since": 2}
    if fails:
        assert refusal(run, **found).startswith("7 of 7 records")
    else:
        check(run, **found)


def test_log_of_a_later_run_has_both_shares(run, caplog):
    export(run, A, A, B)
    check(run, served=1, unserved={B: {NOT_REACHABLE: 7}}, since=2)
    assert [record.getMessage() for record in caplog.records if "destination" in record.getMessage()] == [
        f"7 of 8 records of AWS assets have no destination ({B} (7: {NOT_REACHABLE})), but only 1 of all 3 instances "
        "that Tenable knows are affected."
    ]


def test_log_says_that_assets_cannot_be_read(run, caplog):
    check(run, skipped={"no_ec2_instance": 5})
    refusal(run, unserved={B: {NOT_REACHABLE: 7}}, since=2)
    texts = [record.getMessage() for record in caplog.records]
    assert [text.split(":")[0] for text in texts] == [
        "Cannot determine whether any asset has an AWS account",
        "Cannot determine how many instances have no destination",
    ]
    assert all(len(text) > 80 for text in texts)


@pytest.mark.parametrize(("refused", "fails"), [((), False), ((f"{A}/{REGION}",), True)])
def test_instances_of_a_refusing_account_have_no_destination(run, refused, fails):
    export(run, A, A, "")
    found = {"unserved": {B: {"destination_refused": 7}}, "since": 2, "refused": refused}
    if fails:
        assert refusal(run, **found).startswith("7 of 7 records")
    else:
        check(run, **found)
