"""Times in the future are measured by Tenable's clock, however far the worker's own clock is off."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

from airflow_provider_tenable.run import plan as plan_module
from airflow_provider_tenable.staging.parts import read_lines
from sandbox.clock import iso
from tests.faults import hostile
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox

HOUR = 3600.0
#: More than the hour by which clocks of workers may differ.
LATER = 2 * HOUR
FAR = "2099-01-01T00:00:00.000Z"


@pytest.mark.parametrize("ahead", [-3 * HOUR, 0.0, 3 * HOUR], ids=["behind", "right", "ahead"])
def test_no_time_after_tenables_clock_counts_whatever_the_workers_clock_shows(
    sandbox: Sandbox,
    variables: Variables,
    defaults: dict[str, Any],
    monkeypatch: pytest.MonkeyPatch,
    ahead: float,
) -> None:
    asset = next(
        each
        for each in sandbox.truth()["vulnerabilities"]
        if each["instance_id"] and each["account"] == sandbox.accounts[0]
    )
    now = float(sandbox.tenable("clock")["now"])
    seen, indexed = iso(now - HOUR), iso(now)
    changes = {
        # Both lie in the future, up to a moment that a worker's clock that is ahead has passed.
        1: {"last_found": iso(now + LATER), "indexed": iso(now + LATER), "first_found": seen},
        2: {"last_found": FAR, "indexed": FAR, "first_found": seen},
        # Tenable's own present is in the future of a worker whose clock is behind.
        3: {"last_found": seen, "indexed": indexed, "first_found": seen},
    }
    records = []
    for number, change in changes.items():
        record = hostile.record(number, 100_000 + number)
        record["asset"]["uuid"] = asset["asset_id"]
        for name in ("last_fixed", "resurfaced_date", "indexed_at"):
            record.pop(name, None)
        records.append({**record, **change, "severity_id": 4, "severity": "critical", "state": "OPEN"})
    sandbox.fault({"on": "vulns_chunk", "do": "body", "body": records})

    real, begun = time.time, now - time.time()
    monkeypatch.setattr(time, "time", lambda: real() + begun + ahead)
    run = Run(defaults=defaults, params={"since": 1})
    plan = plan_module.plan_run(run.context)
    assert plan["clock_ahead"] == pytest.approx(-ahead, abs=60)
    assets = run.export("assets", plan["asset_filters"])
    run.transform(plan, assets, run.export("vulnerabilities", plan["vulnerability_filters"]))
    found = {
        int(finding["Id"].split("/")[3]) - 100_000: finding["UpdatedAt"]
        for part in run.folder.destination(asset["account"], asset["region"]).iterdir()
        for finding in map(json.loads, read_lines(part))
        if int(finding["Id"].split("/")[3]) in range(100_001, 100_004)
    }
    assert found == {1: seen, 2: seen, 3: indexed}
