"""The params of the DAG that imports results of audits: those of the other import that are not about vulnerabilities,
and its own.

DAG files import this module while Airflow parses them, so it must not import anything heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_tenable.aws import ACCOUNT
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import LONGEST_MESSAGE, quoted
from airflow_provider_tenable.guards.uuids import is_uuid
from airflow_provider_tenable.run.params import (
    IMPORT,
    STATES,
    RunParam,
    Settings,
    checked,
    parse_settings,
)
from airflow_provider_tenable.run.scope_params import SCOPE
from airflow_provider_tenable.tenable_vm.severities import SEVERITIES

_OF_VULNERABILITIES = frozenset({"severities", "states", "accepted_risks", "severity_source", *SCOPE})
_RESULTS = ("passed", "failed", "warning", "not_available")

#: Params of ``tenable_compliance_to_security_hub``, in the order of its form.
COMPLIANCE: Mapping[str, RunParam] = {
    "audit_statuses": RunParam(
        default=["passed", "failed", "warning"],
        schema={
            "type": "array",
            "items": {"type": "string", "enum": list(_RESULTS)},
            "examples": list(_RESULTS),
            "minItems": 1,
        },
        title="Results",
        help="Results of checks to import: `passed`, `failed`, `warning`, and `not_available` (Tenable's SKIPPED, "
        "ERROR and UNKNOWN). If a run omits one of the DAG's own defaults, the watermark does not move.",
        covers=lambda asked, usual: set(usual) <= set(asked),
    ),
    "audit_accounts": RunParam(
        default={},
        schema={"type": "object", "additionalProperties": {"type": "string"}},
        title="Accounts of audits",
        help="The AWS accounts of audits that no DAG of this deployment made: uuid of the asset in Tenable -> 12 "
        "digits. They precede what is on record.",
        more="See [audits.md](audits.md#which-account).",
        covers=lambda asked, usual: bool(asked == usual),
    ),
    **{name: param for name, param in IMPORT.items() if name not in _OF_VULNERABILITIES},
}


def parse_audit_settings(params: Mapping[str, Any]) -> tuple[Settings, tuple[str, ...], dict[str, str]]:
    """The settings of an import of audits; what those do not have leaves nothing out.

    :return: the settings, the chosen results, and asset uuid in lower case -> AWS account.
    :raises ConfigurationError: a value is invalid.
    """
    of_both = {name: params[name] for name in COMPLIANCE if name in params and name in IMPORT}
    settings = parse_settings({**of_both, "severities": list(SEVERITIES), "states": list(STATES)})
    accounts = params.get("audit_accounts") or {}
    if not isinstance(accounts, Mapping):
        raise ConfigurationError(f"audit_accounts is {quoted(accounts, LONGEST_MESSAGE)}; it must be an object.")
    for asset, account in accounts.items():
        if not is_uuid(asset) or not isinstance(account, str) or not ACCOUNT.fullmatch(account):
            raise ConfigurationError(
                f"audit_accounts has {quoted({asset: account}, LONGEST_MESSAGE)}. It maps the uuid of an asset in "
                "Tenable to an account id: a string of 12 digits, in quotes (a number loses its leading zeros)."
            )
    found = {asset.lower(): account for asset, account in accounts.items()}
    return settings, checked("audit_statuses", params, COMPLIANCE), found


__all__ = ["COMPLIANCE", "parse_audit_settings"]
