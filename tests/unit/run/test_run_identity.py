"""When a cleared run may use what an earlier attempt has staged, and what is left of it if not."""

from __future__ import annotations

import logging
from datetime import UTC, datetime
from enum import Enum
from types import SimpleNamespace
from typing import Any

import pytest

from airflow_provider_tenable.run import identity
from airflow_provider_tenable.run.identity import begin_again, difference, identity_of, run_type_of
from airflow_provider_tenable.staging.files import names, read_whole, write_json, write_whole
from airflow_provider_tenable.staging.layout import RunFolder

NOW = 1_790_000_000
OURS: Any = {"source": "us", "run_type": "scheduled", "interval": [1.0, 2.0]}


class RunType(str, Enum):  # noqa: UP042
    """As Airflow's own: a string whose text differs from its value."""

    BACKFILL = "backfill"


def context(run_type: Any = "manual", **more: Any) -> dict[str, Any]:
    return {"dag_run": SimpleNamespace(run_type=run_type), **more}


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setattr(identity.time, "time", lambda: NOW + 0.9)
    run = RunFolder(f"file://{tmp_path}", "dag", "run")
    write_json(run.plan, {"window": {}})
    return run


@pytest.mark.parametrize("run_type", [RunType.BACKFILL, "backfill"])
def test_type_of_a_run_is_text_in_every_airflow(run_type):
    assert run_type_of(context(run_type)) == "backfill"


def test_identity_has_source_type_and_interval():
    interval = {
        "data_interval_start": datetime(1970, 1, 1, 0, 0, 1, tzinfo=UTC),
        "data_interval_end": datetime(1970, 1, 1, 0, 0, 2, tzinfo=UTC),
    }
    assert identity_of(context("scheduled", **interval), "us") == OURS


@pytest.mark.parametrize("interval", [{}, {"data_interval_start": None, "data_interval_end": None}])
def test_run_that_was_triggered_may_have_no_interval(interval):
    assert identity_of(context(**interval), "us") == {"source": "us", "run_type": "manual", "interval": [None, None]}


@pytest.mark.parametrize(
    ("earlier", "why"),
    [
        ({"identity": OURS}, None),
        ({"identity": {**OURS, "source": "them"}}, "planned for another Tenable instance or API user"),
        ({"identity": {**OURS, "run_type": "backfill"}}, "planned as a run of type backfill"),
        ({"identity": {**OURS, "interval": [1.0, 3.0]}}, "planned for another data interval"),
        # An older release: the source of its assets, if any, is all that can be compared.
        ({"assets": {"source": "us"}}, None),
        ({"assets": {"source": "them"}}, "planned for another Tenable instance or API user"),
        ({}, None),
    ],
)
def test_staged_files_are_used_by_the_same_source_type_and_interval(earlier, why):
    assert difference(earlier, OURS) == why


def test_run_that_begins_again_keeps_its_plan_and_what_was_rejected(run, caplog):
    write_json(run.ledger, {"complete": True})
    write_whole(run.rejected / "part-1.jsonl.gz", b"one")
    write_whole(run.rejected_before / f"{NOW - 60}-part-1.jsonl.gz", b"earlier")
    write_whole(run.receipts("111122223333", "eu-west-1"), b"[]")
    write_whole(run.shards, b"{}")
    with caplog.at_level(logging.INFO):
        begin_again(run)
    assert sorted(names(run.root)) == ["rejected_before", "run.json"]
    kept = {name: read_whole(run.rejected_before / name) for name in names(run.rejected_before)}
    assert kept == {f"{NOW}-part-1.jsonl.gz": b"one", f"{NOW - 60}-part-1.jsonl.gz": b"earlier"}
    assert f"are in {run.rejected_before}" in caplog.text


def test_run_without_rejected_findings_begins_again(run, caplog):
    write_whole(run.findings / "shard-0000.json", b"{}")
    for _ in range(2):
        with caplog.at_level(logging.INFO):
            begin_again(run)
        assert names(run.root) == ["run.json"]
    assert "rejected" not in caplog.text


def test_interruption_leaves_no_run_that_seems_complete_and_loses_no_rejected_finding(run, monkeypatch):
    write_json(run.ledger, {"complete": True})
    write_whole(run.rejected / "part-1.jsonl.gz", b"one")

    def killed(*_: Any) -> None:
        raise KeyboardInterrupt

    for step in ("write_whole", "_remove_entry"):
        with monkeypatch.context() as patch:
            patch.setattr(identity, step, killed)
            with pytest.raises(KeyboardInterrupt):
                begin_again(run)
        assert not run.ledger.exists()
        assert len(names(run.rejected)) + len(names(run.rejected_before)) == 1
    begin_again(run)
    assert [read_whole(run.rejected_before / name) for name in names(run.rejected_before)] == [b"one"]
