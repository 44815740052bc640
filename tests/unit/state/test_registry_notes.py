"""What is noted about indexes and hubs: where, until when, and what a note that cannot be read means."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import pytest

from airflow_provider_tenable.staging.files import names, read_json
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.state.parts import VERSION
from airflow_provider_tenable.state.registry import (
    Registry,
    forget_emptied,
    forget_lost,
    forget_written,
    index_of,
    lost_destinations,
    note_emptied,
    note_lost,
    note_written,
    read_registry,
    read_state,
    write_registry,
)
from airflow_provider_tenable.state.snapshot import LostIndexError
from tests.unit.state.rows import held, table

SOURCE, ONE, TWO = "tenable-1", "111122223333/eu-west-1", "444455556666/us-east-1"
FULL_AT = 1_790_000_000.0
#: Unix milliseconds.
THEN = 1000 * int(FULL_AT)


@pytest.fixture
def root(tmp_path: Path) -> Any:
    folder = open_path(f"file://{tmp_path}/finding_index")
    write_registry(folder, Registry(VERSION, SOURCE, 5, FULL_AT, [ONE]))
    return folder


# The registry.


def test_a_registry_reads_back_as_it_was_written(root: Any) -> None:
    written = Registry(VERSION, SOURCE, 5, 6.5, [ONE, TWO], {"severities": "x"})
    write_registry(root, written)
    assert read_registry(root, SOURCE) == (written, "")
    assert read_state(root, SOURCE).why == ""


@pytest.mark.parametrize(
    ("change", "why"),
    [
        ({"version": VERSION + 1}, "the finding index is of another version of this package"),
        ({"source": "another"}, "the finding index is of another Tenable, or of another user of it"),
        (
            {"destinations": ["x"]},
            "the finding index is damaged (its manifest names something that is not an account and Region)",
        ),
    ],
)
def test_a_registry_that_does_not_count_says_why(root: Any, change: dict[str, Any], why: str) -> None:
    usual = {"version": VERSION, "source": SOURCE, "full_as_of": 5, "full_at": 6.0}
    write_registry(root, Registry(**{**usual, **change}))
    assert read_registry(root, SOURCE) == (None, why)


def test_without_a_registry_there_is_no_index_yet(tmp_path: Path) -> None:
    assert read_registry(open_path(f"file://{tmp_path}/other"), SOURCE) == (None, "there is no finding index yet")


@pytest.mark.parametrize("content", [b"{", b'{"version": "x"}', b"[]"])
def test_a_registry_that_was_damaged_says_so_and_names_no_task_to_clear(root: Any, content: bytes) -> None:
    """A full run makes it again."""
    (root / "manifest.json").write_bytes(content)
    registry, why = read_registry(root, SOURCE)
    assert registry is None
    assert why.startswith("the finding index is damaged (")
    assert "Clear" not in why


# Indexes.


def test_the_index_of_an_account_and_region_expects_what_runs_have_noted(root: Any) -> None:
    state = read_state(root, SOURCE)
    assert state.index(ONE).folder == root / "111122223333" / "eu-west-1"
    state.index(ONE).add(table(held(1)))
    assert [rows.num_rows for rows in index_of(root, "111122223333", "eu-west-1").snapshot().tables()] == [1]
    note_written(root, "dag/run", {ONE: ["delta-missing"]})
    with pytest.raises(LostIndexError, match="delta-missing"):
        list(read_state(root, SOURCE).index(ONE).snapshot().tables())
    # Nothing is noted of another one.
    assert list(read_state(root, SOURCE).index(TWO).snapshot().tables()) == []


def test_a_lost_index_is_noted_with_the_reason_until_it_is_true_again(root: Any) -> None:
    note_lost(root, ONE, "damaged")
    note_lost(root, TWO, "gone")
    assert (lost_destinations(root), names(root / "lost")) == (
        [ONE, TWO],
        ["111122223333_eu-west-1.json", "444455556666_us-east-1.json"],
    )
    assert read_json(root / "lost" / "444455556666_us-east-1.json")["why"] == "gone"
    forget_lost(root, ONE)
    forget_lost(root, ONE)
    assert read_state(root, SOURCE).lost == {TWO}


# Deltas.


def test_the_note_of_a_run_has_a_name_that_no_other_run_has(root: Any) -> None:
    note_written(root, "dag/../run", {ONE: ["b", "a"], TWO: []})
    name = hashlib.sha256(b"dag/../run").hexdigest()[:32] + ".json"
    assert names(root / "written") == [name]
    assert read_json(root / "written" / name)["deltas"] == {ONE: ["a", "b"]}
    note_written(root, "dag/nothing", {ONE: []})
    assert names(root / "written") == [name]


def test_a_note_of_which_nothing_is_settled_stays_as_it_is(root: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    from airflow_provider_tenable.state import registry as module

    note_written(root, "dag/run", {ONE: ["a"]})
    monkeypatch.setattr(module, "write_json", lambda *_: pytest.fail("written"))
    forget_written(root, lambda destination, delta: False)
    assert read_state(root, SOURCE).written == {ONE: {"a"}}
    forget_written(root, lambda destination, delta: True)
    assert names(root / "written") == []


@pytest.mark.parametrize("content", [b"{", b"{}", b"[]", b'{"deltas": 5}', b'{"deltas": {"x": 5}}', b"null"])
def test_a_note_that_cannot_be_read_does_not_hide_the_others(root: Any, content: bytes) -> None:
    note_written(root, "dag/run", {ONE: ["a"]})
    (root / "written" / "0.json").write_bytes(content)
    (root / "written" / "z.json").write_bytes(content)
    assert read_state(root, SOURCE).written == {ONE: {"a"}}


# Hubs that were switched on after findings were delivered.


@pytest.mark.parametrize(("enabled_at", "emptied"), [(THEN - 1, False), (THEN, False), (THEN + 1, True)])
def test_a_hub_that_was_enabled_after_the_last_full_run_may_have_forgotten(
    root: Any, enabled_at: int, emptied: bool
) -> None:
    note_emptied(root, TWO, enabled_at)
    assert read_state(root, SOURCE).emptied == ({TWO} if emptied else set())
    # Where nothing is known of this Tenable, the next run is full anyway.
    assert read_state(root, "another").emptied == set()
    forget_emptied(root, FULL_AT)
    assert names(root / "emptied") == (["444455556666_us-east-1.json"] if emptied else [])


def test_a_note_of_a_hub_that_cannot_be_read_counts_until_the_next_full_run(
    root: Any, caplog: pytest.LogCaptureFixture
) -> None:
    for name in (ONE, TWO):
        note_emptied(root, name, THEN + 9_000)
    (root / "emptied" / "111122223333_eu-west-1.json").write_bytes(b"{}")
    assert read_state(root, SOURCE).emptied == {ONE, TWO}
    assert f"The note emptied/{ONE} cannot be read: " in caplog.text
    forget_emptied(root, FULL_AT)
    assert read_state(root, SOURCE).emptied == {TWO}
    forget_emptied(root, FULL_AT + 9)
    assert read_state(root, SOURCE).emptied == set()
