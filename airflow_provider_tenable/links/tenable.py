"""Buttons on a task's page that open its scan, or the list of scanners, in Tenable's interface.

Tenable does not document these addresses; they are those of its interface since 2020.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote, urlsplit

from airflow_provider_tenable._compat import BaseOperatorLink, XCom

_SCAN = "tools/scans/vuln-scans/scan-grid/folders/all-scans/scan-details/{scan}/{run}/history"
_SCANNERS = "settings/sensors/nessus/scanners-list"
SCAN_KEY, SCANNERS_KEY = "tenable_scan_url", "tenable_scanners_url"


def scan_url(url: str, *, scan_id: int, run_uuid: str) -> str:
    """The page of a run of a scan.

    :param url: that of the Tenable connection.
    """
    return _page(url, _SCAN.format(scan=int(scan_id), run=quote(run_uuid, safe="")))


def scanners_url(url: str) -> str:
    """The page that lists the scanners."""
    return _page(url, _SCANNERS)


def show(context: Any, key: str, url: str) -> None:
    """Have Airflow show the button of a task."""
    if context.get("ti") is not None:
        context["ti"].xcom_push(key=key, value=url)


def _page(url: str, path: str) -> str:
    # Only the host: an address may contain a name and a password.
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port else ""
    return f"{parts.scheme}://{parts.hostname}{port}/tio/app.html#/{path}"


class TenableScanLink(BaseOperatorLink):
    """Opens the run of a scan in Tenable's interface, once it is launched."""

    name = "Scan in Tenable"
    key = SCAN_KEY

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return XCom.get_value(key=self.key, ti_key=ti_key) or ""


class TenableScannersLink(BaseOperatorLink):
    """Opens the list of scanners in Tenable's interface."""

    name = "Scanners in Tenable"
    key = SCANNERS_KEY

    def get_link(self, operator: Any, *, ti_key: Any) -> str:
        return XCom.get_value(key=self.key, ti_key=ti_key) or ""
