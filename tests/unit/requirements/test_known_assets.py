"""What the asset index of the importing DAG says to the checks: accounts, deleted assets, and where findings go."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from checked_estate import ACCOUNTS, DESTINATIONS, REGION, Estate  # type: ignore[import-not-found]

from airflow_provider_tenable.assets.index import keep_assets, plan_assets
from airflow_provider_tenable.export.reattach import marked
from airflow_provider_tenable.export.state import ExportState
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.hooks.tenable import TenableHook
from airflow_provider_tenable.staging.layout import RunFolder
from sandbox.tenable.access import ACCESS_KEY, NO_ADMIN

A, B = ACCOUNTS


def asset(number: int, account: str, **more: Any) -> dict[str, Any]:
    cloud = {"owner_id": account, "region": REGION, "ec2_instance_id": f"i-0{number:016x}"}
    return {"id": f"00000000-0000-0000-0000-{number:012x}", "cloud": {"aws": cloud}, **more}


def index(estate: Estate, *assets: dict[str, Any]) -> None:
    """The importing DAG has exported these assets, as the API user of the connection."""
    run = RunFolder(f"file://{estate.folder}/staging", "tenable_to_security_hub", "earlier")
    now = int(time.time())
    source = TenableHook("tenable_default").api.identity()
    plan = plan_assets(run, source=source, now=now, hours=24, lag=3600, earlier=None)
    store = StagedExport(run.export("assets"), "assets")
    parts = {"1": store.put("earlier1", 1, store.encode([json.dumps(assets).encode()]))}
    body = marked("assets", {"filters": plan["filters"]}, "earlier")
    store.save(ExportState("assets", body, 0.0, uuid="earlier", data_from=now, complete=True, parts=parts))
    keep_assets(run, plan, hours=24)


def row(table: list[dict[str, Any]], check: str) -> tuple[str, str]:
    [found] = [each for each in table if each["check"] == check]
    return found["state"], found["detail"]


def test_accounts_are_inferred_from_assets_where_connectors_may_not_be_seen(estate: Estate) -> None:
    estate.connect_tenable(NO_ADMIN + ACCESS_KEY)
    index(estate, asset(1, A), asset(2, B), asset(3, B))
    table = estate.check(checks=["connector"])
    assert [row(table, f"connector.{name}")[0] for name in ("status", "sync")] == ["unchecked"] * 2
    assert row(table, "connector.accounts") == ("ok", "Tenable knows all 2 accounts, 2 by their assets.")


def test_an_account_without_assets_is_unchecked_where_connectors_may_not_be_seen(estate: Estate) -> None:
    estate.connect_tenable(NO_ADMIN + ACCESS_KEY)
    index(estate, asset(1, A))
    state, detail = row(estate.check(checks=["connector"]), "connector.accounts")
    assert state == "unchecked"
    assert f"no assets of {B}, and the connectors were not checked" in detail


def test_without_a_connector_assets_that_agents_report_are_enough(estate: Estate) -> None:
    estate.tenable.connectors.clear()
    index(estate, asset(1, A), asset(2, B))
    table = estate.check(checks=["connector"])
    assert row(table, "connector.status")[0] == row(table, "connector.accounts")[0] == "ok"


def test_a_deleted_asset_in_the_index_proves_that_they_are_shown(estate: Estate) -> None:
    estate.connect_tenable(NO_ADMIN + ACCESS_KEY)
    index(estate, asset(1, A), asset(2, A, timestamps={"deleted_at": "2026-01-02T03:04:05.000Z"}))
    assert row(estate.check(checks=["tenable"]), "tenable.deleted_assets") == (
        "ok",
        "The asset index has 1 deleted assets.",
    )


def test_the_assets_of_the_index_name_what_is_checked(estate: Estate) -> None:
    index(estate, asset(1, B))
    assert {each["subject"] for each in estate.check(checks=["aws.hub"])} == {f"{B}/{REGION}"}


def test_the_index_of_another_user_is_not_used(estate: Estate) -> None:
    index(estate, asset(1, B))
    estate.connect_tenable(NO_ADMIN + ACCESS_KEY)
    assert {each["subject"] for each in estate.check(checks=["aws.hub"])} == {f"{A}/{REGION}", f"{B}/{REGION}"}


@pytest.mark.parametrize(("enabled", "state"), [("True", "ok"), ("False", "failed")])
def test_a_check_never_subscribes_to_the_product(estate: Estate, enabled: str, state: str) -> None:
    estate.patch.setenv("AIRFLOW__TENABLE__ENABLE_PRODUCT", enabled)
    estate.world.hubs.set(B, REGION, "enabled")
    estate.world.stats.calls.clear()
    table = estate.check(checks=["aws.product"], destinations=[{**DESTINATIONS[0], "accounts": [B]}])
    assert row(table, "aws.product")[0] == state
    assert "EnableImportFindingsForProduct" not in estate.world.stats.calls
    assert "tenable/vulnerability-management" not in estate.world.hubs.get(B, REGION).products
