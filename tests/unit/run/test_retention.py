"""What is removed of old runs, and what stays: ``retention.remove_old_runs``."""

from __future__ import annotations

import errno
import json
import os
import time
from types import SimpleNamespace

import pytest

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.run import finish, identity, plan, retention
from airflow_provider_tenable.run.ledger_checks import rejected_lines
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.staging.files import names, write_json, write_whole
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import write_lines

ACCOUNT, REGION = "123456789012", "eu-west-1"
DAY = 86400


@pytest.fixture
def context(tmp_path, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TENABLE__STAGING_PATH", f"file://{tmp_path}")
    return {"dag_run": SimpleNamespace(dag_id="dag", run_id="now")}


def stage(context, run_id, *, days, complete=True, rejected=False):
    """A run as it lies there, its ledger of so many days ago."""
    run = RunFolder.of({"dag_run": SimpleNamespace(dag_id="dag", run_id=run_id)})
    write_json(run.plan, {"window": {"until": 1}})
    for kind in ("assets", "vulnerabilities"):
        write_whole(run.export(kind) / "part-1", b"x")
    part = write_lines(run.destination(ACCOUNT, REGION), "part-0000", [b"{}", b"{}"])
    write_lines(run.parked, "part-shard-0000", [b"{}"])
    write_json(run.shards, {"count": 1})
    entry = {
        "account": ACCOUNT,
        "region": REGION,
        "aws_conn_id": "aws_default",
        "role_name": None,
        "parts": [{"name": part, "lines": 2, "bytes": 6}],
    }
    write_json(run.shard_manifest(0), {"destinations": [entry], "rejected_part": None, "parked_part": None})
    receipts = Receipts(run, ACCOUNT, REGION, [part])
    receipts.accept(part, 0)
    if rejected:
        receipts.reject(part, 1, finding_id="id", code="InvalidInput", message="no", finding=b"{}")
    receipts.flush()
    write_json(run.ledger, {"complete": complete})
    moment = time.time() - days * DAY
    os.utime(run.ledger.path, (moment, moment))
    return run


def staged(run):
    """The files of a run, by the folder or the name that they stand under."""
    return set(names(run.root))


def age(run, *, days):
    moment = time.time() - days * DAY
    for path in (run.plan, run.shards, run.ledger):
        if path.exists():
            os.utime(path.path, (moment, moment))


def test_failed_run_goes_after_its_own_retention_and_not_before(context, monkeypatch):
    for name, days in (("old", 30.1), ("young", 29.9)):
        age(stage(context, name, days=days, complete=False), days=days)
    assert retention.remove_old_runs(context) == ["old"]
    monkeypatch.setenv("AIRFLOW__TENABLE__FAILED_RETENTION_DAYS", "1")
    assert retention.remove_old_runs(context) == ["young"]


@pytest.mark.parametrize("step", ["plan", "shards", "ledger"])
def test_retention_of_a_failed_run_counts_from_its_last_step(context, step):
    run = stage(context, "failed", days=100, complete=False)
    age(run, days=100)
    os.utime(getattr(run, step).path, None)
    assert retention.remove_old_runs(context) == []
    age(run, days=100)
    run.ledger.unlink()
    run.shards.unlink()
    assert retention.remove_old_runs(context) == ["failed"]


def test_complete_run_goes_after_the_retention_and_not_before(context):
    old, young = stage(context, "old", days=7.1), stage(context, "young", days=6.9)
    assert retention.remove_old_runs(context) == ["old"]
    assert staged(old) == set()
    assert "vulnerabilities" in staged(young)


def test_failed_run_stays_and_is_named(context, caplog):
    failed = stage(context, "failed", days=400, complete=False)
    with caplog.at_level("INFO", logger="airflow_provider_tenable.run.retention"):
        assert retention.remove_old_runs(context) == []
    assert "vulnerabilities" in staged(failed)
    assert "1 runs are not complete" in caplog.text
    assert "failed" in caplog.text


def newer(run):
    run.ledger.write_bytes(json.dumps({"complete": True, "format": 99}).encode())


@pytest.mark.parametrize(
    "damage",
    [
        lambda run: run.ledger.write_bytes(b""),
        lambda run: run.ledger.write_bytes(run.ledger.read_bytes()[:-9]),
        lambda run: run.ledger.write_bytes(run.ledger.read_bytes().replace(b"true", b"1   ")),
        newer,
    ],
    ids=["empty", "cut", "changed", "newer"],
)
def test_a_run_whose_ledger_cannot_be_read_is_passed_over_and_all_others_are_removed(context, caplog, damage):
    for name in ("a", "m", "z"):
        stage(context, name, days=9)
    damaged = RunFolder.of({"dag_run": SimpleNamespace(dag_id="dag", run_id="m")})
    damage(damaged)
    assert retention.remove_old_runs(context) == ["a", "z"]
    assert "vulnerabilities" in staged(damaged)
    [warning] = [
        record.getMessage()
        for record in caplog.records
        if record.levelname == "WARNING" and record.name == retention.__name__
    ]
    assert warning.startswith("The clean-up skips run m, which keeps its files: The staged file ")


def test_a_ledger_that_is_not_an_object_is_not_complete(context):
    run = stage(context, "old", days=9)
    run.ledger.write_bytes(b"[1]")
    assert retention.remove_old_runs(context) == []
    assert "vulnerabilities" in staged(run)


def test_a_run_that_cannot_be_removed_is_passed_over_and_all_others_are_removed(context, monkeypatch, caplog):
    for name in ("a", "m", "z"):
        stage(context, name, days=9)
    real = retention.remove

    def refuses(folder):
        if "/m/" in folder.path:
            raise PermissionError(errno.EACCES, "Permission denied")
        real(folder)

    with monkeypatch.context() as patch:
        patch.setattr(retention, "remove", refuses)
        assert retention.remove_old_runs(context) == ["a", "z"]
    assert "skips run m, which keeps its files: [Errno 13] Permission denied" in caplog.text
    # Tried again by the next run.
    assert retention.remove_old_runs(context) == ["m"]


def test_rejected_findings_outlive_the_chunks_and_can_still_be_read(context):
    run = stage(context, "old", days=8, rejected=True)
    for _ in range(2):
        assert retention.remove_old_runs(context) == []
        assert staged(run) == {"run.json", "shards.json", "findings", "receipts", "rejected", "ledger.json"}
        assert names(run.findings) == ["shard-0000.json"]
        assert [line["id"] for line in rejected_lines(run)] == ["id"]


def test_rejected_findings_go_after_their_own_retention(context, monkeypatch):
    run = stage(context, "old", days=31, rejected=True)
    assert retention.remove_old_runs(context) == ["old"]
    assert staged(run) == set()
    run = stage(context, "older", days=31, rejected=True)
    monkeypatch.setenv("AIRFLOW__TENABLE__REJECTED_RETENTION_DAYS", "32")
    assert retention.remove_old_runs(context) == []
    assert "rejected" in staged(run)


def test_rejected_findings_stay_at_least_as_long_as_the_chunks(context, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TENABLE__REJECTED_RETENTION_DAYS", "0")
    run = stage(context, "young", days=6, rejected=True)
    assert retention.remove_old_runs(context) == []
    assert {"rejected", "vulnerabilities"} <= staged(run)


def test_the_run_itself_the_pool_and_strange_folders_stay(context):
    own = stage(context, "now", days=99)
    write_lines(own.parked_pool, "other--part", [b"{}"])
    write_whole(own.dag_root / "something" / "else", b"x")
    assert retention.remove_old_runs(context) == []
    assert names(own.dag_root) == ["now", "parked", "something"]
    assert "vulnerabilities" in staged(own)


@pytest.mark.parametrize("complete", [True, False])
def test_file_by_which_a_run_is_found_again_is_removed_last(context, monkeypatch, complete):
    """A complete run is found by its ledger, any other one by its plan: an interrupted clean-up is repeated."""
    run = stage(context, "old", days=40, complete=complete)
    age(run, days=40)
    removed = []

    def recorded(real):
        def remove(path):
            removed.append(path.name)
            real(path)

        return remove

    for name in ("remove", "remove_file"):
        monkeypatch.setattr(retention, name, recorded(getattr(retention, name)))
    assert retention.remove_old_runs(context) == ["old"]
    last = ["run.json", "ledger.json"] if complete else ["ledger.json", "run.json"]
    assert removed[-3:] == [*last, "old"]
    assert {"findings", "receipts", "vulnerabilities", "shards.json"} <= set(removed[:-3])
    assert not run.root.exists()


def test_death_in_the_middle_of_a_removal_leaves_what_is_removed_the_next_time(context, monkeypatch):
    run = stage(context, "old", days=8)
    remove, killed = retention.remove, []

    def dies(folder):
        if len(killed) < 2:
            killed.append(remove(folder))
        else:
            raise KeyboardInterrupt

    monkeypatch.setattr(retention, "remove", dies)
    with pytest.raises(KeyboardInterrupt):
        retention.remove_old_runs(context)
    assert "ledger.json" in staged(run)
    monkeypatch.setattr(retention, "remove", remove)
    assert retention.remove_old_runs(context) == ["old"]
    assert staged(run) == set()


@pytest.mark.parametrize(
    "step", [plan.plan_imports, lambda context: plan.plan_shards(context, {"parts": 1}), finish.advance_watermark]
)
def test_run_whose_folder_is_not_there_says_why_that_may_be(context, step):
    """As when [tenable] staging_path is changed between two tasks of a run."""
    arguments = (context,) if step is not finish.advance_watermark else (context, {"data_from": 1.0})
    with pytest.raises(
        StagingError, match=r"staging_path changed since the run began\? Clear the run from plan_run on"
    ):
        step(*arguments)


def test_death_while_a_complete_run_begins_anew_leaves_nothing_that_says_it_is_complete(context, monkeypatch):
    """Else the files of the run would be taken for old ones while it works."""
    run = stage(context, "now", days=8)

    def dies(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(identity, "_remove_entry", dies)
    with pytest.raises(KeyboardInterrupt):
        identity.begin_again(run)
    assert "ledger.json" not in staged(run)


@pytest.mark.parametrize(("days", "stays"), [(8, True), (31, False)])
def test_what_an_earlier_attempt_had_rejected_stays_for_its_retention(context, days, stays):
    run = stage(context, "cleared", days=days)
    write_whole(run.rejected_before / "1790000000-part-shard-0000.jsonl.gz", b"x")
    retention.remove_old_runs(context)
    assert bool(names(run.rejected_before)) is stays


@pytest.mark.parametrize(("days", "removed"), [(8, []), (31, ["cleared"])])
def test_it_stays_as_long_if_the_run_fails_after_it_was_cleared(context, monkeypatch, days, removed):
    monkeypatch.setenv("AIRFLOW__TENABLE__FAILED_RETENTION_DAYS", "1")
    run = stage(context, "cleared", days=days, complete=False)
    write_whole(run.rejected_before / "1790000000-part-shard-0000.jsonl.gz", b"x")
    age(run, days=days)
    assert retention.remove_old_runs(context) == removed
    assert bool(names(run.rejected_before)) is not bool(removed)


def test_what_was_rejected_is_moved_aside_once_however_often_a_run_begins_again(context):
    run = stage(context, "now", days=1, rejected=True)
    rejected = names(run.rejected)
    assert rejected
    for _ in range(3):
        identity.begin_again(run)
    assert [name.split("-", 1)[1] for name in names(run.rejected_before)] == rejected
    assert sorted(names(run.root)) == ["rejected_before", "run.json"]
