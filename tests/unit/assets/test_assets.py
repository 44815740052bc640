"""Assets between Tenable's chunk and the rows that the mapping reads: by way of Parquet, or looked up singly."""

from __future__ import annotations

import io
import json

import msgspec
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.asff.resource import ec2_resource
from airflow_provider_tenable.assets.table import find
from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.tenable_vm.asset_row import ADDED_COLUMNS, COLUMNS, AssetRow, row_of, row_of_details
from airflow_provider_tenable.tenable_vm.decode import decode_chunk
from airflow_provider_tenable.tenable_vm.records import Asset
from tests.unit.assets.parts import to_parquet

FULL = {
    "id": "a",
    "cloud": {
        "aws": {
            "owner_id": "012345678901",
            "region": "eu-west-1",
            "availability_zone": "eu-west-1b",
            "ec2_instance_id": "i-0123456789abcdef0",
            "ec2_instance_ami_id": "ami-1",
            "ec2_instance_type": "t3.large",
            "ec2_name": "web-1",
            "vpc_id": "vpc-1",
            "subnet_id": "subnet-1",
        }
    },
    "network": {
        "ipv4s": ["10.0.0.1"],
        "ipv6s": ["2001:db8::1"],
        "fqdns": ["web-1.example.com"],
        "hostnames": ["web-1"],
    },
    "ratings": {"acr": {"score": 7}},
    "tags": [
        {"key": "team", "value": "red"},
        {"key": "team", "value": "blue"},
        {"key": "", "value": "x"},
        {"key": "k", "value": None},
    ],
    "resource_tags": [{"key": "Name", "value": "web"}, {"key": "Empty", "value": ""}],
    "operating_systems": ["Red Hat 9", "Linux Kernel 5.14", " ", "Red Hat 9 "],
}
ROW = AssetRow(
    id="a",
    owner_id="012345678901",
    region="eu-west-1",
    availability_zone="eu-west-1b",
    instance_id="i-0123456789abcdef0",
    image_id="ami-1",
    instance_type="t3.large",
    instance_name="web-1",
    vpc_id="vpc-1",
    subnet_id="subnet-1",
    name="web-1",
    addresses='["10.0.0.1","2001:db8::1"]',
    tags='{"team":["red","blue"]}',
    resource_tags='{"Name":"web"}',
    operating_systems='["Linux Kernel 5.14","Red Hat 9"]',
    acr=7.0,
)


class Part(io.BytesIO):
    """A staged part in memory."""

    protocol = "file"

    def read_bytes(self) -> bytes:
        return self.getvalue()


def part_of(*assets) -> Part:
    return Part(to_parquet(json.dumps(assets).encode())[0])


def row_from(asset) -> AssetRow:
    (decoded,), _ = decode_chunk(json.dumps([asset]).encode(), Asset)
    return row_of(decoded)


def test_row_holds_what_the_mapping_needs():
    assert row_from(FULL) == ROW


def test_row_of_a_bare_asset_is_empty():
    assert row_from({"id": "a"}) == AssetRow(id="a")


def test_a_part_of_a_release_without_a_column_has_none_of_its_values():
    whole = pd.read_parquet(part_of(FULL), engine="pyarrow")
    for column in ADDED_COLUMNS:
        buffer = io.BytesIO()
        whole.drop(columns=column).to_parquet(buffer, engine="pyarrow", index=False)
        found = find([Part(buffer.getvalue())], {"a"})["a"]
        assert found == msgspec.structs.replace(ROW, **{column: None})
        assert ec2_resource(found).account == ROW.owner_id
    assert "operating_systems" in ADDED_COLUMNS


def test_name_is_the_first_hostname_else_the_first_fqdn():
    assert row_from({"id": "a", "network": {"fqdns": ["f"], "hostnames": ["h"]}}).name == "h"
    assert row_from({"id": "a", "network": {"fqdns": ["f"], "hostnames": []}}).name == "f"


@pytest.mark.parametrize(
    ("score", "acr"),
    [(9, 9.0), (9.5, 9.5), ("9.0", 9.0), ("x", None), ("", None), (None, None), (True, None), ([9], None)],
)
def test_rating_may_be_a_number_or_a_text(score, acr):
    assert row_from({"id": "a", "ratings": {"acr": {"score": score}}}).acr == acr


@pytest.mark.parametrize("raw", [b"1" + b"0" * 400, b'"1' + b"0" * 400 + b'"', b"1e999", b"NaN", b'"nan"', b"-5"])
def test_absurd_rating_gives_no_criticality_and_breaks_no_part(raw):
    data, rows = to_parquet(b'[{"id":"a","ratings":{"acr":{"score":' + raw + b'}}},{"id":"b"}]')
    assert rows == 2
    row = find([Part(data)], {"a"})["a"]
    instance = AssetRow(id="a", owner_id="1" * 12, region="eu-west-1", instance_id="i-12345678", acr=row.acr)
    assert ec2_resource(instance).criticality is None


