"""A button on the import's task page that opens its findings in Security Hub's console."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

from airflow_provider_tenable._compat import BaseOperatorLink, XCom
from airflow_provider_tenable.aws import partition_of

#: Partition -> host of its console.
_CONSOLES = {
    "aws": "{region}.console.aws.amazon.com",
    "aws-cn": "{region}.console.amazonaws.cn",
    "aws-us-gov": "{region}.console.amazonaws-us-gov.com",
}
_EQUALS = "\\operator\\:EQUALS\\:"
XCOM_KEY = "security_hub_findings_url"


def console_url(*, account: str, region: str) -> str | None:
    """The URL of Tenable's findings of one account in the console; None for a partition with an unknown console."""
    host = _CONSOLES.get(partition_of(region))
    if host is None:
        return None
    # The console encodes each value, and then the complete search again.
    search = "&".join(
        f"{name}={quote(_EQUALS + value, safe='')}"
        for name, value in (("CompanyName", "Tenable"), ("AwsAccountId", account))
    )
    page = f"https://{host.format(region=region)}/securityhub/home?region={region}"
    return f"{page}#/findings?search={quote(search, safe='')}"


class SecurityHubFindingsLink(BaseOperatorLink):
    """Opens the findings that a task imported, in the console of their account's partition and Region."""

    name = "Findings in Security Hub"
    key = XCOM_KEY

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return XCom.get_value(key=self.key, ti_key=ti_key) or ""
