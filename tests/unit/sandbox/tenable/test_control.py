"""The control endpoints that are Tenable's own: clock, changes, injected records, options, stats, reset."""

import time
from typing import Any

import pytest
from running_tenable import EVERY_STATE, Running


def one(running: Running, **facts: Any) -> dict[str, Any]:
    """A vulnerability of a living, ordinary EC2 instance of which these facts are true."""
    wanted = {"asset_kind": "ec2", **facts}
    return next(v for v in running.truth() if all(v[name] == value for name, value in wanted.items()))


def again(running: Running, before: dict[str, Any]) -> dict[str, Any]:
    return next(v for v in running.truth() if v["finding_id"] == before["finding_id"])


def test_the_clock_moves_the_estate_on(running: Running) -> None:
    before = running.control("clock")["now"]
    assert running.control("clock", {"advance_seconds": 86_400})["now"] == pytest.approx(before + 86_400, abs=5)
    new = [v for v in running.truth() if v["indexed"] > before]
    assert new
    exported = running.export(include_unlicensed=True, filters={"indexed_at": int(before) + 1, "state": EVERY_STATE})
    assert {record["finding_id"] for record in exported} == {
        v["finding_id"] for v in new if v["indexed"] >= int(before) + 1
    }


@pytest.mark.parametrize(
    "body", [{"advance_seconds": -1}, {"advance_seconds": 30 * 86_400}, {"advance_seconds": "1d"}, {}, []]
)
def test_the_clock_goes_neither_back_nor_into_the_future(running: Running, body: Any) -> None:
    assert running.http.post("/_sandbox/clock", json=body).status_code == 400


def test_nothing_is_published_before_the_clock_was_moved(running: Running) -> None:
    published = {v["indexed"] for v in running.truth()}
    time.sleep(0.2)
    before = running.control("clock")["now"]
    running.control("clock", {"advance_seconds": 86_400})
    assert all(v["indexed"] > before for v in running.truth() if v["indexed"] not in published)


def test_fix_and_reopen_change_one_vulnerability(running: Running) -> None:
    before = one(running, state="OPEN")
    assert running.control("change", {"do": "fix", "finding_id": before["finding_id"]})["changed"] == 1
    fixed = again(running, before)
    assert fixed["state"] == "FIXED"
    assert before["last_found"] == fixed["last_found"] < fixed["last_fixed"] < fixed["indexed"]
    where = {name: before[name] for name in ("asset_id", "plugin_id", "protocol", "port")}
    running.control("change", {"do": "reopen", **where})
    reopened = again(running, before)
    assert (reopened["state"], reopened["last_fixed"]) == ("REOPENED", None)
    assert reopened["resurfaced"] == reopened["last_found"]
    assert reopened["indexed"] > fixed["indexed"]


def test_a_rescan_can_be_published_long_after_it_happened(running: Running) -> None:
    before = one(running, state="OPEN")
    order = {"do": "rescan", "instance_id": before["instance_id"], "found_ago": 3_000}
    now = running.control("change", order)["now"]
    after = again(running, before)
    assert after["last_found"] == pytest.approx(now - 3_000, abs=1.1)
    assert after["indexed"] == pytest.approx(now, abs=0.001)


def test_accept_and_recast_show_in_the_record(running: Running) -> None:
    accepted, recast = [v for v in running.truth() if v["state"] == "OPEN" and v["severity_id"] == 2][:2]
    running.control(
        "change",
        [
            {"do": "accept", "finding_id": accepted["finding_id"]},
            {"do": "recast", "finding_id": recast["finding_id"], "severity_id": 4, "reason": "It matters here."},
        ],
    )
    assert again(running, accepted)["severity_modification_type"] == "ACCEPTED"
    records = running.export(include_unlicensed=True, filters={"since": 1, "severity_modification_type": ["RECASTED"]})
    record = next(r for r in records if r["finding_id"] == recast["finding_id"])
    assert (record["severity"], record["severity_id"], record["recast_reason"]) == ("critical", 4, "It matters here.")


def test_a_hidden_asset_is_not_exported_but_answered_singly_unless_hidden_there_too(running: Running) -> None:
    asset_id = one(running)["asset_id"]
    running.control("change", {"do": "hide_asset", "asset_id": asset_id})
    assert asset_id not in {record["id"] for record in running.export("assets")}
    assert running.http.get(f"/assets/{asset_id}").status_code == 200
    running.control("change", {"do": "hide_asset", "asset_id": asset_id, "singly": False})
    assert running.http.get(f"/assets/{asset_id}").status_code == 404
    running.control("change", {"do": "show_asset", "asset_id": asset_id})
    assert asset_id in {record["id"] for record in running.export("assets")}
    assert any(
        record["asset"]["uuid"] == asset_id for record in running.export(include_unlicensed=True, filters={"since": 1})
    )


