"""The severity of results of audits: a table that the user can change."""

from __future__ import annotations

import json
from collections.abc import Mapping

from airflow_provider_tenable import config
from airflow_provider_tenable.asff.compliance import SEVERITY
from airflow_provider_tenable.asff.record_fields import SEVERITY_LABELS
from airflow_provider_tenable.exceptions import ConfigurationError
from airflow_provider_tenable.guards.foreign_text import quoted


def severity_of(given: Mapping[str, str] | None) -> dict[str, str]:
    """ASFF's label for each result.

    :param given: of the operator; None: ``[tenable] audit_severity``.
    :raises ConfigurationError: the table is not one.
    """
    what = "The argument severity" if given is not None else "Option [tenable] audit_severity"
    table: object = given if given is not None else _option()
    if not isinstance(table, Mapping):
        raise ConfigurationError(f"{what} is {quoted(table, 200)}; it must be an object of {', '.join(SEVERITY)}.")
    for result, label in table.items():
        if result not in SEVERITY or label not in SEVERITY_LABELS:
            raise ConfigurationError(
                f"{what} has {quoted({result: label}, 200)}. It maps {', '.join(SEVERITY)} to one of "
                f"{', '.join(SEVERITY_LABELS)}."
            )
    return {**SEVERITY, **table}


def _option() -> object:
    text = config.get("audit_severity")
    try:
        return json.loads(text or "{}")
    except ValueError as error:
        raise ConfigurationError(
            f"Option [tenable] audit_severity is {quoted(text, 200)}, which is not JSON."
        ) from error


__all__ = ["severity_of"]
