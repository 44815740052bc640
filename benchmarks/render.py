"""Writes the measured figures into the docs, so that nobody has to type them.

python -m benchmarks --render       fills the text between `<!-- bench NAME -->` and `<!-- end -->` from the results,
                                        in the pages that PAGES names
"""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from benchmarks.deployments import deployments
from benchmarks.freshness import small_run
from benchmarks.measure import ROOT
from benchmarks.pods import pods

Rows = list[tuple[str, ...]]
PAGES = tuple(ROOT / "docs" / f"{name}.md" for name in ("performance", "scaling", "celery-kubernetes", "questions"))
#: Findings of the columns of the scaling table.
SIZES = (1_000_000, 10_000_000, 100_000_000)
_MARKED = re.compile(r"(<!-- bench (\w+) -->\n)(.*?)(<!-- end -->)", re.DOTALL)


def table(rows: Rows) -> str:
    """Rows as a Markdown table that is also readable as plain text."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])


def render(results: dict[str, Any], pages: tuple[Path, ...] = PAGES) -> list[str]:
    """Fill the pages. Tables without results stay unchanged; their names are returned."""
    made = {name: result["rows"] for name, result in results.items() if "rows" in result}
    made["machine"] = machine(results["machine"])
    if "freshness" in results:
        made["small_run"] = small_run(results["freshness"]["figures"])
    if {"memory", "index", "size"} <= results.keys():
        made["pods"] = pods(results)
    if "job" in results:
        made["scaling"] = scaling(results["job"]["figures"], results.get("days", {}).get("figures"))
        made["first_run"] = first_run(results["job"]["figures"])
    if "size" in results:
        made["deployments"] = of_deployments(results["size"]["figures"]["days"])
    missing: list[str] = []

    def fill(match: re.Match[str]) -> str:
        if match[2] not in made:
            missing.append(match[2])
            return match[0]
        return f"{match[1]}\n{table(made[match[2]])}\n\n{match[4]}"

    for page in pages:
        page.write_text(_MARKED.sub(fill, page.read_text()))
    return missing


def machine(facts: dict[str, Any]) -> Rows:
    """The machine that the figures come from."""
    return [
        ("Python", "system", "cores", "load average before"),
        (facts["python"], facts["system"], str(facts["cores"]), f"{facts['load'][0]:.1f}"),
    ]


def scaling(figures: dict[str, Any], days: dict[str, Any] | None = None) -> Rows:
    """Time and space for many findings, by the costs of the complete job with hub latency 0 and no quota.

    :param days: figures of the days of a deployment, if they were measured.
    """
    ours = figures["0 ms, quota off"]["ours"]
    stages, staged = ours["stages_us"], ours["staged_bytes_per_finding"]

    def row(what: str, each: Any) -> tuple[str, ...]:
        return (what, *(each(size) for size in SIZES))

    return [
        ("", *(f"{size // 1_000_000} million" for size in SIZES)),
        row("import into one destination", lambda size: duration(size / 1000)),
        row("into 10, evenly filled", lambda size: duration(size / 10_000)),
        row("into 100, evenly filled", lambda size: duration(size / 100_000)),
        row("calls of BatchImportFindings", lambda size: f"{size // 100:,}"),
        row(
            f"CPU of export ({stages['export']:.0f} us a finding), in one task",
            lambda size: duration(size * stages["export"] / 1e6),
        ),
        row(
            f"CPU of transform ({stages['transform']:.0f} us), over all shards",
            lambda size: duration(size * stages["transform"] / 1e6),
        ),
        row(
            f"CPU of import ({stages['import']:.0f} us), over all destinations",
            lambda size: duration(size * stages["import"] / 1e6),
        ),
        row(
            f"staging, by our records ({staged:.0f} bytes a finding) / at 2 KB",
            lambda size: f"{size * staged / 1e9:.1f} / {size * 2000 / 1e9:.0f} GB",
        ),
        row("chunks at 100 assets of 50 findings", lambda size: f"{size // 5000:,}"),
        *(_of_day(day) for day in _largest(days)),
        row("audit of one destination (3 calls of 100 a second)", lambda size: duration(size / 300)),
    ]


def first_run(figures: dict[str, Any], findings: int = 5_000_000) -> Rows:
    """How long a deployment's first run takes, by the same costs."""
    stages = figures["0 ms, quota off"]["ours"]["stages_us"]
    cost = sum(stages[name] for name in ("export", "transform", "import"))
    return [
        (f"{findings // 1_000_000} million findings", "time or space"),
        ("import into one account and Region", duration(findings / 1000)),
        ("into 10, evenly filled", duration(findings / 10_000)),
        ("into 100, evenly filled", duration(findings / 100_000)),
        (
            f"CPU of export, transform and import together ({cost:.0f} us a finding, [measured](performance.md))",
            duration(findings * cost / 1e6),
        ),
        ("staging at 2 KB a finding", f"{findings * 2000 / 1e9:.0f} GB"),
    ]


def of_deployments(days: list[dict[str, Any]]) -> Rows:
    """Days of a hundred million findings in deployments of several sizes."""
    rows: Rows = [("deployment", "cores", *(day["day"] for day in days), "of the first run, on one core only")]
    for name, cores, each in deployments(days):
        alone = sum(seconds for stage, seconds in each[0].items() if stage not in ("transform", "import"))
        whole = [duration(sum(stages.values())) for stages in each]
        rows.append((name, str(cores), *whole, duration(alone)))
    return rows


def _largest(days: dict[str, Any] | None) -> list[dict[str, Any]]:
    """The days of the largest estate that was measured."""
    lived: list[list[dict[str, Any]]] = [*days["days"].values()] if days else []
    return max(lived, key=lambda days_of_one: days_of_one[0]["findings"], default=[])


def _of_day(day: dict[str, Any]) -> tuple[str, ...]:
    """The CPU of a complete run on a day of a deployment, with one process for each stage."""
    each = day["cpu"] / day["findings"]
    return (f"CPU of a run, {day['day']} ({1e6 * each:.0f} us)", *(duration(size * each) for size in SIZES))


def duration(seconds: float) -> str:
    """A duration with a unit that suits its size."""
    for limit, unit, divisor in ((100, "s", 1), (6000, "min", 60), (float("inf"), "h", 3600)):
        if seconds < limit:
            value = seconds / divisor
            return f"{value:.1f} {unit}" if value < 10 else f"{value:.0f} {unit}"
    raise AssertionError(seconds)
