"""ASFF as the transform sees it: what its mapper answers about plugins, resources, products and findings."""

from __future__ import annotations

import json

import msgspec
import pytest
from mapping import ACCOUNT, INSTANCE, REGION, ROW, decode, record

from airflow_provider_tenable.asff import product_fields
from airflow_provider_tenable.asff.finding import MappingOptions
from airflow_provider_tenable.asff.mapper import AsffMapper
from airflow_provider_tenable.aws import TENABLE_PRODUCT

DEFAULT_ACCOUNT = {"id": 1, "name": "Default password", "family": "Default Unix Accounts"}


def mapper(product: str = TENABLE_PRODUCT, **options) -> AsffMapper:
    return AsffMapper(MappingOptions(**options), product)


def plugin_of(value, made: AsffMapper):
    return made.plugin(json.dumps(value).encode())


def test_finding_is_mapped_with_the_options_and_the_product_of_the_mapper():
    made = mapper(id_scheme="tvm2aws", plugin_output=False)
    one = decode(record())
    resource = made.ec2_resource(ROW)
    product = made.product(resource, region="us-east-1")
    line, row = made.finding(one, made.plugin(bytes(one.plugin)), resource, product, 1)
    finding = json.loads(line)
    # What a run compares with the previous one's belongs to it.
    assert row
    assert finding["Id"] == f"{REGION}/{INSTANCE}/19506"
    assert finding["ProductArn"] == f"arn:aws:securityhub:us-east-1::product/{TENABLE_PRODUCT}"
    # The caller has already decided on the severity.
    assert finding["FindingProviderFields"]["Severity"]["Label"] == "LOW"
    assert "tenable/vulnerability-management/output" not in finding["ProductFields"]


def test_default_product_is_that_of_the_resources_account_in_the_hubs_region():
    made = mapper("default")
    assert (
        made.product(made.ec2_resource(ROW), region="us-east-1")
        == f"arn:aws:securityhub:us-east-1:{ACCOUNT}:product/{ACCOUNT}/default"
    )


def test_asset_without_an_instance_belongs_to_the_account_and_region_of_the_destination():
    row = msgspec.structs.replace(ROW, instance_id=None, owner_id=None, region=None, name="printer")
    resource = mapper().other_resource(row, account="999988887777", region="eu-central-1")
    (encoded,) = json.loads(bytes(resource.encoded))
    assert (resource.account, resource.region, resource.is_ec2) == ("999988887777", "eu-central-1", False)
    assert encoded["Id"] == "tenable-asset/asset-1"
    assert encoded["Region"] == "eu-central-1"
    assert encoded["Details"]["Other"]["Name"] == "printer"


@pytest.mark.parametrize(
    ("plugin", "option", "shown"),
    [
        ({"id": 1, "family": "Web Servers"}, True, True),
        ({"id": 1, "family": "Web Servers"}, False, False),
        (DEFAULT_ACCOUNT, True, False),
        (DEFAULT_ACCOUNT, False, False),
    ],
)
def test_output_is_shown_if_the_option_allows_it_and_the_plugin_prints_no_credentials(plugin, option, shown):
    made = mapper(plugin_output=option)
    assert made.shows_output(plugin_of(plugin, made)) is shown


def test_unreadable_record_is_kept_without_its_output():
    assert json.loads(mapper().without_output(b'{"id":1,"output":"secret"}')) == {"id": 1}


def test_weight_of_a_plugin_is_what_its_cves_need():
    made = mapper()
    few, many = (
        plugin_of({"id": 1, "cve": [f"CVE-2024-{number:04}" for number in range(count)]}, made) for count in (1, 50)
    )
    assert made.weight(plugin_of({"id": 1}, made)) == 0
    assert made.weight(few) == 4 * len(bytes(few.encoded_vulnerabilities))
    assert made.weight(many) > 20 * made.weight(few)


ORDERED = [
    ("ARCHIVED", "2026-10-01T00:10:00.123Z"),
    ("ARCHIVED", "2026-10-01T00:10:00.123456Z"),
    ("ARCHIVED", "2026-10-01T00:10:00.124Z"),
    ("ACTIVE", "2026-09-01T00:10:00.123Z"),
    ("ACTIVE", "2026-09-01T00:10:00.123400Z"),
    ("ACTIVE", "2026-09-01T00:10:00.123456Z"),
    ("ACTIVE", "2026-09-01T00:10:01.000Z"),
]


def test_open_precedes_fixed_and_the_later_one_precedes_whatever_its_digits():
    found = [
        mapper().precedence(json.dumps({"Id": "the-id", "RecordState": state, "UpdatedAt": at}).encode())
        for state, at in ORDERED
    ]
    assert {key for key, _ in found} == {"the-id"}
    order = [rank for _, rank in found]
    assert order == sorted(set(order))
    # Staged, so it stays: padded to six digits, without the zone.
    assert order[0] == "02026-10-01T00:10:00.123000"
    assert order[4] == "12026-09-01T00:10:00.123400"


def test_product_field_is_a_json_key_with_tenables_prefix():
    assert product_fields.key("output") == b'"tenable/vulnerability-management/output":'
    assert (
        product_fields.piece({"output": "a", "state": None, "source": " "})
        == b"," + product_fields.key("output") + b'"a"'
    )
    assert product_fields.piece({"output": None, "state": " "}) == product_fields.piece({}) == b""
