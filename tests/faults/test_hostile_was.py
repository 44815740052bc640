"""Hostile findings of web applications among good ones, in one run of the real operators over real sockets: each
becomes a valid finding or is counted with its reason, and every good one is delivered as if they were not there.

Much of such a record is what an attacked application has answered.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from airflow_provider_tenable.run.ledger_checks import rejected_lines
from airflow_provider_tenable.transform.shard import SEVERITY, STATE, UNMAPPABLE, UNREADABLE
from sandbox.standalone.airflow import connections, destinations
from tests.faults.universe import Sandbox
from tests.integration.conftest import connect
from tests.integration.pipeline_driver import Run, Variables, staged_lines
from tests.integration.test_was import EVERY_SEVERITY, expected, held
from tests.unit.asff.asff_limits import problems

CHUNK = json.loads((Path(__file__).parents[1] / "data" / "was_chunk_official_example.json").read_bytes())
FINDING = "finding"
SOON = "2026-01-02T03:04:05Z"
Record = dict[str, Any]
Change = Callable[[Record], str]


def changed(**fields: Any) -> Change:
    """A record with other fields; None leaves one out."""
    return lambda good: json.dumps({name: value for name, value in {**good, **fields}.items() if value is not None})


def plugin(**fields: Any) -> Change:
    """A record whose plugin has other fields."""
    return lambda good: json.dumps({**good, "plugin": {**good["plugin"], **fields}})


def asset(**fields: Any) -> Change:
    """A record whose application has other fields."""
    return lambda good: json.dumps({**good, "asset": {**good["asset"], **fields}})


def with_raw(name: str, raw: str) -> Change:
    """A record with a field whose JSON no program would write."""
    return lambda good: json.dumps({**good, name: "MARK"}).replace('"MARK"', raw)


TEXT = "\x1b[2J\u202e\x00<script>alert(1)</script>{{ conn.tenable_default.password }}\r\nERROR"
LONG = {"url": "https://a.example.com/" + "é" * 50_000, "output": "💥" * 200_000, "proof": "x" * 900_000}
OWASP = ("owasp_2010", "owasp_2013", "owasp_2017", "owasp_2021", "owasp_api_2019")
#: Name -> the record, what becomes of it.
HOSTILE: dict[str, tuple[Change, str]] = {
    "no id": (changed(finding_id=None), UNMAPPABLE),
    "an id that is a path": (changed(finding_id="../../etc/passwd"), UNMAPPABLE),
    "an id that is a number": (changed(finding_id=2**70), UNMAPPABLE),
    "an id with line breaks": (lambda good: json.dumps({**good, "finding_id": good["finding_id"] + "\r\n"}), FINDING),
    "no severity": (changed(severity=None, severity_id=None), UNMAPPABLE),
    "a severity that nobody knows": (changed(severity=TEXT, severity_id=99), UNMAPPABLE),
    "a severity of other types": (changed(severity=["HIGH"], severity_id="3"), FINDING),
    "a severity that is not wanted": (changed(severity="INFO", severity_id=0), SEVERITY),
    "a state of another type": (changed(state={"FIXED": True}), FINDING),
    "no state": (changed(state=None), FINDING),
    "a state with blanks": (changed(state=" open\n"), FINDING),
    "a state that nobody knows": (changed(state=TEXT), STATE),
    "no time": (changed(first_found=None, last_found=None, indexed_at=None), UNMAPPABLE),
    "times that no calendar has": (changed(first_found="soon", last_found=2**62, indexed_at=[]), UNMAPPABLE),
    "times that are numbers": (changed(first_found=1_767_323_045, indexed_at=1_767_323_045_000), FINDING),
    "no application": (changed(asset=None), UNMAPPABLE),
    "an application of another type": (changed(asset=["x"]), UNMAPPABLE),
    "an application whose id is a path": (asset(uuid="../users"), UNMAPPABLE),
    "an application without a name": (asset(fqdn=None), FINDING),
    "an application whose name steers a terminal": (asset(fqdn=TEXT), FINDING),
    "an application whose name is a book": (asset(fqdn="a" * 300_000, ipv4s=["x"] * 10_000), FINDING),
    "no plugin": (changed(plugin=None), UNREADABLE),
    "a plugin of another type": (changed(plugin=[5]), UNMAPPABLE),
    "a plugin without an id": (changed(plugin={"name": "x"}), UNMAPPABLE),
    "a plugin beyond all numbers": (plugin(id=2**70), UNMAPPABLE),
    "a plugin nested beyond all depth": (with_raw("plugin", "[" * 5_000 + "]" * 5_000), UNREADABLE),
    "texts that steer a terminal": (
        changed(url=TEXT, output=TEXT, proof=TEXT, payload=TEXT, http_method=TEXT, input_name=TEXT, input_type=TEXT),
        FINDING,
    ),
    "a plugin whose texts steer a terminal": (
        plugin(**dict.fromkeys(("name", "description", "solution", "synopsis", "family", "risk_factor"), TEXT)),
        FINDING,
    ),
    "texts as long as a book": (changed(**LONG), FINDING),
    "a place that names a login": (changed(url="https://user:hunter2@a.example.com/?token=hunter3#hunter4"), FINDING),
    "a place that must not be followed": (changed(url="javascript:alert(1)"), FINDING),
    "links that must not be followed": (plugin(see_also=["javascript:alert(1)", "file:///etc/passwd", 5]), FINDING),
    "lists of other types": (
        plugin(cve={"a": 1}, cwe=79, wasc=[None, [], {}], bid=TEXT, xrefs=TEXT, **{name: [[1]] for name in OWASP}),
        FINDING,
    ),
    "lists without an end": (
        plugin(
            cve=[f"CVE-2020-{number:05d}" for number in range(5_000)], cwe=["79"] * 5_000, wasc=[TEXT] * 3_000,
            xrefs=[{"type": "capec", "id": ["1"] * 5_000}] * 50,
        ),
        FINDING,
    ),
    "scores of other types": (
        plugin(cvss3_base_score="9.8", epss_score=-1e300, vpr={"score": [5]}, vpr_v2=7, cvss3_vector=5), FINDING,
    ),
    "half a character": (with_raw("output", '"a\\ud800b"'), FINDING),
    "no number": (with_raw("severity_default_id", "NaN"), FINDING),
    "null": (lambda _: "null", UNREADABLE),
    "a number": (lambda _: "1e308", UNREADABLE),
    "a list of records": (lambda good: json.dumps([good]), UNREADABLE),
    "an empty object": (lambda _: "{}", UNREADABLE),
}  # fmt: skip


def test_every_hostile_record_is_a_valid_finding_or_has_a_reason_and_costs_no_good_one(
    sandbox: Sandbox, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, fields in connections(sandbox.process).items():
        connect(monkeypatch, name, fields)
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path / 'staging'}")
    monkeypatch.setenv("AIRFLOW__TENABLE__TRANSFORM_SHARDS", "1")
    Variables(monkeypatch)
    good = {
        **CHUNK[0],
        "severity": "HIGH",
        "severity_id": 3,
        **dict.fromkeys(("first_found", "last_found", "indexed_at"), SOON),
    }
    texts = {
        name: make({**good, "finding_id": str(UUID(int=number + 1))})
        for number, (name, (make, _)) in enumerate(HOSTILE.items())
    }
    sandbox.change(*({"do": "inject", "raw_was": text} for text in texts.values()))
    wanted = {key: value for key, value in expected(sandbox).items() if value[1] != "INFORMATIONAL"}

    run = Run(
        kind="was",
        defaults={"destinations": destinations(sandbox.accounts), "severities": EVERY_SEVERITY[1:]},
        params={"max_rejected_ratio": 1.0},
    )
    run.execute()

    ledger, becomes = run.ledger, Counter(outcome for _, outcome in HOSTILE.values())
    found = held(sandbox)
    assert wanted.items() <= found.items(), "a good finding is lost"
    made = {str(UUID(int=number + 1)) for number, each in enumerate(HOSTILE.values()) if each[1] == FINDING}
    assert found.keys() - wanted.keys() == made
    assert ledger["findings"] == ledger["accepted"] == len(wanted) + len(made)
    assert ledger["skipped"] == {name: becomes[name] for name in (UNMAPPABLE, UNREADABLE, SEVERITY, STATE)}
    assert ledger["parked"] == 0
    assert ledger["exported"] == len(wanted) + len(HOSTILE)
    assert all(line["code"] and line["message"].isprintable() for line in rejected_lines(run.folder))
    lines = [line for destination in ledger["destinations"] for line in staged_lines(run, destination)]
    assert len(lines) == ledger["findings"]
    never = (b"file:///etc", b"\\u001b", b"\\u0000", b"hunter2", b"hunter3", b"hunter4")
    for line in lines:
        assert problems(line) == []
        assert [text for text in never if text in line] == []
        # Where it is a text it is of the record; a link it is nowhere.
        assert "javascript:" not in json.dumps({**json.loads(line), "ProductFields": None})
    assert all(line.isprintable() for line in run.report.splitlines())
    assert sandbox.tenable("stats")["unknown_paths"] == []
