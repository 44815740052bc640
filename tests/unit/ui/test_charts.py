"""The geometry of the charts."""

from __future__ import annotations

import pytest

from airflow_provider_tenable.ui.charts import HEIGHT, WIDTH, bar, columns, flow


def test_the_longest_bar_has_all_of_the_width_and_parts_are_side_by_side() -> None:
    boxes = bar([("high", "high", 30), ("low", "low", 0), ("info", "info", 10)], most=40)
    assert [(box.kind, box.x, box.width) for box in boxes] == [("high", 0, 750), ("info", 750, 250)]


def test_one_of_a_million_can_be_seen() -> None:
    assert bar([("high", "high", 1)], most=10**6)[0].width == 3


@pytest.mark.parametrize("most", [0, -1])
def test_nothing_is_no_bar(most: int) -> None:
    assert bar([("high", "high", 0)], most=most) == []


def test_columns_stand_on_the_ground_and_the_highest_fills_the_height() -> None:
    first, second = columns(
        [("a", [("created", "created", 10), ("updated", "updated", 30)]), ("b", [("created", "x", 10)])]
    )
    assert [(box.y, box.height) for box in first] == [(HEIGHT - 40, 40), (0, 120)]
    assert [(box.x, box.y + box.height) for box in second] == [(WIDTH / 2, HEIGHT)]
    assert first[1].label == "a: updated"


def test_no_columns_and_columns_without_anything() -> None:
    assert columns([]) == []
    assert columns([("a", [("created", "created", 0)])]) == [[]]


def test_the_flow_divides_one_part_of_the_first_bar() -> None:
    first, second, [stream] = flow(
        {"findings": 50, "parked": 0, "skipped": 50}, {"accepted": 40, "never imported": 10}, through="findings"
    )
    assert [box.label for box in first] == ["findings", "skipped"]
    assert [box.kind for box in second] == ["accepted", "never-imported"]
    assert stream.points == "0.0,0 500.0,0 1000.0,100 0,100"


def test_without_findings_nothing_flows() -> None:
    assert flow({"findings": 0, "skipped": 5}, {"accepted": 0}, through="findings")[2] == []
