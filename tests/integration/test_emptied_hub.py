"""A hub that is switched off and on again has forgotten its findings: the index does not claim that it has them."""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest

from airflow_provider_tenable.staging.files import names, read_json
from airflow_provider_tenable.state.registry import EMPTIED
from tests.faults.set_oracle import active_by_tenable, active_in_hubs, wrong
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox


def differing(sandbox: Sandbox) -> dict[str, str]:
    return wrong(active_in_hubs(sandbox.documents()), active_by_tenable(sandbox.tenable("truth"), sandbox.accounts))


def test_the_run_after_the_next_one_has_made_up_for_it(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], caplog: pytest.LogCaptureFixture
) -> None:
    Run(defaults=defaults).execute()
    assert differing(sandbox) == {}
    counts = Counter((each["AwsAccountId"], each["Region"]) for each in sandbox.documents().values())
    [((account, region), forgotten)] = counts.most_common(1)
    sandbox.aws("hub", {"account": account, "region": region, "state": "emptied"})
    assert len(sandbox.documents()) == counts.total() - forgotten
    # One host is scanned again: the others are not in the next export.
    asset = next(
        each["ProductFields"]["tenable/vulnerability-management/asset_uuid"]
        for each in sandbox.documents().values()
        if each["AwsAccountId"] == account
    )
    sandbox.change({"do": "change_asset", "asset_id": asset, "set": {"name": "another"}})
    # From here on its clock is not behind ours, by which a run is planned.
    sandbox.advance(3 * 86400)

    notices = Run(defaults=defaults)
    notices.execute()
    assert read_json(notices.folder.plan)["hubs"]["full_why"] == ""
    assert f"{account}/{region}: Security Hub CSPM was enabled there at 20" in caplog.text
    assert differing(sandbox)

    makes_up = Run(defaults=defaults)
    makes_up.execute()
    hubs = read_json(makes_up.folder.plan)["hubs"]
    assert (hubs["full"], hubs["full_why"]) == (
        True,
        f"Security Hub CSPM was enabled in {account}/{region} after findings were delivered",
    )
    assert differing(sandbox) == {}
    assert names(makes_up.folder.finding_index / EMPTIED) == []

    # Once: the next run is an ordinary one, and has nothing to send.
    last = Run(defaults=defaults)
    last.execute()
    assert read_json(last.folder.plan)["hubs"]["full_why"] == ""
    assert last.ledger["accepted"] == 0
