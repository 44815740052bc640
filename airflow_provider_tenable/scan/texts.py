"""Times in messages."""

from __future__ import annotations

from datetime import UTC, datetime


def duration(seconds: float) -> str:
    """Seconds in the largest unit that fits: ``45 s``, ``10 min``, ``4 h``, ``3 days``."""
    for size, unit in ((172_800, "days"), (7_200, "h"), (120, "min")):
        if seconds >= size:
            return f"{seconds / {'days': 86_400, 'h': 3_600, 'min': 60}[unit]:.0f} {unit}"
    return f"{seconds:.0f} s"


def moment(seconds: float) -> str:
    """Unix seconds as ``2026-11-27 02:45 UTC``."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