def test_parquet_round_trip_keeps_every_column():
    assert find([part_of(FULL, {"id": "b"})], {"a", "b"}) == {"a": ROW, "b": AssetRow(id="b")}


def test_rows_are_of_plain_python_types_after_the_round_trip():
    row = find([part_of(FULL, {"id": "b"})], {"b"})["b"]
    assert {type(getattr(row, column)) for column in COLUMNS} == {str, type(None)}


def test_parquet_has_just_the_columns_of_the_mapping():
    frame = pd.read_parquet(part_of({**FULL, "operating_systems": ["Linux"]}), engine="pyarrow")
    assert tuple(frame.columns) == COLUMNS


def test_columns_of_an_empty_part_are_those_of_a_full_one():
    data, rows = to_parquet(b"[]")
    assert rows == 0
    empty, full = pd.read_parquet(io.BytesIO(data), engine="pyarrow"), pd.read_parquet(part_of(FULL), engine="pyarrow")
    assert list(empty.dtypes) == list(full.dtypes)
    assert find([Part(data)], {"a"}) == {}


@pytest.mark.parametrize("data", [b"", b"null", b"[]", b" \n"])
def test_empty_chunk_is_an_empty_part(data):
    assert to_parquet(data)[1] == 0


@pytest.mark.parametrize("data", [b"{", b"{}", b'[{"id":"a"}', b"<html>"])
def test_broken_chunk_is_a_value_error(data):
    with pytest.raises(ValueError, match=r"."):
        to_parquet(data)


def test_asset_without_an_id_costs_no_other():
    data, rows = to_parquet(
        b'[{"id":"a"},{"id":null},{},5,null,{"id":7},{"id":"b","cloud":"aws","network":[],"tags":5}]'
    )
    assert rows == 2
    assert set(find([Part(data)], {"a", "b", "7"})) == {"a", "b"}


def test_odd_texts_survive_the_round_trip():
    name = 'lone � "quoted" \u0000 🙂 \u2028'
    raw = json.dumps([{"id": "a", "cloud": {"aws": {"ec2_name": name}}}]).encode()
    assert find([Part(to_parquet(raw)[0])], {"a"})["a"].instance_name == name


def test_lone_surrogate_in_an_asset_is_replaced():
    assert (
        find([Part(to_parquet(b'[{"id":"a","cloud":{"aws":{"ec2_name":"x\\ud800"}}}]')[0])], {"a"})["a"].instance_name
        == "x?"
    )


def test_account_keeps_its_leading_zeros():
    assert find([part_of(FULL)], {"a"})["a"].owner_id == "012345678901"


def test_only_the_wanted_assets_are_found():
    assert set(find([part_of(FULL, {"id": "b"}), part_of({"id": "c"})], {"a", "c", "nowhere"})) == {"a", "c"}
    assert find([part_of(FULL)], set()) == {}
    assert find([], {"a"}) == {}


def test_later_part_counts_of_an_asset_in_two():
    old, new = {**FULL, "ratings": {"acr": {"score": 1}}}, FULL
    assert find([part_of(old), part_of(new)], {"a"})["a"].acr == 7.0
    assert find([part_of(new), part_of(old)], {"a"})["a"].acr == 1.0
    assert find([part_of(old, new)], {"a"})["a"].acr == 7.0


@given(
    st.lists(st.text(min_size=1, max_size=5), unique=True, max_size=6),
    st.dictionaries(st.text(min_size=1, max_size=5), st.text(min_size=1, max_size=5), max_size=4),
)
@settings(max_examples=40, deadline=None)
def test_any_ids_and_tags_come_back(ids, tags):
    assets = [
        {"id": each, "resource_tags": [{"key": key, "value": value} for key, value in tags.items()]} for each in ids
    ]
    found = find([part_of(*assets)], set(ids))
    assert set(found) == set(ids)
    assert all(json.loads(row.resource_tags) == tags for row in found.values())


