"""status.json and history.json: what is in them, and what happens where they are damaged or cannot be written."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable.exceptions import ConfigurationError, StorageUnavailableError
from airflow_provider_tenable.run import status as module
from airflow_provider_tenable.run.ages import service_levels
from airflow_provider_tenable.run.audit_counts import MOST_AUDITS
from airflow_provider_tenable.run.report import report_run
from airflow_provider_tenable.run.status import (
    archived_of,
    counts_of,
    note_in_history,
    read_history,
    read_status,
    write_status,
)
from airflow_provider_tenable.staging.files import read_json, write_json
from airflow_provider_tenable.staging.layout import RunFolder
from tests.unit.run.test_asset_event import LEDGER

PLAN: Any = {"window": {"kind": "incremental", "since": 1, "until": 2}, "settings": {"dry_run": False}}
ACTIVE: Any = {"by_severity": {"high": 3}, "median_days": 4, "oldest_days": 40, "overdue": {"high": 1}}
HUBS: Any = {"total": ACTIVE, "places": {"111122223333/eu-west-1": ACTIVE}, "unknown": []}


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return RunFolder(f"file://{tmp_path}", "dag", "run")


def ledger(**change: Any) -> Any:
    return {**LEDGER, "archived": {"fixed": 5, "not_reported": 1}, "reopened": 2, **change}


def test_what_was_archived_is_the_sum_of_what_was_sent_and_what_was_gone() -> None:
    assert archived_of(ledger()) == {"fixed": 5, "not_reported": 4}
    assert archived_of({**ledger(), "gone": {**LEDGER["gone"], "archived": {}}}) == {"fixed": 5, "not_reported": 1}
    # The ledger of an older release.
    assert archived_of(LEDGER) == {"not_reported": 3}  # type: ignore[arg-type]
    assert counts_of(LEDGER)["reopened"] == 0  # type: ignore[arg-type]


def test_the_status_is_that_of_the_last_complete_run(run: RunFolder) -> None:
    assert read_status(run) is None
    unserved = {f"{number:012d}": {"no_destination": number} for number in range(250)}
    refused = {"111122223333/eu-west-1": {"records": 3, "why": "AccessDenied\x1b[31m", "reached": True}}
    write_status(run, PLAN, ledger(unserved=unserved, refused=refused), HUBS, now=1_795_392_000.7)
    status = read_status(run)
    assert status is not None
    assert (status["run_id"], status["at"], status["watermark"], status["full"]) == ("run", 1_795_392_000, 200, True)
    assert status["hubs"] == HUBS
    assert status["counts"]["archived"] == {"fixed": 5, "not_reported": 4}
    # The accounts with the most records; and how many there are.
    assert (len(status["unserved"]), status["unserved_accounts"]) == (100, 250)
    assert min(sum(reasons.values()) for reasons in status["unserved"].values()) == 150
    assert "\x1b" not in status["refused"]["111122223333/eu-west-1"]
    write_status(run.beside("later"), PLAN, ledger(), None, now=5)
    assert (read_status(run) or {})["run_id"] == "later"
    assert "hubs" not in (read_status(run) or {})


AUDITS: Any = {"111122223333": {"CIS L1": {"failed": 2, "passed": 5}}, "222233334444": {"CIS L1": {"warning": 1}}}


def test_audits_are_those_of_the_last_full_run(run: RunFolder) -> None:
    write_status(run, PLAN, ledger(audits=AUDITS), None, now=5)
    first = {"run_id": "run", "at": 5, "accounts": AUDITS, "left_out": 0}
    assert (read_status(run) or {})["audits"] == first
    changed = {"111122223333": {"CIS L1": {"failed": 1}}}
    write_status(run.beside("later"), PLAN, ledger(audits=changed, full=False), None, now=6)
    assert ((read_status(run) or {})["run_id"], (read_status(run) or {})["audits"]) == ("later", first)
    write_status(run.beside("full"), PLAN, ledger(audits=changed), None, now=7)
    assert (read_status(run) or {})["audits"] == {"run_id": "full", "at": 7, "accounts": changed, "left_out": 0}
    # The DAG does not import audits, or there are none any more.
    write_status(run, PLAN, ledger(), None, now=8)
    assert "audits" not in (read_status(run) or {})
    write_status(run, PLAN, ledger(audits=changed, full=False), None, now=9)
    assert "audits" not in (read_status(run) or {})


def test_audits_in_the_status_are_those_with_the_most_failed_checks(run: RunFolder) -> None:
    many = {
        f"{number:012d}": {"CIS\x1b[31m": {"failed": number}, "CIS\x1b[32m": {"failed": 1}} for number in range(400)
    }
    write_status(run, PLAN, ledger(audits=many), None, now=5)
    found = (read_status(run) or {})["audits"]
    assert found["left_out"] == 300
    assert "000000000399" in found["accounts"]
    assert "\x1b" not in str(found)
    assert sum(len(audits) for audits in found["accounts"].values()) <= MOST_AUDITS


@pytest.mark.parametrize(
    "accounts",
    [
        {"111122223333/eu-west-1": {"CIS": {"failed": 1}}},
        {"../../etc": {"CIS": {"failed": 1}}},
        {"111122223333": {"CIS": {"failed": -1}}},
        {"111122223333": {"CIS": {"failed": "1"}}},
        {"111122223333": {"CIS": {"<b>": 1}}},
        {"111122223333": ["CIS"]},
    ],
    ids=str,
)
def test_audits_that_cannot_be_counts_by_account_are_not_believed(run: RunFolder, accounts: Any) -> None:
    write_status(run, PLAN, ledger(audits=AUDITS), None, now=5)
    status = read_json(run.status)
    write_json(run.status, {**status, "audits": {**status["audits"], "accounts": accounts}})
    assert read_status(run) is None


@pytest.mark.parametrize("value", [{"version": 2}, [], {"version": 1, "counts": 3}, {}], ids=str)
def test_a_status_that_cannot_be_understood_is_none(run: RunFolder, value: Any) -> None:
    write_json(run.status, value)
    write_json(run.history, value)
    assert read_status(run) is None
    assert read_history(run) == []


def test_a_damaged_history_begins_again(run: RunFolder) -> None:
    note_in_history(run, PLAN, ledger(), "Complete", complete=True)
    path = Path(run.history.path)
    path.write_bytes(path.read_bytes()[:-20])
    note_in_history(run.beside("next"), PLAN, ledger(), "Complete", complete=True)
    assert [entry["run_id"] for entry in read_history(run)] == ["next"]


def test_a_run_is_in_the_history_once_with_what_was_said_last(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "LONGEST_HISTORY", 3)
    for name in ("a", "b", "c"):
        note_in_history(run.beside(name), PLAN, None, "NOT COMPLETE", complete=False)
    note_in_history(run.beside("b"), PLAN, ledger(active=ACTIVE), "Complete", complete=True)
    entries = read_history(run)
    assert [(entry["run_id"], entry["complete"]) for entry in entries] == [("a", False), ("c", False), ("b", True)]
    assert (entries[-1]["active"], entries[-1]["watermark"]) == (ACTIVE, 200)
    assert "counts" not in entries[0]
    note_in_history(run.beside("d"), None, None, "x" * 1_000, complete=False)
    assert [entry["run_id"] for entry in read_history(run)] == ["c", "b", "d"]
    assert len(read_history(run)[-1]["title"]) <= 320


def test_a_history_that_cannot_be_written_fails_no_report(
    run: RunFolder, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(*_: object) -> None:
        raise StorageUnavailableError("no bucket")

    monkeypatch.setattr(module, "write_json", refuse)
    note_in_history(run, PLAN, None, "NOT COMPLETE", complete=False)
    assert "is not in the history of dag: no bucket" in caplog.text


def test_a_run_that_was_never_planned_is_in_the_history(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path}")
    context = {"dag_run": SimpleNamespace(dag_id="dag", run_id="run")}
    with pytest.raises(Exception, match="is not complete"):
        report_run(context)
    run = RunFolder(f"file://{tmp_path}", "dag", "run")
    (entry,) = read_history(run)
    assert (entry["complete"], entry["title"]) == (False, "Nothing was exported or imported.")
    assert read_json(run.history)["version"] == 1


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("15, 30, 90, 180", {"critical": 15, "high": 30, "medium": 90, "low": 180}),
        ("7,0,0,0", {"critical": 7}),
        ("0,0,0,0", {}),
    ],
)
def test_service_levels(monkeypatch: pytest.MonkeyPatch, text: str, expected: dict[str, int]) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__SERVICE_LEVELS", text)
    assert service_levels() == expected


@pytest.mark.parametrize(
    "text", ["", "15", "1,2,3", "1,2,3,4,5", "1,2,3,-4", "1,2,3,x", "1,2,3,4.5", "1,2,3,99999", "1,2,3,²"]
)
def test_service_levels_that_are_wrong_are_explained(monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    monkeypatch.setenv("AIRFLOW__TENABLE__SERVICE_LEVELS", text)
    with pytest.raises(ConfigurationError, match="four whole numbers of days, for critical, high, medium and low"):
        service_levels()
