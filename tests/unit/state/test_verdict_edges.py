"""The edges of what is decided about findings: exactly at a moment, of nothing, and of several parts."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

from airflow_provider_tenable.state import parts
from airflow_provider_tenable.state.compare import compare, sorted_by_key
from airflow_provider_tenable.state.verdicts import Verdict
from tests.unit.state.rows import DAY, NOW, held, staged, table
from tests.unit.state.test_compare import MOMENTS, decided

REFRESH = NOW - 30 * DAY


@pytest.mark.parametrize(("updated_at", "stamp"), [(REFRESH, 0), (REFRESH + 1, 0), (REFRESH - 1, NOW)])
def test_a_new_finding_is_stamped_if_it_is_older_than_the_refresh(updated_at: int, stamp: int) -> None:
    assert decided({"updated_at": updated_at}) == ("created", stamp)


@pytest.mark.parametrize(("sent_at", "verdict"), [(REFRESH, "refreshed"), (REFRESH + 1, "unchanged")])
def test_a_finding_is_refreshed_from_the_day_on(sent_at: int, verdict: str) -> None:
    assert decided({}, held(1, sent_at=sent_at))[0] == verdict


def test_nothing_to_compare_changes_no_state() -> None:
    assert compare([], lambda _: staged(), [], [], MOMENTS).changed_states == Counter()


def test_findings_of_several_parts_are_decided_each_in_its_place() -> None:
    index = [parts.compared(parts.encode(parts.latest(table(held(2), held(5), held(6, content=7)))))]
    numbers = [[1, 2], [3], [4, 5, 6]]
    found = compare(
        [len(each) for each in numbers],
        lambda part: staged(*({"number": number} for number in numbers[part])),
        index,
        [],
        MOMENTS,
    ).decisions
    names = [Verdict(code).key for code in found["verdict"].tolist()]
    assert names == ["created", "unchanged", "created", "created", "unchanged", "updated"]


def test_findings_that_are_archived_for_one_reason_count_together_whatever_else_they_are() -> None:
    rows = parts.compared(parts.encode(parts.latest(table(*(held(number) for number in range(1, 6))))))
    gone = [
        {"number": 1, "archived": True, "because": "asset_terminated", "fixed": True},
        {"number": 2, "archived": True, "because": "asset_terminated", "fixed": False},
        {"number": 3, "archived": True, "because": "asset_terminated", "fixed": False},
        {"number": 4, "archived": True, "fixed": True},
    ]
    found = compare([5], lambda _: staged(*gone, {"number": 5}), [rows], [], MOMENTS)
    assert found.changed_states == {"asset_terminated": 3, "fixed": 1}


@pytest.mark.parametrize(
    "keys",
    [
        [],
        [(1, 1)],
        [(1, 9), (2, 5), (2, 3)],
        [(3, 1), (2, 5), (2, 3), (2, 4), (1, 9), (1, 8)],
        [(2, 3), (2, 5), (1, 7), (1, 7)],
        [(number % 7, (number * 31) % 13) for number in range(60)],
    ],
)
def test_keys_are_sorted_by_both_halves_wherever_some_share_the_first(keys: list[tuple[int, int]]) -> None:
    hi, lo = (np.array([key[half] for key in keys], "<u8") for half in (0, 1))
    assert [keys[number] for number in sorted_by_key(hi, lo)] == sorted(keys)
