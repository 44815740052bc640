"""A deployment whose earlier release kept no finding index: one full run that sends everything, then quiet."""

from __future__ import annotations

import logging
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.faults.set_oracle import active_by_tenable, active_in_hubs, wrong
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox


def imports(sandbox: Sandbox) -> int:
    return int(sandbox.aws("stats")["calls"].get("BatchImportFindings", 0))


def recast(sandbox: Sandbox) -> str:
    """Change a finding's severity as a recast rule does: none of its times changes. Return its id in the hub."""
    held = sandbox.documents()
    identity = min(
        each
        for each in held
        if held[each]["RecordState"] == "ACTIVE"
        and held[each]["FindingProviderFields"]["Severity"]["Label"] == "CRITICAL"
    )
    finding = held[identity]["ProductFields"]["tenable/vulnerability-management/finding_id"]
    sandbox.change({"do": "recast", "finding_id": finding, "severity_id": 3, "silently": True})
    return identity


def test_the_next_run_is_full_and_the_ones_after_it_send_nothing(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    first = Run(defaults=defaults)
    first.execute()
    index = Path(str(first.folder.finding_index).removeprefix("file://"))
    assert (index / "manifest.json").exists()
    shutil.rmtree(index)
    identity, before = recast(sandbox), sandbox.documents()
    mark = int(variables.watermark or 0)
    sandbox.advance(3600)

    with caplog.at_level(logging.WARNING):
        upgraded = Run(defaults=defaults)
        upgraded.execute()
    assert "there is no finding index yet. This run is a full one" in caplog.text
    assert "Full run" in upgraded.report
    after = sandbox.documents()
    active = {each for each, finding in after.items() if finding["RecordState"] == "ACTIVE"}
    # Every open finding is sent with an UpdatedAt that is newer than the hub's, including the recast one, none of whose
    # times changed. So is what was fixed lately, because the hubs may still have it as active.
    sent = {each for each in after if each not in before or after[each]["UpdatedAt"] > before[each]["UpdatedAt"]}
    assert upgraded.ledger["accepted"] == len(sent)
    assert active == sent & active == before.keys() & active
    assert after[identity]["FindingProviderFields"]["Severity"]["Label"] == "HIGH"
    assert wrong(active_in_hubs(after), active_by_tenable(sandbox.truth(), sandbox.accounts)) == {}
    assert int(variables.watermark or 0) > mark

    calls = imports(sandbox)
    for params in ({}, {"full": True}, {}, {"full": True}):
        run = Run(defaults=defaults, params=params)
        run.execute()
        assert run.ledger["accepted"] == 0, run.ledger
        assert ("Full run" in run.report) == bool(params)
    assert imports(sandbox) == calls
    assert run.ledger["unchanged"] == len(after)
    assert wrong(active_in_hubs(sandbox.documents()), active_by_tenable(sandbox.truth(), sandbox.accounts)) == {}
