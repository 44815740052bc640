"""The oracle knows each way in which hub and Tenable can differ."""

from __future__ import annotations

from typing import Any

import pytest

from tests.faults.set_oracle import active_by_tenable, active_in_hubs, wrong

ACCOUNTS = ["111122223333"]
FOUND: dict[str, Any] = {
    "region": "us-east-1",
    "account": "111122223333",
    "instance_id": "i-1",
    "asset_id": "a",
    "asset_kind": "ec2",
    "plugin_id": 7,
    "protocol": "tcp",
    "port": 443,
    "severity_id": 4,
    "state": "OPEN",
    "severity_modification_type": "NONE",
}
ASSET: dict[str, Any] = {"asset_id": "a", "terminated_at": None, "deleted_at": None}
IDENTITY = "us-east-1/111122223333/i-1/7/tcp/443"


def active(found: dict[str, Any], asset: dict[str, Any] | None = None) -> dict[str, str]:
    truth = {"vulnerabilities": [FOUND | found], "assets": [ASSET | (asset or {})]}
    return active_by_tenable(truth, ACCOUNTS)


@pytest.mark.parametrize("found", [{}, {"state": "REOPENED"}, {"severity_modification_type": "RECASTED"}])
def test_what_tenable_reports_is_active(found: dict[str, Any]) -> None:
    assert active(found) == {IDENTITY: "CRITICAL"}


@pytest.mark.parametrize(
    ("found", "asset"),
    [
        ({"state": "FIXED"}, {}),
        ({"severity_modification_type": "ACCEPTED"}, {}),
        ({"severity_id": 2}, {}),
        ({"account": "999999999999"}, {}),
        ({"asset_kind": "on_prem"}, {}),
        ({}, {"terminated_at": 1.0}),
        ({}, {"deleted_at": 1.0}),
    ],
    ids=str,
)
def test_everything_else_is_not(found: dict[str, Any], asset: dict[str, Any]) -> None:
    assert active(found, asset) == {}


def test_differences_have_a_kind() -> None:
    def finding(state: str, label: str = "HIGH") -> dict[str, Any]:
        return {"RecordState": state, "FindingProviderFields": {"Severity": {"Label": label}}}

    held = active_in_hubs(
        {
            "same": finding("ACTIVE"),
            "ghost": finding("ACTIVE"),
            "low": finding("ACTIVE", "LOW"),
            "x": finding("ARCHIVED"),
        }
    )
    wanted = {"same": "HIGH", "low": "HIGH", "lost": "HIGH", "x": "HIGH"}
    assert wrong(held, wanted) == {"ghost": "ghost", "low": "severity", "lost": "missing", "x": "missing"}
    assert wrong(wanted, wanted) == {}
