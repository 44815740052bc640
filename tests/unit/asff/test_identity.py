"""Ids, ARNs, partitions, Regions. The table of ids is golden: a change to it would make every finding appear twice."""

from __future__ import annotations

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mapping import DATA, checked_line, decode, record

from airflow_provider_tenable import aws
from airflow_provider_tenable.asff import identity
from airflow_provider_tenable.asff.finding import MappingOptions
from airflow_provider_tenable.asff.identity import ID_OPENING, id_in
from airflow_provider_tenable.asff.plugin import plugin_parts
from airflow_provider_tenable.asff.resource import Resource
from airflow_provider_tenable.tenable_vm.records import Plugin

GOLDEN = json.loads((DATA / "golden_finding_ids.json").read_text())
USUAL = {
    "region": "eu-west-1",
    "account": "111122223333",
    "resource": "i-0123456789abcdef0",
    "plugin": 1,
    "protocol": "TCP",
    "port": 443,
}


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row["id"])
def test_ids_cannot_be_changed(row):
    arguments = {name: value for name, value in row.items() if name not in ("id", "scheme")}
    assert identity.finding_id(row["scheme"], **arguments) == row["id"]


@pytest.mark.parametrize("row", GOLDEN, ids=lambda row: row["id"])
def test_ids_of_findings_are_those_of_the_table(row):
    """The id that stands in what is sent, by the code that writes it."""
    resource = Resource(row["account"], row["region"], row["resource"], msgspec.Raw(b"[{}]"), {"asset_uuid": "a"}, None)
    value = record(port={"port": row["port"], "protocol": row["protocol"]}, plugin={"id": row["plugin"]})
    line = checked_line(
        decode(value),
        plugin_parts(Plugin(id=row["plugin"])),
        resource,
        "arn:x",
        MappingOptions(id_scheme=row["scheme"]),
    )
    assert json.loads(line)["Id"] == row["id"]


@pytest.mark.parametrize(
    ("part", "other"),
    [
        ("region", "eu-west-2"),
        ("account", "111122223334"),
        ("resource", "i-0123456789abcdef1"),
        ("plugin", 2),
        ("protocol", "UDP"),
        ("port", 8443),
    ],
)
def test_finding_id_is_distinct_per(part, other):
    assert identity.finding_id("port", **USUAL) != identity.finding_id("port", **{**USUAL, part: other})


def test_finding_id_is_the_same_for_the_same_port_however_written():
    ids = {
        identity.finding_id("port", **{**USUAL, "port": port, "protocol": protocol})
        for port in (443, "443", " 443")
        for protocol in ("TCP", "tcp ")
    }
    assert ids == {"eu-west-1/111122223333/i-0123456789abcdef0/1/tcp/443"}


_part = st.one_of(st.text(max_size=12), st.sampled_from(["a/b", "a%2Fb", "a", "b", "/", "%2F", "%", "a/1/tcp/2"]))
_tuple = st.tuples(
    st.sampled_from(["eu-west-1", "us-east-1"]),
    st.sampled_from(["1" * 12, "2" * 12]),
    _part.filter(len),
    st.integers(-9, 9),
    _part,
    st.one_of(st.integers(-9, 9), _part),
)


def _meant(parts):
    """What an id must tell apart: protocol and port after the normalisation that the scheme states."""
    region, account, resource, plugin, protocol, port = parts
    return region, account, resource, plugin, protocol.strip().lower() or "none", str(port).strip() or "0"


@given(_tuple, _tuple)
@settings(max_examples=400, deadline=None)
def test_ids_are_injective(one, other):
    names = ("region", "account", "resource", "plugin", "protocol", "port")
    ids = [identity.finding_id("port", **dict(zip(names, parts, strict=True))) for parts in (one, other)]
    assert (ids[0] == ids[1]) == (_meant(one) == _meant(other))


@given(_tuple)
@settings(max_examples=200, deadline=None)
def test_id_has_six_parts_and_no_blank_or_arn(parts):
    names = ("region", "account", "resource", "plugin", "protocol", "port")
    value = identity.finding_id("port", **dict(zip(names, parts, strict=True)))
    assert value.count("/") == 5
    assert value.isascii()
    assert value.isprintable()
    assert " " not in value
    assert not value.startswith("arn:")


def test_slashes_are_escaped_in_parts_of_any_length():
    for length in (3, 63, 64, 65, 100):
        odd = "a/" + "b" * (length - 2)
        assert identity.finding_id("port", **{**USUAL, "protocol": odd, "port": odd}).endswith(
            f"/1/a%2F{odd[2:]}/a%2F{odd[2:]}"
        )


def test_id_at_the_limit_passes_and_one_over_is_refused():
    start = len(identity.finding_id("port", **{**USUAL, "port": ""})) - 1
    assert len(identity.finding_id("port", **{**USUAL, "port": "9" * (512 - start)})) == 512
    with pytest.raises(ValueError, match="its id would have 513 characters; the limit is 512"):
        identity.finding_id("port", **{**USUAL, "port": "9" * (513 - start)})


def test_tvm2aws_ids_leave_out_account_and_port():
    assert identity.finding_id("tvm2aws", **USUAL) == identity.finding_id(
        "tvm2aws", **{**USUAL, "port": 1, "account": "9" * 12}
    )


