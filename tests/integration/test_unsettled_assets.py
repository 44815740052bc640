"""Findings of an instance that Tenable's AWS connector does not know yet are not lost: they are imported once it does,
without another scan.
"""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_tenable.transform.waiting_records import list_pool
from tests.integration.oracle import delivered, expected
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

DAY = 86400


def differences(sandbox: Sandbox) -> set[Any]:
    wanted = expected(sandbox.truth(), accounts=sandbox.accounts)
    return set(wanted.items()) ^ set(delivered(sandbox.documents()).items())


def unconnected(sandbox: Sandbox, *, agents: bool) -> str:
    """A new instance, found by an agent or a scanner before the connector knows it."""
    known = {each["asset_id"] for each in sandbox.truth()["assets"]}
    sandbox.change({"do": "launch", "vulnerabilities": 20, "unconnected": True, "agents": agents})
    [asset] = {each["asset_id"] for each in sandbox.truth()["assets"]} - known
    return asset


def run_at(sandbox: Sandbox, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> Run:
    """A run by the sandbox's clock."""
    now = float(sandbox.tenable("clock")["now"])
    monkeypatch.setattr("airflow_provider_tenable.operators.asff.time.time", lambda: now)
    run = Run(defaults=defaults)
    run.execute()
    return run


@pytest.mark.parametrize("agents", [True, False], ids=["agent", "scanner"])
def test_instance_that_the_connector_learns_of_later_comes_without_another_scan(
    sandbox: Sandbox,
    variables: Variables,
    defaults: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    agents: bool,
) -> None:
    asset = unconnected(sandbox, agents=agents)
    reason = "no_aws_account" if agents else "no_ec2_instance"
    first = run_at(sandbox, defaults, monkeypatch)
    assert first.ledger["waiting"][reason] > 0
    assert first.ledger["waiting"][reason] <= first.ledger["skipped"][reason]
    assert "of these kept until the asset is known" in first.report
    pool = list_pool(first.folder)
    # Nothing happens to it: a run looks at the lists of assets and reads no record, and the pool stays as it is.
    parts = {name: first.folder.parked_pool / name for name in pool if "--waiting-" in name}
    held = {name: path.read_bytes() for name, path in parts.items()}
    for path in parts.values():
        path.write_bytes(b"not read")
    sandbox.advance(3 * 3600)
    second = run_at(sandbox, defaults, monkeypatch)
    assert second.ledger["unparked"] == 0
    for name, path in parts.items():
        path.write_bytes(held[name])
    assert set(pool) <= set(list_pool(second.folder))

    sandbox.advance(3 * 3600)
    sandbox.change({"do": "connect", "asset_id": asset})
    sandbox.advance(60)
    third = run_at(sandbox, defaults, monkeypatch)
    released = [each for each in sandbox.truth()["vulnerabilities"] if each["asset_id"] == asset]
    assert third.ledger["unparked"] >= sum(each["severity_id"] >= 3 for each in released) > 0
    assert differences(sandbox) == set()
    sandbox.advance(60)
    assert run_at(sandbox, defaults, monkeypatch).ledger["unparked"] == 0


def test_after_the_days_it_is_kept_no_longer(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__PARKED_DAYS", "1")
    unconnected(sandbox, agents=True)
    kept = set(list_pool(run_at(sandbox, defaults, monkeypatch).folder))
    assert kept
    sandbox.advance(1.5 * DAY)
    lapsed = run_at(sandbox, defaults, monkeypatch)
    # What was exported in between is kept in turn. No record that lapses fails the run.
    assert not kept & set(list_pool(lapsed.folder))
    assert (lapsed.ledger["unparked"], lapsed.ledger["rejected"]) == (0, {})


def test_record_whose_asset_settles_after_the_days_is_imported(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The runs were paused for longer than the days, and the connector has learned of the instance in the meantime."""
    monkeypatch.setenv("AIRFLOW__TENABLE__PARKED_DAYS", "1")
    asset = unconnected(sandbox, agents=True)
    run_at(sandbox, defaults, monkeypatch)
    sandbox.advance(3600)
    sandbox.change({"do": "connect", "asset_id": asset})
    sandbox.advance(1.5 * DAY)
    late = run_at(sandbox, defaults, monkeypatch)
    released = [each for each in sandbox.truth()["vulnerabilities"] if each["asset_id"] == asset]
    assert late.ledger["unparked"] >= sum(each["severity_id"] >= 3 for each in released) > 0
    assert differences(sandbox) == set()


def test_dry_run_keeps_nothing(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    unconnected(sandbox, agents=True)
    run = Run(params={"dry_run": True}, defaults=defaults)
    run.execute()
    assert (run.ledger["waiting"], list_pool(run.folder)) == ({}, [])
