"""Asset exports of both versions, and the look-up of one asset."""

import re
from typing import Any

import pytest
from running_tenable import Running


def by_kind(running: Running) -> dict[str, list[str]]:
    kinds: dict[str, list[str]] = {}
    for asset in running.control("truth")["assets"]:
        kinds.setdefault(asset["asset_kind"], []).append(asset["asset_id"])
    return kinds


def everything(running: Running, kind: str = "assets", **body: Any) -> dict[str, dict[str, Any]]:
    """All hosts. The applications that Web App Scanning scans have tests of their own (test_was_export)."""
    filters = {"types": ["host", "webapp"]} if kind == "assets" else {}
    apps = {app["asset_id"] for app in running.control("truth")["web_apps"]}
    records = running.export(kind, filters=filters, **body)
    return {record["id"]: record for record in records if record["id"] not in apps}


def nulls(value: Any) -> bool:
    if isinstance(value, dict):
        return any(item is None or item == [] or nulls(item) for item in value.values())
    return isinstance(value, list) and any(map(nulls, value))


def test_v2_exports_hosts_only_unless_types_say_more(running: Running) -> None:
    kinds = by_kind(running)
    assert len(everything(running)) == 60
    hosts = {record["id"] for record in running.export("assets")}
    assert len(hosts) == 60 - len(kinds["webapp"])
    assert hosts.isdisjoint(kinds["webapp"])


def test_v2_leaves_out_what_is_empty(running: Running) -> None:
    assert not any(nulls(record) for record in everything(running, include_resource_tags=True).values())


def test_an_ec2_instance_tells_account_region_and_instance(running: Running) -> None:
    truth = {asset["asset_id"]: asset for asset in running.control("truth")["assets"]}
    records = everything(running)
    for asset_id in by_kind(running)["ec2"]:
        aws = records[asset_id]["cloud"]["aws"]
        told = (aws["owner_id"], aws["region"], aws["ec2_instance_id"])
        assert told == tuple(truth[asset_id][name] for name in ("account", "region", "instance_id"))
        assert re.fullmatch(r"i-[0-9a-f]{17}", aws["ec2_instance_id"])
        assert aws["availability_zone"].startswith(aws["region"])
        assert records[asset_id]["types"] == ["cloud", "host"]


def test_the_other_kinds_lack_what_they_should(running: Running) -> None:
    kinds, records = by_kind(running), everything(running)

    def cloud(kind: str) -> dict[str, Any]:
        return dict(records[kinds[kind][0]].get("cloud", {}))

    assert cloud("on_prem") == {}
    assert set(cloud("azure")) == {"azure"}
    assert set(cloud("gcp")) == {"gcp"}
    assert cloud("webapp")["aws"]["ec2_instance_id"].startswith("ec2")
    assert cloud("foreign_account")["aws"]["owner_id"] == "999900001111"
    assert "region" not in cloud("ec2_zone_only")["aws"]
    assert "owner_id" not in cloud("no_owner")["aws"]
    assert re.fullmatch("[0-9a-f]{64}", cloud("canonical_owner")["aws"]["owner_id"])
    assert len(records[kinds["ec2_many_ips"][0]]["network"]["ipv4s"]) > 10


def test_resource_tags_and_ports_come_only_when_asked_for(running: Running) -> None:
    assert not any("resource_tags" in record for record in everything(running).values())
    assert any("resource_tags" in record for record in everything(running, include_resource_tags=True).values())
    assert all("open_ports" in r["network"] for r in everything(running, include_open_ports=True).values())


def test_v1_has_every_key_and_null_where_v2_has_none(running: Running) -> None:
    old, new = everything(running, "assets_v1"), everything(running)
    assert old.keys() == new.keys()
    assert len({frozenset(record) for record in old.values()}) == 1
    for asset_id, record in old.items():
        aws = new[asset_id].get("cloud", {}).get("aws", {})
        assert record["aws_owner_id"] == aws.get("owner_id")
        assert record["aws_ec2_instance_id"] == aws.get("ec2_instance_id")


def test_one_asset_is_told_in_arrays(running: Running) -> None:
    kinds, records = by_kind(running), everything(running)
    asset_id = kinds["ec2"][0]
    details = running.http.get(f"/assets/{asset_id}").json()
    assert details["id"] == asset_id
    assert details["aws_owner_id"] == [records[asset_id]["cloud"]["aws"]["owner_id"]]
    assert details["ipv4"] == records[asset_id]["network"]["ipv4s"]
    assert running.http.get(f"/assets/{kinds['on_prem'][0]}").json()["aws_owner_id"] == []
    assert running.http.get("/assets/00000000-0000-4000-8000-000000000000").status_code == 404
    assert running.http.get("/assets/nonsense").status_code == 404


def test_asset_filters_select(running: Running) -> None:
    every = {"types": ["host", "webapp"]}
    now = running.control("clock")["now"]
    truth = running.control("truth")["assets"]
    running.control("change", {"do": "terminate", "asset_id": truth[0]["asset_id"]})

    apps = {app["asset_id"] for app in running.control("truth")["web_apps"]}

    def ids(**filters: Any) -> set[str]:
        return {record["id"] for record in running.export("assets", filters={**every, **filters})} - apps

    assert truth[0]["asset_id"] in ids(is_terminated=True)
    assert truth[0]["asset_id"] not in ids(is_terminated=False)
    assert ids(since=int(now) - 5) == ids(terminated_at=int(now) - 5) == {truth[0]["asset_id"]}
    assert ids(is_licensed=False) == {asset["asset_id"] for asset in truth if not asset["is_licensed"]}
    assert ids(is_deleted=True) == set()
    assert 0 < len(ids(sources=["CloudDiscoveryConnector"])) < 60
    assert ids(sources=["clouddiscoveryconnector"]) == set(), "sources are case-sensitive"
    middle = sorted(asset["updated_at"] for asset in truth[1:])[30]
    assert ids(updated_at=int(middle)) >= {asset["asset_id"] for asset in truth[1:] if asset["updated_at"] >= middle}


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"filters": {}}, "chunk_size is required"),
        ({"chunk_size": 99}, "chunk_size must be from 100 to 10000"),
        ({"chunk_size": 10_001}, "chunk_size must be from 100 to 10000"),
        ({"chunk_size": 1_001, "include_resource_tags": True}, "chunk_size must be from 100 to 1000"),
        ({"chunk_size": 100, "include_resource_tags": True, "include_open_ports": True}, "may not be combined"),
        ({"chunk_size": 100, "filters": {"tag.Owner": ["x"]}}, "Unknown filter: tag.Owner"),
        ({"chunk_size": 100, "filters": {"types": ["cloud"]}}, "types must be one of"),
        ({"chunk_size": 100, "filters": {"is_deleted": "yes"}}, "is_deleted must be true or false"),
        ({"chunk_size": 100, "num_assets": 50}, "Unknown property: num_assets"),
    ],
)
def test_a_wrong_body_is_refused_with_the_reason(running: Running, body: Any, says: str) -> None:
    answer = running.http.post("/assets/v2/export", json=body)
    assert answer.status_code == 400
    assert says in answer.json()["message"]


def test_v1_knows_tags_but_neither_since_nor_types(running: Running) -> None:
    tagged = running.export("assets_v1", filters={"tag.Environment": ["prod"]})
    assert tagged
    assert all(any(tag["value"] == "prod" for tag in record["tags"]) for record in tagged)
    for filters in ({"since": 1}, {"types": ["host"]}):
        assert running.http.post("/assets/export", json={"chunk_size": 100, "filters": filters}).status_code == 400
