"""What a finding that was set aside and selected keeps, and what is said of records that waited too long."""

from __future__ import annotations

from airflow_provider_tenable.state.staged import staged_rows
from tests.unit.transform.test_duplicates import ASSETS, FIXED, OPEN, transformed
from tests.unit.transform.test_shard import ASSETS as KNOWN
from tests.unit.transform.test_shard import NOW, A, World, record
from tests.unit.transform.test_unsettled_assets import next_run, settle


def rows_of(run, manifests):
    return [
        row
        for manifest in manifests
        for entry in manifest["destinations"]
        for part in entry["parts"]
        for row in staged_rows(run, entry["account"], entry["region"], part["name"], part["lines"])
    ]


def test_a_selected_finding_is_compared_like_any_other(tmp_path):
    """Without its row its content is unknown, and every run would send it."""
    run, manifests = transformed(tmp_path, [OPEN], [FIXED])
    (selected,) = rows_of(run, manifests)
    alone = World(tmp_path / "alone", assets=ASSETS[:1])
    manifest = alone.chunks([OPEN])
    (usual,) = rows_of(alone.run, [manifest])
    assert usual["content"] != 0
    assert [selected[name] for name in ("key", "plugin", "flags", "updated_at", "as_of")] == [
        usual[name] for name in ("key", "plugin", "flags", "updated_at", "as_of")
    ]
    assert selected["content"] == usual["content"]


def test_all_records_that_have_waited_too_long_are_counted_in_the_log(tmp_path, caplog):
    caplog.set_level("INFO")
    first = World(tmp_path)
    settle(first, first.chunks([record("on-prem", plugin=number) for number in range(3)] + [record("no-owner")]))
    world, manifest = next_run(tmp_path, KNOWN, give_up_before=NOW + 1)
    assert (manifest["read"], manifest["waiting_parts"], world.findings(A, "eu-west-1")) == (0, [], [])
    assert "4 waiting records are dropped after [tenable] parked_days" in caplog.text
