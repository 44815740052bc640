"""Spans of time in messages."""

from __future__ import annotations


def duration(seconds: float) -> str:
    """Seconds in the largest unit that fits: ``45 s``, ``10 min``, ``4 h``, ``3 days``."""
    for size, unit in ((172_800, "days"), (7_200, "h"), (120, "min")):
        if seconds >= size:
            return f"{seconds / {'days': 86_400, 'h': 3_600, 'min': 60}[unit]:.0f} {unit}"
    return f"{seconds:.0f} s"
