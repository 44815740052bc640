"""`make bench BENCH=size`: whole days of ten million findings in 16 accounts, through the real stages, and a first run
of a tenth of them with Security Hub's quota.
"""

from __future__ import annotations

import os
import tempfile
from typing import Any

from benchmarks.suites import Rows, once, our, server

VULNERABILITIES, ACCOUNTS = 10_000_000, 16
#: BatchImportFindings of one account and Region: https://docs.aws.amazon.com/securityhub/1.0/APIReference/
QUOTA = ("--rate", 10, "--burst", 30)
HEAD = ("day", "stage", "tasks", "wall", "CPU", "us of CPU per finding", "peak of a task", "XComs", "what it did")
STAGES = ("plan", "export", "transform", "import", "settle")


def size() -> tuple[Rows, Any]:
    """9. A run at size: wall, CPU and memory of each stage, and what is staged. ``BENCH_VULNERABILITIES`` for fewer."""
    vulnerabilities = int(os.environ.get("BENCH_VULNERABILITIES", VULNERABILITIES))
    days = _lived(vulnerabilities)
    tenth = vulnerabilities // 10
    [limited] = _lived(tenth, *QUOTA, days=1)
    limited["day"] = f"first run, a tenth, {QUOTA[1]} calls a second"
    return rows_of([*days, limited]), {"vulnerabilities": vulnerabilities, "days": days, "limited": limited}


def _lived(vulnerabilities: int, *hub_options: str | int, days: int | None = None) -> list[dict[str, Any]]:
    """Days of a deployment whose hubs have these options; None: all days."""
    with (
        tempfile.TemporaryDirectory() as scratch,
        server("cheap_hub", *hub_options) as hub,
        server("cheap_tenable", vulnerabilities, ACCOUNTS) as tenable,
    ):
        rate = "limited" if hub_options else "unlimited"
        lived = once(
            our("size_side", tenable, hub, ACCOUNTS, rate, *([days] if days else [])), {"BENCHMARK_SCRATCH": scratch}
        )
    result: list[dict[str, Any]] = lived["days"]
    return result


def rows_of(days: list[dict[str, Any]]) -> Rows:
    """A row for each stage of each day, and one for the day."""
    rows: Rows = [HEAD]
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
