"""Each row of the mapping, and the rules that make a re-import harmless."""

from __future__ import annotations

import json

import msgspec
import pytest
from mapping import ACCOUNT, INSTANCE, PREFIX, REGION, ROW, decode, finding_of, line_of, plugin_record, record

from airflow_provider_tenable.asff.finding import MappingOptions, UnmappableError, finding_and_row
from airflow_provider_tenable.asff.plugin import decode_plugin, plugin_parts
from airflow_provider_tenable.asff.resource import ec2_resource
from airflow_provider_tenable.tenable_vm.records import AssetRef, Vulnerability, is_fixed, own_time, severity_id_of
from airflow_provider_tenable.tenable_vm.times import rfc3339

ARCHIVE, IMPORT = MappingOptions(accepted_risks="archive"), MappingOptions(accepted_risks="import")


def vulnerability(**fields):
    return Vulnerability(asset=AssetRef("a"), plugin=msgspec.Raw(b"{}"), **fields)


def fields_of(value, row=ROW):
    return {name.removeprefix(PREFIX): text for name, text in finding_of(value, row)["ProductFields"].items()}


def test_id_account_generator_and_schema():
    finding = finding_of(record())
    assert finding["SchemaVersion"] == "2018-10-08"
    assert finding["Id"] == f"{REGION}/{ACCOUNT}/{INSTANCE}/19506/tcp/443"
    assert finding["AwsAccountId"] == ACCOUNT
    assert finding["GeneratorId"] == "19506"
    assert finding["ProductArn"] == f"arn:aws:securityhub:{REGION}::product/tenable/vulnerability-management"
    assert finding["SourceUrl"] == "https://www.tenable.com/plugins/nessus/19506"


def test_id_has_the_region_of_the_resource_and_the_product_that_of_the_hub():
    finding = json.loads(line_of(record(), hub="us-east-1"))
    assert finding["Id"].startswith("eu-west-1/")
    assert finding["ProductArn"] == "arn:aws:securityhub:us-east-1::product/tenable/vulnerability-management"
    assert finding["Resources"][0]["Region"] == "eu-west-1"


@pytest.mark.parametrize(("region", "named"), [("eu-west-1", False), ("us-gov-west-1", True), ("cn-north-1", True)])
def test_findings_of_the_default_product_name_company_and_product_themselves(region, named):
    finding = json.loads(line_of(record(), hub=region))
    assert finding["ProductArn"].endswith("/default") is named
    expected = {"CompanyName": "Tenable", "ProductName": "Vulnerability Management"} if named else {}
    assert {name: finding[name] for name in ("CompanyName", "ProductName") if name in finding} == expected


@pytest.mark.parametrize("port", [None, {}, {"service": "www"}, {"port": None, "protocol": None}, "443", []])
def test_record_without_a_port_has_zero_and_none(port):
    assert finding_of(record(port=port))["Id"].endswith("/19506/none/0")


def test_finding_id_is_distinct_per_port():
    ids = {
        finding_of(record(port={"port": port, "protocol": protocol}))["Id"]
        for port in (443, 8443)
        for protocol in ("TCP", "UDP")
    }
    assert len(ids) == 4


def test_option_keeps_the_ids_of_tvm2aws():
    assert finding_of(record(), options=MappingOptions(id_scheme="tvm2aws"))["Id"] == f"{REGION}/{INSTANCE}/19506"


def test_id_stands_at_the_front_where_the_import_looks_for_it():
    assert line_of(record()).startswith(b'{"SchemaVersion":"2018-10-08","Id":"eu-west-1/')


def test_title_and_description():
    finding = finding_of(plugin_record(description="a &amp; b"))
    assert (finding["Title"], finding["Description"]) == ("Title", "a & b")
    assert finding_of(plugin_record(synopsis="short"))["Description"] == "short"


def test_times_are_first_found_last_found_and_the_latest():
    finding = finding_of(record())
    assert finding["CreatedAt"] == finding["FirstObservedAt"] == "2024-01-01T00:00:00.000Z"
    assert finding["LastObservedAt"] == "2024-02-01T00:00:00.000Z"
    assert finding["UpdatedAt"] == "2024-02-01T00:10:00.000Z"


