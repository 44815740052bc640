"""A run that would park most of what it exported fails before anything is sent; a run of one new host does not."""

from __future__ import annotations

import logging

import pytest

from airflow_provider_tenable.assets import index
from airflow_provider_tenable.exceptions import UnknownAssetsError, UnservedError
from airflow_provider_tenable.export.state import ExportState, Part
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.run import unknown_assets
from airflow_provider_tenable.staging.layout import RunFolder


@pytest.fixture
def run(tmp_path, monkeypatch):
    run = RunFolder(f"file://{tmp_path}", "dag", "run")
    run.full_exports = []
    monkeypatch.setattr(index, "require_full_export", run.full_exports.append)
    return run


def manifest(read, parked, *, assets=None, from_pool=False):
    entry = {"read": read, "parked": parked, "from_pool": from_pool}
    return entry if assets is None else {**entry, "missing_assets": assets}


def check(run, *manifests, known=5, base=None):
    state = ExportState(kind="assets", body={}, started_at=1.0, uuid="u", complete=True)
    state.parts = {"1": Part("part-1", known, 1)}
    StagedExport(run.export("assets"), "assets").save(state)
    plan = {"assets": {"base": None if base is None else {"records": base}}}
    run.full_exports.clear()
    unknown_assets.check_assets(run, plan, list(manifests))
    assert run.full_exports == []


@pytest.mark.parametrize(
    ("manifests", "known"),
    [
        ([manifest(100, 51, assets=11)], 5),
        ([manifest(60, 20, assets=6), manifest(40, 31, assets=5)], 1_000_000),
        # No asset at all: never a matter of a few.
        ([manifest(3, 2, assets=1)], 0),
        ([manifest(3, 3)], 0),
    ],
)
def test_most_records_of_missing_assets_fail_the_run(run, manifests, known):
    with pytest.raises(UnknownAssetsError, match="that Tenable does not export") as failure:
        check(run, *manifests, known=known)
    assert isinstance(failure.value, UnservedError)
    parked, read = sum(each["parked"] for each in manifests), sum(each["read"] for each in manifests)
    text = str(failure.value)
    for words in (f"{parked} of {read} exported records", f"exports {known:,} assets", "Can View", "start another run"):
        assert words in text
    assert text.endswith("set [tenable] max_parked_ratio = 1.")
    # What is missing may be there when the next run asks for all assets.
    assert run.full_exports == [run]


@pytest.mark.parametrize(
    ("manifests", "known"),
    [
        ([manifest(100, 0, assets=0)], 0),
        ([manifest(100, 50, assets=50)], 5),
        # A new host or two, on a quiet day.
        ([manifest(100, 100, assets=10)], 5),
        # What older runs had parked is not this run's.
        ([manifest(100, 0, assets=0), manifest(10_000, 10_000, assets=900, from_pool=True)], 5),
        # Shards of an older release.
        ([manifest(100, 90)] * 11, 5),
        ([manifest(0, 0, assets=0)], 0),
    ],
)
def test_a_share_a_few_assets_and_older_records_are_tolerated(run, manifests, known):
    check(run, *manifests, known=known)


def test_what_is_tolerated_only_for_its_number_is_said(run, caplog):
    with caplog.at_level(logging.WARNING):
        check(run, manifest(100, 100, assets=10))
    assert "100 of 100 records are parked" in caplog.text


def test_the_index_counts_as_known(run):
    check(run, manifest(3, 3, assets=1), known=0, base=400)


def test_the_ratio_is_an_option_and_1_is_never(run, monkeypatch):
    monkeypatch.setenv("AIRFLOW__TENABLE__MAX_PARKED_RATIO", "0.8")
    check(run, manifest(100, 80, assets=50))
    with pytest.raises(UnknownAssetsError, match=r"max_parked_ratio 0\.8"):
        check(run, manifest(100, 81, assets=50))
    monkeypatch.setenv("AIRFLOW__TENABLE__MAX_PARKED_RATIO", "1")
    check(run, manifest(100, 100, assets=50), known=0)


@pytest.mark.parametrize("assets", [None, {"base": None}])
def test_a_run_without_an_asset_index_knows_what_it_exported(run, assets):
    plan = {} if assets is None else {"assets": assets}
    # Nothing is staged: it is not known whether Tenable exports any asset at all, so a few are not tolerated.
    with pytest.raises(UnknownAssetsError, match="It exports 0 assets"):
        unknown_assets.check_assets(run, plan, [manifest(2, 2, assets=1)])
    state = ExportState(kind="assets", body={}, started_at=1.0, uuid="u", complete=True)
    state.parts = {"1": Part("part-1", 1, 1), "2": Part("part-2", 0, 1)}
    StagedExport(run.export("assets"), "assets").save(state)
    unknown_assets.check_assets(run, plan, [manifest(2, 2, assets=1)])


def test_a_damaged_state_of_the_asset_export_counts_as_unknown(run, caplog):
    (run.export("assets") / "export.json").parent.mkdir(parents=True)
    (run.export("assets") / "export.json").write_bytes(b"{")
    with pytest.raises(UnknownAssetsError, match="It exports 0 assets"):
        unknown_assets.check_assets(run, {}, [manifest(2, 2, assets=1)])
    assert "Cannot determine how many assets" in caplog.text
