"""What is noted about the finding index as a whole: the deltas that runs have written, and which indexes are lost."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_tenable.exceptions import StorageUnavailableError
from airflow_provider_tenable.staging import files
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.state.parts import VERSION
from airflow_provider_tenable.state.registry import (
    Registry,
    forget_written,
    note_lost,
    note_written,
    read_state,
    write_registry,
)

SOURCE, ONE, TWO = "tenable-1", "111122223333/eu-west-1", "444455556666/us-east-1"


@pytest.fixture
def root(tmp_path: Path):
    folder = open_path(f"file://{tmp_path}/finding_index")
    write_registry(folder, Registry(VERSION, SOURCE, 5, 6.0, [ONE]))
    return folder


def test_what_several_runs_have_written_is_expected_until_it_is_settled(root):
    note_written(root, "dag/a", {ONE: ["x", "y"], TWO: []})
    note_written(root, "dag/b", {ONE: ["z"], TWO: ["q"]})
    assert read_state(root, SOURCE).written == {ONE: frozenset("xyz"), TWO: frozenset("q")}
    forget_written(root, lambda destination, delta: delta in "xz")
    assert read_state(root, SOURCE).written == {ONE: frozenset("y"), TWO: frozenset("q")}
    forget_written(root, lambda destination, delta: destination == ONE)
    assert read_state(root, SOURCE).written == {TWO: frozenset("q")}


def test_a_run_replaces_its_own_note(root):
    note_written(root, "dag/a", {ONE: ["x"]})
    note_written(root, "dag/a", {ONE: ["x", "y"]})
    assert read_state(root, SOURCE).written == {ONE: frozenset("xy")}


def test_a_damaged_note_is_reported_and_left_out(root, caplog):
    note_written(root, "dag/a", {ONE: ["x"]})
    (note,) = (Path(root.path) / "written").iterdir()
    note.write_bytes(note.read_bytes().replace(b'"x"', b'"w"'))
    assert read_state(root, SOURCE).written == {}
    assert "of a run's deltas cannot be read" in caplog.text


@pytest.mark.parametrize("name", ["../../other/eu-west-1", "111122223333", "", "111122223333/{{ 1 }}"])
def test_what_is_not_an_account_and_region_becomes_no_path(root, name):
    note_written(root, "dag/a", {ONE: ["x"], name: ["y"]})
    note_lost(root, ONE, "damaged")
    for other in (".nfs0001", "111122223333.json", "..json"):
        (root / "lost" / other).write_bytes(b"")
    state = read_state(root, SOURCE)
    assert state.written == {ONE: frozenset("x")}
    assert state.lost == {ONE}
    write_registry(root, Registry(VERSION, SOURCE, 5, 6.0, [ONE, name]))
    state = read_state(root, SOURCE)
    assert state.registry is None
    assert state.why.startswith("the finding index is damaged")


@pytest.mark.parametrize("which", ["manifest.json", "written"])
def test_a_store_that_does_not_answer_is_not_an_index_that_is_lost(root, monkeypatch, which):
    note_written(root, "dag/a", {ONE: ["x"]})
    real = files.content_of

    def broken(path):
        if which in str(path):
            raise OSError(5, "Input/output error")
        return real(path)

    monkeypatch.setattr(files, "content_of", broken)
    with pytest.raises(StorageUnavailableError):
        read_state(root, SOURCE)


def test_the_state_names_what_is_lost_and_what_has_an_index(root):
    note_lost(root, TWO, "gone")
    state = read_state(root, SOURCE)
    assert state.lost == {TWO}
    assert (state.is_registered(ONE), state.is_registered(TWO)) == (True, False)
    other = read_state(root, "another")
    assert (other.registry, other.is_registered(ONE)) == (None, False)
