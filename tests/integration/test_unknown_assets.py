"""An asset export that is empty, or lacks most assets, fails the run before anything is sent or moved; the next run
exports all assets and delivers everything.
"""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_tenable.exceptions import UnknownAssetsError
from airflow_provider_tenable.transform.waiting_records import list_pool
from tests.integration.oracle import delivered, expected
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox


def hide(sandbox: Sandbox, share: float) -> list[str]:
    assets = [each["asset_id"] for each in sandbox.truth()["assets"]]
    hidden = assets[: round(len(assets) * share)]
    sandbox.tenable("change", [{"do": "hide_asset", "asset_id": each, "singly": False} for each in hidden])
    return hidden


@pytest.mark.parametrize("share", [0.8, 1.0], ids=["short", "empty"])
def test_run_whose_asset_export_lacks_most_assets_moves_nothing_and_the_next_one_delivers_everything(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], share: float
) -> None:
    hidden = hide(sandbox, share)
    run = Run(defaults=defaults)
    with pytest.raises(UnknownAssetsError, match=r"\d+ of \d+ exported records belong to \d+ assets that Tenable"):
        run.execute()
    assert (variables.watermark, sandbox.documents(), list_pool(run.folder)) == (None, {}, [])
    assert sandbox.aws("stats")["calls"].get("BatchImportFindings", 0) == 0
    assert "NOT COMPLETE" in run.report

    sandbox.tenable("change", [{"do": "show_asset", "asset_id": each} for each in hidden])
    sandbox.advance(60)
    again = Run(defaults=defaults)
    assert again.execute()["why"].startswith("moves")
    # All assets, although nothing of them has changed since the export that lacked them.
    assert "all" in next(line for line in again.report.splitlines() if "Assets" in line)
    assert delivered(sandbox.documents()) == expected(sandbox.truth(), accounts=sandbox.accounts)


def test_dry_run_finds_it_too(sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]) -> None:
    hide(sandbox, 1.0)
    with pytest.raises(UnknownAssetsError):
        Run(params={"dry_run": True}, defaults=defaults).execute()


def test_a_third_of_the_assets_is_parked_as_ever(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    hidden = hide(sandbox, 0.33)
    run = Run(defaults=defaults)
    assert run.execute()["why"].startswith("moves")
    assert run.ledger["parked"] > 100
    sandbox.tenable("change", [{"do": "show_asset", "asset_id": each} for each in hidden])
    sandbox.advance(60)
    Run(defaults=defaults).execute()
