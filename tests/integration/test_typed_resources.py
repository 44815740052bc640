"""AWS resources that Tenable's assets name by ARN: from the exports to the hubs of their own accounts, over sockets."""

from __future__ import annotations

from typing import Any

from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox


def launched(sandbox: Sandbox, **values: Any) -> str:
    """A new asset with vulnerabilities that is not an EC2 instance. :return: its id."""
    known = {each["asset_id"] for each in sandbox.truth()["assets"]}
    sandbox.change({"do": "launch", "vulnerabilities": 20})
    [asset] = {each["asset_id"] for each in sandbox.truth()["assets"]} - known
    sandbox.change({"do": "change_asset", "asset_id": asset, "set": {"instance_id": None, **values}})
    return asset


def findings_of(sandbox: Sandbox, asset: str) -> list[dict[str, Any]]:
    key = "tenable/vulnerability-management/asset_uuid"
    return [each for each in sandbox.documents().values() if each["ProductFields"][key] == asset]


def key_of(finding: dict[str, Any]) -> tuple[str, str]:
    return finding["ProductArn"], finding["Id"]


def test_resources_come_to_their_accounts_and_leave_with_their_assets(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    account, region = sandbox.accounts[0], sandbox.process.facts["regions"][0]
    place = {"account": account, "region": region}
    image = f"{account}.dkr.ecr.{region}.amazonaws.com/shop/web@sha256:{'0a' * 32}"
    function = f"arn:aws:lambda:{region}:{account}:function:orders"
    assets = {
        "AwsS3Bucket": launched(sandbox, arn="arn:aws:s3:::logs", **place),
        "AwsEcrContainerImage": launched(sandbox, attributes=[image], **place),
        "AwsLambdaFunction": launched(sandbox, tags=[["AWS", function]], **place),
        "AwsRdsDbInstance": launched(
            sandbox, attributes=["blue", f"arn:aws:rds:{region}:{account}:db:orders"], **place
        ),
    }
    wrong = launched(sandbox, arn=f"arn:aws:sqs:{region}:999900001111:orders", **place)
    own = {**defaults, "non_ec2_assets": "typed"}
    run = Run(defaults=own)
    run.execute()
    for name, asset in assets.items():
        found = findings_of(sandbox, asset)
        assert found, name
        assert {each["Resources"][0]["Type"] for each in found} == {name}
        assert {(each["AwsAccountId"], each["Resources"][0]["Region"]) for each in found} == {(account, region)}
        assert all(each["Id"].startswith(f"{region}/{account}/") for each in found)
    assert not findings_of(sandbox, wrong)
    assert run.ledger["not_ec2"] == 0
    before = {key_of(each): each for each in sandbox.documents().values()}

    # Nothing is sent twice; a resource that is gone takes its findings with it.
    sandbox.change({"do": "terminate", "asset_id": assets["AwsS3Bucket"]})
    Run(defaults=own).execute()
    assert {each["RecordState"] for each in findings_of(sandbox, assets["AwsS3Bucket"])} == {"ARCHIVED"}
    for name, asset in assets.items():
        if name != "AwsS3Bucket":
            assert [before[key_of(each)] for each in findings_of(sandbox, asset)] == findings_of(sandbox, asset)
