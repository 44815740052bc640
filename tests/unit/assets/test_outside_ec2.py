"""Which AWS resource an asset is: what it names, if that is certain and agrees with the rest of the asset."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.assets.outside_ec2 import aws_resource_of
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow, row_of_details
from airflow_provider_tenable.tenable_vm.kinds import ASSETS

ACCOUNT, REGION = "111122223333", "eu-west-1"
DB = f"arn:aws:rds:{REGION}:{ACCOUNT}:db:orders"
QUEUE = f"arn:aws:sqs:{REGION}:{ACCOUNT}:orders"
VOLUME = "vol-0123456789abcdef0"


def row_of(**asset) -> AssetRow:
    (row,) = ASSETS.rows(json.dumps([{"id": "a", **asset}]).encode())
    assert isinstance(row, AssetRow)
    return row


def found(**asset) -> str | None:
    arn = aws_resource_of(row_of(**asset))
    return arn and arn.text


def aws(**fields):
    return {"aws": fields}


@pytest.mark.parametrize(
    "asset",
    [
        {"cloud": aws(arn=DB)},
        {"cloud": aws(arn=f" {DB} ")},
        {"name": DB},
        {"custom_attributes": [{"id": "x", "value": "blue"}, {"id": "y", "value": DB}]},
        {"tags": [{"key": "Owner", "value": "red"}, {"key": "AWS resource", "value": DB}]},
        {"name": DB, "cloud": aws(arn=DB, owner_id=ACCOUNT, region=REGION)},
        {"name": DB, "cloud": aws(availability_zone=f"{REGION}b")},
        {"name": DB, "cloud": aws(resource_id="db-ABC")},
        # Fields that cannot be read cost nothing else.
        {"name": DB, "custom_attributes": "arn:x"},
        {"name": DB, "custom_attributes": [None, 5, {"value": {"arn:": 1}}]},
    ],
)
def test_an_asset_names_its_resource(asset):
    assert found(**asset) == DB


@pytest.mark.parametrize(
    "asset",
    [
        {},
        {"name": "orders"},
        {"name": f"see {DB}"},
        {"name": DB, "tags": [{"key": "AWS", "value": QUEUE}]},
        {"name": DB, "cloud": aws(arn=QUEUE)},
        {"name": DB, "cloud": aws(owner_id="444455556666")},
        # As Tenable's documentation describes an owner: it could be any account.
        {"name": DB, "cloud": aws(owner_id="79a5" * 16)},
        {"name": DB, "cloud": aws(region="us-east-1")},
        {"name": DB, "cloud": aws(region="nowhere")},
        {"name": DB, "cloud": aws(availability_zone="us-east-1a")},
        {"name": DB, "cloud": aws(ec2_instance_id="i-0123456789abcdef0")},
        {"cloud": aws(resource_id=VOLUME)},
        {"cloud": aws(resource_id="<b>")},
        {"name": VOLUME, "cloud": aws(owner_id=ACCOUNT, region=REGION)},
        {"cloud": aws(arn="arn:aws:rds:" + "x" * 1_000_000)},
        {"cloud": aws(arn=["arn"])},
    ],
    ids=lambda value: str(value)[:80],
)
def test_nothing_is_guessed(asset):
    assert found(**asset) is None


def test_an_id_needs_account_and_region():
    assert (
        found(cloud=aws(resource_id=VOLUME, owner_id=ACCOUNT, region=REGION))
        == f"arn:aws:ec2:{REGION}:{ACCOUNT}:volume/{VOLUME}"
    )


def test_several_names_are_kept_as_one_that_is_not_valid_and_huge_ones_are_cut():
    assert row_of(name=DB, tags=[{"key": "AWS", "value": QUEUE}]).resource_name == f"{DB} {QUEUE}"
    huge = row_of(cloud=aws(arn="arn:" + "x" * 1_000_000)).resource_name
    assert huge is not None
    assert len(huge) == 513
    deep = b'[{"id": "a", "custom_attributes": ' + b'[{"arn:": ' * 5_000 + b"1" + b"}]" * 5_000 + b"}]"
    assert all(isinstance(row, AssetRow) and row.resource_name is None for row in ASSETS.rows(deep))


def test_an_asset_looked_up_singly_says_the_same():
    row = row_of_details({"id": "a", "aws_arn": [DB], "aws_owner_id": [ACCOUNT]})
    assert row is not None
    assert row.resource_name == DB
    tagged = row_of_details({"id": "a", "tags": [{"tag_key": "AWS", "tag_value": QUEUE}]})
    assert tagged is not None
    assert tagged.resource_name == QUEUE
    attributes = row_of_details({"id": "a", "custom_attributes": [{"id": "x", "value": QUEUE}]})
    assert attributes is not None
    assert attributes.resource_name == QUEUE


def test_instances_say_nothing_more_than_before():
    assert row_of(name=DB, cloud=aws(ec2_instance_id="i-0123456789abcdef0")).resource_name is None


_named = st.sampled_from([DB, QUEUE, VOLUME, ACCOUNT, REGION, "arn:<script>"])
_texts = st.one_of(st.none(), st.text(max_size=30), _named)


@settings(max_examples=200, deadline=None)
@given(_texts, _texts, _texts, _texts, _texts)
def test_whatever_an_asset_says_its_resource_is_one_of_its_names(name, arn, resource_id, owner, region):
    fields = {"arn": arn, "resource_id": resource_id, "owner_id": owner, "region": region}
    text = found(name=name, cloud=aws(**fields))
    if text is not None:
        assert text in (DB, QUEUE, f"arn:aws:ec2:{REGION}:{ACCOUNT}:volume/{VOLUME}")
        assert owner in (None, "", ACCOUNT)
        assert region in (None, "", REGION)
