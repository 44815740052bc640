"""Tenable's published example payloads end where the mapping says, by way of the staged Parquet part."""

from __future__ import annotations

import json

import pytest
from mapping import DATA, Part, example, finding_of, row_of_export

from airflow_provider_tenable.asff.finding import MappingOptions
from airflow_provider_tenable.asff.plugin import decode_plugin
from airflow_provider_tenable.asff.resource import other_resource
from airflow_provider_tenable.assets import table
from airflow_provider_tenable.assets.account import NO_ACCOUNT, NO_INSTANCE, NO_REGION, skip_reason
from airflow_provider_tenable.tenable_vm import asset_row
from airflow_provider_tenable.tenable_vm.decode import count_blocks, decode_chunk
from airflow_provider_tenable.tenable_vm.records import Vulnerability
from tests.unit.assets.parts import to_parquet

ON_PREM, WEBAPP, EC2 = example("assets_v2_chunk_official_example.json")
SHAREPOINT, HEADER = example("vulns_chunk_official_example.json")


def of_ec2(record):
    return {**record, "asset": {**record["asset"], "uuid": EC2["id"]}}


def test_chunk_decodes_whole():
    data = (DATA / "vulns_chunk_official_example.json").read_bytes()
    records, unreadable = decode_chunk(data, Vulnerability)
    assert (len(records), unreadable, count_blocks([data])) == (2, [], 2)
    assert [decode_plugin(bytes(record.plugin)).id for record in records] == [156641, 50344]


def test_on_prem_host_is_no_instance():
    assert skip_reason(row_of_export(ON_PREM)) == NO_INSTANCE


def test_webapp_with_bogus_cloud_ids_is_no_instance():
    row = row_of_export(WEBAPP)
    assert row.instance_id == "ec244de6a6e-4004-4d20-9596-88edf73dd00d"
    assert skip_reason(row) == NO_INSTANCE


@pytest.mark.parametrize(
    ("missing", "reason"),
    [
        (["owner_id"], NO_ACCOUNT),
        (["region", "availability_zone"], NO_REGION),
        (["ec2_instance_id"], NO_INSTANCE),
        (["region"], None),
        (["ec2_instance_type", "ec2_instance_ami_id", "vpc_id", "subnet_id", "ec2_name"], None),
    ],
)
def test_half_filled_cloud_asset_is_skipped_only_for_what_asff_requires(missing, reason):
    for blank in (None, ""):
        aws = {**EC2["cloud"]["aws"], **dict.fromkeys(missing, blank)}
        assert skip_reason(row_of_export({**EC2, "cloud": {"aws": aws}})) == reason


def test_asset_whose_cloud_is_null_is_no_instance():
    for cloud in (None, {}, {"aws": None}, {"aws": {}}, {"azure": {"vm_id": "x"}}):
        assert skip_reason(row_of_export({**EC2, "cloud": cloud})) == NO_INSTANCE


def test_ec2_example_becomes_the_golden_finding():
    assert finding_of(of_ec2(SHAREPOINT), row_of_export(EC2)) == example("golden_finding_ec2.json")


def test_ec2_example_without_a_cve_becomes_the_golden_finding():
    assert finding_of(of_ec2(HEADER), row_of_export(EC2)) == example("golden_finding_ec2_without_cve.json")


def test_ec2_example_fixed_is_the_golden_finding_archived():
    fixed = {
        **of_ec2(SHAREPOINT),
        "state": "FIXED",
        "last_fixed": "2025-01-01T00:00:00.000Z",
        "indexed": "2025-01-01T00:05:00Z",
        "output": None,
    }
    golden = example("golden_finding_ec2.json")
    prefix = "tenable/vulnerability-management"
    fields = {**golden["ProductFields"], f"{prefix}/state": "FIXED", f"{prefix}/archived_because": "fixed"}
    del fields[f"{prefix}/output"]
    expected = {**golden, "RecordState": "ARCHIVED", "UpdatedAt": "2025-01-01T00:05:00.000Z", "ProductFields": fields}
    assert finding_of(fixed, row_of_export(EC2)) == expected


def test_ec2_example_with_the_ids_of_tvm2aws():
    finding = finding_of(of_ec2(SHAREPOINT), row_of_export(EC2), MappingOptions(id_scheme="tvm2aws"))
    assert finding == {**example("golden_finding_ec2.json"), "Id": "us-east-1/i-15a52aebc53722bf2/156641"}


def test_on_prem_host_as_an_other_resource():
    resource = other_resource(row_of_export(ON_PREM), account="111122223333", region="eu-west-1")
    assert json.loads(bytes(resource.encoded)) == [
        {
            "Type": "Other",
            "Id": "tenable-asset/42231820-df7c-4218-9f62-4a006e55085f",
            "Region": "eu-west-1",
            "Details": {"Other": {"Name": "kashyapagent1", "IpV4Addresses": "192.168.122.1, 172.26.114.163"}},
        }
    ]
    assert resource.criticality == 90
    assert resource.product_fields["tags"] == "aad: asdasd, operating_system_linux: linux"


def test_whole_asset_chunk_becomes_a_part_of_three_rows():
    part, rows = to_parquet((DATA / "assets_v2_chunk_official_example.json").read_bytes())
    assert rows == 3
    assert set(table.find([Part(part)], {ON_PREM["id"], WEBAPP["id"], EC2["id"]})) == {
        ON_PREM["id"],
        WEBAPP["id"],
        EC2["id"],
    }


def test_flat_asset_of_the_v1_example_reads_as_a_v2_one_when_looked_up_singly():
    host, instance = example("assets_v1_chunk_official_example.json")
    row = asset_row.row_of_details(host)
    assert row is not None
    assert skip_reason(row) == NO_INSTANCE
    row = asset_row.row_of_details(instance)
    assert row is not None
    assert skip_reason(row) is None
    assert (row.owner_id, row.region, row.availability_zone, row.instance_id) == (
        "891474992277",
        "us-east-1",
        "us-east-1d",
        "i-47b52febd53722cc3",
    )
    assert (row.image_id, row.instance_type, row.instance_name) == (
        "ami-1ebad951bbafe70b5",
        "t2.micro",
        "example-fa-linux",
    )
    assert (row.vpc_id, row.subnet_id, row.acr) == ("vpc-14071ba26aa5626b2", "subnet-158cae60ba562fa09", 9.0)
    assert json.loads(row.addresses) == ["192.0.2.96", "203.0.113.183"]
    assert json.loads(row.tags) == {"example1": ["assets"]}
    assert json.loads(row.resource_tags) == {"example-name": "cust1-fa-linux", "ExpirationTime": "1731485476823"}
    assert row.name == "ec2-203-0-113-183.compute-1.amazonaws.com"


def test_impossible_date_of_the_v1_example_costs_no_asset():
    assert "2018-02-31" in (DATA / "assets_v1_chunk_official_example.json").read_text()
    _, rows = to_parquet((DATA / "assets_v1_chunk_official_example.json").read_bytes())
    assert rows == 2
