"""What changes at Tenable without a scan: rules, ratings, assets that go or move, and exports that are short."""

from typing import Any

import pytest
from running_tenable import EVERY_STATE, Running

DAY = 86_400.0


def one(running: Running, **wanted: Any) -> dict[str, Any]:
    return next(each for each in running.truth() if all(each[name] == value for name, value in wanted.items()))


def again(running: Running, before: dict[str, Any]) -> dict[str, Any]:
    return one(running, finding_id=before["finding_id"])


def exported(running: Running, **filters: Any) -> dict[str, dict[str, Any]]:
    records = running.export(include_unlicensed=True, filters={"since": 1, "state": EVERY_STATE, **filters})
    return {record["finding_id"]: record for record in records}


def asset_ids(running: Running, **filters: Any) -> set[str]:
    return {record["id"] for record in running.export("assets", filters=filters)}


@pytest.mark.parametrize("silently", [False, True])
@pytest.mark.parametrize("order", [{"do": "accept"}, {"do": "recast", "severity_id": 4}], ids=lambda each: each["do"])
def test_rule_moves_indexed_or_not(running: Running, order: dict[str, Any], silently: bool) -> None:
    before = one(running, state="OPEN", severity_id=2, severity_modification_type="NONE")
    now = running.control("change", {**order, "finding_id": before["finding_id"], "silently": silently})["now"]
    after = again(running, before)
    assert after["severity_modification_type"] != "NONE"
    assert after["indexed"] == (before["indexed"] if silently else pytest.approx(now, abs=0.001))
    assert {name: after[name] for name in ("last_found", "state")} == {
        name: before[name] for name in ("last_found", "state")
    }
    recent = exported(running, indexed_at=int(now) - 60)
    assert (before["finding_id"] in recent) is not silently


@pytest.mark.parametrize("order", [{"do": "accept"}, {"do": "recast", "severity_id": 4}], ids=lambda each: each["do"])
def test_rule_can_be_taken_back(running: Running, order: dict[str, Any]) -> None:
    before = one(running, state="OPEN", severity_id=2, severity_modification_type="NONE")
    running.control("change", {**order, "finding_id": before["finding_id"], "silently": True})
    running.control("change", {"do": "restore", "finding_id": before["finding_id"], "silently": True})
    assert again(running, before) == before


@pytest.mark.parametrize("silently", [True, False])
def test_plugin_is_rated_anew_for_all_hosts(running: Running, silently: bool) -> None:
    before = one(running, state="OPEN", severity_id=3, severity_modification_type="NONE")
    plugin = before["plugin_id"]
    theirs = [each for each in running.truth() if each["plugin_id"] == plugin]
    order = {"do": "rerate", "plugin_id": plugin, "set": {"severity_id": 1, "vpr": 2.5, "cves": ["CVE-2026-1"]}}
    answer = running.control("change", order if silently else {**order, "silently": False})
    assert answer["changed"] == len(theirs)
    after = {each["finding_id"]: each for each in running.truth() if each["plugin_id"] == plugin}
    for each in theirs:
        recast = each["severity_modification_type"] == "RECASTED"
        assert after[each["finding_id"]]["severity_id"] == (each["severity_id"] if recast else 1)
        moved = after[each["finding_id"]]["indexed"] != each["indexed"]
        assert moved is not silently
    record = exported(running)[before["finding_id"]]
    assert (record["severity"], record["plugin"]["cve"]) == ("low", ["CVE-2026-1"])
    assert record["plugin"]["vpr"]["score"] == 2.5


def test_recast_severity_outlives_a_new_rating(running: Running) -> None:
    before = one(running, state="OPEN", severity_id=3, severity_modification_type="NONE")
    running.control("change", {"do": "recast", "finding_id": before["finding_id"], "severity_id": 4})
    running.control("change", {"do": "rerate", "plugin_id": before["plugin_id"], "set": {"severity_id": 1}})
    assert again(running, before)["severity_id"] == 4
    running.control("change", {"do": "restore", "finding_id": before["finding_id"]})
    assert again(running, before)["severity_id"] == 1


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ({"do": "rerate", "plugin_id": 1}, "rerate needs"),
        ({"do": "rerate", "plugin_id": 1, "set": {"family": "x"}}, "rerate needs"),
        ({"do": "rerate", "plugin_id": -1, "set": {"vpr": 1}}, "No host has plugin -1"),
    ],
)
def test_wrong_rating_is_refused(running: Running, order: dict[str, Any], says: str) -> None:
    answer = running.http.post("/_sandbox/change", json=order)
    assert (answer.status_code, says in answer.json()["error"]) == (400, True)


