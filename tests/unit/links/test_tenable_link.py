"""The addresses of Tenable's interface, and who shows them."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable.links import tenable
from airflow_provider_tenable.links.tenable import (
    SCAN_KEY,
    SCANNERS_KEY,
    TenableScanLink,
    TenableScannersLink,
    scan_url,
    scanners_url,
    show,
)


def test_a_run_has_a_page_of_its_own() -> None:
    assert scan_url("https://cloud.tenable.com", scan_id=36, run_uuid="44346bcb-4afc-4db0-b283-2dd823fa8579") == (
        "https://cloud.tenable.com/tio/app.html#/tools/scans/vuln-scans/scan-grid/folders/all-scans/scan-details/36/"
        "44346bcb-4afc-4db0-b283-2dd823fa8579/history"
    )


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("https://fedcloud.tenable.com/", "https://fedcloud.tenable.com/tio"),
        ("http://127.0.0.1:8080/api?x#y", "http://127.0.0.1:8080/tio"),
        ("https://user:password@cloud.tenable.com", "https://cloud.tenable.com/tio"),
    ],
)
def test_the_host_is_that_of_the_connection_and_nothing_else_of_it_is_shown(url: str, host: str) -> None:
    assert scanners_url(url) == f"{host}/app.html#/settings/sensors/nessus/scanners-list"


def test_what_tenable_answers_cannot_leave_the_path() -> None:
    assert "/../" not in scan_url("https://cloud.tenable.com", scan_id=1, run_uuid="../../evil?x#y")


def test_a_task_without_an_instance_shows_nothing() -> None:
    show({}, SCAN_KEY, "https://x")
    pushed: dict[str, Any] = {}
    show({"ti": SimpleNamespace(xcom_push=lambda key, value: pushed.update({key: value}))}, SCAN_KEY, "https://x")
    assert pushed == {SCAN_KEY: "https://x"}


@pytest.mark.parametrize(("link", "key"), [(TenableScanLink(), SCAN_KEY), (TenableScannersLink(), SCANNERS_KEY)])
@pytest.mark.parametrize(("stored", "shown"), [("https://x", "https://x"), (None, "")])
def test_the_button_shows_what_the_task_stored(
    monkeypatch: pytest.MonkeyPatch, link: Any, key: str, stored: str | None, shown: str
) -> None:
    asked = []

    class Store:
        @staticmethod
        def get_value(**kwargs: Any) -> str | None:
            asked.append(kwargs)
            return stored

    monkeypatch.setattr(tenable, "XCom", Store)
    assert link.get_link(None, ti_key="key") == shown
    assert asked == [{"key": key, "ti_key": "key"}]
