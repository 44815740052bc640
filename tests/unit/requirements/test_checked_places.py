"""Which accounts and Regions are checked, what decides on the result, and the command."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest
from checked_estate import ACCOUNTS, DESTINATIONS, REGION, ROLE, Estate  # type: ignore[import-not-found]

from airflow_provider_tenable import _compat
from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS, AirflowFailException
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.requirements import __main__ as command
from airflow_provider_tenable.requirements import check
from airflow_provider_tenable.requirements.catalogue import CHECKS, GROUPS, REQUIRED, chosen
from airflow_provider_tenable.requirements.of_aws import Places
from airflow_provider_tenable.run.asset_locations import Location
from airflow_provider_tenable.tenable_vm.connectors import connector_of
from airflow_provider_tenable.transform.destinations import Destination
from tests.server_fixtures import server  # noqa: F401

A, B = ACCOUNTS
SAMPLE = Path(__file__).parents[2] / "data" / "connectors_list_official_example.json"
ANY = Destination("hub", (), ROLE, caller_account=A, connection_region=REGION, partition="aws")


def at(account: str | None, region: str, *, is_instance: bool = True) -> Location:
    return Location(account, region, None, is_instance)


def test_the_assets_name_the_places_those_with_the_most_first() -> None:
    locations = Counter({at(B, "eu-west-1"): 5, at(A, "us-east-1"): 9, at(None, "eu-west-1"): 99})
    locations[at(B, "eu-west-1", is_instance=False)] = 99
    assert list(Places([ANY], "resource", locations).targets) == [f"{A}/us-east-1", f"{B}/eu-west-1"]
    assert list(Places([ANY], "fixed", locations).targets) == [f"{A}/{REGION}", f"{B}/{REGION}"]


def test_without_an_index_the_destinations_name_the_places() -> None:
    named = Destination(
        "hub", (A, B), ROLE, caller_account=A, exclude_accounts=(B,), regions=("eu-west-1", "us-east-1")
    )
    assert list(Places([named], "resource", {}).targets) == [f"{A}/eu-west-1", f"{A}/us-east-1"]
    assert list(Places([ANY], "resource", {}).targets) == [f"{A}/{REGION}"]


def test_accounts_without_a_destination_are_named_and_those_left_out_on_purpose_are_not() -> None:
    only = Destination("hub", (A,), ROLE, caller_account=A, connection_region=REGION, partition="aws")
    found = Places([only], "fixed", Counter({at(A, REGION): 1, at(B, REGION): 1_234}))
    [line] = found.lines()
    assert (line.check, line.state) == ("aws.accounts", "failed")
    assert f"{B} (1,234 assets)" in line.detail
    assert "Add the account to a destination" in line.remedy
    chosen_out = Destination("hub", (), ROLE, caller_account=A, connection_region=REGION, exclude_accounts=(B,))
    [line] = Places([chosen_out], "fixed", Counter({at(A, REGION): 1, at(B, REGION): 1})).lines()
    assert line.state == "ok"
    no_role = Destination("hub", (), None, caller_account=A, connection_region=REGION, partition="aws")
    [line] = Places([no_role], "fixed", Counter({at(B, REGION): 1})).lines()
    assert "Give the destination a role_name" in line.remedy


def test_assets_of_a_partition_without_a_destination_have_a_line() -> None:
    partition, accounts = Places([ANY], "resource", Counter({at(A, "us-gov-west-1"): 3, at(A, REGION): 1})).lines()
    assert (partition.check, partition.subject, partition.state) == ("aws.partition", f"{A}/us-gov-west-1", "failed")
    assert "partition aws-us-gov" in partition.detail
    assert "belong to that partition" in partition.remedy
    assert accounts.state == "ok"


def test_places_beyond_the_bound_are_named_and_not_called(estate: Estate) -> None:
    estate.world.stats.calls.clear()
    table = estate.check(checks=["aws"], max_places=1)
    [row] = [row for row in table if row["check"] == "aws.bound"]
    assert (row["state"], row["required"]) == ("unchecked", False)
    assert f"1 of 2 accounts and Regions not checked: {B}/{REGION}" in row["detail"]
    assert "max_places" in row["remedy"]
    assert estate.world.stats.calls["DescribeHub"] == 1


def test_invalid_destinations_are_a_line_and_nothing_else_of_aws_is_called(estate: Estate) -> None:
    estate.world.stats.calls.clear()
    table = estate.check(destinations=[{"accounts": "x"}])
    [row] = [row for row in table if row["check"] == "aws.destinations"]
    assert (row["state"], row["required"]) == ("failed", True)
    assert {row["state"] for row in table if row["check"] in ("aws.role", "aws.hub", "aws.import")} == {"unchecked"}
    assert not estate.world.stats.calls
    assert {row["state"] for row in table if row["check"].startswith("tenable.")} == {"ok"}


def test_an_error_of_one_destination_does_not_hide_another(estate: Estate) -> None:
    table = estate.check(destinations=[{"aws_conn_id": "missing"}, *DESTINATIONS], checks=["aws"])
    assert [row["state"] for row in table if row["check"] == "aws.destinations"] == ["failed", "ok"]
    assert [row["state"] for row in table if row["check"] == "aws.hub"] == ["ok", "ok"]


def test_a_failed_requirement_fails_the_task_unless_it_only_warns(estate: Estate) -> None:
    estate.world.hubs.disable(B, REGION)
    with pytest.raises(AirflowFailException, match=r"1 of \d+ requirements are not met: aws\.hub\. The table above"):
        estate.check(on_failure="fail")
    assert [row["check"] for row in estate.xcoms["return_value"] if row["state"] == "failed"] == ["aws.hub"]
    assert estate.check(on_failure="warn")
    assert estate.check(on_failure="fail", required=["tenable", "staging.write"])
    # Not required by default.
    estate.world.hubs.set(B, REGION, "subscribed")
    estate.tenable.connectors.clear()
    assert estate.check(on_failure="fail")
    with pytest.raises(AirflowFailException, match=r"connector\.status"):
        estate.check(on_failure="fail", required=["connector"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"on_failure": "explode"}, "on_failure is 'explode'; it must be fail or warn"),
        ({"checks": ["tenable.kez"]}, "checks contains 'tenable.kez', which is neither a check nor one of the groups"),
        ({"required": "aws"}, "required must be a list of checks"),
    ],
    ids=str,
)
def test_wrong_arguments_are_explained(estate: Estate, arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(AirflowFailException, match=message):
        estate.check(**arguments)
    assert estate.calls() == {}


def test_groups_stand_for_their_checks() -> None:
    assert GROUPS == ("tenable", "scanner", "audit", "connector", "aws", "staging", "airflow")
    assert chosen(["scanner", "staging.space"], what="x", default=()) == {"scanner.online", "staging.space"}
    assert chosen(None, what="x", default=REQUIRED) == REQUIRED < set(CHECKS)
    assert not [name for name in REQUIRED if name.startswith("connector")]


def test_params_and_options_name_the_destinations(estate: Estate) -> None:
    estate.params = {"destinations": DESTINATIONS, "region_routing": "resource"}
    assert {row["subject"] for row in estate.check(destinations=None) if row["check"] == "aws.hub"} == {
        f"{A}/{REGION}",
        f"{B}/{REGION}",
    }
    estate.params = {}
    option = {"destinations": [{**DESTINATIONS[0], "accounts": [B]}]}
    estate.patch.setenv("AIRFLOW__TENABLE__DAG_PARAMS", json.dumps(option))
    assert {row["subject"] for row in estate.check(destinations=None) if row["check"] == "aws.hub"} == {f"{B}/{REGION}"}


def test_keys_reach_neither_the_table_nor_the_log(estate: Estate, caplog: pytest.LogCaptureFixture) -> None:
    estate.world.hubs.disable(B, REGION)
    with caplog.at_level("DEBUG"):
        table = estate.check()
    for secret in ("sandbox-secret-key", "sandbox-aws-secret"):
        assert secret not in caplog.text
        assert secret not in json.dumps([table, estate.xcoms])


def test_the_documented_connectors_are_read() -> None:
    entries = [each for each in json.loads(SAMPLE.read_text())["connectors"] if each["type"].startswith("aws")]
    read = [connector_of(entry) for entry in entries]
    assert [each.name for each in read] == [
        "AWS FA Connector",
        "AWS Discovery Connector",
        "AWS Connector - Keyed",
        "AWS Keyless Connector",
    ]
    assert [sorted(each.accounts) for each in read] == [
        ["012345678901"],
        ["012345678901"],
        ["069647819620"],
        ["795163652895"],
    ]
    assert [each.interval for each in read] == [1800, 1800, None, None]
    assert [each.names_all_accounts for each in read] == [False, False, False, True]
    assert [each.last_sync is None for each in read] == [False, False, True, True]


def test_the_command_prints_the_table_and_exits_by_it(estate: Estate, capsys: pytest.CaptureFixture[str]) -> None:
    estate.patch.setattr(_compat, "slots_of_pool", lambda _: 128)
    estate.patch.setattr(_compat, "max_active_runs_of", lambda _: 1)
    estate.patch.setenv("_AIRFLOW_PROCESS_CONTEXT", "server")
    destinations = ["--destinations", json.dumps(DESTINATIONS)]
    assert command.main(destinations) == 0
    shown = capsys.readouterr().out
    assert "Requirements of Tenable to Security Hub CSPM: " in shown
    assert "0 failed" in shown
    # It leaves nothing behind.
    assert not (estate.folder / "staging").exists()
    (estate.folder / "staging").mkdir(mode=0o700)
    estate.world.hubs.disable(B, REGION)
    assert command.main([*destinations, "--json", "--checks", "aws", "staging"]) == 1
    rows = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert [row["check"] for row in rows if row["state"] == "failed"] == ["aws.hub"]
    assert list((estate.folder / "staging").iterdir()) == []
    assert command.main([*destinations, "--required", "tenable"]) == 0
    assert command.main(["--destinations", "{"]) == 2
    assert "--destinations is not JSON" in capsys.readouterr().err


def test_an_index_that_cannot_be_read_is_not_used(estate: Estate, caplog: pytest.LogCaptureFixture) -> None:
    def damaged(*_: Any, **__: Any) -> None:
        raise ConfigurationError("damaged")

    estate.patch.setattr(check, "known_assets", damaged)
    assert {row["state"] for row in estate.check(checks=["aws.hub"])} == {"ok"}
    assert "The asset index of tenable_to_security_hub is not used: damaged" in caplog.text


@pytest.mark.skipif(not AIRFLOW_V_3_0_PLUS, reason="tasks of Airflow 2 read the database")
@pytest.mark.parametrize(
    ("status", "body", "found"),
    [
        (200, {"triggerer": {"status": "healthy"}}, {"triggerer": {"status": "healthy"}}),
        (200, b"<html>", None),
        (200, b"[" * 100_000, None),
        (302, {"triggerer": {"status": "healthy"}}, None),
        (404, {}, None),
    ],
    ids=str,
)
def test_health_is_asked_of_the_api_server_without_keys(
    server: Any,  # noqa: F811
    monkeypatch: pytest.MonkeyPatch,
    status: int,
    body: Any,
    found: Any,
) -> None:
    server.answer(status, body, Location="http://127.0.0.1:1/")
    monkeypatch.setenv("AIRFLOW__CORE__EXECUTION_API_SERVER_URL", f"{server.url}/execution/")
    assert _compat.airflow_health(in_task=True) == found
    [(method, path, headers, _)] = server.requests
    assert (method, path) == ("GET", "/api/v2/monitor/health")
    assert not {"Authorization", "Cookie", "X-ApiKeys"} & set(headers)