@pytest.mark.parametrize("latest", ["last_found", "last_fixed", "resurfaced_date", "indexed"])
def test_updated_at_is_the_maximum(latest):
    """Of what happened, where the record has no index time, which nothing can be later than."""
    times = dict.fromkeys(("last_found", "last_fixed", "resurfaced_date", "indexed"), "2024-03-01T00:00:00Z")
    times["indexed"] = times["indexed"] if latest == "indexed" else None
    assert (
        finding_of(record(**{**times, latest: "2024-03-01T00:00:00.001Z"}))["UpdatedAt"] == "2024-03-01T00:00:00.001Z"
    )


def test_times_are_compared_as_moments_and_not_as_texts():
    assert (
        finding_of(record(last_found="2024-03-01T00:00:00+05:00", indexed="2024-02-29T20:00:00Z"))["UpdatedAt"]
        == "2024-02-29T20:00:00.000Z"
    )


def test_created_at_is_never_after_updated_at():
    finding = finding_of(record(first_found="2025-01-01T00:00:00Z", indexed=None))
    assert finding["CreatedAt"] == finding["UpdatedAt"] == "2025-01-01T00:00:00.000Z"


@pytest.mark.parametrize("first", [None, "never", "2018-02-31T00:00:00Z", {}, []])
def test_missing_first_found_costs_the_field_and_not_the_finding(first):
    finding = finding_of(record(first_found=first))
    assert finding["CreatedAt"] == "2024-02-01T00:00:00.000Z"
    assert "FirstObservedAt" not in finding


def test_missing_last_found_costs_the_field_and_not_the_finding():
    finding = finding_of(record(last_found=None))
    assert "LastObservedAt" not in finding
    assert finding["UpdatedAt"] == "2024-02-01T00:10:00.000Z"


def test_indexed_may_be_a_number():
    assert finding_of(record(indexed=1_740_000_000))["UpdatedAt"] == "2025-02-19T21:20:00.000Z"


def test_record_without_any_time_is_unmappable():
    with pytest.raises(UnmappableError, match="no usable time"):
        finding_of(record(first_found=None, last_found="never", indexed=None))


@pytest.mark.parametrize(
    ("number", "label", "word"),
    [
        (0, "INFORMATIONAL", "info"),
        (1, "LOW", "low"),
        (2, "MEDIUM", "medium"),
        (3, "HIGH", "high"),
        (4, "CRITICAL", "critical"),
    ],
)
def test_severity_labels(number, label, word):
    assert finding_of(record(severity_id=number, severity=None))["FindingProviderFields"]["Severity"] == {
        "Label": label,
        "Original": word,
    }
    assert finding_of(record(severity_id=None, severity=word.upper()))["FindingProviderFields"]["Severity"] == {
        "Label": label,
        "Original": word.upper(),
    }


def test_severity_number_is_preferred_to_the_word_which_stays_as_original():
    assert finding_of(record(severity_id=3, severity="low"))["FindingProviderFields"]["Severity"] == {
        "Label": "HIGH",
        "Original": "low",
    }


@pytest.mark.parametrize(
    ("number", "word", "expected"),
    [
        (5, "low", 1),
        (-1, " Low ", 1),
        (None, "none", None),
        (None, None, None),
        (7, "", None),
        (0, "critical", 0),
        (4, "info", 4),
    ],
)
def test_severity_id_of(number, word, expected):
    assert severity_id_of(vulnerability(severity_id=number, severity=word)) == expected


def test_original_is_cut_to_its_limit():
    assert finding_of(record(severity="x" * 64))["FindingProviderFields"]["Severity"]["Original"] == "x" * 64
    assert finding_of(record(severity="x" * 65))["FindingProviderFields"]["Severity"]["Original"] == "x" * 63 + "…"


def test_record_without_a_severity_is_unmappable():
    with pytest.raises(UnmappableError, match="no severity"):
        finding_of(record(severity=None, severity_id=9))


def test_types_stand_in_the_provider_fields_and_tell_cve_by_content():
    assert finding_of(record())["FindingProviderFields"]["Types"] == [
        "Software and Configuration Checks/Vulnerabilities/CVE"
    ]
    finding = finding_of(plugin_record())
    assert finding["FindingProviderFields"]["Types"] == ["Software and Configuration Checks/Vulnerabilities"]
    assert "Vulnerabilities" not in finding


def test_criticality_comes_from_the_rating_and_is_absent_without():
    assert finding_of(record(), msgspec.structs.replace(ROW, acr=7.0))["FindingProviderFields"]["Criticality"] == 70
    assert "Criticality" not in finding_of(record())["FindingProviderFields"]


