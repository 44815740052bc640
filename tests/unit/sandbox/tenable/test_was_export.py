"""The export of web application findings: what it refuses, which records its filters select, and what changes do to
them, against the estate's own truth.
"""

from __future__ import annotations

from collections import Counter
from typing import Any

import pytest
from running_tenable import EVERY_STATE, Running

DAY = 86_400
START = "/was/v1/export/vulns"
Records = dict[str, dict[str, Any]]


def truth_of(running: Running) -> Records:
    return {each["finding_id"]: each for each in running.control("truth")["was"]}


def exported(running: Running, filters: dict[str, Any] | None = None, **body: Any) -> Records:
    filters = {"since": 1, "state": EVERY_STATE} if filters is None else filters
    records = running.export("was", **{"include_unlicensed": True, "filters": filters, **body})
    made = {record["finding_id"]: record for record in records}
    assert len(made) == len(records)
    return made


def seen(one: dict[str, Any]) -> float:
    return float(one["last_fixed"] if one["state"] == "FIXED" else one["last_found"])


def test_a_record_says_what_is_true(running: Running) -> None:
    truth, records = truth_of(running), exported(running)
    assert records.keys() == truth.keys()
    assert len({one["asset_id"] for one in truth.values()}) == 3
    assert {one["state"] for one in truth.values()} == {"OPEN", "REOPENED", "FIXED"}
    for finding_id, record in records.items():
        one = truth[finding_id]
        assert (record["asset"]["uuid"], record["asset"]["fqdn"]) == (one["asset_id"], one["fqdn"])
        assert (record["url"], record["plugin"]["id"]) == (one["url"], one["plugin_id"])
        assert (record["severity_id"], record["state"]) == (one["severity_id"], one["state"])
        assert record["severity"].isupper()
        assert ("last_fixed" in record) == (one["last_fixed"] is not None)
    # Both forms that Tenable documents.
    assert {type(record["indexed_at"]) for record in records.values()} == {str, int}
    assert {"output" in record for record in records.values()} == {True, False}
    assert {"payload" in record for record in records.values()} == {True, False}


def test_only_licensed_applications_unless_asked(running: Running) -> None:
    licensed = {name for name, one in truth_of(running).items() if one["is_licensed"]}
    assert exported(running, include_unlicensed=False).keys() == licensed != truth_of(running).keys()


@pytest.mark.parametrize(
    ("filters", "selects"),
    [
        ({"since": 1}, lambda one, _: True),
        ({"since": 1, "state": ["Open"]}, lambda one, _: one["state"] == "OPEN"),
        ({"indexed_at": 1}, lambda one, _: one["state"] != "FIXED"),
        # Without a time, 30 days; 0 is none.
        ({"since": 0, "state": EVERY_STATE}, lambda one, now: seen(one) >= now - 30 * DAY),
        ({"since": 1, "severity": ["HIGH", "critical"]}, lambda one, _: one["severity_id"] >= 3),
        ({"since": 1, "plugin_ids": [98000, 98115]}, lambda one, _: one["plugin_id"] in (98000, 98115)),
        ({"since": 1, "owasp_2021": ["A6"]}, lambda one, _: one["plugin_id"] in (112435, 113075, 114103)),
        ({"since": 1, "vpr_score": {"gte": 5.2}}, lambda one, _: one["plugin_id"] in (113075, 114103)),
        ({"since": 1, "severity_modification_type": ["ACCEPTED"]}, lambda one, _: False),
    ],
)
def test_filters_select(running: Running, filters: dict[str, Any], selects: Any) -> None:
    now = running.control("clock")["now"]
    old = next(name for name, one in truth_of(running).items() if one["state"] == "OPEN")
    running.control("change", {"do": "was_fix", "finding_id": old, "found_ago": 40 * DAY})
    assert exported(running, filters).keys() == {name for name, one in truth_of(running).items() if selects(one, now)}


