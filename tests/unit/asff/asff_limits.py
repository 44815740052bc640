"""ASFF's limits once more, written from the published format and not from the package: what the package's own table
says does not count here.
"""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

import botocore.session
from botocore.validate import ParamValidator

TIMESTAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z", re.ASCII)
PRODUCT_FIELD_KEY = re.compile(r"[A-Za-z0-9 .:+=@_/-]{1,128}", re.ASCII)
TYPES = re.compile(r"Software and Configuration Checks(/[^/]+){0,2}")
LABELS = {"INFORMATIONAL", "LOW", "MEDIUM", "HIGH", "CRITICAL"}
#: Members that belong to the customer, or that only Security Hub fills.
NOT_OURS = {
    "Workflow",
    "Note",
    "UserDefinedFields",
    "VerificationState",
    "WorkflowState",
    "Severity",
    "Types",
    "Region",
    "Confidence",
    "Criticality",
}


@cache
def _validator() -> tuple[ParamValidator, Any]:
    model = botocore.session.get_session().get_service_model("securityhub")
    return ParamValidator(), model.operation_model("BatchImportFindings").input_shape


def _text(value: Any, longest: int, where: str) -> list[str]:
    # Never fewer than the code points.
    if not isinstance(value, str) or not value.strip() or len(value.encode("utf-16-le")) > 2 * longest:
        return [f"{where}: {str(value)[:80]!r} is no text of 1 to {longest} characters"]
    return []


def problems(line: bytes) -> list[str]:
    """What is wrong with a serialised finding."""
    if b"\n" in line or len(line) > 240_000:
        return [f"{len(line)} bytes, newlines: {line.count(bytes((10,)))}"]
    finding = json.loads(line)
    validator, shape = _validator()
    report = validator.validate({"Findings": [finding]}, shape)
    found = [report.generate_report()] if report.has_errors() else []
    found += [f"{name} is not ours to send" for name in NOT_OURS & set(finding)]
    texts = {"Id": 512, "GeneratorId": 512, "Title": 256, "Description": 1024, "ProductArn": 2048, "SourceUrl": 2048}
    # A check of an audit may have neither a plugin nor a page.
    optional = {"SourceUrl"} if "Compliance" in finding else set()
    for name, longest in texts.items():
        if name in finding or name not in optional:
            found += _text(finding[name], longest, name)
    if finding["Id"].startswith("arn:") or finding["SchemaVersion"] != "2018-10-08":
        found.append("Id or SchemaVersion")
    if not re.fullmatch(r"[0-9]{12}", finding["AwsAccountId"]):
        found.append(f"AwsAccountId {finding['AwsAccountId']!r}")
    if finding["RecordState"] not in {"ACTIVE", "ARCHIVED"}:
        found.append("RecordState")
    times = {name: finding[name] for name in finding if name.endswith("At")}
    found += [f"{name} {value!r}" for name, value in times.items() if not TIMESTAMP.fullmatch(value)]
    if not {"CreatedAt", "UpdatedAt"} <= set(times):
        found.append("times are missing")
    return (
        found + _provider_fields(finding) + _product_fields(finding) + _resources(finding) + _vulnerabilities(finding)
    )


def _provider_fields(finding: dict[str, Any]) -> list[str]:
    fields = finding["FindingProviderFields"]
    found = [] if fields["Severity"]["Label"] in LABELS else ["Severity.Label"]
    found += _text(fields["Severity"]["Original"], 64, "Severity.Original")
    if not 1 <= len(fields["Types"]) <= 50 or not all(TYPES.fullmatch(each) for each in fields["Types"]):
        found.append(f"Types {fields['Types']}")
    criticality = fields.get("Criticality", 0)
    if type(criticality) is not int or not 0 <= criticality <= 100:
        found.append(f"Criticality {criticality!r}")
    if "Remediation" not in finding and finding["GeneratorId"].startswith("tenable-audit/"):
        # A check may have neither a solution nor a link.
        return found
    recommendation = finding["Remediation"]["Recommendation"]
    if not recommendation or not set(recommendation) <= {"Text", "Url"}:
        found.append("Recommendation")
    for name, longest in {"Text": 512, "Url": 2048}.items():
        found += _text(recommendation.get(name, "-"), longest, f"Recommendation.{name}")
    return found


def _product_fields(finding: dict[str, Any]) -> list[str]:
    fields = finding["ProductFields"]
    found = ["more than 50 ProductFields"] if len(fields) > 50 else []
    for key, value in fields.items():
        found += _text(value, 2048, f"ProductFields {key}")
        if not PRODUCT_FIELD_KEY.fullmatch(key) or key.startswith("aws/"):
            found.append(f"ProductFields key {key!r}")
    return found


def _resources(finding: dict[str, Any]) -> list[str]:
    (resource,) = finding["Resources"]
    found = (
        _text(resource["Type"], 256, "Resource.Type")
        + _text(resource["Id"], 512, "Resource.Id")
        + _text(resource.get("Region", "-"), 16, "Resource.Region")
    )
    if resource.get("Partition", "aws") not in {"aws", "aws-cn", "aws-us-gov"}:
        found.append("Resource.Partition")
    tags = resource.get("Tags", {"-": "-"})
    if not 1 <= len(tags) <= 50:
        found.append(f"{len(tags)} Tags")
    for key, value in tags.items():
        found += _text(key, 128, "Tags key") + _text(value, 256, "Tags value")
        if key.lower().startswith("aws:") or not all(char.isalnum() or char in " _.:/=+-@" for char in key):
            found.append(f"Tags key {key!r}")
    details = resource.get("Details", {"Other": {"-": "-"}})
    if len(details) != 1 or not all(details.values()):
        found.append(f"Details {details}")
    for key, value in details.get("Other", {}).items():
        found += _text(key, 127, "Other key") + _text(value, 1023, "Other value")
    instance = details.get("AwsEc2Instance", {})
    for name, longest in {"Type": 16, "ImageId": 64, "VpcId": 32, "SubnetId": 32}.items():
        found += _text(instance.get(name, "-"), longest, f"AwsEc2Instance.{name}")
    for name in ("IpV4Addresses", "IpV6Addresses"):
        if not 1 <= len(instance.get(name, ["-"])) <= 10:
            found.append(name)
    return found


def _vulnerabilities(finding: dict[str, Any]) -> list[str]:
    found = [] if finding.get("Vulnerabilities", ["-"]) else ["Vulnerabilities is empty"]
    for each in finding.get("Vulnerabilities", []):
        found += _text(each["Id"], 32, "Vulnerability.Id")
        # What was cut to 240 KB keeps only the id of later CVEs.
        vendor = each.get("Vendor", {"Name": "-"})
        found += _text(vendor["Name"], 32, "Vendor.Name") + _text(
            vendor.get("VendorSeverity", "-"), 32, "VendorSeverity"
        )
        found += [
            f"{name} {value}"
            for name, value in vendor.items()
            if name.endswith("At") and not TIMESTAMP.fullmatch(value)
        ]
        if not 0 <= each.get("EpssScore", 0) <= 1 or {
            each.get("FixAvailable", "NO"),
            each.get("ExploitAvailable", "NO"),
        } - {"YES", "NO"}:
            found.append(f"Vulnerability {each['Id']}")
        found += [f"BaseScore {cvss}" for cvss in each.get("Cvss", []) if not 0 <= cvss["BaseScore"] <= 10]
    return found