def test_criticality_zero_is_sent():
    assert finding_of(record(), msgspec.structs.replace(ROW, acr=0.01))["FindingProviderFields"]["Criticality"] == 0


def test_what_belongs_to_the_customer_is_never_sent():
    full = record(
        workflow="x", note="y", verification_state="z", severity_modification_type="ACCEPTED", recast_reason="because"
    )
    assert not {
        "Workflow",
        "WorkflowState",
        "Note",
        "UserDefinedFields",
        "VerificationState",
        "Severity",
        "Types",
        "Confidence",
        "Criticality",
    } & set(finding_of(full))


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        ("OPEN", "ACTIVE"),
        ("REOPENED", "ACTIVE"),
        ("NEW", "ACTIVE"),
        ("FIXED", "ARCHIVED"),
        ("fixed", "ARCHIVED"),
        (" Fixed ", "ARCHIVED"),
        (None, "ACTIVE"),
        ("", "ACTIVE"),
        ("ODD", "ACTIVE"),
        (["FIXED"], "ACTIVE"),
    ],
)
def test_record_state(state, expected):
    assert finding_of(record(state=state))["RecordState"] == expected
    assert is_fixed(decode(record(state=state))) is (expected == "ARCHIVED")


@pytest.mark.parametrize(
    ("modification", "options", "expected"),
    [
        ("ACCEPTED", ARCHIVE, "ARCHIVED"),
        ("accepted", ARCHIVE, "ARCHIVED"),
        ("ACCEPTED", IMPORT, "ACTIVE"),
        ("RECASTED", ARCHIVE, "ACTIVE"),
        ("NONE", ARCHIVE, "ACTIVE"),
        (None, ARCHIVE, "ACTIVE"),
    ],
)
def test_accepted_risk_is_archived_or_imported(modification, options, expected):
    assert finding_of(record(severity_modification_type=modification), options=options)["RecordState"] == expected


def test_fixed_and_accepted_is_archived_under_either_option():
    assert (
        finding_of(record(state="FIXED", severity_modification_type="ACCEPTED"), options=IMPORT)["RecordState"]
        == "ARCHIVED"
    )


def test_accepted_risks_are_archived_by_default():
    assert finding_of(record(severity_modification_type="ACCEPTED"))["RecordState"] == "ARCHIVED"


def test_product_fields_say_where_and_what():
    full = record(
        finding_id="f-1",
        source="NESSUS",
        output=" \n out \n",
        plugin={"id": 1, "family": "Web", "type": "remote", "vpr": {"score": 9.1}, "cve": ["CVE-1"]},
    )
    row = msgspec.structs.replace(ROW, tags='{"team":["red"]}', instance_name="web-1", instance_type="t2.micro")
    assert fields_of(full, row) == {
        "finding_id": "f-1",
        "state": "OPEN",
        "port": "443",
        "protocol": "TCP",
        "service": "www",
        "source": "NESSUS",
        "plugin_family": "Web",
        "plugin_type": "remote",
        "vpr_score": "9.1",
        "cve_count": "1",
        "asset_uuid": "asset-1",
        "asset_name": "web-1",
        "instance_type": "t2.micro",
        "tags": "team: red",
        "output": "out",
    }


def test_product_fields_hold_nothing_empty():
    blank = {
        "state": " ",
        "output": "\x00",
        "source": None,
        "finding_id": "\n",
        "severity_modification_type": "",
        "recast_reason": " ",
    }
    bare = record(**blank, port={"port": None, "protocol": " ", "service": ""}, plugin={"id": 1})
    assert fields_of(bare) == {"asset_uuid": "asset-1"}


@pytest.mark.parametrize("own_id", [" f-1", "f-1 ", "f-1\n", "\x00f-1"])
def test_blanks_around_tenables_own_id_are_dropped(own_id):
    assert fields_of(record(finding_id=own_id))["finding_id"] == "f-1"


def test_port_zero_is_told():
    assert fields_of(record(port={"port": 0, "protocol": "ICMP"}))["port"] == "0"


def test_product_fields_tell_a_recast_and_its_reason():
    fields = fields_of(record(severity_modification_type="recasted", severity_default_id=0, recast_reason="we know"))
    assert (fields["severity_modification"], fields["severity_default_id"], fields["recast_reason"]) == (
        "RECASTED",
        "0",
        "we know",
    )


