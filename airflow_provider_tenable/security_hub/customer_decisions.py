"""What the customer has decided about a finding, read from its document, and as arguments of BatchUpdateFindings.

=======================================  ===========================================================================
``Workflow``, ``Note``,                  the customer's alone: an import cannot change them (user guide:
``UserDefinedFields``,                   BatchImportFindings). ``NEW`` and ``UNKNOWN`` are what every finding begins
``VerificationState``                    with, and so no decisions
``Severity``, ``Types``, ``Confidence``, the provider's values are in ``FindingProviderFields``; at the top level they
``Criticality``, ``RelatedFindings``     differ only where the customer changed them
=======================================  ===========================================================================

Without ``FindingProviderFields`` it cannot be told whose a value of the second row is: it counts as the provider's.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import msgspec

from airflow_provider_tenable.security_hub.reader import Finding

#: Field of BatchUpdateFindings -> what it is to be set to.
Decisions = Mapping[str, Any]

WORKFLOW, NOTE = "Workflow", "Note"
#: The fields whose values the provider sends too.
PROVIDER_FIELDS = ("Severity", "Types", "Confidence", "Criticality", "RelatedFindings")

_STATUSES = frozenset({"NOTIFIED", "RESOLVED", "SUPPRESSED"})
_VERIFIED = frozenset({"TRUE_POSITIVE", "FALSE_POSITIVE", "BENIGN_POSITIVE"})
#: Label -> its ``Normalized`` (service model: Severity).
_NORMALIZED = {"INFORMATIONAL": 0, "LOW": 1, "MEDIUM": 40, "HIGH": 70, "CRITICAL": 90}


class UnreadableDecisionError(ValueError):
    """A field of the customer has a form that AWS does not document. The text is the field's name."""


def decisions_of(finding: Finding) -> dict[str, Any]:
    """The decisions of the customer about a finding; empty where there are none.

    :raises UnreadableDecisionError: one cannot be read, and so could not be carried over.
    """
    found: dict[str, Any] = {}
    for name, read in _READERS.items():
        if (value := finding.get(name)) is None:
            continue
        decided = read(value)
        if decided is not None:
            found[name] = decided
    provider = finding.get("FindingProviderFields")
    if provider is None:
        return found
    if not isinstance(provider, dict):
        raise UnreadableDecisionError("FindingProviderFields")
    for name in PROVIDER_FIELDS:
        if (value := finding.get(name)) is not None:
            decided = _changed(name, value, provider.get(name))
            if decided is not None:
                found[name] = decided
    return found


def content_of(value: Any) -> bytes:
    """A decision as bytes that are the same for the same decision."""
    return msgspec.json.encode(value, order="deterministic")


def _workflow(value: Any) -> dict[str, str] | None:
    status = value.get("Status") if isinstance(value, dict) else None
    if status == "NEW":
        return None
    if not isinstance(status, str) or status not in _STATUSES:
        raise UnreadableDecisionError(WORKFLOW)
    return {"Status": status}


def _note(value: Any) -> dict[str, str]:
    text = value.get("Text") if isinstance(value, dict) else None
    by = value.get("UpdatedBy") if isinstance(value, dict) else None
    if not (isinstance(text, str) and text and isinstance(by, str) and by):
        raise UnreadableDecisionError(NOTE)
    return {"Text": text, "UpdatedBy": by}


def _own_fields(value: Any) -> dict[str, str] | None:
    if not isinstance(value, dict) or not all(isinstance(each, str) for each in value.values()):
        raise UnreadableDecisionError("UserDefinedFields")
    return dict(value) or None


def _verification(value: Any) -> str | None:
    if value == "UNKNOWN":
        return None
    if not isinstance(value, str) or value not in _VERIFIED:
        raise UnreadableDecisionError("VerificationState")
    return value


_READERS: Mapping[str, Callable[[Any], Any]] = {
    WORKFLOW: _workflow,
    NOTE: _note,
    "UserDefinedFields": _own_fields,
    "VerificationState": _verification,
}


def _changed(name: str, value: Any, provided: Any) -> Any:
    """What the customer set a field to that the provider sends too; None where they did not."""
    if name == "Severity":
        return _changed_severity(value, provided)
    if name in ("Confidence", "Criticality"):
        if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 100:
            raise UnreadableDecisionError(name)
        return None if value == provided else value
    if name == "Types":
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise UnreadableDecisionError(name)
        return None if not value or provided is None or value == provided else list(value)
    related = [_related(each) for each in value] if isinstance(value, list) else None
    if related is None:
        raise UnreadableDecisionError(name)
    return None if not related or value == provided else related


def _related(value: Any) -> dict[str, str]:
    if isinstance(value, dict) and isinstance(value.get("Id"), str) and isinstance(value.get("ProductArn"), str):
        return {"ProductArn": value["ProductArn"], "Id": value["Id"]}
    raise UnreadableDecisionError("RelatedFindings")


def _changed_severity(value: Any, provided: Any) -> dict[str, Any] | None:
    label = value.get("Label") if isinstance(value, dict) else None
    if not isinstance(label, str) or label not in _NORMALIZED:
        raise UnreadableDecisionError("Severity")
    # A provider's severity of which only the number is known is the one that AWS made the label of.
    if not isinstance(provided, dict) or not isinstance(provided.get("Label"), str) or provided["Label"] == label:
        return None
    number = value.get("Normalized")
    # The one of the two is made of the other (service model), and only the number says more than its label.
    if isinstance(number, int) and not isinstance(number, bool) and 0 <= number <= 100 and number != _NORMALIZED[label]:
        return {"Normalized": number}
    return {"Label": label}


__all__ = ["NOTE", "WORKFLOW", "Decisions", "UnreadableDecisionError", "content_of", "decisions_of"]
