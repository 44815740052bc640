"""A button on the import's task page that opens its findings in Security Hub's console."""

from __future__ import annotations

from typing import Any

from airflow_provider_tenable._compat import BaseOperatorLink, XCom
from airflow_provider_tenable.aws import console_url

XCOM_KEY = "security_hub_findings_url"


class SecurityHubFindingsLink(BaseOperatorLink):
    """Opens the findings that a task imported, in the console of their account's partition and Region."""

    name = "Findings in Security Hub"
    key = XCOM_KEY

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return XCom.get_value(key=self.key, ti_key=ti_key) or ""


__all__ = ["XCOM_KEY", "SecurityHubFindingsLink", "console_url"]
