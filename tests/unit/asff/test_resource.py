"""EC2 instances and other assets as ASFF resources, and why an asset is skipped."""

from __future__ import annotations

import json

import msgspec
import pytest
from mapping import ACCOUNT, INSTANCE, REGION, ROW

from airflow_provider_tenable.asff.resource import ec2_resource, other_resource
from airflow_provider_tenable.assets.account import NO_ACCOUNT, NO_INSTANCE, NO_REGION, skip_reason
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow


def row(**changes):
    return msgspec.structs.replace(ROW, **changes)


def ec2(**changes):
    (resource,) = json.loads(bytes(ec2_resource(row(**changes)).encoded))
    return resource


def details(**changes):
    return ec2(**changes).get("Details", {}).get("AwsEc2Instance")


def texts(values):
    return json.dumps(values)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"region": None, "availability_zone": "eu-west-1b"}, None),
        ({"instance_id": None}, NO_INSTANCE),
        ({"instance_id": ""}, NO_INSTANCE),
        ({"instance_id": "ec244de6a6e-4004-4d20-9596-88edf73dd00d"}, NO_INSTANCE),
        ({"owner_id": None}, NO_ACCOUNT),
        ({"owner_id": "a" * 64}, NO_ACCOUNT),
        ({"owner_id": "11112222333"}, NO_ACCOUNT),
        ({"region": None}, NO_REGION),
        ({"region": "eu"}, NO_REGION),
        ({"instance_id": None, "owner_id": None, "region": None}, NO_INSTANCE),
        ({"owner_id": None, "region": None}, NO_ACCOUNT),
    ],
)
def test_skip_reason(changes, reason):
    assert skip_reason(row(**changes)) == reason


def test_reasons_are_words_that_the_ledger_keeps():
    assert (NO_INSTANCE, NO_ACCOUNT, NO_REGION) == ("no_ec2_instance", "no_aws_account", "no_aws_region")


def test_bare_instance_has_arn_partition_region_and_nothing_empty():
    assert ec2() == {
        "Type": "AwsEc2Instance",
        "Id": f"arn:aws:ec2:{REGION}:{ACCOUNT}:instance/{INSTANCE}",
        "Partition": "aws",
        "Region": REGION,
    }


@pytest.mark.parametrize(("region", "partition"), [("us-gov-east-1", "aws-us-gov"), ("cn-north-1", "aws-cn")])
def test_arn_and_partition_follow_the_region(region, partition):
    resource = ec2(region=region)
    assert resource["Id"] == f"arn:{partition}:ec2:{region}:{ACCOUNT}:instance/{INSTANCE}"
    assert resource["Partition"] == partition


@pytest.mark.parametrize("region", ["us-iso-east-1", "us-isob-east-1", "eusc-de-east-1"])
def test_partition_that_asff_does_not_know_is_left_out(region):
    assert "Partition" not in ec2(region=region)


def test_region_over_sixteen_characters_is_left_out_but_stands_in_the_arn():
    assert ec2(region="ap-southeast-100"[:16][:-2])["Region"] == "ap-southeast-1"
    assert ec2(region="ap-southwests-10")["Region"] == "ap-southwests-10"
    longer = ec2(region="ap-southwestss-10")
    assert "Region" not in longer
    assert ":ap-southwestss-10:" in longer["Id"]


def test_region_comes_from_the_zone():
    resource = ec2_resource(row(region=None, availability_zone="us-east-1d"))
    assert resource.region == "us-east-1"
    assert json.loads(bytes(resource.encoded))[0]["Region"] == "us-east-1"


def test_details_of_an_instance():
    assert details(
        instance_type="t2.micro",
        image_id="ami-1",
        vpc_id="vpc-1",
        subnet_id="subnet-1",
        addresses=texts(["10.0.0.1", "2001:DB8::1"]),
    ) == {
        "Type": "t2.micro",
        "ImageId": "ami-1",
        "VpcId": "vpc-1",
        "SubnetId": "subnet-1",
        "IpV4Addresses": ["10.0.0.1"],
        "IpV6Addresses": ["2001:db8::1"],
    }


@pytest.mark.parametrize(
    ("column", "name", "limit"),
    [
        ("instance_type", "Type", 16),
        ("image_id", "ImageId", 64),
        ("vpc_id", "VpcId", 32),
        ("subnet_id", "SubnetId", 32),
    ],
)
def test_identifier_at_its_limit_is_kept_and_one_over_is_left_out_whole(column, name, limit):
    assert details(**{column: "x" * limit}) == {name: "x" * limit}
    assert details(**{column: "x" * (limit + 1)}) is None
    assert details(**{column: "x" * 1_000_000}) is None
    for blank in ("", "  ", "\x00"):
        assert details(**{column: blank}) is None


def test_instance_type_that_does_not_fit_is_in_the_product_fields():
    assert (
        ec2_resource(row(instance_type="u7in-16tb.224xlarge")).product_fields["instance_type"] == "u7in-16tb.224xlarge"
    )


def test_addresses_are_at_most_ten_of_each_kind_once_in_order():
    fours, sixes = [f"10.0.0.{number}" for number in range(12)], [f"2001:db8::{number:x}" for number in range(1, 13)]
    assert details(addresses=texts([fours[0], *fours, *sixes, sixes[0].upper()])) == {
        "IpV4Addresses": fours[:10],
        "IpV6Addresses": sixes[:10],
    }