def test_times_and_assets_select(running: Running) -> None:
    truth = truth_of(running)
    middle = sorted(truth.values(), key=seen)[len(truth) // 2]
    at = int(seen(middle))
    assert exported(running, {"since": at}).keys() == {name for name, one in truth.items() if seen(one) >= at}
    for name in ("first_found", "last_found", "last_fixed"):
        selected = exported(running, {name: at, "state": EVERY_STATE})
        assert selected.keys() == {key for key, one in truth.items() if (one[name] or 0) >= at}
    at = int(middle["indexed"])
    selected = exported(running, {"indexed_at": at, "state": EVERY_STATE})
    assert selected.keys() == {key for key, one in truth.items() if one["indexed"] >= at} != truth.keys()
    for filters in ({"asset_uuid": [middle["asset_id"]]}, {"asset_name": middle["fqdn"]}):
        selected = exported(running, {"since": 1, **filters})
        assert selected.keys() == {key for key, one in truth.items() if one["asset_id"] == middle["asset_id"]}


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ("no json", "not JSON"),
        ([], "must be an object"),
        ({"num_findings": 50}, "Unknown property: num_findings"),
        ({"chunk_size": 50}, "Unknown property"),
        ({"include_software_vulns": True}, "Unknown property"),
        ({"num_assets": "50"}, "must be an integer"),
        ({"include_unlicensed": "yes"}, "true or false"),
        ({"filters": []}, "must be an object"),
        # Names of other exports.
        ({"filters": {"plugin_id": [1]}}, "Unknown filter: plugin_id"),
        ({"filters": {"last_seen": 1}}, "Unknown filter"),
        ({"filters": {"tag.Owner": ["x"]}}, "Unknown filter"),
        ({"filters": {"since": 1, "last_found": 1, "state": ["OPEN"]}}, "may not be combined"),
        ({"filters": {"last_fixed": 1}}, "state is required"),
        ({"filters": {"since": 1_700_000_000_000}}, "epoch seconds"),
        ({"filters": {"since": "2026-01-01"}}, "must be an integer"),
        ({"filters": {"state": ["ACTIVE"]}}, "must be one of"),
        ({"filters": {"state": []}}, "at least one"),
        ({"filters": {"severity": ["urgent"]}}, "must be one of"),
        # Case-sensitive (API docs).
        ({"filters": {"severity_modification_type": ["accepted"]}}, "must be one of"),
        ({"filters": {"owasp_2021": ["API1"]}}, "must be one of"),
        ({"filters": {"owasp_api_2019": ["A1"]}}, "must be one of"),
        ({"filters": {"asset_uuid": ["../users"]}}, "asset_uuid"),
        ({"filters": {"ipv4s": ["10.0.0.0/8"]}}, "ipv4s"),
        ({"filters": {"vpr_score": {"gte": 11}}}, "from 0.1 to 10"),
    ],
)
def test_what_the_api_does_not_document_is_refused(running: Running, body: Any, problem: str) -> None:
    answer = running.http.post(START, content=body) if isinstance(body, str) else running.http.post(START, json=body)
    assert answer.status_code == 400
    assert problem in answer.json()["message"]


def test_a_job_lives_like_the_others(running: Running) -> None:
    filters = {"since": 5, "severity": ["high"], "state": ["open"], "plugin_ids": [98000], "vpr_score": {"gte": 2}}
    running.control("options", {"prepare_seconds": 3600})
    job = running.start("was", num_assets=7, filters=filters)
    second = running.http.post(START, json={"num_assets": 50, "filters": filters})
    assert second.status_code == 409
    assert second.json()["active_job_id"] == job
    status = running.status(job, "was")
    assert (status["status"], status["num_assets_per_chunk"], status["chunks_failed"]) == ("QUEUED", 50, [])
    assert status["filters"] == {
        "since": 5, "first_found": 0, "last_found": 0, "last_fixed": 0, "indexed_at": 0,
        "severity": ["HIGH"], "state": ["OPEN"], "plugin_ids": [98000],
        "vpr_score": {"eq": [], "neq": [], "gt": 0, "gte": 2, "lt": 0, "lte": 0},
    }  # fmt: skip
    listed = running.http.get(f"{START}/status").json()["exports"]
    assert [(each["uuid"], each["filters"]) for each in listed] == [(job, status["filters"])]
    # The jobs of one kind are not those of another.
    assert running.http.get(f"/vulns/export/{job}/status").status_code == 404
    assert running.http.get("/vulns/export/status").json()["exports"] == []
    assert running.chunk(job, 1, "was").status_code in (400, 404)
    assert running.http.post(f"{START}/{job}/cancel").json() == {"status": "CANCELLED"}
    assert running.http.get(f"{START}/{'0' * 8}-0000-4000-8000-{'0' * 12}/status").status_code == 404
    running.control("options", {"prepare_seconds": 0})
    job = running.start("was", filters={"since": 1})
    (chunk,) = running.status(job, "was")["chunks_available"]
    assert running.chunk(job, chunk, "was").headers["content-type"] == "application/octet-stream"
    running.control("clock", {"advance_seconds": DAY + 60})
    assert running.chunk(job, chunk, "was").status_code == 404


def test_without_a_licence_or_the_right_every_call_is_refused(running: Running) -> None:
    job = running.start("was", filters={"since": 1})
    running.control("options", {"has_was": False})
    for answer in (
        running.http.post(START, json={"filters": {"since": 2}}),
        running.http.get(f"{START}/{job}/status"),
        running.http.get(f"{START}/status"),
        running.http.post(f"{START}/{job}/cancel"),
    ):
        assert answer.status_code == 403
    # Nothing else needs that licence.
    assert running.export("vulns", filters={"since": 1})