def test_host_that_ages_out_leaves_no_trace(running: Running) -> None:
    asset = one(running)["asset_id"]
    running.control("change", {"do": "age_out", "asset_id": asset})
    assert all(each["asset_id"] != asset for each in running.truth())
    assert all(each["asset_id"] != asset for each in running.control("truth")["assets"])
    for filters in ({}, {"is_deleted": True}, {"is_terminated": True}, {"since": 1}):
        assert asset not in asset_ids(running, **filters)
    assert running.http.get(f"/assets/{asset}").status_code == 404


def test_host_that_is_launched_after_one_has_aged_out_is_a_new_one(running: Running) -> None:
    running.control("change", {"do": "launch"})
    before = {each["asset_id"] for each in running.control("truth")["assets"]}
    running.control("change", [{"do": "age_out", "asset_id": one(running)["asset_id"]}, {"do": "launch"}])
    after = {each["asset_id"] for each in running.control("truth")["assets"]}
    assert (len(before - after), len(after - before)) == (1, 1)


def test_instance_with_two_assets_has_every_vulnerability_twice_and_each_changes_by_itself(running: Running) -> None:
    before = one(running, asset_kind="ec2", state="OPEN", severity_modification_type="NONE")
    names = ("plugin_id", "protocol", "port")
    running.control("change", {"do": "twin", "asset_id": before["asset_id"]})
    of_instance = [each for each in running.truth() if each["instance_id"] == before["instance_id"]]
    assert len({each["asset_id"] for each in of_instance}) == 2
    pair = [each for each in of_instance if all(each[name] == before[name] for name in names)]
    assert len(pair) == 2
    assert len({each["finding_id"] for each in pair}) == 2
    running.control("change", {"do": "fix", "asset_id": before["asset_id"]})
    records = exported(running)
    states = {each["asset_id"]: records[each["finding_id"]]["state"] for each in pair}
    assert states.pop(before["asset_id"]) == "FIXED"
    ((twin, state),) = states.items()
    assert state == "OPEN"
    assert {before["asset_id"], twin} <= asset_ids(running)


def test_hosts_age_out_with_the_clock(running: Running) -> None:
    running.control("options", {"asset_age_out_days": 3})
    now = running.control("clock", {"advance_seconds": DAY})["now"]
    hosts = running.control("truth")["assets"]
    assert 0 < len(hosts) < 60
    last_seen = {each["asset_id"]: each["last_found"] for each in running.truth() if each["state"] != "FIXED"}
    assert all(seen >= now - 3 * DAY - 2 for seen in last_seen.values())


@pytest.mark.parametrize("hidden", [False, True])
def test_deleted_assets_are_shown_or_hidden(running: Running, hidden: bool) -> None:
    asset, other = sorted({each["asset_id"] for each in running.truth() if each["asset_kind"] == "ec2"})[:2]
    running.control("options", {"hides_deleted_assets": hidden})
    running.control("change", [{"do": "delete", "asset_id": asset}, {"do": "terminate", "asset_id": other}])
    assert (asset in asset_ids(running, is_deleted=True)) is not hidden
    assert (asset in asset_ids(running, since=1)) is not hidden
    # Whether terminated assets are affected is not known: they are not.
    assert other in asset_ids(running, is_terminated=True)


def test_short_export_finishes_without_a_third_of_the_assets(running: Running) -> None:
    full_assets, full = asset_ids(running), exported(running)
    running.control("options", {"missing_share": 1 / 3})
    short_assets, short = asset_ids(running), exported(running)
    assert short_assets < full_assets
    assert 0.15 < 1 - len(short_assets) / len(full_assets) < 0.55
    missing = full_assets - short_assets
    assert {each["asset"]["uuid"] for each in short.values()}.isdisjoint(missing)
    assert short.keys() < full.keys()
    # The same ones are missing the next time, and all are back afterwards.
    assert asset_ids(running) == short_assets
    running.control("options", {"missing_share": 0})
    assert asset_ids(running) == full_assets


def test_host_moves_to_another_account_and_instance(running: Running) -> None:
    before = one(running, asset_kind="ec2")
    moved = {"account": "999988887777", "region": "eu-central-1", "instance_id": "i-00000000000000001"}
    running.control("change", {"do": "change_asset", "asset_id": before["asset_id"], "set": moved})
    after = again(running, before)
    assert {name: after[name] for name in moved} == moved
    assert (after["asset_id"], after["finding_id"]) == (before["asset_id"], before["finding_id"])


@pytest.mark.parametrize(
    "body",
    [
        {"missing_share": 1.1},
        {"missing_share": "x"},
        {"missing_share": True},
        {"hides_deleted_assets": 1},
        {"asset_age_out_days": -1},
        {"asset_age_out_days": "x"},
    ],
)
def test_wrong_option_is_refused(running: Running, body: Any) -> None:
    before = running.control("options")
    assert running.http.post("/_sandbox/options", json=body).status_code == 400
    assert running.control("options") == before
