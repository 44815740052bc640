"""By how much a full asset export may shrink."""

from __future__ import annotations

import json

import pytest

from airflow_provider_tenable.exceptions import FewerAssetsError
from airflow_provider_tenable.export.state import ExportState
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.run.shrunk import check_assets
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.layout import RunFolder


@pytest.fixture
def run(tmp_path):
    return RunFolder(f"file://{tmp_path}", "dag", "run")


def check(run, records, *, aws=None, source="us", base=None, accept=False, at=1.0):
    """A run that has exported so many assets, of which ``aws`` (default: all) have an account."""
    store = StagedExport(run.export("assets"), "assets")
    cloud = {"aws": {"owner_id": "111122223333", "ec2_instance_id": "i-0123456789abcdef0", "region": "eu-west-1"}}
    assets = [
        {"id": str(number), **({"cloud": cloud} if aws is None or number < aws else {})} for number in range(records)
    ]
    parts = {"1": store.put("0", 1, store.encode([json.dumps(assets).encode()]))}
    store.save(ExportState("assets", {}, 0.0, uuid="u", data_from=1.0, complete=True, parts=parts))
    plan = {
        "assets": {"base": base, "source": source, "planned_at": at},
        "settings": {"accept_fewer_assets": accept},
    }
    check_assets(run, plan)


@pytest.mark.parametrize(
    ("ratio", "before", "now", "fails"),
    [
        ("0.1", 200, 180, False),
        ("0.1", 200, 179, True),
        ("0.1", 200, 300, False),
        # A few hosts of a small estate.
        ("0.1", 20, 10, False),
        ("0.1", 21, 10, True),
        ("0.1", 5, 0, True),
        ("0", 20, 19, True),
        ("0", 20, 20, False),
        ("1", 200, 0, False),
    ],
)
def test_share_decides_and_a_few_assets_are_tolerated(run, monkeypatch, ratio, before, now, fails):
    monkeypatch.setenv("AIRFLOW__TENABLE__MAX_SHRINK_RATIO", ratio)
    check(run, before)
    if fails:
        with pytest.raises(FewerAssetsError):
            check(run, now)
    else:
        check(run, now)
    assert read_json(run.full_export)["records"] == (before if fails else now)


def test_assets_without_any_account_fail_where_some_had_one(run, monkeypatch):
    check(run, 30, aws=3)
    with pytest.raises(FewerAssetsError, match=r"None of the 30 assets .* had 30, 3 of them with one"):
        check(run, 30, aws=0)
    check(run, 30, aws=1)
    monkeypatch.setenv("AIRFLOW__TENABLE__MAX_SHRINK_RATIO", "1")
    check(run, 30, aws=0)
    monkeypatch.undo()
    # As an estate without AWS does for ever.
    check(run, 30, aws=0)


def test_what_is_accepted_once_is_compared_with_from_then_on(run):
    check(run, 100)
    check(run, 10, aws=0, accept=True)
    check(run, 10, aws=0)


def test_another_tenable_has_other_assets(run):
    check(run, 100)
    check(run, 10, source="another")
    assert read_json(run.full_export)["source"] == "another"


def test_export_of_changes_says_nothing_about_all_assets(run):
    check(run, 100)
    check(run, 1, base={"parts": []})
    assert read_json(run.full_export)["records"] == 100


def test_run_that_ends_late_does_not_replace_a_later_export(run):
    check(run, 100, at=5.0)
    check(run, 95, at=2.0)
    assert read_json(run.full_export)["records"] == 100


def test_damaged_record_compares_nothing(run, caplog):
    check(run, 100)
    run.full_export.write_bytes(b"{")
    check(run, 1)
    assert "assets.json is damaged" in caplog.text
    assert "nothing is compared" in caplog.text
    assert "Remove" not in caplog.text
