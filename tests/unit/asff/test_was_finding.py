"""Findings of web applications: Tenable's own example, golden ids, ASFF's limits, and what cannot be mapped."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest

from airflow_provider_tenable.asff import row
from airflow_provider_tenable.asff.finding import MappingOptions
from airflow_provider_tenable.asff.mapper import AsffWasMapper
from airflow_provider_tenable.asff.was import shown_url
from airflow_provider_tenable.exceptions import UnmappableError
from airflow_provider_tenable.guards.arns import arn_of
from airflow_provider_tenable.state import hub_rows
from airflow_provider_tenable.tenable_vm.asset_row import AssetRow
from airflow_provider_tenable.tenable_vm.decode import decode_chunk
from airflow_provider_tenable.tenable_vm.was import WasFinding, asset_of, host_of
from tests.unit.asff.asff_limits import problems

PREFIX = "tenable/vulnerability-management/"
CHUNK = (Path(__file__).resolve().parents[2] / "data" / "was_chunk_official_example.json").read_bytes()
FIRST: dict[str, Any] = json.loads(CHUNK)[0]
PRODUCT = "arn:aws:securityhub:eu-west-1::product/tenable/vulnerability-management"
ACCOUNT, REGION = "111122223333", "eu-west-1"
ASSET = FIRST["asset"]["uuid"]
LOAD_BALANCER = "arn:aws:elasticloadbalancing:us-east-1:444455556666:loadbalancer/app/shop/0123456789abcdef"


def record(**changed: Any) -> WasFinding:
    """Tenable's example with changes; None removes a field. ``plugin`` is merged."""
    fields = {**FIRST, **changed, "plugin": {**FIRST["plugin"], **changed.get("plugin", {})}}
    data = json.dumps([{name: value for name, value in fields.items() if value is not None}]).encode()
    (found,), unreadable = decode_chunk(data, WasFinding)
    assert not unreadable
    return found


def mapped(
    made: WasFinding,
    *,
    asset: AssetRow | None = None,
    host: str = "www.unixtimestamp.com",
    arn: str = "",
    **options: Any,
) -> tuple[dict[str, Any], Any]:
    mapper = AsffWasMapper(MappingOptions(**options), "tenable/vulnerability-management")
    known = arn_of(arn) if arn else None
    resource = mapper.application(
        asset or AssetRow(id=ASSET),
        host,
        account=known.account if known else ACCOUNT,
        region=known.region if known else REGION,
        arn=known,
    )
    line, packed = mapper.was(made, mapper.plugin(bytes(made.plugin)), resource, PRODUCT, None)
    assert problems(line) == []
    return json.loads(line), row.LAYOUT.unpack(packed)


