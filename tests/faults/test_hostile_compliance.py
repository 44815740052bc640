"""Hostile results of audits among good ones, in one run of the real operators over real sockets: each becomes a valid
finding or is counted with its reason, and every good one is delivered as if they were not there.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.run.ledger_checks import rejected_lines
from airflow_provider_tenable.transform.compliance import STATUS, UNKNOWN_ACCOUNT
from airflow_provider_tenable.transform.shard import UNMAPPABLE, UNREADABLE
from sandbox.standalone.airflow import connections, destinations
from tests.faults.universe import Sandbox
from tests.integration.conftest import connect
from tests.integration.pipeline_driver import Run, Variables, staged_lines
from tests.integration.test_compliance import ASSETS, AUDIT, HOST_AUDIT, expected, held, record
from tests.unit.asff.asff_limits import problems
from tests.unit.asff.test_compliance import CHUNK

FINDING, PARKED = "finding", "parked"
AWS_ASSET, UNKNOWN_ASSET = ASSETS[0], ASSETS[3]
SOON = "2026-01-02T03:04:05.000Z"
Record = dict[str, Any]


def changed(**fields: Any) -> Callable[[Record], str]:
    """A record with other fields; None leaves one out."""

    def change(good: Record) -> str:
        made = {**good, **fields}
        return json.dumps({name: value for name, value in made.items() if value is not None})

    return change


def with_raw(name: str, raw: str) -> Callable[[Record], str]:
    """A record with a field whose JSON no program would write."""
    return lambda good: json.dumps({**good, name: "MARK"}).replace('"MARK"', raw)


TEXT = "\x1b[2J\u202e\x00<script>alert(1)</script>{{ conn.tenable_default.password }}\r\nERROR"
#: Name -> the record, what becomes of it. ``{}`` is the good record of a host.
HOSTILE: dict[str, tuple[Callable[[Record], str], str]] = {
    "no status": (changed(status=None), UNMAPPABLE),
    "a status of another type": (changed(status=["FAILED"]), UNMAPPABLE),
    "a status that nobody knows": (changed(status=TEXT), UNMAPPABLE),
    "a status with blanks": (changed(status=" failed\n"), FINDING),
    "a check that was skipped": (changed(status="skipped"), STATUS),
    "no audit file": (changed(audit_file=None), UNMAPPABLE),
    "an audit file of blanks": (changed(audit_file=" \t"), UNMAPPABLE),
    "an audit file that is a path": (changed(audit_file="../../../etc/passwd"), FINDING),
    "an audit file that is a text to run": (changed(audit_file=TEXT), FINDING),
    "an audit file as long as a book": (changed(audit_file="x" * 100_000), UNMAPPABLE),
    "no check": (changed(compliance_full_id=None, check_id=None), UNMAPPABLE),
    "a check with slashes": (changed(compliance_full_id="a/../b/%2F/i-0"), FINDING),
    "a check as long as a book": (changed(compliance_full_id="9" * 100_000), UNMAPPABLE),
    "a check that is a number": (changed(compliance_full_id=2**70), FINDING),
    "texts that steer a terminal": (
        changed(check_name=TEXT, check_info=TEXT, solution=TEXT, actual_value=TEXT, expected_value=TEXT),
        FINDING,
    ),
    "texts as long as a book": (
        changed(
            check_name="é" * 200_000, check_info="💥" * 100_000, actual_value="x" * 500_000, solution="x" * 200_000
        ),
        FINDING,
    ),
    "ten thousand requirements": (
        changed(reference=[{"framework": "F", "control": f"C-{number}"} for number in range(10_000)]),
        FINDING,
    ),
    "requirements of other types": (
        changed(reference=[None, 1, "x", {"framework": 5, "control": []}, {"control": TEXT}]),
        FINDING,
    ),
    "requirements nested beyond all depth": (with_raw("reference", "[" * 5_000 + "]" * 5_000), UNREADABLE),
    "addresses that must not be followed": (changed(see_also="javascript:alert(1) file:///etc/passwd"), FINDING),
    "addresses of other types": (changed(see_also=[{"a": 1}, None]), FINDING),
    "a plugin beyond all numbers": (changed(plugin_id=2**70), FINDING),
    "half a character": (with_raw("check_name", '"a\\ud800b"'), FINDING),
    "a state of another type": (changed(state={"FIXED": True}), FINDING),
    "no time": (
        changed(first_seen=None, last_seen=None, last_observed=None, indexed_at=None, last_fixed=None),
        UNMAPPABLE,
    ),
    "times that no calendar has": (
        changed(first_seen="soon", last_seen=2**62, last_observed="2026-02-30T00:00:00Z", last_fixed=-1, indexed_at=[]),
        UNMAPPABLE,
    ),
    "no asset": (changed(asset_uuid=None, asset=None, assets=None), UNMAPPABLE),
    "an asset that is a path": (changed(asset_uuid="../users"), PARKED),
    "an asset that nobody knows": (changed(asset_uuid=UNKNOWN_ASSET), PARKED),
    "an audit of an account that nobody knows": (changed(asset_uuid=UNKNOWN_ASSET, plugin_id=72426), UNKNOWN_ACCOUNT),
    "an audit of an account whose asset is a path": (changed(asset_uuid="../users", plugin_id=72426), UNKNOWN_ACCOUNT),
    "a host that says it is an account": (changed(plugin_id=72426), UNKNOWN_ACCOUNT),
    "an account in other letters": (changed(asset_uuid=AWS_ASSET.upper(), plugin_id=72426), FINDING),
    "null": (lambda _: "null", UNREADABLE),
    "a number": (lambda _: "1e308", UNREADABLE),
    "a list of records": (lambda good: json.dumps([good]), UNREADABLE),
    "an empty object": (lambda _: "{}", UNMAPPABLE),
}


def check_of(made: Record) -> str:
    """The check that a finding is about, as its product field has it."""
    full = made["compliance_full_id"]
    return full if isinstance(full, str) else made["check_id"]


def test_every_hostile_record_is_a_valid_finding_or_has_a_reason_and_costs_no_good_one(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, fields in connections(sandbox.process).items():
        connect(monkeypatch, name, fields)
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path / 'staging'}")
    monkeypatch.setenv("AIRFLOW__TENABLE__MAX_PARKED_RATIO", "1")
    monkeypatch.setenv("AIRFLOW__TENABLE__TRANSFORM_SHARDS", "1")
    Variables(monkeypatch)
    account = sandbox.accounts[0]
    record(tmp_path, 0, account, AWS_ASSET)
    host = next(
        each["asset_id"]
        for each in sandbox.truth()["assets"]
        if each["account"] in sandbox.accounts and each["asset_kind"] == "ec2" and not each["terminated_at"]
    )
    sandbox.change(
        {"do": "audit", "asset_id": AWS_ASSET, "audit_file": AUDIT.format(6), "aws": True},
        {"do": "audit", "asset_id": host, "audit_file": HOST_AUDIT},
    )
    good = {
        **json.loads(CHUNK)[0],
        "asset_uuid": host,
        "audit_file": "hostile.audit",
        "status": "FAILED",
        "plugin_id": 21157,
        **dict.fromkeys(("first_seen", "last_seen", "last_observed", "indexed_at"), SOON),
    }
    texts = {
        name: make({**good, "compliance_full_id": f"hostile {number}"})
        for number, (name, (make, _)) in enumerate(HOSTILE.items())
    }
    sandbox.change(*({"do": "inject", "raw_compliance": text} for text in texts.values()))

    run = Run(
        kind="compliance",
        defaults={"destinations": destinations(sandbox.accounts), "region_routing": "resource"},
        params={"max_rejected_ratio": 1.0},
    )
    run.execute()

    ledger, becomes = run.ledger, Counter(outcome for _, outcome in HOSTILE.values())
    wanted = expected(sandbox, {AWS_ASSET: account})
    assert held(sandbox) & wanted == wanted, "a good result is lost"
    checks = Counter(check for _, _, check, _ in held(sandbox) - wanted)
    assert checks == Counter(check_of(json.loads(texts[name])) for name, each in HOSTILE.items() if each[1] == FINDING)
    assert ledger["findings"] == ledger["accepted"] == len(wanted) + becomes[FINDING]
    assert ledger["parked"] == becomes[PARKED]
    reasons = {name: becomes[name] for name in (UNMAPPABLE, UNREADABLE, UNKNOWN_ACCOUNT, STATUS)}
    assert ledger["skipped"] == reasons
    assert ledger["exported"] == len(wanted) + len(HOSTILE)
    assert all(line["code"] and line["message"].isprintable() for line in rejected_lines(run.folder))
    lines = [line for destination in ledger["destinations"] for line in staged_lines(run, destination)]
    assert len(lines) == ledger["findings"]
    for line in lines:
        assert problems(line) == []
        assert [text for text in (b"javascript:", b"file:///etc", b"\\u001b", b"\\u0000") if text in line] == []
    assert all(line.isprintable() for line in run.report.splitlines())
    assert sandbox.tenable("stats")["unknown_paths"] == []
