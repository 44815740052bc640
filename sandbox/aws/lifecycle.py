"""How a finding changes when it is imported, imported again, or updated by the customer. Pure functions.

Rules, each with its source and certainty:

* An update that is not newer is ignored, a newer one replaces the document: documented (user guide:
  BatchImportFindings).
* Note, UserDefinedFields, VerificationState and Workflow are the customer's once the finding exists: documented (API
  model: BatchImportFindings).
* ARCHIVED to ACTIVE, and Compliance.Status from PASSED to a problem, reset NOTIFIED and RESOLVED to NEW: documented
  (API model: WorkflowUpdate). SUPPRESSED stays: follows from there, which names the other two only.
* "SUPPRESSED: the finding is no longer updated" (same place) is taken to mean by the customer's tools and not by its
  provider, since providers go on to archive suppressed findings: not documented.
* The top level follows FindingProviderFields until the customer has changed it: documented (user guide 2023).
* BatchUpdateFindings leaves UpdatedAt alone: documented (API model).
"""

from collections.abc import Mapping
from typing import Any

from sandbox.aws.products import ProductArn, catalogue

Finding = dict[str, Any]

NORMALIZED = {"INFORMATIONAL": 0, "LOW": 1, "MEDIUM": 40, "HIGH": 70, "CRITICAL": 90}
# They belong to the customer once the finding exists: BatchImportFindings leaves them as they are.
CUSTOMER_FIELDS = ("Note", "UserDefinedFields", "VerificationState", "Workflow")
# The provider's view stands in FindingProviderFields; the top level follows it until the customer changes it.
PROVIDER_FIELDS = ("Confidence", "Criticality", "RelatedFindings", "Severity", "Types")
_PROBLEMS = ("FAILED", "WARNING", "NOT_AVAILABLE")


def created(sent: Finding, product: ProductArn, region: str, processed_at: str) -> Finding:
    """The finding that Security Hub stores for one that it did not have. Where both levels are sent,
    FindingProviderFields win.
    """
    finding = _filled(sent, product, region, processed_at)
    provider = dict(sent.get("FindingProviderFields", {}))
    for name in PROVIDER_FIELDS:
        if name in provider:
            finding[name] = _top_level(name, provider[name])
        elif name in sent:
            provider[name] = _provider_level(name, sent[name])
            finding[name] = _top_level(name, sent[name])
    finding["FindingProviderFields"] = provider
    finding.setdefault("Workflow", {"Status": "NEW"})
    return _with_old_workflow_state(finding)


def updated(
    stored: Finding,
    sent: Finding,
    product: ProductArn,
    region: str,
    processed_at: str,
    *,
    changed_by_customer: frozenset[str],
) -> Finding:
    """The finding after a newer import: the complete document is the sent one, except for what belongs to the customer.

    :param changed_by_customer: which of `PROVIDER_FIELDS` BatchUpdateFindings has set at the top level
    """
    finding = _filled(sent, product, region, processed_at)
    for name in CUSTOMER_FIELDS:
        finding.pop(name, None)
        if name in stored:
            finding[name] = stored[name]
    provider = dict(sent.get("FindingProviderFields", {}))
    for name in PROVIDER_FIELDS:
        in_provider, at_top = name in provider, name in sent
        top = _top_level(name, sent[name] if at_top else provider[name]) if at_top or in_provider else None
        if at_top and not in_provider:
            provider[name] = _provider_level(name, sent[name])
        finding.pop(name, None)
        if name in changed_by_customer and name in stored:
            finding[name] = stored[name]
        elif top is not None:
            finding[name] = top
    finding["FindingProviderFields"] = provider
    if _reopened(stored, finding) and finding.get("Workflow", {}).get("Status") in ("NOTIFIED", "RESOLVED"):
        finding["Workflow"] = {"Status": "NEW"}
    return _with_old_workflow_state(finding)


def worked_on(stored: Finding, changes: Mapping[str, Any], now: str) -> tuple[Finding, frozenset[str]]:
    """The finding after BatchUpdateFindings, and which of `PROVIDER_FIELDS` that set. UpdatedAt stays."""
    finding = dict(stored)
    for name, value in changes.items():
        if name == "Note":
            finding[name] = {**value, "UpdatedAt": now}
        elif name == "Severity":
            finding[name] = _customer_severity(stored.get("Severity", {}), value)
        else:
            finding[name] = value
    return _with_old_workflow_state(finding), frozenset(changes) & frozenset(PROVIDER_FIELDS)


def label_of(normalized: int) -> str:
    """The severity label of a normalised severity (API model: Severity)."""
    if normalized == 0:
        return "INFORMATIONAL"
    return next(
        label for label, bound in (("LOW", 40), ("MEDIUM", 70), ("HIGH", 90), ("CRITICAL", 101)) if normalized < bound
    )


def _filled(sent: Finding, product: ProductArn, region: str, processed_at: str) -> Finding:
    finding = dict(sent)
    company, name = _names(sent, product, region)
    finding["CompanyName"], finding["ProductName"], finding["Region"] = company, name, region
    finding["ProductFields"] = {
        **sent.get("ProductFields", {}),
        "aws/securityhub/FindingId": f"{sent['ProductArn']}/{sent['Id']}",
        "aws/securityhub/ProductName": name,
        "aws/securityhub/CompanyName": company,
    }
    finding.setdefault("RecordState", "ACTIVE")
    finding.setdefault("Sample", False)
    finding["ProcessedAt"] = processed_at
    return finding


def _names(sent: Finding, product: ProductArn, region: str) -> tuple[str, str]:
    """Company and product name: the catalogue's, but those that were sent for an account's default product."""
    known = next((each for each in catalogue(region) if each.key == product.key), None)
    if known is not None:
        return known.company_name, known.product_name
    return sent.get("CompanyName", "Personal"), sent.get("ProductName", "Default")


def _top_level(name: str, value: Any) -> Any:
    if name != "Severity":
        return value
    label = value.get("Label") or label_of(value.get("Normalized", 0))
    severity = {"Label": label, "Normalized": NORMALIZED[label] if "Label" in value else value.get("Normalized", 0)}
    return {**value, **severity}


def _provider_level(name: str, value: Any) -> Any:
    if name != "Severity":
        return value
    severity = {"Label": _top_level(name, value)["Label"]}
    if "Original" in value:
        severity["Original"] = value["Original"]
    return severity


def _customer_severity(stored: Mapping[str, Any], change: Mapping[str, Any]) -> dict[str, Any]:
    severity = {name: value for name, value in stored.items() if name not in ("Label", "Normalized")}
    return {**severity, **_top_level("Severity", change)}


def _reopened(stored: Finding, finding: Finding) -> bool:
    if stored.get("RecordState") == "ARCHIVED" and finding.get("RecordState") == "ACTIVE":
        return True
    before, after = stored.get("Compliance", {}).get("Status"), finding.get("Compliance", {}).get("Status")
    return before == "PASSED" and after in _PROBLEMS


def _with_old_workflow_state(finding: Finding) -> Finding:
    """WorkflowState, the predecessor of Workflow, still stands in every finding."""
    finding.setdefault("WorkflowState", "NEW")
    return finding
