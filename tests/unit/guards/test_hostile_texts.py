"""What a run has on record may hold codes, messages and ids in the words of others, also from a release that kept them
as they came: what is made of it for people is safe.
"""

from __future__ import annotations

import logging
from types import SimpleNamespace

import msgspec
import pytest

from airflow_provider_tenable.exceptions import RejectedFindingsError
from airflow_provider_tenable.notifications.rejected import RejectedFindingsNotifier, rejected_summary
from airflow_provider_tenable.operators.tenable import TenableExportOperator
from airflow_provider_tenable.run.ledger_checks import check_rejected
from airflow_provider_tenable.run.report import report_of
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import write_lines

TEXT = "words\nINJECTED ERROR\r\u2028INJECTED\x85\x1b[2J\u202eevil" + "x" * 5_000
PLACE = "111122223333/eu-west-1"


@pytest.fixture
def run(tmp_path):
    """A settled run of which one finding was rejected."""
    folder = RunFolder(f"file://{tmp_path}", "dag", "run")
    part = {"name": "a.jsonl.zst", "lines": 10, "bytes": 1}
    destination = {
        "account": "111122223333",
        "region": "eu-west-1",
        "aws_conn_id": "c",
        "role_name": None,
        "parts": [part],
    }
    manifest = {
        "read": 11,
        "skipped": {TEXT: 0, "unreadable_record": 1},
        "parked": 0,
        "findings": 10,
        "from_pool": False,
        "rejected_part": "part-shard-0000.jsonl.gz",
        "parked_part": None,
        "severities": {},
        "destinations": [destination],
    }
    window = {"kind": "incremental", "since": 1, "until": 1_795_392_000, "bounded": False, "watermark": None}
    write_json(folder.plan, {"window": window, "settings": {"dry_run": False}, "assets": {"base": None, "why": TEXT}})
    write_json(folder.shards, {"count": 1})
    write_json(folder.shard_manifest(0), manifest)
    write_json(folder.export("assets") / "export.json", {"complete": True, "parts": {}})
    entry = {
        "id": TEXT,
        "account": None,
        "region": None,
        "code": TEXT,
        "message": TEXT,
        "finding": {},
        "part": "a.jsonl.zst",
    }
    write_lines(folder.rejected, "part-shard-0000", [msgspec.json.encode(entry)])
    return folder


def ledger(run, **change):
    value = {
        "window": {"kind": "incremental", "since": 1, "until": 1_795_392_000},
        "dry_run": False,
        "exported": 11,
        "unparked": 0,
        "read": 11,
        "skipped": {TEXT: 1},
        "parked": 0,
        "findings": 10,
        "accepted": 9,
        "rejected": {TEXT: 1},
        "severities": {},
        "destinations": {PLACE: {"findings": 10, "accepted": 9, "rejected": {TEXT: 1}, "calls": 1}},
        "watermark": {"before": None, "after": 5, "why": TEXT},
        "complete": True,
        **change,
    }
    write_json(run.ledger, value)
    return value


def test_cells_of_the_report_are_one_line_each_and_bounded(run):
    ledger(run)
    lines = report_of(run).split("\n")
    assert all(line.isprintable() and len(line) < 2_500 for line in lines)
    assert not any(line.lstrip("| ").startswith("INJECTED") for line in lines)
    table = [line for line in lines if line[0] in "+|"]
    assert len({len(line) for line in table}) == 1, "it is a table still"
    assert any("  rejected: words INJECTED ERROR INJECTED \\x1b[2J\\u202eevil" in line for line in table)
    assert any("  skipped: words INJECTED" in line for line in table)


def test_error_of_too_many_rejected_findings_quotes_bounded_examples(run):
    with pytest.raises(RejectedFindingsError) as failure:
        check_rejected(ledger(run), run, 0.0)
    text = str(failure.value)
    assert "1 x words INJECTED ERROR INJECTED" in text
    assert text.isprintable()
    assert len(text) < 3_000


def test_warning_of_tolerated_ones_is_one_line(run, caplog):
    check_rejected(ledger(run), run, 1.0)
    (record,) = caplog.records
    assert record.getMessage().isprintable()
    assert len(record.getMessage()) < 1_000


def logged(caplog, capsys):
    """Airflow 3's own loggers write to the standard output, those of Airflow 2 into Python's logging."""
    return caplog.text + capsys.readouterr().out


def test_lines_of_the_notifier_are_its_own(run, monkeypatch, tmp_path, caplog, capsys):
    ledger(run)
    told = rejected_summary(run)
    assert told is not None
    for line in (told[0], *told[1].split("\n")):
        assert line.isprintable()
        assert len(line) < 2_000
        assert not line.lstrip().startswith("INJECTED")
    caplog.set_level(logging.WARNING)
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path}")
    RejectedFindingsNotifier().notify({"dag_run": SimpleNamespace(dag_id="dag", run_id="run"), "dag": None})
    assert "\n".join(told) in logged(caplog, capsys)


def test_word_of_the_triggerer_is_one_line(monkeypatch, caplog, capsys):
    """It has been through the metadata database."""
    operator = TenableExportOperator(task_id="export")
    monkeypatch.setattr(operator, "_advance", lambda context: {})
    operator.execute_complete({}, {"message": TEXT})
    lines = [line for line in logged(caplog, capsys).split("\n") if "triggerer reports" in line]
    assert lines
    for line in lines:
        assert "The triggerer reports: words INJECTED ERROR INJECTED \\x1b[2J" in line
        assert len(line) < 1_300