def test_tenables_example_is_golden() -> None:
    made = record()
    assert (asset_of(made), host_of(made)) == (ASSET, "www.unixtimestamp.com")
    finding, packed = mapped(made)
    fields = {name.removeprefix(PREFIX): value for name, value in finding.pop("ProductFields").items()}
    assert {name: fields[name] for name in ("owasp_2017", "owasp_2021", "owasp_api_2019", "cwe", "wasc", "url")} == {
        "owasp_2017": "A7, A9",
        "owasp_2021": "A3, A6",
        "owasp_api_2019": "API7",
        "cwe": "79",
        "wasc": "Cross-Site Scripting",
        "url": "https://www.unixtimestamp.com/contact.php",
    }
    assert fields["plugin_id"] == "112435"
    assert fields["output"].startswith("Current Version: 2.2.4")
    assert (fields["vpr_score"], fields["cvss3_base_score"], fields["cve_count"]) == ("3", "6.1", "1")
    # Every plugin names all frameworks; none of these has an exploit.
    assert "exploit_frameworks" not in fields
    (vulnerability,) = finding.pop("Vulnerabilities")
    assert (vulnerability["Id"], vulnerability["EpssScore"]) == ("CVE-2015-9251", 0.10647)
    assert [(each["Version"], each["BaseScore"]) for each in vulnerability["Cvss"]] == [
        ("2.0", 4.3),
        ("3.0", 6.1),
        ("4.0", 6.9),
    ]
    # By exploitability_ease and patch_publication_date.
    assert (vulnerability["ExploitAvailable"], vulnerability["FixAvailable"]) == ("NO", "YES")
    del finding["Description"]
    assert finding == {
        "SchemaVersion": "2018-10-08",
        "Id": f"eu-west-1/111122223333/{ASSET}/was/044a6c5f-3b1c-5c2d-bc76-36e0072ab19c",
        "ProductArn": PRODUCT,
        "GeneratorId": "tenable-was/112435",
        "AwsAccountId": ACCOUNT,
        "CreatedAt": "2024-02-01T16:08:41.000Z",
        "UpdatedAt": "2024-02-01T16:08:41.000Z",
        "FirstObservedAt": "2024-02-01T16:08:41.000Z",
        "LastObservedAt": "2024-02-01T16:08:41.000Z",
        "Title": "jQuery 1.12.4 < 3.0.0 Cross-Site Scripting",
        "FindingProviderFields": {
            "Severity": {"Label": "MEDIUM", "Original": "MEDIUM"},
            "Types": ["Software and Configuration Checks/Vulnerabilities/CVE"],
        },
        "RecordState": "ACTIVE",
        "SourceUrl": "https://www.tenable.com/plugins/was/112435",
        "Remediation": {
            "Recommendation": {
                "Text": "Upgrade to jQuery version 3.0.0 or later.",
                "Url": "https://github.com/jquery/jquery/issues/2432",
            }
        },
        "Resources": [
            {
                "Type": "Other",
                "Id": "https://www.unixtimestamp.com",
                "Region": "eu-west-1",
                "Details": {"Other": {"Name": "www.unixtimestamp.com"}},
            }
        ],
    }
    # The row has the key that is made of the id alone.
    assert packed[0] == row.key_of(finding["Id"])
    assert packed[3] == 112435


def test_a_plugin_without_a_cve_is_of_the_wider_type() -> None:
    finding, _ = mapped(record(plugin={"cve": []}))
    assert finding["FindingProviderFields"]["Types"] == ["Software and Configuration Checks/Vulnerabilities"]
    assert "Vulnerabilities" not in finding


def test_the_id_is_that_of_tenables_finding_whatever_its_case_and_whatever_else_changes() -> None:
    usual = mapped(record())[0]["Id"]
    assert mapped(record(finding_id=f" {FIRST['finding_id'].upper()} "))[0]["Id"] == usual
    assert mapped(record(url="https://elsewhere.example.com/", plugin={"id": 1}), host="elsewhere")[0]["Id"] == usual
    assert mapped(record(finding_id="044a6c5f-3b1c-5c2d-bc76-36e0072ab19d"))[0]["Id"] != usual


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"finding_id": None}, "it has no finding_id"),
        ({"finding_id": " "}, "it has no finding_id"),
        ({"finding_id": "1"}, "its finding_id is not a UUID"),
        ({"finding_id": f"{FIRST['finding_id']}/../x"}, "its finding_id is not a UUID"),
        ({"severity": "odd", "severity_id": None}, "it has no severity"),
        (dict.fromkeys(("first_found", "last_found", "last_fixed", "last_observed", "indexed_at")), "no usable time"),
        ({"plugin": {"id": "x"}}, None),
    ],
)
def test_what_cannot_be_mapped_says_why(changed: dict[str, Any], why: str | None) -> None:
    with pytest.raises(UnmappableError if why else ValueError, match=why):
        mapped(record(**changed))


# Severity and state.