@pytest.mark.parametrize(
    "address", ["2001:DB8:1234:1234/32", "10.0.0.1/8", "010.0.0.1", "host", "", "1", "10.0.0.256", "\u0661.1.1.1", "%"]
)
def test_what_is_no_address_is_left_out(address):
    assert details(addresses=texts([address])) is None


def test_addresses_after_one_that_is_none_are_kept():
    assert details(addresses=texts(["2001:db8::/32", "10.0.0.1", "host", "2001:db8::1"])) == {
        "IpV4Addresses": ["10.0.0.1"],
        "IpV6Addresses": ["2001:db8::1"],
    }


def test_zone_of_a_link_local_address_is_left_out():
    assert details(addresses=texts(["fe80::1%eth0", "fe80::1"])) == {"IpV6Addresses": ["fe80::1"]}
    assert details(addresses=texts(["169.254.0.1%eth0"])) == {"IpV4Addresses": ["169.254.0.1"]}


def test_tags_are_those_of_the_aws_resource():
    assert ec2(resource_tags=texts({"Name": "web", "Empty": " "}), tags=texts({"mine": ["x"]}))["Tags"] == {
        "Name": "web"
    }
    assert "Tags" not in ec2(resource_tags="{}")


def test_tag_limits():
    fitting, too_long = "k" * 128, "k" * 129
    tags = ec2(resource_tags=texts({fitting: "v" * 256, too_long: "v", " ": "v", "long": "v" * 257}))["Tags"]
    assert tags == {fitting: "v" * 256, "long": "v" * 255 + "…"}
    many = ec2(resource_tags=texts({str(number): "v" for number in range(51)}))["Tags"]
    assert list(many) == [str(number) for number in range(50)]


@pytest.mark.parametrize(
    ("acr", "criticality"),
    [
        (1, 10),
        (9.0, 90),
        (9.96, 100),
        (10, 100),
        (0.04, 0),
        (0, None),
        (-1, None),
        (10.1, None),
        (None, None),
        (float("nan"), None),
        (float("inf"), None),
    ],
)
def test_criticality_is_ten_times_the_rating(acr, criticality):
    assert ec2_resource(row(acr=acr)).criticality == criticality


def test_product_fields_of_an_asset():
    fields = ec2_resource(
        row(
            name="host.example",
            tags=texts({"b": ["2", "1"], "a": ["x"]}),
            instance_type="t2.micro",
            operating_systems=texts(["Linux Kernel 5.10", "Oracle Linux 8.4"]),
        )
    ).product_fields
    assert fields == {
        "asset_uuid": "asset-1",
        "asset_name": "host.example",
        "instance_type": "t2.micro",
        "operating_system": "Linux Kernel 5.10, Oracle Linux 8.4",
        "tags": "a: x, b: 2, b: 1",
    }
    assert ec2_resource(row(name="host.example", instance_name="web-1")).product_fields["asset_name"] == "web-1"
    assert ec2_resource(ROW).product_fields == {
        "asset_uuid": "asset-1",
        "asset_name": "",
        "instance_type": "",
        "operating_system": "",
        "tags": "",
    }


def other(**changes):
    resource = other_resource(AssetRow(**{"id": "asset-2", **changes}), account="1" * 12, region="eu-west-1")
    return resource, json.loads(bytes(resource.encoded))[0]


def test_other_asset_stands_under_the_destinations_account_and_region():
    resource, encoded = other()
    assert (resource.account, resource.region, resource.resource, resource.criticality) == (
        "1" * 12,
        "eu-west-1",
        "asset-2",
        None,
    )
    assert encoded == {"Type": "Other", "Id": "tenable-asset/asset-2", "Region": "eu-west-1"}


def test_other_asset_tells_name_and_addresses():
    addresses = texts(["10.0.0.1", "10.0.0.2", "2001:db8::1", "2001:db8::2"])
    _, encoded = other(name="host.example", addresses=addresses, instance_id="i-x")
    assert encoded["Details"] == {
        "Other": {
            "Name": "host.example",
            "IpV4Addresses": "10.0.0.1, 10.0.0.2",
            "IpV6Addresses": "2001:db8::1, 2001:db8::2",
            "InstanceId": "i-x",
        }
    }


def test_other_details_are_below_1024_characters():
    _, encoded = other(name="x" * 1023)
    assert encoded["Details"]["Other"]["Name"] == "x" * 1023
    _, encoded = other(name="x" * 1024)
    assert encoded["Details"]["Other"]["Name"] == "x" * 1022 + "…"


def test_other_asset_has_criticality_and_product_fields():
    resource, _ = other(acr=3.0, name="n")
    assert resource.criticality == 30
    assert resource.product_fields["asset_uuid"] == "asset-2"


def test_other_resource_id_and_region_fit():
    _, encoded = other(id="x" * 600)
    assert len(encoded["Id"]) == 512
    resource = other_resource(AssetRow(id="a"), account="1" * 12, region="ap-southwestss-10")
    assert "Region" not in json.loads(bytes(resource.encoded))[0]


def test_region_of_exactly_sixteen_characters_stays_and_one_of_seventeen_is_left_out():
    for region, kept in (("ap-northcentral1", "ap-northcentral1"), ("mx-northcentral-1", None)):
        resource = other_resource(AssetRow(id="a"), account="1" * 12, region=region)
        assert json.loads(bytes(resource.encoded))[0].get("Region") == kept