@pytest.mark.parametrize(
    ("region", "partition"),
    [
        ("us-east-1", "aws"),
        ("ap-southeast-7", "aws"),
        ("cn-north-1", "aws-cn"),
        ("us-gov-west-1", "aws-us-gov"),
        ("us-iso-east-1", "aws-iso"),
        ("us-isob-east-1", "aws-iso-b"),
        ("eu-isoe-west-1", "aws-iso-e"),
        ("us-isof-south-1", "aws-iso-f"),
        ("eusc-de-east-1", "aws-eusc"),
    ],
)
def test_partition_follows_the_region(region, partition):
    assert aws.partition_of(region) == partition
    assert aws.instance_arn(region, "1" * 12, "i-1") == f"arn:{partition}:ec2:{region}:111111111111:instance/i-1"


def test_every_region_that_botocore_knows_is_a_region_in_its_partition():
    import boto3

    session = boto3.Session()
    seen = 0
    for partition in session.get_available_partitions():
        for region in session.get_available_regions("ec2", partition):
            assert aws.REGION.fullmatch(region), region
            assert aws.partition_of(region) == partition
            assert aws.region_of(None, f"{region}a") == region
            seen += 1
    assert seen >= 30


def test_asff_names_only_these_partitions():
    assert {"aws", "aws-cn", "aws-us-gov"} == aws.ASFF_PARTITIONS


@pytest.mark.parametrize(
    ("region", "zone", "expected"),
    [
        ("eu-west-1", None, "eu-west-1"),
        ("eu-west-1", "us-east-1d", "eu-west-1"),
        (None, "us-east-1d", "us-east-1"),
        ("", "us-gov-west-1a", "us-gov-west-1"),
        (None, "us-west-2-lax-1a", "us-west-2"),
        (None, "us-east-1-wl1-bos-wlz-1", "us-east-1"),
        ("not a region", "ap-northeast-1c", "ap-northeast-1"),
        (None, "us-east-1", None),
        (None, "us-east-1D", None),
        (None, "use1-az4", None),
        (None, None, None),
        ("US-EAST-1", None, None),
        ("us-east-1\n", None, None),
        ("us-east-\u0661", None, None),
        ("us-" + "e" * 400 + "-1", None, None),
    ],
)
def test_region_is_taken_from_the_zone_where_only_that_is_known(region, zone, expected):
    assert aws.region_of(region, zone) == expected


@pytest.mark.parametrize(
    ("product", "region", "arn"),
    [
        (
            "tenable/vulnerability-management",
            "eu-west-1",
            "arn:aws:securityhub:eu-west-1::product/tenable/vulnerability-management",
        ),
        ("default", "eu-west-1", "arn:aws:securityhub:eu-west-1:111122223333:product/111122223333/default"),
        ("acme/scanner", "eu-west-1", "arn:aws:securityhub:eu-west-1::product/acme/scanner"),
        (
            "tenable/vulnerability-management",
            "us-gov-west-1",
            "arn:aws-us-gov:securityhub:us-gov-west-1:111122223333:product/111122223333/default",
        ),
        (
            "tenable/vulnerability-management",
            "cn-north-1",
            "arn:aws-cn:securityhub:cn-north-1:111122223333:product/111122223333/default",
        ),
        ("acme/scanner", "cn-north-1", "arn:aws-cn:securityhub:cn-north-1::product/acme/scanner"),
    ],
)
def test_product_arn(product, region, arn):
    assert aws.product_arn(product, region=region, account="111122223333") == arn


@pytest.mark.parametrize("value", ["i-12345678", "i-15a52aebc53722bf2"])
def test_instance_ids_of_both_lengths_are_known(value):
    assert aws.INSTANCE.fullmatch(value)


@pytest.mark.parametrize(
    "value",
    [
        "ec244de6a6e-4004-4d20-9596-88edf73dd00d",
        "i-",
        "i-1234567",
        "i-123456789012345678",
        "i-ABCDEF12",
        "mi-12345678",
        "i-12345678\n",
    ],
)
def test_what_is_no_instance_id_is_told(value):
    assert not aws.INSTANCE.fullmatch(value)


@pytest.mark.parametrize(
    ("value", "good"),
    [
        ("012345678901", True),
        ("12345678901", False),
        ("1234567890123", False),
        ("١٢٣٤٥٦٧٨٩٠١٢", False),
        ("a" * 64, False),
        ("0123 5678901", False),
    ],
)
def test_account_is_twelve_ascii_digits(value, good):
    assert bool(aws.ACCOUNT.fullmatch(value)) is good


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (ID_OPENING + b'eu-west-1/1/i-1/2/tcp/3","ProductArn":""}', b"eu-west-1/1/i-1/2/tcp/3"),
        # Findings that another tool, or JSON's own encoder, has written.
        (b'{"Id":"a"}', b""),
        (b'{"SchemaVersion": "2018-10-08", "Id": "a"}', b""),
        (ID_OPENING + rb'a\"b","ProductArn":""}', b""),
        (ID_OPENING + rb'a\u0041b","ProductArn":""}', b""),
        (ID_OPENING + b"a", b""),
        (ID_OPENING, b""),
        (b"", b""),
    ],
)
def test_the_id_is_told_from_our_own_lines_only(line, expected):
    assert id_in(line) == expected
