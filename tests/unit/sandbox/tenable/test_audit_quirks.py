"""What Tenable's own examples and recordings of audits have that its schema does not say."""

from __future__ import annotations

from typing import Any

from running_tenable import Running

from sandbox.tenable.audit_results import Result
from sandbox.tenable.audits import problem_of

AUDIT = {"do": "audit", "asset_id": "0b5e8a2c-6f3d-4c1e-9a7b-2d4f6a8c0e1f", "audit_file": "a.audit", "aws": True}


def records(**changed: Any) -> list[dict[str, Any]]:
    usual = {"asset_id": AUDIT["asset_id"], "audit_file": "a.audit", "status": "PASSED", "is_aws": True}
    times = {"first_seen": 1.0, "last_seen": 2.0, "indexed": 3.0}
    return [Result(**usual, **times, number=number, **changed).record() for number in range(84)]


def test_old_records_have_no_state_and_fixed_ones_have_it() -> None:
    assert {record["state"] for record in records()} == {None, "OPEN"}
    assert {record["state"] for record in records(state="FIXED")} == {"FIXED"}


def test_the_asset_has_two_names_and_an_address() -> None:
    named = [record.keys() & {"asset", "assets"} for record in records()]
    assert {frozenset(names) for names in named} == {frozenset({"asset"}), frozenset({"assets"})}
    assert {record.get("asset", record.get("assets"))["ipv4_addresses"][0] for record in records()} == {"127.0.0.1"}


def test_see_also_is_one_text_some_ids_are_missing_and_some_references_are_many() -> None:
    assert {type(record["see_also"]) for record in records()} == {str}
    assert {"compliance_full_id" in record for record in records()} == {True, False}
    assert max(len(record["reference"]) for record in records()) > 32


def test_a_status_has_one_key_until_there_is_a_chunk(running: Running) -> None:
    running.control("change", [AUDIT])
    running.control("options", {"prepare_seconds": 3600})
    asked = running.http.post("/compliance/export", json={"filters": {}}).json()["export_uuid"]
    assert running.status(asked, "compliance").keys() == {"status"}
    running.control("options", {"prepare_seconds": 0})
    asked = running.http.post("/compliance/export", json={"filters": {"last_seen": 1}}).json()["export_uuid"]
    assert {"uuid", "chunks_available", "num_findings"} <= running.status(asked, "compliance").keys()


def test_a_scan_without_an_audit_file_is_refused() -> None:
    body = {
        "settings": {"aws_eu_west_1": "yes"},
        "credentials": {"add": {"Cloud Services": {"Amazon AWS": [{"id": "x"}]}}},
        "audits": {},
    }
    assert problem_of(body, uploads={}, needs_targets=False) == "No audit file is selected"
