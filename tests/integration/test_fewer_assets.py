"""A full asset export that has far fewer assets than the last one stops the run before anything is mapped."""

from __future__ import annotations

from typing import Any

import pytest

from airflow_provider_tenable.exceptions import FewerAssetsError
from airflow_provider_tenable.staging.files import read_json
from tests.integration.oracle import delivered, expected
from tests.integration.pipeline_driver import Run, Variables
from tests.sandbox_driver import Sandbox


@pytest.fixture(autouse=True)
def every_run_exports_all_assets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__ASSET_INDEX_HOURS", "0")


def fails(run: Run) -> str:
    with pytest.raises(FewerAssetsError) as failure:
        run.execute()
    return str(failure.value)


def test_assets_that_the_user_no_longer_sees_fail_the_run_before_anything_moves(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any]
) -> None:
    first = Run(defaults=defaults)
    first.execute()
    mark, held = variables.watermark, sandbox.documents()
    before = read_json(first.folder.full_export)["records"]
    gone = [each["asset_id"] for each in sandbox.tenable("truth")["assets"] if not each["is_hidden"]][:15]
    sandbox.advance(3600)
    sandbox.change(*({"do": "hide_asset", "asset_id": each} for each in gone))
    run = Run(defaults=defaults)
    text = fails(run)
    assert f"Tenable exported {before - 15:,} assets; the last full export, of " in text
    assert f", had {before:,}: " in text
    assert "more than [tenable] max_shrink_ratio 0.1 allows" in text
    assert "'Can View'" in text
    assert "accept_fewer_assets" in text
    assert (variables.watermark, sandbox.documents()) == (mark, held)
    assert read_json(run.folder.full_export)["records"] == before

    # It stays so until the assets are back, or somebody says that they are gone.
    fails(Run(defaults=defaults))
    sandbox.change(*({"do": "show_asset", "asset_id": each} for each in gone))
    Run(defaults=defaults, run_id=run.run_id).execute()
    sandbox.change(*({"do": "hide_asset", "asset_id": each} for each in gone))
    assert Run(params={"accept_fewer_assets": True}, defaults=defaults).execute()["why"].startswith("moves")
    assert Run(defaults=defaults).execute()["why"]
    assert read_json(run.folder.full_export)["records"] == before - 15


@pytest.mark.parametrize("agents", [False, True])
def test_connector_that_disappears_fails_the_run(
    sandbox: Sandbox, variables: Variables, defaults: dict[str, Any], agents: bool
) -> None:
    Run(defaults=defaults).execute()
    mark = variables.watermark
    sandbox.advance(3600)
    sandbox.tenable("change", {"do": "disconnect", "agents": agents})
    run = Run(defaults=defaults)
    assert "assets that Tenable exported has an AWS account; the last full export" in fails(run)
    assert variables.watermark == mark
    sandbox.tenable("change", {"do": "connect"})
    Run(defaults=defaults, run_id=run.run_id).execute()
    assert delivered(sandbox.documents()) == expected(sandbox.tenable("truth"), accounts=sandbox.accounts)
