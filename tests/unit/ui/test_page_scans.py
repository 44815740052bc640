"""The section about scans and audits: what tasks have recorded, bounded, and texts that stay texts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.ui.facts import DagRunFacts
from airflow_provider_tenable.ui.page import scans_of
from airflow_provider_tenable.ui.scans import MOST_AUDITS, MOST_SCANS, SCAN_DAG, read_scans
from airflow_provider_tenable.ui.snapshot import Snapshot
from airflow_provider_tenable.ui.urls import Urls
from tests.page_samples import DAG_ID, HOSTILE, NOW
from tests.unit.ui.test_page import Parsed, shown


def run(number: int = 0, state: str = "success") -> DagRunFacts:
    return DagRunFacts(f"manual__{number}", state, NOW)


@pytest.fixture
def staging(tmp_path: Path) -> str:
    return f"file://{tmp_path}"


def record(staging: str, number: int, value: dict[str, Any]) -> None:
    write_json(RunFolder(staging, SCAN_DAG, f"manual__{number}").job("run_scan"), value)


def test_a_scan_is_shown_as_far_as_it_got(staging: str) -> None:
    record(
        staging,
        0,
        {"run_uuid": "u", "result": {"name": "Weekly: DMZ", "status": "completed", "severities": {"high": 3}}},
    )
    audit = {
        "name": "CIS",
        "status": "completed",
        "severities": {"info": 9},
        "compliance": {"FAILED": 12, "PASSED": 80},
    }
    record(staging, 4, {"run_uuid": "u", "result": audit})
    record(staging, 1, {"run_uuid": "u", "status": "running"})
    record(staging, 2, {"run_uuid": "u", "status": "running", "failure": "aborted"})
    found = read_scans(staging, [run(number) for number in range(5)], audits=True)
    assert [(each.name, each.status) for each in found.scans] == [
        ("Weekly: DMZ", "completed"),
        ("", "running"),
        ("", "aborted"),
        ("", ""),
        ("CIS", "completed"),
    ]
    assert found.problems == []
    page = Parsed(shown(Snapshot(DAG_ID), scans=found))
    assert "Weekly: DMZ completed 3 high success" in page.text
    assert "manual__3 not launched none success" in page.text
    assert "CIS completed 12 FAILED 80 PASSED success" in page.text
    assert f"../dags/{SCAN_DAG}/runs/manual__0/tasks/run_scan" in {each.get("href") for each in page.of("a")}


def test_audits_are_shown_with_their_account(staging: str) -> None:
    audit = {"version": 1, "account": "111122223333", "name": "CIS", "audits": ["72426_CIS.audit"]}
    write_json(open_path(staging) / "audits" / "a.json", audit)
    assert read_scans(staging, [], audits=False).audits == []
    found = read_scans(staging, [], audits=True)
    assert "111122223333 CIS 72426_CIS.audit" in Parsed(shown(Snapshot(DAG_ID), scans=found)).text


def test_no_more_files_are_read_than_are_shown(staging: str) -> None:
    for number in range(MOST_AUDITS + 5):
        write_json(open_path(staging) / "audits" / f"{number:02d}.json", {"account": str(number)})
    found = read_scans(staging, [run(number) for number in range(MOST_SCANS + 5)], audits=True)
    assert (len(found.scans), len(found.audits), found.more_audits) == (MOST_SCANS, MOST_AUDITS, 5)
    assert "and 5 more audits" in shown(Snapshot(DAG_ID), scans=found)


@pytest.mark.parametrize(
    "value",
    [
        [],
        {"result": 3},
        {"result": {"name": [1], "status": {}, "compliance": {"a": "b", "c": True}, "severities": [1]}},
        {"launching": {"at": 1, "known": [], "x": 2}},
    ],
    ids=str,
)
def test_a_record_of_any_shape_is_no_error_page(staging: str, value: Any) -> None:
    write_json(RunFolder(staging, SCAN_DAG, "manual__0").job("run_scan"), value)
    write_json(open_path(staging) / "audits" / "a.json", value)
    shown(Snapshot(DAG_ID), scans=read_scans(staging, [run()], audits=True))


def test_names_are_text(staging: str) -> None:
    record(staging, 0, {"run_uuid": "u", "result": {"name": HOSTILE, "status": HOSTILE}})
    write_json(open_path(staging) / "audits" / "a.json", {"account": HOSTILE, "name": HOSTILE, "audits": [HOSTILE]})
    text = shown(Snapshot(DAG_ID), scans=read_scans(staging, [run(state=HOSTILE)], audits=True))
    assert len(Parsed(text).of("script")) == 1
    assert not Parsed(text).of("img")
    assert "\x1b" not in text


def test_without_scans_there_is_no_section(staging: str) -> None:
    assert scans_of(read_scans(staging, [], audits=True), Urls()) == {}
    assert scans_of(None, Urls()) == {}
    assert 'id="scans"' not in shown(Snapshot(DAG_ID))
