"""docs/mapping.md says what the code does with results of audits: fields, statuses, severities, ids, reasons."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from airflow_provider_tenable.asff import check, compliance, limits
from airflow_provider_tenable.asff.mapper import AsffComplianceMapper
from airflow_provider_tenable.asff.product_fields import PREFIX
from airflow_provider_tenable.run.audit_counts import RESULTS
from airflow_provider_tenable.run.compliance_params import COMPLIANCE
from airflow_provider_tenable.tenable_vm import compliance as records
from airflow_provider_tenable.transform import compliance as transform
from tests.unit.asff.test_compliance import ACCOUNT, HOST, MAPPER, mapped, record
from tests.unit.test_mapping_docs import ASSETS, RECORDS, finding_of, names, paths_of, section

OPENING = "Results of audits"
FULL = {
    "compliance_control_id": "c",
    "profile_name": "L1",
    "status": "WARNING",
    "check_error": "no",
    "state": "FIXED",
}


def rows(title: str) -> list[list[str]]:
    """The table of a part of the section."""
    text = section(OPENING) if title == OPENING else section(OPENING).split(f"### {title}\n", 1)[1]
    lines = [line for line in text.split("\n### ", 1)[0].splitlines() if line.startswith("|")]
    return [[cell.strip() for cell in line.split("|")[1:-1]] for line in lines[2:]]


def documented(title: str) -> list[str]:
    return [re.findall(r"`([^`]+)`", row[0])[0] for row in rows(title)]


def findings() -> list[dict[str, Any]]:
    """With every field that the mapping can give: of an account, and of a host."""
    return [mapped(record(**FULL), resource)[0] for resource in (ACCOUNT, HOST)]


def paths(finding: dict[str, Any]) -> set[str]:
    """As the page describes them."""
    rest = {name: value for name, value in finding.items() if name != "Compliance"}
    rest["Resources"] = [{"Details": {}, **each} for each in finding["Resources"]]
    return paths_of(rest) | {f"Compliance.{name}" for name in finding["Compliance"]}


def test_fields_are_those_of_vulnerabilities_and_those_of_the_table() -> None:
    emitted = set().union(*map(paths, findings()))
    assert emitted <= set(names("Fields")) | set(documented(OPENING))
    assert set(documented(OPENING)) <= emitted
    assert {path for path in emitted if path.startswith("Compliance.")} <= set(documented(OPENING))
    assert "Vulnerabilities" not in str(emitted)


def test_fields_that_the_table_does_not_name_are_those_of_a_vulnerability_of_the_same_host() -> None:
    vulnerability = finding_of({**RECORDS[0], "asset": {"uuid": ASSETS[2]["id"]}}, ASSETS[2])
    assert {"SchemaVersion", "ProductArn", "AwsAccountId"} <= set(names("Fields")) - set(documented(OPENING))
    for finding in findings():
        assert finding["SchemaVersion"] == vulnerability["SchemaVersion"]
        assert finding["ProductArn"].endswith("product/tenable/vulnerability-management")


def test_limits_are_those_of_the_code() -> None:
    assert {name: int(row[3]) for name, row in zip(documented(OPENING), rows(OPENING), strict=True) if row[3]} == {
        "Id": limits.ID,
        "GeneratorId": limits.GENERATOR_ID,
        "Title": limits.TITLE,
        "Description": limits.DESCRIPTION,
        "FindingProviderFields.Severity.Original": limits.SEVERITY_ORIGINAL,
        "SourceUrl": limits.URL,
        "Remediation.Recommendation.Text": limits.RECOMMENDATION_TEXT,
        "Remediation.Recommendation.Url": limits.URL,
        "ProductFields": limits.PRODUCT_FIELD_VALUE,
        "Resources[0].Id": limits.RESOURCE_ID,
        "Resources[0].Region": limits.RESOURCE_REGION,
        "Compliance.RelatedRequirements": check.RELATED_REQUIREMENTS,
        "Compliance.AssociatedStandards": check.STANDARD,
        "Compliance.StatusReasons": limits.DESCRIPTION,
    }
    assert f"each of up to {check.REQUIREMENT} characters" in section(OPENING)


@pytest.mark.parametrize("row", rows("Statuses of audits"), ids=lambda row: row[0])
def test_a_status_becomes_what_its_row_says(row: list[str]) -> None:
    status, asff, result, severity = (cell.strip("`") for cell in row)
    made = record(status=status)
    finding, _ = mapped(made)
    assert finding["Compliance"]["Status"] == asff
    assert records.status_of(made) == result
    assert finding["FindingProviderFields"]["Severity"] == {"Label": severity, "Original": status}
    assert compliance.SEVERITY[result] == severity
    assert ("StatusReasons" in finding["Compliance"]) == (status not in ("PASSED", "FAILED"))


def test_every_status_has_its_row() -> None:
    assert set(documented("Statuses of audits")) == set(records._STATUS_OF)
    results = [row[2].strip("`") for row in rows("Statuses of audits")]
    assert set(results) == set(RESULTS) == set(compliance.SEVERITY)
    assert set(RESULTS) - set(COMPLIANCE["audit_statuses"].default) == {"not_available"}


def test_product_fields_are_those_of_the_code() -> None:
    of_account, of_host = ({key.removeprefix(PREFIX) for key in each["ProductFields"]} for each in findings())
    table = set(documented("ProductFields of audits"))
    assert of_account == table | {"asset_uuid"}
    assert of_host - table <= set(names("ProductFields"))
    silent = AsffComplianceMapper(compliance.AuditOptions(actual_value=False), "tenable/vulnerability-management")
    line, _, _ = silent.compliance(record(**FULL), ACCOUNT, "arn")
    assert of_account - {key.removeprefix(PREFIX) for key in json.loads(line)["ProductFields"]} == {"actual_value"}


def test_ids_are_those_of_the_code() -> None:
    shapes = [row[1].strip("`") for row in rows("Ids of audits")]
    made = record(compliance_full_id="a/b", audit_file="CIS x.audit")
    parts = {
        "region": "eu-west-1",
        "account": "111122223333",
        "instance": "i-0123456789abcdef0",
        "check": "a%2Fb",
        "audit file": "CIS%20x.audit",
    }
    for resource, shape in zip((ACCOUNT, HOST), shapes, strict=True):
        expected = re.sub(r"{([^}]+)}", lambda match: parts[match[1]], shape)
        assert mapped(made, resource)[0]["Id"] == expected
    without = record(compliance_full_id=None, check_id="other", audit_file="x")
    assert mapped(without, ACCOUNT)[0]["Id"].endswith("/audit/other/x")


def test_reasons_are_those_of_the_code() -> None:
    own = {transform.STATUS, transform.UNKNOWN_ACCOUNT}
    assert set(documented("Why a result of an audit does not become a finding")) == own


def test_types_and_the_name_of_an_account_are_those_of_the_code() -> None:
    text = section(OPENING)
    for changed in ({"plugin_id": 72426}, {}, {"audit_file": "own.audit", "compliance_benchmark_name": None}):
        (kind,) = mapped(record(**changed))[0]["FindingProviderFields"]["Types"]
        for part in (kind[: len(check._TYPE)], kind[len(check._TYPE) :]):
            assert f"`{part}`" in text or not part
    assert mapped(record())[0]["Resources"][0]["Id"] == "AWS::::Account:111122223333"
    assert "`AWS::::Account:{account}`" in text
    assert MAPPER.compliance(record(), ACCOUNT, "arn")
