"""The row of a finding: its key follows from the id alone, and its content from what is material."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from airflow_provider_tenable.asff import identity, row
from airflow_provider_tenable.asff.finding import MappingOptions, finding_and_row
from airflow_provider_tenable.asff.plugin import decode_plugin, plugin_parts
from airflow_provider_tenable.asff.resource import ec2_resource
from airflow_provider_tenable.aws import product_arn
from airflow_provider_tenable.state import staged
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from airflow_provider_tenable.tenable_vm.decode import decode_chunk
from airflow_provider_tenable.tenable_vm.records import Vulnerability
from tests.unit.asff.mapping import RECORD, ROW

PLUGIN = {
    **RECORD["plugin"],
    "epss_score": 41.0,
    "vpr": {"score": 6.1},
    "vpr_v2": {"score": 6.1},
    "publication_date": "2024-01-01T00:00:00Z",
    "modification_date": "2024-02-01T00:00:00Z",
    "exploit_available": False,
}
UUID = "11111111-2222-4333-8444-555555555555"
#: Contents of this version.
FROZEN = ["0x2f6e701f449caf8", "0x2a5f39d0f2f2573", "0x23489d063e5b432"]
SOFTWARE = [{"product": "openssl", "version": "3.0.1", "path": "/opt"}]


def made(change: dict[str, Any] | None = None, asset: dict[str, Any] | None = None, **options: Any):
    """Line and row of a record, of which some fields are others."""
    change = change or {}
    record = {**RECORD, "software_vulns": SOFTWARE, **change, "plugin": {**PLUGIN, **change.get("plugin", {})}}
    ((one,), unreadable) = decode_chunk(json.dumps([record]).encode(), Vulnerability)
    assert not unreadable
    about = AssetRow(**{name: getattr(ROW, name) for name in ROW.__struct_fields__} | {"id": UUID} | (asset or {}))
    arn = product_arn(options.pop("product", "tenable/vulnerability-management"), region="eu-west-1", account="1" * 12)
    line, found = finding_and_row(
        one, plugin_parts(decode_plugin(bytes(one.plugin))), ec2_resource(about), arn, MappingOptions(**options)
    )
    return line, row.LAYOUT.unpack(found)


def content(change: dict[str, Any] | None = None, **more: Any) -> int:
    return made(change, **more)[1][1]


def test_a_row_says_what_its_line_says():
    line, (key, found, asset, plugin, flags, updated_at, first_observed) = made()
    finding = json.loads(line)
    assert key == row.key_of(finding["Id"])
    assert row.version_of(found) == row.MATERIAL_VERSION == 2
    assert asset.hex() == UUID.replace("-", "")
    assert (plugin, flags) == (19506, 3)
    assert updated_at == 1_706_746_200_000
    assert first_observed == 1_704_067_200_000


@pytest.mark.parametrize(
    ("change", "flags"),
    [
        ({"state": "FIXED"}, 3 | row.ARCHIVED | row.FIXED),
        ({"severity_modification_type": "ACCEPTED"}, 3 | row.ARCHIVED | row.BECAUSE["risk_accepted"]),
        ({"severity_modification_type": "ACCEPTED", "state": "FIXED"}, 3 | row.ARCHIVED | row.FIXED),
        ({"severity_id": 4, "severity": "critical"}, 4),
    ],
)
def test_state_and_severity_are_in_the_flags(change, flags):
    assert made(change)[1][4] == flags


@pytest.mark.parametrize("scheme", identity.ID_SCHEMES)
@pytest.mark.parametrize("port", [{"port": 443, "protocol": "TCP"}, {"port": "a/b c", "protocol": "ü"}, None])
def test_the_key_follows_from_the_id_alone_whatever_is_in_it(scheme, port):
    line, (key, *_) = made({"port": port}, id_scheme=scheme, asset={"instance_id": "i/ä 1"})
    assert key == row.key_of(json.loads(line)["Id"])


@pytest.mark.parametrize("scheme", identity.ID_SCHEMES)
def test_a_row_made_of_a_line_has_all_but_the_content(scheme):
    for change in ({}, {"state": "FIXED"}, {"severity_modification_type": "ACCEPTED", "severity_id": 0}):
        line, whole = made(change, id_scheme=scheme)
        of_line = row.LAYOUT.unpack(staged.row_of_line(line))
        assert of_line[1] == row.UNKNOWN_CONTENT
        assert (of_line[0], *of_line[2:]) == (whole[0], *whole[2:])


@pytest.mark.parametrize(
    "change",
    [
        {"last_found": "2024-02-09T00:00:00Z", "indexed": "2024-02-09T00:10:00Z"},
        {"indexed": "2024-02-02T00:10:00Z"},
        {"scan": {"uuid": UUID, "started_at": "2024-02-08T23:00:00Z"}},
        {"plugin": {"modification_date": "2024-03-01T00:00:00Z"}},
        {"plugin": {"epss_score": 49.9}},
        {"plugin": {"vpr": {"score": 6.9}, "vpr_v2": {"score": 4.0}}},
        {"plugin": {"vpr": {"score": 6.1, "drivers": {"threat_intensity_last28": "HIGH", "product_coverage": "LOW"}}}},
        {"plugin": {"vpr": {"score": 6.1, "drivers": {"threat_recency": {"lower_bound": 7}}}}},
        {"plugin": {"vpr": {"score": 6.1, "drivers": {"threat_sources_last28": ["Blogs"], "cvss3_impact_score": 5}}}},
        {"plugin": {"vpr": {"score": 6.1, "drivers": {"age_of_vuln": {"lower_bound": 731}}}}},
        {"plugin": {"vpr_v2": {"score": 6.1, "vpr_percentile": 70.1, "in_the_news_recency": "0_7_DAYS"}}},
        {"plugin": {"vpr_v2": {"score": 6.1, "malware_observations_recency": "0_7_DAYS"}}},
        {"software_vulns": [{**SOFTWARE[0], "last_seen": 7}]},
    ],
    ids=str,
)
def test_what_moves_daily_without_anybody_having_to_act_is_not_material(change):
    assert content(change) == content()


@pytest.mark.parametrize(
    "change",
    [
        {"severity_id": 4, "severity": "critical"},
        {"state": "FIXED"},
        {"state": "REOPENED"},
        {"severity_modification_type": "RECASTED"},
        {"recast_reason": "because"},
        {"severity_modification_type": "ACCEPTED"},
        {"output": "Another output."},
        {"first_found": "2023-01-01T00:00:00Z"},
        {"finding_id": UUID},
        {"port": {"port": 443, "protocol": "TCP", "service": "https"}},
        {"plugin": {"name": "Another title"}},
        {"plugin": {"description": "Another description"}},
        {"plugin": {"solution": "Upgrade"}},
        {"plugin": {"cve": ["CVE-2024-0001"]}},
        {"plugin": {"epss_score": 50.1}},
        {"plugin": {"epss_score": None}},
        {"plugin": {"vpr": {"score": 7.0}}},
        {"plugin": {"vpr_v2": {"score": 9.0}}},
        {"plugin": {"exploit_available": True}},
        {"plugin": {"xrefs": [{"type": "CISA-KNOWN-EXPLOITED", "id": "2024/06/18"}]}},
        {"plugin": {"vpr_v2": {"score": 6.1, "on_cisa_kev": True}}},
        {"plugin": {"vpr_v2": {"score": 6.1, "vpr_severity": "HIGH"}}},
        {"plugin": {"vpr": {"score": 6.1, "drivers": {"exploit_code_maturity": "HIGH"}}}},
        {"plugin": {"exploited_by_malware": True}},
        {"plugin": {"exploit_framework_core": True}},
        {"plugin": {"in_the_news": True}},
        {"plugin": {"cvss3_base_score": 9.8}},
        {"plugin": {"has_patch": True}},
        {"software_vulns": [{**SOFTWARE[0], "version": "3.0.2"}]},
        {"software_vulns": None},
    ],
    ids=str,
)
def test_everything_else_is_material(change):
    assert content(change) != content()


@pytest.mark.parametrize(
    "more",
    [
        {"asset": {"tags": '{"Owner":["me"]}'}},
        {"asset": {"acr": 7.0}},
        {"asset": {"operating_systems": '["Linux"]'}},
        {"asset": {"addresses": '["10.0.0.1"]'}},
        {"asset": {"instance_name": "db"}},
        {"product": "default"},
        {"plugin_output": False},
        {"accepted_risks": "import"},
    ],
    ids=str,
)
def test_so_is_what_comes_from_the_asset_and_the_options(more):
    change = {"severity_modification_type": "ACCEPTED"}
    assert content(change, **more) != content(change)


@pytest.mark.parametrize("accepted_risks", ["archive", "import", "suppress"])
@pytest.mark.parametrize(("kind", "state"), [("ACCEPTED", "OPEN"), ("ACCEPTED", "FIXED"), ("RECASTED", "OPEN")])
def test_only_an_active_finding_whose_risk_is_accepted_is_suppressed_and_only_where_that_is_chosen(
    accepted_risks, kind, state
):
    change = {"severity_modification_type": kind, "state": state}
    line, (*_, flags, _, _) = made(change, accepted_risks=accepted_risks)
    is_active = json.loads(line)["RecordState"] == "ACTIVE"
    assert is_active == (state == "OPEN" and (kind, accepted_risks) != ("ACCEPTED", "archive"))
    suppressed = is_active and bool(row.has_accepted_risk(np.array([flags], "u1"))[0])
    assert suppressed == (is_active and kind == "ACCEPTED" and accepted_risks == "suppress")
    # As where nothing is suppressed, to the byte.
    if accepted_risks == "suppress":
        other, (_, found, *_) = made(change, accepted_risks="import")
        assert (line, content(change, accepted_risks="suppress")) == (other, found)


CVES = {"cve": ["CVE-2024-0001", "CVE-2024-0002"]}
PACKAGES = [{**SOFTWARE[0], "vulnerabilities": ["CVE-2024-0001", "CVE-2024-0002"]}, {"product": "b", "version": "2"}]


@pytest.mark.parametrize(
    ("one", "other"),
    [
        (
            {"plugin": {"cve": ["CVE-2024-0001", "CVE-2024-0002"]}},
            {"plugin": {"cve": ["CVE-2024-0002", "CVE-2024-0001"]}},
        ),
        (
            {"plugin": {**CVES, "see_also": ["https://a.example/x", "https://b.example/x"]}},
            {"plugin": {**CVES, "see_also": ["https://b.example/x", "https://a.example/x"]}},
        ),
        (
            {"plugin": {"cve": None, "see_also": ["https://a.example/x", "https://b.example/x"]}},
            {"plugin": {"cve": None, "see_also": ["https://b.example/x", "https://a.example/x"]}},
        ),
        ({"plugin": CVES, "software_vulns": PACKAGES}, {"plugin": CVES, "software_vulns": PACKAGES[::-1]}),
        (
            {"plugin": CVES, "software_vulns": PACKAGES[:1]},
            {
                "plugin": CVES,
                "software_vulns": [{**PACKAGES[0], "vulnerabilities": ["CVE-2024-0002", "CVE-2024-0001"]}],
            },
        ),
    ],
    ids=["cves", "addresses", "addresses without a CVE", "packages", "cves of a package"],
)
def test_the_order_of_a_set_is_not_material(one, other):
    assert content(one) == content(other)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ({"addresses": '["10.0.0.1","10.0.0.2","::1"]'}, {"addresses": '["::1","10.0.0.2","10.0.0.1"]'}),
        ({"tags": '{"a":["1","2"],"b":["3"]}'}, {"tags": '{"b":["3"],"a":["2","1"]}'}),
        ({"resource_tags": '{"a":"1","b":"2"}'}, {"resource_tags": '{"b":"2","a":"1"}'}),
    ],
    ids=["addresses", "tags", "tags of the resource"],
)
def test_nor_is_that_of_what_an_asset_has_several_of(one, other):
    assert content(asset=one) == content(asset=other) != content()


def test_what_only_its_cves_have_does_not_count_for_a_finding_without_one():
    without = {"cve": None}
    usual = content({"plugin": without})
    for change in (
        {"epss_score": 90.0},
        {"cvss_base_score": 9.9},
        {"has_patch": True},
        {"exploit_available": True},
        {"publication_date": "2020-01-01T00:00:00Z"},
        {"risk_factor": "Critical"},
    ):
        assert content({"plugin": {**without, **change}}) == usual, change
        assert content({"plugin": {**CVES, **change}}) != content({"plugin": CVES}), change
    assert content({"plugin": without, "software_vulns": PACKAGES}) == usual


def test_the_only_address_of_a_plugin_without_a_cve_is_material():
    assert content({"plugin": {"cve": None, "see_also": ["https://a.example/x"]}}) != content(
        {"plugin": {"cve": None, "see_also": ["https://b.example/x"]}}
    )


def test_the_pieces_of_a_content_do_not_run_into_each_other():
    one = content({"recast_reason": "a", "output": "b", "severity_modification_type": "RECASTED"})
    other = content({"recast_reason": "a b", "output": "", "severity_modification_type": "RECASTED"})
    assert one != other


def test_without_a_finding_id_the_same_is_material():
    unknown = {"finding_id": None}
    assert content({**unknown, "plugin": {"vpr": {"score": 6.9}}}) == content(unknown)
    assert content({**unknown, "plugin": {"vpr": {"score": 7.9}}}) != content(unknown) != content()


def test_digests_of_this_version_stay_what_they_are():
    """Whoever changes these sends every finding of every deployment once more: raise MATERIAL_VERSION, and say so in
    CHANGELOG.md.
    """
    changes: list[dict[str, Any]] = [{}, {"state": "FIXED"}, {"finding_id": None, "software_vulns": None}]
    assert [hex(content(change)) for change in changes] == FROZEN


@given(st.text(max_size=30), st.text(max_size=30), st.text(max_size=10), st.integers(0, 2**70))
def test_resource_and_rest_of_an_id_make_the_id_again(account, resource, protocol, plugin):
    for scheme in identity.ID_SCHEMES:
        head = identity.id_head(scheme, region="eu-west-1", account="1" * 12, resource=resource)
        whole = f"{head}{plugin}{identity.id_tail(scheme, protocol=protocol, port=account)}"
        found, rest = row.split_id(whole)
        assert found + rest == whole
        assert found == head


@given(st.text(max_size=60))
def test_any_text_is_an_asset_and_an_id(text):
    assert len(row.asset_key(text)) == 16
    assert len(row.key_of(text)) == 16
    assert "".join(row.split_id(text)) == text


@pytest.mark.parametrize("plugin", [0, -1, 2**63 - 1, 2**63, 10**400])
def test_a_plugin_of_any_size_fits(plugin):
    assert 0 <= row.plugin_number(plugin) < 2**63


@pytest.mark.parametrize(
    ("asset", "flags"),
    [
        ({"terminated_at": "2026-01-01T00:00:00Z"}, 3 | row.ARCHIVED | 64),
        ({"deleted_at": "2026-01-01T00:00:00Z"}, 3 | row.ARCHIVED | 128),
    ],
)
def test_an_asset_that_is_gone_is_in_the_flags(asset, flags):
    """The bits are in the staged rows of runs that another version of the package continues."""
    assert made(asset=asset)[1][4] == flags
    assert made({"state": "FIXED"}, asset=asset)[1][4] == flags | row.FIXED
