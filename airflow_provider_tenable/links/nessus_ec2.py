"""A button on a task's page that opens the scanner's instance in EC2's console."""

from __future__ import annotations

from typing import Any

from airflow_provider_tenable._compat import BaseOperatorLink, XCom
from airflow_provider_tenable.aws import partition_of

_CONSOLES = {
    "aws": "{region}.console.aws.amazon.com",
    "aws-cn": "{region}.console.amazonaws.cn",
    "aws-us-gov": "{region}.console.amazonaws-us-gov.com",
}
XCOM_KEY = "nessus_instance_url"


def instance_url(*, instance_id: str, region: str) -> str | None:
    """The URL of an instance in the console; None for a partition with an unknown console."""
    host = _CONSOLES.get(partition_of(region))
    if host is None:
        return None
    page = f"https://{host.format(region=region)}/ec2/home?region={region}"
    return f"{page}#InstanceDetails:instanceId={instance_id}"


class NessusInstanceLink(BaseOperatorLink):
    """Opens the instance of a scanner in the console of its partition and Region."""

    name = "Instance in EC2"
    key = XCOM_KEY

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return XCom.get_value(key=self.key, ti_key=ti_key) or ""