@pytest.mark.parametrize(
    ("changed", "options", "label"),
    [
        ({"severity_id": 4, "severity": "CRITICAL"}, {}, "CRITICAL"),
        ({"severity_id": None, "severity": "high"}, {}, "HIGH"),
        ({}, {"severity_source": "vpr"}, "LOW"),
        ({}, {"severity_source": "cvss3"}, "MEDIUM"),
        ({"severity_id": 4, "severity_modification_type": "RECASTED"}, {"severity_source": "vpr"}, "CRITICAL"),
        ({"plugin": {"vpr": None, "vpr_v2": None}}, {"severity_source": "vpr"}, "MEDIUM"),
    ],
    ids=str,
)
def test_severities_are_those_of_vulnerabilities(changed: Any, options: Any, label: str) -> None:
    finding, packed = mapped(record(**changed), **options)
    assert finding["FindingProviderFields"]["Severity"]["Label"] == label
    assert packed[4] & row.SEVERITY == ("INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL").index(label)


def test_a_recast_severity_says_so() -> None:
    fields = mapped(
        record(severity_id=1, severity="LOW", severity_modification_type="RECASTED", recast_reason="behind a WAF")
    )[0]["ProductFields"]
    assert fields[f"{PREFIX}severity_modification"] == "RECASTED"
    assert fields[f"{PREFIX}severity_default_id"] == "2"
    assert fields[f"{PREFIX}recast_reason"] == "behind a WAF"


@pytest.mark.parametrize(
    ("changed", "gone", "accepted_risks", "state", "because"),
    [
        ({}, {}, "archive", "ACTIVE", None),
        ({"state": "REOPENED"}, {}, "archive", "ACTIVE", None),
        ({"state": "fixed"}, {}, "archive", "ARCHIVED", "fixed"),
        ({"severity_modification_type": "ACCEPTED"}, {}, "archive", "ARCHIVED", "risk_accepted"),
        ({"severity_modification_type": "ACCEPTED"}, {}, "import", "ACTIVE", None),
        ({"severity_modification_type": "ACCEPTED"}, {}, "suppress", "ACTIVE", None),
        ({"severity_modification_type": "ACCEPTED", "state": "FIXED"}, {}, "suppress", "ARCHIVED", "fixed"),
        ({}, {"deleted_at": "2026-01-01T00:00:00Z"}, "archive", "ARCHIVED", "asset_deleted"),
        ({"state": "FIXED"}, {"deleted_at": "2026-01-01T00:00:00Z"}, "archive", "ARCHIVED", "asset_deleted"),
    ],
    ids=str,
)
def test_states(changed: Any, gone: Any, accepted_risks: str, state: str, because: str | None) -> None:
    finding, packed = mapped(record(**changed), asset=AssetRow(id=ASSET, **gone), accepted_risks=accepted_risks)
    assert finding["RecordState"] == state
    assert finding["ProductFields"].get(f"{PREFIX}archived_because") == because
    assert bool(packed[4] & row.ARCHIVED) == (state == "ARCHIVED")
    assert bool(packed[4] & row.FIXED) == (changed.get("state", "").upper() == "FIXED")
    if because:
        assert row.because(packed[4]) == because
    suppressed = accepted_risks == "suppress" and state == "ACTIVE"
    assert bool(packed[4] & row.BECAUSE[row.RISK_ACCEPTED]) == (suppressed or because == "risk_accepted")


# The resource.


@pytest.mark.parametrize(
    ("arn", "shown"),
    [
        (LOAD_BALANCER, "AwsElbv2LoadBalancer"),
        ("arn:aws:elasticloadbalancing:us-east-1:444455556666:loadbalancer/classic", "AwsElbLoadBalancer"),
        ("arn:aws:apprunner:us-east-1:444455556666:service/shop/0123", "Other"),
    ],
)
def test_behind_a_load_balancer_it_is_the_resource_in_its_own_account(arn: str, shown: str) -> None:
    finding, packed = mapped(record(), arn=arn)
    assert finding["Resources"][0] == {
        "Type": shown,
        "Id": arn,
        "Partition": "aws",
        "Region": "us-east-1",
        "Details": {"Other": {"Name": "www.unixtimestamp.com"}},
    }
    assert finding["AwsAccountId"] == "444455556666"
    assert finding["Id"].startswith(f"us-east-1/444455556666/{ASSET}/was/")
    assert finding["ProductFields"][f"{PREFIX}application"] == "www.unixtimestamp.com"
    assert packed[1] != mapped(record())[1][1]