def test_a_deleted_asset_takes_its_vulnerabilities_along(running: Running) -> None:
    asset_id = one(running)["asset_id"]
    running.control("change", {"do": "delete", "asset_id": asset_id})
    assert not any(v["asset_id"] == asset_id for v in running.truth())
    (asset,) = running.export("assets", filters={"is_deleted": True})
    assert asset["id"] == asset_id
    assert asset["timestamps"]["deleted_at"]


def test_injected_records_are_served_as_they_are(running: Running) -> None:
    running.control(
        "change",
        [
            {"do": "inject", "record": {"asset": None, "odd": [1]}},
            {"do": "inject", "raw": '{"not": NaN}'},
            {"do": "inject", "asset": {"id": 5}},
        ],
    )
    uuid = running.start(filters={"since": 9_999_999_999})
    (chunk,) = running.status(uuid)["chunks_available"]
    assert running.chunk(uuid, chunk).text == '[{"asset": null, "odd": [1]}, {"not": NaN}]'
    assert {"id": 5} in running.export("assets")
    assert running.control("change", {"do": "clear_injected"})["changed"] == 3
    assert running.export(filters={"since": 9_999_999_999}) == []


@pytest.mark.parametrize(
    ("order", "says"),
    [
        ({"do": "explode"}, "Unknown change 'explode'"),
        ({"do": "fix"}, "Name a vulnerability by finding_id"),
        ({"do": "fix", "finding_id": "nonsense"}, "No vulnerability matches"),
        ({"do": "terminate", "asset_id": "nonsense"}, "There is no host"),
        ({"do": "inject"}, "inject needs one of"),
    ],
)
def test_a_wrong_change_is_refused_with_the_reason(running: Running, order: dict[str, Any], says: str) -> None:
    answer = running.http.post("/_sandbox/change", json=order)
    assert answer.status_code == 400
    assert says in answer.json()["error"]


@pytest.mark.parametrize(
    "body", [{"colour": 1}, {"duplicate_mode": "410"}, {"prepare_seconds": -1}, {"max_running": "x"}, []]
)
def test_wrong_options_are_refused(running: Running, body: Any) -> None:
    before = running.control("options")
    assert running.http.post("/_sandbox/options", json=body).status_code == 400
    assert running.control("options") == before


def test_stats_count_calls_and_reset_forgets_everything(running: Running) -> None:
    before = running.truth()
    running.control("clock", {"advance_seconds": 86_400})
    running.http.get("/session")
    uuid = running.start(filters={"since": 1})
    stats = running.control("stats")
    assert (stats["calls"]["session"], stats["calls"]["vulns_export"]) == (1, 1)
    assert [job["uuid"] for job in stats["exports"]] == [uuid]
    running.control("options", {"max_running": 1})
    running.control("reset", {})
    assert running.control("stats")["calls"] == {}
    assert running.http.get("/vulns/export/status").json() == {"exports": []}
    assert running.control("options")["max_running"] == 10
    assert {v["finding_id"] for v in running.truth()} == {v["finding_id"] for v in before}


def test_a_path_that_tenable_does_not_have_is_kept_until_the_reset(running: Running) -> None:
    for path in ("/users", "/assets/not-a-uuid", "/vulns/export/1/chunks/one"):
        assert running.http.get(path).status_code == 404
    assert running.control("stats")["unknown_paths"] == [
        "GET /users",
        "GET /assets/not-a-uuid",
        "GET /vulns/export/1/chunks/one",
    ]
    running.control("reset", {})
    assert running.control("stats")["unknown_paths"] == []


@pytest.mark.parametrize("agents", [True, False])
def test_a_host_that_the_connector_learns_of_late_changes_its_asset_and_no_record(
    running: Running, agents: bool
) -> None:
    before = one(running)
    running.control("change", {"do": "disconnect", "asset_id": before["asset_id"], "agents": agents})
    hidden = again(running, before)
    assert (hidden["account"], hidden["instance_id"]) == (None, before["instance_id"] if agents else None)
    now = running.control("change", {"do": "connect", "asset_id": before["asset_id"]})["now"]
    assert again(running, before) == before
    changed = running.export("assets", filters={"since": int(now)})
    assert before["asset_id"] in {record["id"] for record in changed}
    assert before["finding_id"] not in {
        record.get("finding_id") for record in running.export(filters={"indexed_at": int(now)})
    }