def test_product_fields_tell_a_reason_without_a_recast_and_a_recast_without_a_reason():
    changed = ("severity_modification", "severity_default_id", "recast_reason")
    reason = fields_of(record(severity_modification_type=None, severity_default_id=3, recast_reason="we know"))
    assert {name: reason.get(name) for name in changed} == {
        "severity_modification": None,
        "severity_default_id": None,
        "recast_reason": "we know",
    }
    recast = fields_of(record(severity_modification_type="RECASTED", severity_default_id=3))
    assert {name: recast.get(name) for name in changed} == {
        "severity_modification": "RECASTED",
        "severity_default_id": "3",
        "recast_reason": None,
    }


@pytest.mark.parametrize("modification", ["NONE", "none", " ", None])
def test_product_fields_tell_no_recast_where_there_is_none(modification):
    assert not {"severity_modification", "severity_default_id"} & set(
        fields_of(record(severity_modification_type=modification, severity_default_id=3))
    )


def test_output_is_cut_to_its_limit():
    assert fields_of(record(output="x" * 2048))["output"] == "x" * 2048
    assert fields_of(record(output="x" * 1_000_000))["output"] == "x" * 2047 + "…"


def test_packages_of_the_record_stand_in_its_vulnerabilities():
    software = [{"product": "httpd", "version": "2.4"}, {"product": "openssl", "vulnerabilities": ["CVE-2024-0002"]}]
    httpd, openssl = {"Name": "httpd", "Version": "2.4"}, {"Name": "openssl"}
    found = finding_of(record(software_vulns=software))["Vulnerabilities"]
    assert {each["Id"]: each["VulnerablePackages"] for each in found} == {
        "CVE-2024-0001": [httpd],
        "CVE-2024-0002": [httpd, openssl],
    }
    assert not any("VulnerablePackages" in each for each in finding_of(record(software_vulns=[]))["Vulnerabilities"])


def test_packages_without_a_cve_cost_nothing():
    assert "Vulnerabilities" not in finding_of({**plugin_record(), "software_vulns": [{"product": "httpd"}]})


SCORES = {
    "cvss_base_score": 7.5,
    "cvss_vector": {"raw": "AV:N/AC:L/Au:N/C:P/I:P/A:P"},
    "cvss3_base_score": 9.8,
    "cvss3_vector": {"raw": "AV:N/AC:L/PR:N/UI:N/S:U/C:H/I:H/A:H"},
    "has_patch": True,
    "epss_score": 1.5,
}
PACKAGES = [{"product": "p" * 512, "path": "f" * 512, "version": str(number)} for number in range(20)]


def cves(number: int) -> list[str]:
    return [f"CVE-2024-{each:05d}" for each in range(number)]


def shown(line: bytes, name: str) -> list[str]:
    """The CVEs whose entries have a field."""
    return [each["Id"] for each in json.loads(line)["Vulnerabilities"] if name in each]


def test_350_cves_with_20_addresses_fit():
    line = line_of(
        plugin_record(
            cve=cves(350), see_also=[f"https://example.com/{number}/" + "x" * 100 for number in range(20)], **SCORES
        )
    )
    assert shown(line, "Cvss") == cves(350)
    assert shown(line, "ReferenceUrls") == cves(1)
    assert "cve_kept" not in str(line)


def test_finding_over_240_kilobytes_loses_the_packages_of_later_cves_first():
    line = line_of(
        {**plugin_record(cve=cves(100), see_also=["https://example.com/"], **SCORES), "software_vulns": PACKAGES}
    )
    with_packages = shown(line, "VulnerablePackages")
    assert 5 < len(with_packages) < 20
    assert with_packages == cves(len(with_packages))
    assert shown(line, "Cvss") == shown(line, "Vendor") == cves(100)
    assert shown(line, "ReferenceUrls") == cves(1)
    one = len(json.dumps(json.loads(line)["Vulnerabilities"][0]["VulnerablePackages"])) + 30
    assert 240_000 - one - 100 < len(line) <= 240_000