DETAILS = {
    "id": "a",
    "aws_owner_id": ["012345678901"],
    "aws_region": ["eu-west-1"],
    "aws_availability_zone": ["eu-west-1b"],
    "aws_ec2_instance_id": ["i-0123456789abcdef0"],
    "aws_ec2_instance_ami_id": ["ami-1"],
    "aws_ec2_instance_type": ["t3.large"],
    "aws_ec2_name": ["web-1"],
    "aws_vpc_id": ["vpc-1"],
    "aws_subnet_id": ["subnet-1"],
    "ipv4": ["10.0.0.1"],
    "ipv6": ["2001:db8::1"],
    "fqdn": ["web-1.example.com"],
    "hostname": ["web-1"],
    "acr_score": 7,
    "operating_system": ["Red Hat 9", "Linux Kernel 5.14"],
    "tags": [{"tag_key": "team", "tag_value": "red"}, {"tag_key": "team", "tag_value": "blue"}],
    "resource_tags": [{"key": "Name", "value": "web"}],
}


def test_asset_looked_up_singly_gives_the_row_of_the_export():
    assert row_of_details(DETAILS) == ROW


def test_details_as_texts_give_the_same_row_as_in_lists():
    flat = {
        name: value[0] if isinstance(value, list) and isinstance(value[0], str) and len(value) == 1 else value
        for name, value in DETAILS.items()
    }
    assert row_of_details({**flat, "acr_score": "7.0"}) == ROW


@pytest.mark.parametrize("asset_id", [None, 5, ["a"]])
def test_details_without_an_id_are_no_asset(asset_id):
    assert row_of_details({**DETAILS, "id": asset_id}) is None


@pytest.mark.parametrize(
    "junk",
    [None, 5, True, "", [], {}, [None], [5], [{}], [[]], [{"tag_key": {}, "tag_value": 5, "key": [], "value": 1}]],
)
@pytest.mark.parametrize("field", [name for name in DETAILS if name != "id"])
def test_junk_in_a_field_of_the_details_costs_that_field_only(field, junk):
    row = row_of_details({**DETAILS, field: junk})
    assert row is not None
    changed = {column for column in COLUMNS if getattr(row, column) != getattr(ROW, column)}
    assert len(changed) <= 1
    ec2_resource(
        AssetRow(
            **{
                **{column: getattr(row, column) for column in COLUMNS},
                "owner_id": "1" * 12,
                "region": "eu-west-1",
                "instance_id": "i-12345678",
            }
        )
    )


def test_damaged_part_is_a_staging_error_that_says_what_to_do():
    whole = part_of(FULL).getvalue()
    for data in (b"", b"no parquet", whole[: len(whole) // 2]):
        with pytest.raises(StagingError, match=r"is damaged .* Clear the run's tasks from the asset export on"):
            find([Part(data)], {"a"})


def test_many_rows_come_back_one_by_one():
    assets = [{"id": f"asset-{number}", "ratings": {"acr": {"score": number % 10}}} for number in range(3000)]
    parts = [part_of(*assets[start : start + 1000]) for start in range(0, 3000, 1000)]
    assert {asset_id: row.acr for asset_id, row in find(parts, {"asset-0", "asset-999", "asset-2999"}).items()} == {
        "asset-0": 0.0,
        "asset-999": 9.0,
        "asset-2999": 9.0,
    }


#: Each names an asset, singly or in a list, in the order in which they count.
NAMES = ["hostname", "hostnames", "fqdn", "fqdns", "netbios_name", "netbios_names", "agent_name", "agent_names", "name"]
ADDRESSES = ["ipv4", "ipv4s", "ipv6", "ipv6s"]


@pytest.mark.parametrize("listed", [True, False])
@pytest.mark.parametrize("field", [*NAMES, *ADDRESSES])
def test_asset_that_is_looked_up_is_named_by_whatever_it_has(field, listed):
    value = f"from-{field}"
    row = row_of_details({"id": "a", field: [value] if listed else value})
    assert row == AssetRow(id="a", name=value, addresses=json.dumps([value] if field in ADDRESSES else []))


def test_best_name_of_an_asset_that_is_looked_up_counts():
    sources = [*NAMES, *ADDRESSES]
    details = {"id": "a", **{field: f"from-{field}" for field in sources}}
    for field in sources:
        row = row_of_details(details)
        assert row is not None
        assert row.name == f"from-{field}"
        del details[field]


def test_tags_of_an_asset_that_is_looked_up_may_have_either_pair_of_names():
    ours = [{"tag_key": "team", "tag_value": "red"}, {"tag_key": "", "tag_value": "x"}, {"tag_key": "k"}, 5]
    plain = [{"key": "team", "value": "blue"}, {"key": "team", "value": ""}, None]
    for tags, expected in ((ours, ["red"]), (plain, ["blue"]), ([*plain, *ours], ["red"])):
        row = row_of_details({"id": "a", "tags": tags, "resource_tags": plain})
        assert row is not None
        assert json.loads(row.tags) == {"team": expected}
        assert json.loads(row.resource_tags) == {"team": "blue"}