def test_findings_are_fixed_reopened_rated_anew_accepted_and_found(running: Running) -> None:
    one = next(each for each in truth_of(running).values() if each["state"] == "OPEN")
    finding_id, asset_id = one["finding_id"], one["asset_id"]

    def after(order: dict[str, Any]) -> dict[str, Any]:
        running.control("clock", {"advance_seconds": 1})
        before = int(running.control("clock")["now"])
        assert running.control("change", {"finding_id": finding_id, **order})["changed"] >= 1
        assert finding_id in exported(running, {"indexed_at": before, "state": EVERY_STATE})
        return exported(running)[finding_id]

    assert after({"do": "was_fix"})["state"] == "FIXED"
    assert after({"do": "was_reopen"})["state"] == "REOPENED"
    recast = after({"do": "was_recast", "severity_id": 4 - one["severity_id"] // 4})
    assert recast["severity_modification_type"] == "RECASTED"
    assert recast["severity_id"] != recast["severity_default_id"] == one["severity_id"]
    assert after({"do": "was_restore"})["severity_id"] == one["severity_id"]
    assert after({"do": "was_accept"})["severity_modification_type"] == "ACCEPTED"
    assert after({"do": "was_rescan"})["state"] == "REOPENED"
    rated = {"do": "was_rerate", "plugin_id": one["plugin_id"], "severity_id": 3}
    assert after(rated)["severity_default_id"] == 3
    count = Counter(each["asset_id"] for each in truth_of(running).values())[asset_id]
    running.control("change", {"do": "was_find", "asset_id": asset_id, "findings": 3})
    assert Counter(each["asset_id"] for each in truth_of(running).values())[asset_id] == count + 3
    running.control("change", {"do": "was_launch", "findings": 4})
    assert len(running.control("truth")["web_apps"]) == 4
    for order in ({"do": "was_fix"}, {"do": "was_fix", "finding_id": "x"}, {"do": "was_find", "asset_id": "x"}):
        assert running.http.post("/_sandbox/change", json=order).status_code == 400


def test_a_deleted_application_is_deleted_as_an_asset_and_its_findings_are_never_fixed(running: Running) -> None:
    first, second = (app["asset_id"] for app in running.control("truth")["web_apps"][:2])

    def assets(**filters: Any) -> dict[str, Any]:
        return {each["id"]: each for each in running.export("assets", filters={"types": ["webapp"], **filters})}

    assert assets()[first]["types"] == ["webapp"]
    assert assets()[first]["network"]["fqdns"] == [truth_of_app(running, first)["fqdn"]]
    assert first not in {each["id"] for each in running.export("assets")}
    assert running.http.get(f"/assets/{first}").status_code == 200
    now = int(running.control("clock")["now"])
    running.control("change", [{"do": "was_delete", "asset_id": first}, {"do": "was_age_out", "asset_id": second}])
    assert {first, second}.isdisjoint(one["asset"]["uuid"] for one in exported(running).values())
    assert assets(deleted_at=now - 5).keys() == {first}
    assert second not in assets()
    assert [running.http.get(f"/assets/{each}").status_code for each in (first, second)] == [404, 404]


def truth_of_app(running: Running, asset_id: str) -> dict[str, Any]:
    return next(app for app in running.control("truth")["web_apps"] if app["asset_id"] == asset_id)


def test_time_passes_for_applications_too_and_the_same_for_the_same_seed(running: Running) -> None:
    histories = []
    for _ in range(2):
        running.control("reset", {})
        before = truth_of(running)
        since = int(running.control("clock")["now"])
        running.control("clock", {"advance_seconds": 2 * DAY})
        after = truth_of(running)
        moved = {name for name, one in after.items() if one != before.get(name)}
        assert moved == exported(running, {"indexed_at": since, "state": EVERY_STATE}).keys() != set()
        histories.append({name: (one["state"], name in moved) for name, one in after.items()})
    assert histories[0] == histories[1]


def test_injected_records_are_served_as_they_are(running: Running) -> None:
    running.control("change", [{"do": "inject", "raw_was": "[1e999"}, {"do": "inject", "was": {"finding_id": None}}])
    job = running.start("was", filters={"since": 1})
    text = running.chunk(job, running.status(job, "was")["chunks_available"][0], "was").text
    assert text.startswith('[[1e999, {"finding_id": null}, ')
    assert running.control("change", {"do": "clear_injected"})["changed"] == 2