def test_scores_of_later_cves_are_given_up_before_the_packages_of_the_first():
    line = line_of(
        {**plugin_record(cve=cves(3_000), see_also=["https://example.com/"], **SCORES), "software_vulns": PACKAGES}
    )
    scored = shown(line, "Cvss")
    assert 300 < len(scored) < 600
    assert scored == shown(line, "Vendor") == shown(line, "EpssScore") == cves(len(scored))
    assert shown(line, "VulnerablePackages") == shown(line, "ReferenceUrls") == cves(1)
    assert shown(line, "Id") == cves(3_000)
    assert 239_000 < len(line) <= 240_000


def test_packages_of_the_first_cve_are_given_up_before_any_cve():
    line = line_of(
        {**plugin_record(cve=cves(9_300), see_also=["https://example.com/"], **SCORES), "software_vulns": PACKAGES}
    )
    assert shown(line, "Id") == cves(9_300)
    assert b"VulnerablePackages" not in line
    assert shown(line, "ReferenceUrls") == cves(1)


def test_cves_are_given_up_last_and_those_that_are_left_are_counted():
    line = line_of(
        {**plugin_record(cve=cves(10_000), see_also=["https://example.com/"], **SCORES), "software_vulns": PACKAGES}
    )
    finding = json.loads(line)
    kept = shown(line, "Id")
    assert 9_300 < len(kept) < 10_000
    assert kept == cves(len(kept))
    assert shown(line, "Cvss") == shown(line, "ReferenceUrls") == cves(1)
    assert 240_000 - 130 < len(line) <= 240_000
    fields = finding["ProductFields"]
    assert (fields[f"{PREFIX}cve_count"], fields[f"{PREFIX}cve_kept"]) == ("10000", str(len(kept)))
    assert finding["FindingProviderFields"]["Types"] == ["Software and Configuration Checks/Vulnerabilities/CVE"]


def test_longest_texts_everywhere_stay_below_the_limit():
    # Three bytes per UTF-16 unit is the most that there is.
    resource_tags = json.dumps({f"{number:03d}" + "漢" * 125: "漢" * 256 for number in range(50)})
    row = msgspec.structs.replace(
        ROW,
        resource_tags=resource_tags,
        tags=json.dumps({"漢": ["漢" * 2048]}),
        name="漢" * 2048,
        instance_type="漢" * 2048,
    )
    everything = dict.fromkeys(
        ("finding_id", "source", "output", "recast_reason", "severity_modification_type", "severity"), "漢" * 2048
    )
    port = {"port": "443", "protocol": "TCP", "service": "漢" * 2048}
    line = line_of(
        record(
            **everything,
            port=port,
            plugin={"id": 1, **dict.fromkeys(("family", "type", "name", "description", "solution"), "漢" * 2048)},
        ),
        row,
    )
    assert 130_000 < len(line) <= 240_000


def test_finding_that_no_cut_makes_fit_is_unmappable():
    one = decode(record())
    with pytest.raises(UnmappableError, match=r"it has 24\d{4} bytes; the limit is 240000"):
        finding_and_row(
            one,
            plugin_parts(decode_plugin(bytes(one.plugin))),
            ec2_resource(ROW),
            "arn:" + "x" * 240_000,
            MappingOptions(),
        )


def test_id_over_the_limit_is_unmappable_with_its_length():
    with pytest.raises(UnmappableError, match=r"its id would have 55[0-9] characters; the limit is 512"):
        finding_of(record(port={"port": 1, "protocol": "x" * 500}))


def test_unmappable_is_a_value_error():
    assert issubclass(UnmappableError, ValueError)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (
            {"state": "FIXED", "last_fixed": "2024-03-01T00:00:00Z", "last_found": "2024-01-01T00:00:00Z"},
            "2024-03-01T00:00:00.000Z",
        ),
        ({"state": "FIXED", "last_found": "2024-01-01T00:00:00Z"}, "2024-01-01T00:00:00.000Z"),
        ({"state": "FIXED", "last_fixed": "never", "last_found": "2024-01-01T00:00:00Z"}, "2024-01-01T00:00:00.000Z"),
        (
            {"state": "OPEN", "last_fixed": "2024-03-01T00:00:00Z", "last_found": "2024-01-01T00:00:00Z"},
            "2024-01-01T00:00:00.000Z",
        ),
        ({"state": "REOPENED", "last_fixed": "2024-03-01T00:00:00Z"}, None),
        ({}, None),
    ],
)
def test_own_time_is_last_fixed_of_a_fixed_record_else_last_found(fields, expected):
    moment = own_time(vulnerability(**fields))
    assert (moment and rfc3339(moment)) == expected
