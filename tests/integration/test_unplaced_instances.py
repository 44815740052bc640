"""Instances of which Tenable knows only the id, or the addresses, are placed by EC2: real hooks, the sandbox's EC2 and
STS, and the findings in the right account; and what the hook reads of moto's EC2.
"""

from __future__ import annotations

from contextlib import closing
from typing import Any

import boto3
import pytest

from airflow_provider_tenable.assets.placement import Place
from airflow_provider_tenable.exceptions import TenableProviderError
from airflow_provider_tenable.hooks.ec2_instances import Ec2InstancesHook
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.transform.routing import Destination
from tests.aws_services import IMAGE, AwsServices
from tests.integration.conftest import connect
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

CONNECTION = "aws_of_ec2"


def launched(services: AwsServices, place: Place, *, count: int = 1) -> list[str]:
    """New instances in an account and Region of the moto server."""
    sts = boto3.client("sts", region_name=place.region, endpoint_url=services.url, **_keys(services))
    with closing(sts):
        role = f"arn:aws:iam::{place.account}:role/TenableSecurityHubImport"
        session = sts.assume_role(RoleArn=role, RoleSessionName="test")["Credentials"]
    keys = {
        "aws_access_key_id": session["AccessKeyId"],
        "aws_secret_access_key": session["SecretAccessKey"],
        "aws_session_token": session["SessionToken"],
    }
    with closing(boto3.client("ec2", region_name=place.region, endpoint_url=services.url, **keys)) as ec2:
        images = ec2.describe_images(MaxResults=5)["Images"]
        answer = ec2.run_instances(ImageId=images[0]["ImageId"] if images else IMAGE, MinCount=count, MaxCount=count)
    return [each["InstanceId"] for each in answer["Instances"]]


def _keys(services: AwsServices) -> dict[str, str]:
    fields = services.connection()
    return {"aws_access_key_id": fields["login"], "aws_secret_access_key": fields["password"]}


@pytest.fixture
def ec2(aws_services: AwsServices, monkeypatch: pytest.MonkeyPatch) -> AwsServices:
    """moto's EC2 and STS, which have a connection of their own."""
    connect(monkeypatch, CONNECTION, aws_services.connection())
    return aws_services


def unplaced(sandbox: Sandbox, instance: str | None, **values: Any) -> str:
    """A new host on an instance, of which Tenable does not know the account. :return: its asset id."""
    known = {each["asset_id"] for each in sandbox.truth()["assets"]}
    sandbox.change({"do": "launch", "vulnerabilities": 20})
    [asset] = {each["asset_id"] for each in sandbox.truth()["assets"]} - known
    sandbox.change({"do": "change_asset", "asset_id": asset, "set": {"instance_id": instance, **values}})
    sandbox.change({"do": "disconnect", "asset_id": asset, "agents": instance is not None})
    return asset


def test_findings_of_an_unplaced_instance_come_to_its_account(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__RESOLVE_UNPLACED_INSTANCES", "True")
    account, region = sandbox.accounts[-1], _region_of_next(sandbox)
    place = {"account": account, "region": region}
    by_id, by_mac, mac = "i-0fedcba9876543210", "i-00000000000000002", "06:aa:bb:cc:dd:07"
    sandbox.aws("instances", {**place, "instance": by_id})
    sandbox.aws("instances", {**place, "instance": by_mac, "mac": mac, "addresses": ["10.9.9.9"]})
    unplaced(sandbox, by_id, region=region)
    unplaced(sandbox, "i-0123456789abcdef0")
    unplaced(sandbox, None, mac=mac, ipv4s=["10.9.9.9"])
    run = Run(defaults=defaults)
    run.execute()
    for instance in (by_id, by_mac):
        found = [each for each in sandbox.documents().values() if instance in each["Id"]]
        assert found
        assert {(each["AwsAccountId"], each["Resources"][0]["Region"]) for each in found} == {(account, region)}
    assert run.ledger["resolved"]["assets"] == 2
    assert run.ledger["resolved"]["hosts"] == 1
    assert run.ledger["resolved"]["unresolved"]["not_found"] >= 1
    assert run.ledger["resolved"]["silent"] == {}
    assert "Assets resolved by EC2" in run.report
    assert "hosts recognised by their addresses" in run.report
    assert read_json(run.folder.status)["resolved"] == run.ledger["resolved"]


def _region_of_next(sandbox: Sandbox) -> str:
    """The Region of the next host that the sandbox launches."""
    regions, number = sandbox.process.facts["regions"], len(sandbox.truth()["assets"])
    return str(regions[number // len(sandbox.accounts) % len(regions)])


def test_hook_reads_all_pages_and_knows_no_strangers(ec2: AwsServices, monkeypatch: pytest.MonkeyPatch) -> None:
    place = Place("444455556666", "eu-west-1")
    # moto pages by reservations.
    instances = [*launched(ec2, place, count=2), *launched(ec2, place, count=2)]
    monkeypatch.setattr("airflow_provider_tenable.hooks.ec2_instances._PAGE_INSTANCES", 1)
    destination = Destination(CONNECTION, (), role_name="TenableSecurityHubImport")
    with closing(Ec2InstancesHook.reaching(destination, place)) as hook:
        found = list(hook.find([*instances, "i-0123456789abcdef0"], place))
        assert sorted(each.instance for each in found) == sorted(instances)
        assert {(each.owner, each.zone[:9], each.place) for each in found} == {(place.account, place.region, place)}
        assert {each.state for each in found} <= {"pending", "running"}
        assert list(hook.find(["i-0123456789abcdef0"], place)) == []
        monkeypatch.setattr("airflow_provider_tenable.hooks.ec2_instances._MOST_PAGES", 1)
        with pytest.raises(TenableProviderError, match="more than 1 pages"):
            list(hook.find(instances, place))
