"""The sandbox's EC2: filters, pages, whose instances are seen, and errors in EC2's own form."""

from typing import Any

import pytest
from botocore.exceptions import ClientError
from conftest import ACCOUNT, OTHER, ROLE, Sandbox  # type: ignore[import-not-found]

MINE = {"account": ACCOUNT, "region": "us-east-1"}


def found(client: Any, *filters: tuple[str, list[str]], **more: Any) -> list[str]:
    asked = [{"Name": name, "Values": values} for name, values in filters]
    answer = client.describe_instances(**({"Filters": asked} if asked else {}), **more)
    return [each["InstanceId"] for each in (each["Instances"][0] for each in answer["Reservations"])]


def test_instances_are_seen_in_their_account_and_region_by_filters(sandbox: Sandbox) -> None:
    mac = "02:aa:bb:cc:dd:01"
    one = {**MINE, "instance": "i-1", "mac": mac, "addresses": ["10.0.0.5", "10.0.0.6"], "vpc": "vpc-1"}
    sandbox.control("instances", [one, {**MINE, "instance": "i-2", "owner": OTHER, "state": "stopped"}])
    sandbox.control("instances", {**MINE, "account": OTHER, "instance": "i-3"})
    ec2 = sandbox.client("ec2")
    assert found(ec2) == ["i-1", "i-2"]
    assert found(ec2, ("instance-id", ["i-1", "i-3"])) == ["i-1"]
    assert found(ec2, ("network-interface.mac-address", [mac]), ("vpc-id", ["vpc-1"])) == ["i-1"]
    assert found(ec2, ("network-interface.addresses.private-ip-address", ["10.0.0.6"])) == ["i-1"]
    assert found(sandbox.client("ec2", region="eu-west-1")) == []
    assert found(sandbox.client("ec2", key=sandbox.assume())) == ["i-3"]
    first, second = ec2.describe_instances()["Reservations"]
    assert (first["OwnerId"], second["OwnerId"]) == (ACCOUNT, OTHER)
    [interface] = first["Instances"][0]["NetworkInterfaces"]
    assert (interface["MacAddress"], interface["VpcId"]) == (mac, "vpc-1")
    assert [each["PrivateIpAddress"] for each in interface["PrivateIpAddresses"]] == ["10.0.0.5", "10.0.0.6"]


def test_pages_follow_each_other(sandbox: Sandbox) -> None:
    sandbox.control("instances", [{**MINE, "instance": f"i-{number}"} for number in range(7)])
    ec2 = sandbox.client("ec2")
    token = ec2.describe_instances(MaxResults=5)["NextToken"]
    assert found(ec2, MaxResults=5, NextToken=token) == ["i-5", "i-6"]


@pytest.mark.parametrize(
    ("asked", "code"),
    [
        ({"Filters": [{"Name": "colour", "Values": ["red"]}]}, "InvalidParameterValue"),
        ({"Filters": [{"Name": "vpc-id", "Values": [str(number) for number in range(201)]}]}, "FilterLimitExceeded"),
        ({"MaxResults": 1}, "InvalidParameterValue"),
        ({"NextToken": "x"}, "InvalidParameterValue"),
    ],
)
def test_what_ec2_does_not_take_is_refused(sandbox: Sandbox, asked: dict[str, Any], code: str) -> None:
    sandbox.control("instances", {**MINE, "instance": "i-1"})
    with pytest.raises(ClientError, match=code):
        sandbox.client("ec2").describe_instances(**asked)


def test_permission_can_be_missing_and_keys_unknown(sandbox: Sandbox) -> None:
    sandbox.control("roles", {"arn": ROLE, "deny": ["ec2:*"]})
    with pytest.raises(ClientError, match="UnauthorizedOperation"):
        sandbox.client("ec2", key=sandbox.assume()).describe_instances()
    with pytest.raises(ClientError, match="AuthFailure"):
        sandbox.client("ec2", key=("AKIANOBODY0000000000", "x")).describe_instances()


@pytest.mark.parametrize("body", ["x", [1], {"colour": "red"}, {"account": "1"}])
def test_a_wrong_order_is_refused(sandbox: Sandbox, body: Any) -> None:
    answer = sandbox.http.post("/_sandbox/instances", json=body)
    assert answer.status_code == 400