def test_an_application_without_a_host_name_is_known_by_its_asset() -> None:
    finding, _ = mapped(record(), host="")
    assert finding["Resources"][0]["Id"] == f"tenable-asset/{ASSET}"


def test_what_the_asset_export_says_is_added_and_the_order_of_tags_is_no_change() -> None:
    known = AssetRow(id=ASSET, name="Shop", tags='{"Team":["web","ops"],"Env":["prod"]}', acr=7.0)
    again = AssetRow(id=ASSET, name="Shop", tags='{"Env":["prod"],"Team":["ops","web"]}', acr=7.0)
    finding, packed = mapped(record(), asset=known)
    assert finding["ProductFields"][f"{PREFIX}asset_name"] == "Shop"
    assert finding["ProductFields"][f"{PREFIX}tags"] == "Env: prod, Team: web, Team: ops"
    assert finding["FindingProviderFields"]["Criticality"] == 70
    assert packed[1] == mapped(record(), asset=again)[1][1] != mapped(record())[1][1]


# What may be shown.


def test_output_is_shown_only_where_the_option_says_so_and_values_of_the_query_nowhere() -> None:
    made = record(url="https://me:secret@www.example.com/a;jsessionid=1/b?token=2&q=3#x")
    shown, silent = (mapped(made, plugin_output=choice)[0]["ProductFields"] for choice in (True, False))
    assert shown[f"{PREFIX}url"] == silent[f"{PREFIX}url"] == "https://www.example.com/a/b?token&q"
    assert f"{PREFIX}output" in shown
    assert f"{PREFIX}output" not in silent


@pytest.mark.parametrize("cwe", [["798"], ["79", "CWE-522"], "319", [" 200", "540 "]])
def test_the_output_of_plugins_whose_evidence_is_a_secret_is_never_shown(cwe: Any) -> None:
    assert f"{PREFIX}output" not in mapped(record(plugin={"cwe": cwe}))[0]["ProductFields"]


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("www.example.com", "www.example.com"),
        ("http://[::1]:80/x?y", "http://[::1]:80/x"),
        ("https://u:p@h/?a=b@c&&d=&=e&f", "https://h/?a&d&"),
        ("u:p@h/x", "h/x"),
        ("https://h?a=b", "https://h?a"),
        ("", None),
        (None, None),
        ("x" * 20_000, None),
    ],
)
def test_urls(url: str | None, shown: str | None) -> None:
    assert shown_url(url) == shown


def test_unreadable_records_are_kept_without_what_the_application_answered() -> None:
    mapper = AsffWasMapper(MappingOptions(), "tenable/vulnerability-management")
    secret = {"output": "s3cret", "proof": "s3cret", "payload": "s3cret", "url": "u"}
    assert json.loads(mapper.without_output(json.dumps(secret).encode())) == {"url": "u"}
    broken = json.dumps(secret).encode()[:-5]
    assert b"s3cret" not in mapper.without_output(broken)
    assert b'"url"' in mapper.without_output(broken)


# Content.


def test_when_it_was_last_seen_is_no_change() -> None:
    assert mapped(record(last_found="2024-03-01T16:08:41Z"))[1][1] == mapped(record())[1][1]


@pytest.mark.parametrize(
    "changed",
    [
        {"state": "REOPENED"},
        {"state": "FIXED"},
        {"severity_id": 4},
        {"url": "https://www.unixtimestamp.com/other"},
        {"output": "another"},
        {"severity_modification_type": "RECASTED"},
        {"plugin": {"solution": "another"}},
        {"plugin": {"owasp_2021": ["A1"]}},
        {"plugin": {"cwe": ["80"]}},
        {"plugin": {"cve": ["CVE-2026-1"]}},
    ],
    ids=str,
)
def test_a_change_that_somebody_must_see_is_material(changed: dict[str, Any]) -> None:
    assert mapped(record(**changed))[1][1] != mapped(record())[1][1]


