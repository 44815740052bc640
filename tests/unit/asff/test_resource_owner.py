"""Owners of resources: which source names them, and what that changes of a finding."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from airflow_provider_tenable.asff import limits
from airflow_provider_tenable.asff.compliance import AuditOptions
from airflow_provider_tenable.asff.finding import MappingOptions
from airflow_provider_tenable.asff.mapper import AsffComplianceMapper, AsffMapper
from airflow_provider_tenable.asff.owner import LONGEST_OWNER, OwnerRule, cleaned
from airflow_provider_tenable.asff.row import LAYOUT
from airflow_provider_tenable.aws import TENABLE_PRODUCT
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from tests.unit.asff.mapping import ACCOUNT, PREFIX, ROW, decode, record

RULE = OwnerRule(("owner", "Team"), ("Owner", "Unit"), {ACCOUNT: "of account"}, "of nobody")


def asset(
    of_aws: dict[str, str] | None = None, of_tenable: dict[str, list[str]] | None = None, **more: Any
) -> AssetRow:
    return msgspec.structs.replace(
        ROW, resource_tags=json.dumps(of_aws or {}), tags=json.dumps(of_tenable or {}), **more
    )


def mapped(row: AssetRow, owners: OwnerRule | None) -> tuple[dict[str, Any], int]:
    """A finding and its content."""
    mapper = AsffMapper(MappingOptions(), TENABLE_PRODUCT, owners)
    one = decode(record())
    resource = mapper.ec2_resource(row)
    product = mapper.product(resource, region="eu-west-1")
    line, found = mapper.finding(one, mapper.plugin(bytes(one.plugin)), resource, product, None)
    return json.loads(line), LAYOUT.unpack(found)[1]


@pytest.mark.parametrize(
    ("row", "owner"),
    [
        (asset({"Team": "b", "owner": "a"}, {"Owner": ["c"]}), "a"),
        (asset({"Team": "b", "OWNER": "a"}, {"Owner": ["c"]}), "b"),
        (asset({"owner": " \n "}, {"Owner": ["c"]}), "c"),
        (asset({}, {"Unit": ["d"], "Owner": ["f", "e"]}), "e"),
        (asset({}, {"Unit": ["d"]}), "d"),
        (asset({"name": "x"}, {"owner": ["x"]}), "of account"),
    ],
)
def test_the_first_source_that_names_an_owner_counts(row, owner):
    assert RULE.owner_of(row, ACCOUNT) == owner


def test_what_no_source_names():
    assert RULE.owner_of(asset(), "999988887777") == "of nobody"
    assert RULE.owner_of(None, ACCOUNT) == "of account"
    assert OwnerRule(("owner",)).owner_of(asset(), ACCOUNT) == OwnerRule().owner_of(asset({"owner": "a"}), None) == ""


def test_a_finding_has_its_owner_and_all_else():
    row = asset({"owner": "Payments"}, name="web-1")
    without, content = mapped(row, None)
    with_it, other_content = mapped(row, OwnerRule(("owner",)))
    fields = {**without["ProductFields"], f"{PREFIX}owner": "Payments"}
    assert with_it == {**without, "ProductFields": fields}
    names = [name.removeprefix(PREFIX) for name in with_it["ProductFields"]]
    assert names[names.index("asset_name") + 1] == "owner"
    # Nothing else moves: the same finding has the same bytes.
    assert [name for name in names if name != "owner"] == [
        name.removeprefix(PREFIX) for name in without["ProductFields"]
    ]
    assert other_content != content
    # To whom a rule gives no owner stays as it was: it is not sent again.
    assert mapped(row, OwnerRule(("nobody",))) == (without, content)


def test_another_owner_is_another_content():
    row = asset({"a": "x", "b": "y"})
    contents = {mapped(row, OwnerRule((key,)))[1] for key in "abc"}
    assert len(contents) == 3
    # With an owner, what else there is of a resource counts as before.
    named = {mapped(asset({"a": "x"}, name=name), OwnerRule(("a",)))[1] for name in ("web-1", "web-2")}
    assert len(named) == 2
    # By another way, but the same one.
    assert mapped(row, OwnerRule((), (), {ACCOUNT: "x"})) == mapped(row, OwnerRule(("a",)))


def test_a_terminated_instance_keeps_its_reason():
    finding, _ = mapped(asset({"owner": "a"}, terminated_at="2024-01-01T00:00:00Z"), RULE)
    assert finding["ProductFields"][f"{PREFIX}owner"] == "a"
    assert finding["ProductFields"][f"{PREFIX}archived_because"] == "asset_terminated"


def test_assets_outside_ec2_and_audited_accounts_have_owners():
    other = AsffMapper(MappingOptions(), TENABLE_PRODUCT, RULE).other_resource(
        asset({}, {"Unit": ["printers"]}), account=ACCOUNT, region="eu-west-1"
    )
    assert other.product_fields["owner"] == "printers"
    audits = AsffComplianceMapper(AuditOptions(), TENABLE_PRODUCT, RULE)
    found = audits.account_resource(ACCOUNT, region="eu-west-1", partition="aws", asset="a")
    assert found.product_fields == {"asset_uuid": "a", "owner": "of account"}
    assert f'"{PREFIX}owner":"of account"'.encode() in found.encoded_product_fields


@given(st.text(max_size=600))
@example("Pay\u200bments\u202e\r\nBcc: all@example.com")
@example("\x1b[31mred\x1b[0m\x00")
@example("\U0001f600" * 200)
@example("\u2028" * 5)
@example("a \x1b\rb")
def test_an_owner_is_one_bounded_line_that_can_be_seen(value):
    owner = cleaned(value)
    assert owner.isprintable()
    assert owner == owner.strip()
    assert limits.length(owner) <= LONGEST_OWNER
    assert cleaned(owner) == owner
    finding, _ = mapped(asset({"owner": value}), OwnerRule(("owner",)))
    assert finding["ProductFields"].get(f"{PREFIX}owner", "") == owner


@given(
    st.dictionaries(st.text(max_size=20), st.text(max_size=300), max_size=60),
    st.dictionaries(st.text(max_size=20), st.lists(st.text(max_size=300), max_size=3), max_size=8),
    st.lists(st.text(max_size=20), max_size=3),
)
def test_any_tags_leave_a_finding_within_the_limits(of_aws, of_tenable, keys):
    rule = OwnerRule((*keys, *of_aws), (*keys, *of_tenable))
    finding, _ = mapped(asset(of_aws, of_tenable), rule)
    fields = finding["ProductFields"]
    assert len(fields) < 50
    assert all(0 < limits.length(value) <= limits.PRODUCT_FIELD_VALUE for value in fields.values())
    named = [cleaned(value) for value in (*of_aws.values(), *(value for each in of_tenable.values() for value in each))]
    assert (f"{PREFIX}owner" in fields) == any(named)
    assert fields.get(f"{PREFIX}owner", "") in {"", *named}
