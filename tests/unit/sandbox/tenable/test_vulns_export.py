"""POST /vulns/export: what it refuses, and which records its filters select, against the estate's own truth."""

from typing import Any

import pytest
from running_tenable import EVERY_STATE, Running

DAY = 86_400


def keys(records: list[dict[str, Any]]) -> set[str]:
    return {record["finding_id"] for record in records}


def exported(running: Running, filters: dict[str, Any], **body: Any) -> set[str]:
    return keys(running.export(include_unlicensed=True, filters=filters, **body))


def seen(one: dict[str, Any]) -> float:
    """The time that `since` refers to."""
    return float(one["last_fixed"] if one["state"] == "FIXED" else one["last_found"])


def test_everything_is_exported_once(running: Running) -> None:
    records = running.export(include_unlicensed=True, filters={"since": 1, "state": EVERY_STATE})
    assert len(records) == len(keys(records)) == 600
    assert keys(records) == keys(running.truth())


def test_a_record_says_what_is_true(running: Running) -> None:
    truth = {one["finding_id"]: one for one in running.truth()}
    for record in running.export(include_unlicensed=True, filters={"since": 1, "state": EVERY_STATE}):
        one = truth[record["finding_id"]]
        assert record["asset"]["uuid"] == one["asset_id"]
        assert record["plugin"]["id"] == one["plugin_id"]
        assert (record["port"]["protocol"].lower(), int(record["port"]["port"])) == (one["protocol"], one["port"])
        assert (record["severity_id"], record["state"]) == (one["severity_id"], one["state"])
        assert ("last_fixed" in record) == (one["last_fixed"] is not None)


