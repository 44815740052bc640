"""The resource of an AWS account's audit, and the page of a check without one of its own."""

from __future__ import annotations

import json
from typing import Any

import pytest

from airflow_provider_tenable.asff import row as finding_row
from airflow_provider_tenable.asff.resource import account_resource
from tests.unit.asff.test_compliance import PREFIX, mapped, record

ACCOUNT, ASSET = "111122223333", "aaaaaaaa-0000-4000-8000-000000000001"


def made(**change: Any) -> Any:
    return account_resource(ACCOUNT, **{"region": "eu-west-1", "partition": "aws", "asset": ASSET, **change})


def test_an_account_is_a_resource_as_security_hub_names_it() -> None:
    resource = made()
    assert json.loads(bytes(resource.encoded)) == [
        {"Type": "AwsAccount", "Id": f"AWS::::Account:{ACCOUNT}", "Partition": "aws", "Region": "eu-west-1"}
    ]
    assert (resource.account, resource.region, resource.is_ec2, resource.gone) == (ACCOUNT, "eu-west-1", False, "")
    assert (resource.product_fields, resource.criticality) == ({"asset_uuid": ASSET}, None)
    assert resource.asset_key == finding_row.asset_key(ASSET)


@pytest.mark.parametrize(
    ("partition", "shown"), [("aws-us-gov", "aws-us-gov"), ("aws-cn", "aws-cn"), ("aws-iso", None), ("", None)]
)
def test_a_partition_that_asff_does_not_know_is_left_out(partition: str, shown: str | None) -> None:
    assert json.loads(bytes(made(partition=partition).encoded))[0].get("Partition") == shown


@pytest.mark.parametrize(("length", "shown"), [(16, True), (17, False)])
def test_a_region_that_is_longer_than_asff_allows_is_left_out(length: int, shown: bool) -> None:
    assert ("Region" in json.loads(bytes(made(region="x" * length).encoded))[0]) == shown


def test_results_of_an_account_have_ids_with_its_region_and_account() -> None:
    finding, packed = mapped(record(), made())
    assert finding["Id"].startswith(f"eu-west-1/{ACCOUNT}/audit/")
    assert finding["ProductFields"][f"{PREFIX}asset_uuid"] == ASSET
    assert packed[2] == finding_row.asset_key(ASSET)
    gone = mapped(record(), made(gone="deleted"))[0]
    assert (gone["RecordState"], gone["ProductFields"][f"{PREFIX}archived_because"]) == ("ARCHIVED", "asset_deleted")


def test_what_is_shown_of_an_account_counts_as_content() -> None:
    one = made().material
    assert made().material == one
    others = [made(asset="another"), made(region="eu-west-2"), made(partition="aws-cn")]
    assert len({one, *(each.material for each in others)}) == 4


@pytest.mark.parametrize(
    ("plugin", "page"),
    [
        (72426, "https://www.tenable.com/plugins/nessus/72426"),
        (1, "https://www.tenable.com/plugins/nessus/1"),
        (10**9 - 1, "https://www.tenable.com/plugins/nessus/999999999"),
        (10**9, None),
        (0, None),
        (-1, None),
        (None, None),
    ],
)
def test_a_check_without_a_page_of_its_own_has_that_of_its_plugin(plugin: int | None, page: str | None) -> None:
    finding, _ = mapped(record(see_also=None, plugin_id=plugin, solution="Fix it."), made())
    assert finding.get("SourceUrl") == page
    expected = {"Text": "Fix it.", **({"Url": page} if page else {})}
    assert finding["Remediation"]["Recommendation"] == expected
    own, _ = mapped(record(see_also="https://example.com/a", plugin_id=plugin), made())
    assert own["SourceUrl"] == "https://example.com/a"
