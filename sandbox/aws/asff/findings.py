"""What Security Hub says of one finding that is sent to BatchImportFindings."""

from typing import Any

from sandbox.aws.asff.checks import FIELD_TOO_LARGE
from sandbox.aws.asff.rules import LARGEST_FINDING
from sandbox.aws.asff.schema import shape_check


def complaint(finding: Any, size: int) -> str | None:
    """The ErrorMessage of the FailedFindings entry, or None when the finding is acceptable.

    :param finding: one item of the request's Findings, as decoded from JSON
    :param size: its bytes as they were sent
    """
    if size > LARGEST_FINDING:
        return f"The finding has {size} bytes; the maximum allowed size for a finding is {LARGEST_FINDING} bytes."
    errors: list[str] = []
    shape_check("AwsSecurityFinding")(finding, "data", errors)
    return format_complaint(errors) if errors else None


def format_complaint(errors: list[str]) -> str:
    """The service's message for a list of AJV errors. A field over 32 KB has a message of its own."""
    if FIELD_TOO_LARGE in errors:
        return FIELD_TOO_LARGE
    return f"Finding does not adhere to Amazon Finding Format. {', '.join(errors)}."
