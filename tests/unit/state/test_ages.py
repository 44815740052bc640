"""Active findings by severity and age: any index against the rule in plain Python, and what is said of them."""

from __future__ import annotations

import statistics
from collections import Counter
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.state import latest as module
from airflow_provider_tenable.state.ages import active_by_age, summary
from airflow_provider_tenable.state.index import FindingIndex, LostIndexError
from tests.unit.state.rows import DAY, NOW, held, table

LEVELS = {"critical": 15, "high": 30, "medium": 90, "low": 180}
HELD = st.builds(
    lambda number, archived, as_of, severity, age: held(
        number, archived=archived, as_of=as_of, content=1, severity=severity, first_observed=NOW - age
    ),
    st.integers(0, 40),
    st.booleans(),
    st.sampled_from([NOW - 3 * DAY, NOW - 2 * DAY, NOW - DAY]),
    st.integers(0, 4),
    st.sampled_from([-5 * DAY, -1, 0, 1, DAY - 1, DAY, 15 * DAY - 1, 15 * DAY, 90 * DAY, 800 * DAY, 90_000 * DAY]),
)


def index_of(folder: Any, merged: list[dict[str, Any]], *deltas: list[dict[str, Any]]) -> FindingIndex:
    index = FindingIndex(open_path(f"file://{folder}"))
    if merged:
        index.add(table(*merged))
        index.merge(now=NOW)
    for delta in deltas:
        index.add(table(*delta))
    return index


@settings(max_examples=60, deadline=None)
@given(st.lists(HELD, max_size=30), st.lists(st.lists(HELD, min_size=1, max_size=6), max_size=4), st.integers(1, 12))
def test_any_index(
    tmp_path_factory: pytest.TempPathFactory,
    merged: list[dict[str, Any]],
    deltas: list[list[dict[str, Any]]],
    at_once: int,
) -> None:
    # The number of a row decides about the rest of it, so that rows of equal rank are equal.
    newest: dict[int, dict[str, Any]] = {}
    rows = [*merged, *(row for delta in deltas for row in delta)]
    first = {row["plugin"]: row for row in reversed(rows)}
    for row in rows:
        row["severity"], row["first_observed"] = (first[row["plugin"]][name] for name in ("severity", "first_observed"))
        known = newest.get(row["plugin"])
        if known is None or (row["as_of"], row["archived"]) > (known["as_of"], known["archived"]):
            newest[row["plugin"]] = row
    active = [row for row in newest.values() if not row["archived"]]
    ages = [(row["severity"], min(max((NOW - row["first_observed"]) // DAY, 0), 36_500)) for row in active]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "AT_ONCE", at_once)
        found = active_by_age(index_of(tmp_path_factory.mktemp("index"), merged, *deltas).snapshot(), now=NOW)
    assert found == Counter(ages)
    said = summary(found, LEVELS)
    days = [age for _, age in ages]
    assert said.findings == len(active)
    assert said.median_days == (statistics.median_low(days) if days else None)
    assert said.oldest_days == (max(days) if days else None)
    names = ["info", "low", "medium", "high", "critical"]
    assert said.overdue == Counter(names[s] for s, age in ages if age >= LEVELS.get(names[s], 10**9))


def test_what_is_said_begins_with_the_worst() -> None:
    said = summary(Counter({(0, 400): 1, (4, 15): 2, (4, 14): 3, (2, 90): 4, (1, 3): 5}), LEVELS)
    assert list(said.by_severity.items()) == [("critical", 5), ("medium", 4), ("low", 5), ("info", 1)]
    assert list(said.overdue.items()) == [("critical", 2), ("medium", 4)]
    assert (said.median_days, said.oldest_days) == (14, 400)


def test_without_a_service_level_nothing_is_overdue() -> None:
    assert summary(Counter({(4, 900): 1}), {}).overdue == {}


def test_an_index_that_is_lost_says_nothing(tmp_path: Any) -> None:
    index_of(tmp_path, [held(1)])
    for part in tmp_path.glob("findings-*"):
        part.unlink()
    with pytest.raises(LostIndexError):
        active_by_age(FindingIndex(open_path(f"file://{tmp_path}")).snapshot(), now=NOW)