@pytest.mark.parametrize("states", [["OPEN"], ["fixed"], ["Reopened", "OPEN"]])
def test_since_looks_at_last_found_or_last_fixed_by_state(running: Running, states: list[str]) -> None:
    truth = running.truth()
    since = int(sorted(map(seen, truth))[len(truth) // 2])
    wanted = {state.upper() for state in states}
    expected = {one["finding_id"] for one in truth if one["state"] in wanted and seen(one) >= since}
    assert exported(running, {"since": since, "state": states}) == expected != set()


def test_indexed_at_looks_at_the_time_of_publication(running: Running) -> None:
    truth = running.truth()
    at = int(sorted(one["indexed"] for one in truth)[len(truth) // 2])
    assert exported(running, {"indexed_at": at, "state": EVERY_STATE}) == {
        one["finding_id"] for one in truth if one["indexed"] >= at
    }


@pytest.mark.parametrize("name", ["first_found", "first_seen", "last_found", "last_seen", "last_fixed"])
def test_scan_times_select_what_is_not_older(running: Running, name: str) -> None:
    field = {"first_seen": "first_found", "last_seen": "last_found"}.get(name, name)
    truth = running.truth()
    at = int(running.control("clock")["now"]) - 10 * DAY
    expected = {one["finding_id"] for one in truth if (one[field] or 0) >= at}
    assert exported(running, {name: at, "state": EVERY_STATE}) == expected


def test_without_a_state_fixed_ones_are_left_out(running: Running) -> None:
    expected = {one["finding_id"] for one in running.truth() if one["state"] != "FIXED"}
    assert exported(running, {"since": 1}) == expected


@pytest.mark.parametrize("filters", [{}, {"since": 0}, {"indexed_at": 0}])
def test_without_a_time_only_the_last_30_days_are_exported(running: Running, filters: dict[str, Any]) -> None:
    oldest = running.control("clock")["now"] - 30 * DAY
    truth = running.truth()
    expected = {one["finding_id"] for one in truth if seen(one) >= oldest}
    assert exported(running, {"state": EVERY_STATE, **filters}) == expected
    assert len(expected) < len(truth)


def test_unlicensed_assets_are_left_out_unless_asked_for(running: Running) -> None:
    licensed = {one["finding_id"] for one in running.truth() if one["is_licensed"]}
    assert keys(running.export(filters={"since": 1, "state": EVERY_STATE})) == licensed
    assert len(licensed) < 600


def test_severity_plugin_and_modification_filters_are_anded(running: Running) -> None:
    truth = running.truth()
    every = {"since": 1, "state": EVERY_STATE}
    assert exported(running, {**every, "severity": ["high", "CRITICAL"]}) == {
        one["finding_id"] for one in truth if one["severity_id"] >= 3
    }
    plugin = truth[0]["plugin_id"]
    assert exported(running, {**every, "plugin_id": [plugin], "severity": ["info", "low", "medium"]}) == {
        one["finding_id"] for one in truth if one["plugin_id"] == plugin and one["severity_id"] < 3
    }
    assert exported(running, {**every, "severity_modification_type": ["RECASTED", "ACCEPTED"]}) == {
        one["finding_id"] for one in truth if one["severity_modification_type"] != "NONE"
    }


def test_scores_tags_and_cves_select(running: Running) -> None:
    every = {"since": 1, "state": EVERY_STATE}
    records = running.export(include_unlicensed=True, filters={**every, "vpr_score": {"gte": 5, "lt": 8}})
    assert records
    assert all(5 <= record["plugin"]["vpr"]["score"] < 8 for record in records)
    cve = records[0]["plugin"]["cve"][0]
    assert all(
        cve in r["plugin"]["cve"] for r in running.export(include_unlicensed=True, filters={**every, "cve_id": [cve]})
    )
    tagged = running.export(include_unlicensed=True, filters={**every, "tag.Environment": ["prod", "dev"]})
    assert 0 < len(tagged) < 600


def test_a_network_selects_its_hosts(running: Running) -> None:
    every, network = {"since": 1, "state": EVERY_STATE}, "11111111-2222-4333-8444-555555555555"
    default = "00000000-0000-0000-0000-000000000000"
    [host] = {one["asset_id"] for one in running.truth()[:1]}
    before = exported(running, {**every, "network_id": default})
    assert exported(running, {**every, "network_id": network}) == set()
    running.control("change", {"do": "change_asset", "asset_id": host, "set": {"network_id": network}})
    there = running.export(include_unlicensed=True, filters={**every, "network_id": network})
    assert {(record["asset"]["uuid"], record["asset"]["network_id"]) for record in there} == {(host, network)}
    assert exported(running, {**every, "network_id": default}) == before - keys(there) != before


def test_a_chunk_holds_all_that_was_found_on_num_assets_hosts(running: Running) -> None:
    uuid = running.start(num_assets=1, include_unlicensed=True, filters={"since": 1, "state": EVERY_STATE})
    status = running.status(uuid)
    assert status["num_assets_per_chunk"] == 50, "num_assets is clamped to 50..5000"
    hosts = [{record["asset"]["uuid"] for record in running.chunk(uuid, c).json()} for c in status["chunks_available"]]
    assert sorted(map(len, hosts)) == [10, 50]
    assert hosts[0].isdisjoint(hosts[1])


def test_software_and_output_come_only_when_asked_for(running: Running) -> None:
    plain = running.export(filters={"since": 1})
    assert not any("software_vulns" in record for record in plain)
    assert any("output" in record for record in plain)
    other = running.export(include_software_vulns=True, include_plugin_output=False, filters={"since": 1})
    assert any("software_vulns" in record for record in other)
    assert not any("output" in record for record in other)


def test_records_have_the_quirks_of_real_ones(running: Running) -> None:
    records = running.export(include_unlicensed=True, filters={"since": 1, "state": EVERY_STATE})
    assert {type(record["port"]["port"]) for record in records} == {int, str}
    assert {len(record["last_found"]) for record in records} == {20, 24, 27}
    assert {len(record["indexed"]) for record in records} == {27}
    assert {type(record.get("time_taken_to_fix")) for record in records} == {int, str, type(None)}
    assert any("output" not in record for record in records)
    assert any(len(record.get("output", "")) > 3_000 for record in records)
    assert any(record["severity_id"] != record["severity_default_id"] and record["recast_reason"] for record in records)
    assert all(None not in record.values() and None not in record["asset"].values() for record in records)


@pytest.mark.parametrize(
    ("body", "says"),
    [
        ({"filters": {"colour": "red"}}, "Unknown filter: colour"),
        ({"filters": {"indexed_at_end_value": 5}}, "Unknown filter"),
        ({"chunk_size": 100}, "Unknown property: chunk_size"),
        ({"num_assets": "50"}, "num_assets must be an integer"),
        ({"include_unlicensed": 1}, "include_unlicensed must be true or false"),
        ({"filters": {"since": 1, "last_found": 1, "state": ["open"]}}, "since may not be combined with last_found"),
        ({"filters": {"since": 1, "first_seen": 1, "state": ["open"]}}, "since may not be combined with first_seen"),
        ({"filters": {"first_found": 1}}, "state is required with first_found"),
        ({"filters": {"last_found": 1}}, "state is required with last_found"),
        ({"filters": {"last_fixed": 1}}, "state is required with last_fixed"),
        ({"filters": {"since": "2024-01-01"}}, "since must be an integer"),
        ({"filters": {"since": 1_700_000_000_000}}, "since must be epoch seconds"),
        ({"filters": {"since": True}}, "since must be an integer"),
        ({"filters": {"state": "open"}}, "state must be a list"),
        ({"filters": {"state": []}}, "state must be a list with at least one"),
        ({"filters": {"state": ["NEW"]}}, "state must be one of"),
        ({"filters": {"severity": ["informational"]}}, "severity must be one of"),
        ({"filters": {"cve_id": [f"CVE-2024-{n}" for n in range(201)]}}, "cve_id may hold at most 200"),
        ({"filters": {"vpr_score": {"gte": 11}}}, "number from 0 to 10"),
        ({"filters": {"vpr_score": {"above": 1}}}, "Unknown comparison of vpr_score: above"),
        ({"filters": {"cidr_range": "10.0.0"}}, "cidr_range"),
        ({"filters": {"zero_day": True}}, "the sandbox does not simulate it"),
        ({"filters": []}, "filters must be an object"),
        ([], "The body must be an object"),
    ],
)
def test_a_wrong_body_is_refused_with_the_reason(running: Running, body: Any, says: str) -> None:
    answer = running.http.post("/vulns/export", json=body)
    assert answer.status_code == 400
    assert says in answer.json()["message"]


def test_a_body_that_is_no_json_is_refused(running: Running) -> None:
    assert running.http.post("/vulns/export", content=b"num_assets=50").status_code == 400
