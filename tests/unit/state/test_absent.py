"""Active rows of the index of which a run saw nothing: any index and any run against the rule in plain Python."""

from __future__ import annotations

import tempfile
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.state import latest as module
from airflow_provider_tenable.state.absent import absent_rows
from airflow_provider_tenable.state.index import FindingIndex
from tests.unit.state.rows import DAY, NOW, held, staged, table

AS_OF = NOW - 1000
HELD = st.builds(
    lambda number, archived, as_of: held(number, archived=archived, as_of=as_of, content=1),
    st.integers(0, 40),
    st.booleans(),
    st.sampled_from([NOW - 3 * DAY, NOW - 2 * DAY, AS_OF, AS_OF + 1]),
)


def found(folder: Any, merged: list[dict[str, Any]], deltas: list[list[dict[str, Any]]], seen: list[int]) -> Any:
    index = FindingIndex(open_path(f"file://{folder}"))
    if merged:
        index.add(table(*merged))
        index.merge(now=NOW)
    for delta in deltas:
        index.add(table(*delta))
    arrays = [staged(*({"number": number} for number in seen))] if seen else []
    pairs = list(absent_rows(index.snapshot(), arrays, findings=len(seen), as_of=AS_OF))
    active = [number for rows, _ in pairs for number in rows["plugin"].to_pylist()]
    absent = [number for rows, which in pairs for number in rows.filter(which)["plugin"].to_pylist()]
    assert len(active) == len(set(active))
    return set(active), set(absent)


def test_active_rows_that_are_not_staged_are_absent(tmp_path: Any) -> None:
    rows = [held(1), held(2), held(3, archived=True), held(4, as_of=AS_OF + 1), held(5, as_of=AS_OF)]
    assert found(tmp_path, rows, [], [1]) == ({1, 2, 4, 5}, {2, 5})


def test_the_latest_row_counts(tmp_path: Any) -> None:
    before, after = {"as_of": NOW - 2 * DAY}, {"as_of": NOW - DAY}
    rows = [held(1, **before), held(2, archived=True, **before)]
    deltas = [[held(1, archived=True, **after)], [held(2, **after)]]
    assert found(tmp_path, rows, deltas, []) == ({2}, {2})


def test_an_empty_index_has_nothing(tmp_path: Any) -> None:
    assert found(tmp_path, [], [], [1, 2]) == (set(), set())


def test_a_run_with_more_findings_than_the_index_is_compared_in_as_many_pieces(tmp_path: Any) -> None:
    """All rows of a key are in the same piece, whichever of both has more; and nothing is left on the disk."""
    (tmp_path / "temporary").mkdir()
    index = FindingIndex(open_path(f"file://{tmp_path}/index"))
    index.add(table(*map(held, range(8))))
    index.merge(now=NOW)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AT_ONCE", 4)
        patch.setattr(tempfile, "tempdir", str(tmp_path / "temporary"))
        for seen, pieces in ((range(6), 2), (range(6, 42), 9)):
            arrays = [staged(*({"number": number} for number in seen if number % 2 == odd)) for odd in (0, 1)]
            pairs = list(absent_rows(index.snapshot(), iter(arrays), findings=len(seen), as_of=AS_OF))
            absent = [number for rows, which in pairs for number in rows.filter(which)["plugin"].to_pylist()]
            assert (len(pairs), sorted(absent)) == (pieces, sorted(set(range(8)) - set(seen)))
        left = absent_rows(index.snapshot(), [staged({"number": 1})], findings=40, as_of=AS_OF)
        next(left)
        left.close()  # type: ignore[attr-defined]
    assert list((tmp_path / "temporary").iterdir()) == []


@settings(max_examples=60, deadline=None)
@given(
    st.lists(HELD, max_size=30),
    st.lists(st.lists(HELD, min_size=1, max_size=6), max_size=4),
    st.lists(st.integers(0, 40), max_size=25),
    st.integers(1, 12),
)
def test_any_index_and_any_run(
    tmp_path_factory: pytest.TempPathFactory,
    merged: list[dict[str, Any]],
    deltas: list[list[dict[str, Any]]],
    seen: list[int],
    at_once: int,
) -> None:
    newest: dict[int, dict[str, Any]] = {}
    for row in [*merged, *(row for delta in deltas for row in delta)]:
        known = newest.get(row["plugin"])
        if known is None or (row["as_of"], row["archived"]) > (known["as_of"], known["archived"]):
            newest[row["plugin"]] = row
    active = {number for number, row in newest.items() if not row["archived"]}
    absent = {number for number in active if number not in seen and newest[number]["as_of"] <= AS_OF}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AT_ONCE", at_once)
        assert found(tmp_path_factory.mktemp("index"), merged, deltas, seen) == (active, absent)
