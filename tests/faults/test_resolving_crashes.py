"""A run that asks EC2 for instances dies by SIGKILL; carried on, it has lost nothing and sent nothing twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.run.resolving import ResolveCrashPoint
from tests.faults.pipeline import Pipeline, Zygote
from tests.faults.universe import Sandbox

BY_ID, BY_MAC = "i-0123456789abcdef0", "i-00000000000000001"
MAC, ADDRESS = "02:aa:bb:cc:dd:01", "10.9.9.9"


def unplaced(sandbox: Sandbox, **values: Any) -> str:
    """A new host of which no connector knows anything. :return: its asset id."""
    known = {each["asset_id"] for each in sandbox.truth()["assets"]}
    sandbox.change({"do": "launch", "vulnerabilities": 12})
    [asset] = {each["asset_id"] for each in sandbox.truth()["assets"]} - known
    sandbox.change({"do": "change_asset", "asset_id": asset, "set": values})
    sandbox.change({"do": "disconnect", "asset_id": asset, "agents": bool(values.get("instance_id"))})
    return asset


@pytest.mark.parametrize("point", list(ResolveCrashPoint))
def test_run_that_asks_ec2_is_carried_on(
    zygote: Zygote, tiny_sandbox: Sandbox, tmp_path: Path, point: ResolveCrashPoint
) -> None:
    sandbox = tiny_sandbox
    sandbox.reset()
    account, region = sandbox.accounts[-1], sandbox.process.facts["regions"][-1]
    # The agent on the instance knows its id and nothing more; of the other host a scanner knows the addresses.
    assets = {
        unplaced(sandbox, instance_id=BY_ID, region=region): BY_ID,
        unplaced(sandbox, instance_id=None, mac=MAC, ipv4s=[ADDRESS]): BY_MAC,
    }
    place = {"account": account, "region": region}
    sandbox.aws(
        "instances", [{**place, "instance": BY_ID}, {**place, "instance": BY_MAC, "mac": MAC, "addresses": [ADDRESS]}]
    )
    wanted = {
        "/".join(
            map(str, (region, account, assets[each["asset_id"]], each["plugin_id"], each["protocol"], each["port"]))
        )
        for each in sandbox.truth()["vulnerabilities"]
        if each["asset_id"] in assets and each["severity_id"] in (3, 4)
    }
    assert {identity.split("/")[2] for identity in wanted} == {BY_ID, BY_MAC}

    pipeline = Pipeline(zygote, sandbox, tmp_path, env={"AIRFLOW__TENABLE__RESOLVE_UNPLACED_INSTANCES": "True"})
    assert pipeline.run(crash_at=point.value).killed
    assert not sandbox.documents()
    pipeline.succeed()

    found = [identity for identity in sandbox.held() if identity.split("/")[2] in (BY_ID, BY_MAC)]
    assert sorted(found) == sorted(wanted)
    ledger = pipeline.ledger("run-1")
    assert ledger["complete"]
    assert ledger["resolved"]["assets"] == 2
    assert ledger["resolved"]["hosts"] == 1
    assert ledger["findings"] == ledger["accepted"] == len(sandbox.documents())
    imports = sandbox.aws("summary")["imports"]
    assert (imports["created"], imports["updated"]) == (ledger["findings"], 0)