def test_the_order_in_catalogues_is_no_change() -> None:
    there = {"owasp_2021": ["A3", "A6"], "cwe": ["9", "79", "700"], "wasc": ["a", "b"]}
    back = {name: values[::-1] for name, values in there.items()}
    (one, packed), (two, again) = mapped(record(plugin=there)), mapped(record(plugin=back))
    assert one == two
    assert packed == again
    assert one["ProductFields"][f"{PREFIX}cwe"] == "9, 79, 700"


def test_records_as_they_are_stored_are_the_same_records() -> None:
    found = record()
    again = msgspec.json.decode(msgspec.json.encode(found), type=WasFinding)
    assert mapped(again) == mapped(found)


def test_a_hub_says_the_same_of_a_finding_as_its_row() -> None:
    """By that an audit of the hubs compares, and an index that was lost is made again."""
    finding, packed = mapped(record())
    document = {**finding, "Severity": {"Label": "MEDIUM"}, "Workflow": {"Status": "NEW"}}
    rows, others, unreadable = hub_rows.hub_rows([document], ACCOUNT)
    assert (others, unreadable) == (0, 0)
    (found,) = rows.to_pylist()
    assert (found["key"], found["asset"], found["plugin"]) == (packed[0], packed[2], packed[3])
    assert f"{found['resource']}{found['place']}" == finding["Id"]


# Limits.


def test_as_many_fields_as_there_can_be_fit() -> None:
    plugin = {
        **{name: ["x" * 3000] * 50 for name in ("owasp_2010", "owasp_2013", "wasc", "cwe")},
        "family": "f",
        "in_the_news": True,
        "exploited_by_malware": True,
        "exploit_frameworks": [{"type": "metasploit", "ids": ["1"]}, {"type": "core", "ids": []}],
        "xrefs": [{"type": "CISA-KNOWN-EXPLOITED", "id": ["2024/06/18"]}],
        "vpr_v2": {
            "score": 9,
            "vpr_severity": "HIGH",
            "vpr_percentile": 99,
            "exploit_code_maturity": "HIGH",
            "on_cisa_kev": True,
            "in_the_news_recency": "past week",
            "malware_observations_recency": "past week",
        },
        "vpr": {
            "score": 9,
            "drivers": {
                **FIRST["plugin"]["vpr"]["drivers"],
                "threat_sources_last28": ["Social media"],
                "threat_recency": {"lower_bound": 0, "upper_bound": 7},
            },
        },
    }
    made = record(
        plugin=plugin, severity_modification_type="ACCEPTED", recast_reason="r" * 5000, state="FIXED",
        http_method="GET", input_type="form", input_name="n" * 5000, output="\U0001f600" * 5000,
    )  # fmt: skip
    asset = AssetRow(id=ASSET, name="n" * 5000, tags='{"a":["b"]}')
    finding, _ = mapped(made, asset=asset)
    assert len(finding["ProductFields"]) <= 47
    assert finding["ProductFields"][f"{PREFIX}exploit_frameworks"] == "metasploit"
    assert finding["ProductFields"][f"{PREFIX}cisa_kev"] == "true"
    assert finding["ProductFields"][f"{PREFIX}cisa_kev_due_date"] == "2024-06-18"


def test_too_many_cves_are_cut_to_what_fits() -> None:
    many = [f"CVE-2026-{number:06d}" for number in range(9_000)]
    urls = [f"https://www.example.com/{number}/{'x' * 1900}" for number in range(20)]
    finding, _ = mapped(record(plugin={"cve": many, "see_also": urls}))
    assert 100 < len(finding["Vulnerabilities"]) < 9_000
    assert finding["ProductFields"][f"{PREFIX}cve_kept"] == str(len(finding["Vulnerabilities"]))
