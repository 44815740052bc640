"""What differs between imports by the kind of their records: params, and what the plan of a run has of them.

DAG files import this module while Airflow parses them, so it must not import anything heavy.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from airflow_provider_tenable.run.compliance_params import COMPLIANCE, parse_audit_settings
from airflow_provider_tenable.run.params import IMPORT, RunParam, Settings, parse_settings
from airflow_provider_tenable.run.was_params import WAS, parse_was_settings

#: The params of an import, by the kind of its records.
OF_KIND: Mapping[str, Mapping[str, RunParam]] = {"vulnerabilities": IMPORT, "compliance": COMPLIANCE, "was": WAS}


def settings_of(params: Mapping[str, Any], kind: str) -> tuple[Settings, dict[str, Any]]:
    """The settings of a run, and what only the plan of an import of another kind than vulnerabilities has.

    :raises ConfigurationError: a value is invalid.
    """
    if kind == "compliance":
        settings, statuses, accounts = parse_audit_settings(params)
        return settings, {"audit_statuses": list(statuses), "audit_accounts": accounts}
    if kind == "was":
        settings, load_balancers = parse_was_settings(params)
        return settings, {"was_load_balancers": load_balancers}
    return parse_settings(params), {}


__all__ = ["OF_KIND", "settings_of"]
