"""The demo's third day: everything is scanned again, two hosts are gone, and two rules of a person move no time."""

from __future__ import annotations

from typing import Any

from sandbox.standalone import third_day
from tests.faults.set_oracle import active_by_tenable, active_in_hubs, wrong
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox


def test_a_full_run_sends_the_few_that_changed_and_archives_what_is_gone(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    Run(defaults=defaults).execute()
    sandbox.advance(86400)
    Run(defaults=defaults).execute()
    third_day.begin(sandbox.process.tenable, sandbox.process.aws)
    run = Run(defaults=defaults, params={"full": True})
    run.execute()
    # What Tenable still reports of the terminated host is sent, to archive it; of the deleted one it reports nothing.
    assert run.ledger["gone"]["archived"]["asset_deleted"] > 1
    assert run.ledger["sent"]["archived"] > 1
    assert 0 < run.ledger["accepted"] < run.ledger["findings"] / 10
    assert run.ledger["unchanged"] > run.ledger["findings"] / 2
    assert wrong(active_in_hubs(sandbox.documents()), active_by_tenable(sandbox.truth(), sandbox.accounts)) == {}
