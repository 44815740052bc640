"""`make bench BENCH=size`: whole days of ten million findings in 16 accounts, through the real stages."""

from __future__ import annotations

import os
import tempfile
from typing import Any

from benchmarks.suites import Rows, once, our, server

VULNERABILITIES, ACCOUNTS = 10_000_000, 16
HEAD = ("day", "stage", "tasks", "wall", "CPU", "us of CPU per finding", "peak of a task", "XComs", "what it did")
STAGES = ("plan", "export", "transform", "import", "settle")


def size() -> tuple[Rows, Any]:
    """9. A run at size: wall, CPU and memory of each stage, and what is staged. ``BENCH_VULNERABILITIES`` for fewer."""
    vulnerabilities = int(os.environ.get("BENCH_VULNERABILITIES", VULNERABILITIES))
    with (
        tempfile.TemporaryDirectory() as scratch,
        server("cheap_hub") as hub,
        server("cheap_tenable", vulnerabilities, ACCOUNTS) as tenable,
    ):
        days = once(our("size_side", tenable, hub, ACCOUNTS), {"BENCHMARK_SCRATCH": scratch})["days"]
    return rows_of(days), {"vulnerabilities": vulnerabilities, "days": days}


def rows_of(days: list[dict[str, Any]]) -> Rows:
    """A row for each stage of each day, and one for the day."""
    rows: Rows = [
        ("day", "stage", "tasks", "wall", "CPU", "us of CPU per finding", "peak of a task", "XComs", "what it did")
    ]
    for day in days:
        stages = day["stages"]
        for name in STAGES:
            rows.append(_row(day, name, stages[name], ""))
        total = {key: sum(stage[key] for stage in stages.values()) for key in ("tasks", "wall", "cpu", "xcom_bytes")}
        total["peak_mb"] = max(stage["peak_mb"] for stage in stages.values())
        did = (
            f"{day['findings']:,} findings, {day['sent']:,} sent in {day['calls']:,} calls; "
            f"{day['staged_bytes'] / 1e9:.1f} GB in {day['files']:,} files, at most {day['largest_folder']:,} in a "
            f"folder; index {day['index_bytes'] / 1e6:.0f} MB"
        )
        rows.append(_row(day, "all", total, did))
    return rows


def _row(day: dict[str, Any], name: str, stage: dict[str, float], did: str) -> tuple[str, ...]:
    return (
        day["day"],
        name,
        f"{stage['tasks']:.0f}",
        f"{stage['wall']:.0f} s",
        f"{stage['cpu']:.0f} s",
        f"{1e6 * stage['cpu'] / day['findings']:.1f}",
        f"{stage['peak_mb']:.0f} MB",
        f"{stage['xcom_bytes']:,.0f} bytes",
        did,
    )
