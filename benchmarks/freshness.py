"""The measurements of freshness: how long a change waits for a run, and what a small run takes."""

from __future__ import annotations

import statistics
from typing import Any

from benchmarks.measure import median
from benchmarks.suites import Rows, once, our, server

#: Seconds for which the Tenable of these runs prepares an export, and the records that it exports.
PREPARE_SECONDS, RECORDS = 4.0, 900
#: (name, hours, runs, changes between two runs).
SCHEDULES = (("24 hours", 24.0, 14, 20), ("1 hour", 1.0, 24, 12), ("15 minutes", 0.25, 24, 12))
QUICK_SCHEDULES = (("24 hours", 24.0, 2, 4), ("1 hour", 1.0, 2, 4), ("15 minutes", 0.25, 2, 4))


def freshness(schedules: tuple[tuple[str, float, int, int], ...], rounds: int) -> tuple[Rows, Any]:
    """9. From indexed at Tenable to visible in the hub.

    The wait for the next run is simulated, on the sandbox's clock; the seconds of a small run are measured, with real
    waiting. Their sum is the freshness.
    """
    with server("cheap_hub") as hub, server("preparing_tenable", RECORDS, PREPARE_SECONDS) as tenable:
        runs = once(our("small_run", tenable, hub, rounds))
    ways = {way: _way(measured) for way, measured in runs.items()}
    rows: Rows = [
        (
            "schedule",
            "changes",
            "wait for the next run, p50",
            "p95",
            *(f"visible after, {figure}, exports polled {way}" for way in ways for figure in ("p50", "p95")),
        )
    ]
    figures: dict[str, Any] = {}
    for name, hours, number, changes in schedules:
        found = once(our("freshness_side", hours, number, changes))
        waits = {"p50": quantile(found["waits"], 0.5), "p95": quantile(found["waits"], 0.95)}
        figures[name] = {"changes": len(found["waits"]), "late": found["late"], "never": found["never"], **waits}
        seen = [said(waits[each] + way["until_imported"]) for way in ways.values() for each in waits]
        rows.append((name, f"{len(found['waits']):,}", *(said(wait) for wait in waits.values()), *seen))
    return rows, {"ways": ways, "schedules": figures, "records": RECORDS, "prepare_seconds": PREPARE_SECONDS}


def small_run(figures: dict[str, Any]) -> Rows:
    """The table of a small run, by how its exports are polled."""
    rows: Rows = [("exports polled", "polls", "tasks", "skipped", "s until imported", "s in all", "s of CPU")]
    for way, each in figures["ways"].items():
        counts = (each[name] for name in ("polls", "tasks", "tasks_skipped"))
        seconds = (each[name] for name in ("until_imported", "wall", "cpu"))
        rows.append((way, *(f"{value:.0f}" for value in counts), *(f"{value:.1f}" for value in seconds)))
    return rows


def _way(measured: list[dict[str, Any]]) -> dict[str, float]:
    polls = [{"polls": each["requests"]["GET status"]} for each in measured]
    names = ("tasks", "tasks_skipped", "cpu", "wall", "until_imported")
    return {"polls": median(polls, "polls"), **{name: median(measured, name) for name in names}}


def quantile(values: list[float], share: float) -> float:
    """The value that this share of all values does not exceed, interpolated."""
    return statistics.quantiles(values, n=100, method="inclusive")[round(share * 100) - 1]


def said(seconds: float) -> str:
    """Hours and minutes, or minutes and seconds."""
    if seconds >= 3600:
        return f"{int(seconds // 3600)} h {int(seconds % 3600 // 60):02d} min"
    return f"{int(seconds // 60)} min {int(seconds % 60):02d} s"


__all__ = ["QUICK_SCHEDULES", "SCHEDULES", "freshness", "small_run"]
