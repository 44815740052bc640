"""The geometry of the charts: numbers for inline SVG, in a box of fixed width, which the page scales.

Every number that a chart shows is also in a table beside it: a chart is for the eye, the table for everybody.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

#: Units of width of every chart, and of height of one column.
WIDTH, HEIGHT = 1_000.0, 160.0
_GAP = 4.0
#: The least width of a part that exists: a line that can be seen.
_LEAST = 3.0


@dataclass(frozen=True)
class Box:
    """A rectangle of a chart; ``kind`` chooses its color in the style sheet."""

    kind: str
    label: str
    value: int
    x: float
    y: float
    width: float
    height: float


def bar(parts: Iterable[tuple[str, str, int]], *, most: int) -> list[Box]:
    """One bar of parts next to each other.

    :param parts: (kind, label, number) of each.
    :param most: the sum of the longest bar of the chart, which gets all of the width.
    """
    boxes, x = [], 0.0
    for kind, label, value in parts:
        if value > 0 and most > 0:
            width = max(WIDTH * value / most, _LEAST)
            boxes.append(Box(kind, label, value, round(x, 1), 0.0, round(width, 1), 1.0))
            x += width
    return boxes


def columns(rows: Sequence[tuple[str, Sequence[tuple[str, str, int]]]]) -> list[list[Box]]:
    """Columns of stacked parts, one per row, in the rows' order.

    :param rows: (label, parts) of each; the label is put before those of the parts.
    """
    most = max((sum(value for *_, value in parts) for _, parts in rows), default=0)
    width = WIDTH / max(len(rows), 1)
    found = []
    for number, (title, parts) in enumerate(rows):
        boxes, y = [], HEIGHT
        for kind, label, value in parts:
            if value > 0:
                height = max(HEIGHT * value / most, 1.0)
                y -= height
                place = (round(number * width, 1), round(max(y, 0.0), 1), round(max(width - _GAP, 1.0), 1))
                boxes.append(Box(kind, f"{title}: {label}", value, *place, round(height, 1)))
        found.append(boxes)
    return found


@dataclass(frozen=True)
class Stream:
    """A band of the flow, from the bar above to the one below: corners of a polygon."""

    kind: str
    points: str


def flow(
    above: Mapping[str, int], below: Mapping[str, int], *, through: str
) -> tuple[list[Box], list[Box], list[Stream]]:
    """Two bars, of which the second one divides one part of the first, and the band between them.

    :param above: label -> number, of the first bar.
    :param below: label -> number, of the second bar.
    :param through: the part of the first bar that the second one divides.
    """
    total = sum(above.values())
    first = bar([(_kind(name), name, value) for name, value in above.items()], most=total)
    second = bar([(_kind(name), name, value) for name, value in below.items()], most=sum(below.values()))
    source = next((box for box in first if box.label == through), None)
    if source is None or not second:
        return first, second, []
    left, right = source.x, source.x + source.width
    points = f"{left:.1f},0 {right:.1f},0 {WIDTH:.1f},100 0,100"
    return first, second, [Stream(source.kind, points)]


def _kind(label: str) -> str:
    return label.replace(" ", "-").replace("_", "-")


__all__ = ["HEIGHT", "WIDTH", "Box", "Stream", "bar", "columns", "flow"]
