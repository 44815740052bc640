"""The measurements of what the hubs hold: the days of a deployment, and the finding index by its size."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from benchmarks.measure import PEER_PYTHON, PEER_SCRIPT, median
from benchmarks.suites import Rows, aws_env, once, our, peer_config, server


def days(sizes: list[int], rounds: int) -> tuple[Rows, Any]:
    """7. First run, quiet day, 1 % of changes, full run, quiet day after a week of scans; a peer that always sends all.

    :param sizes: numbers of vulnerabilities in Tenable; the peer runs with the first.
    :param rounds: how often all days are lived through.
    """
    rows: Rows = [("day", "who", "findings", "sent", "calls", "us of CPU per finding", "import alone", "peak", "bar")]
    found: dict[str, Any] = {}
    peer: dict[str, Any] = {}
    for vulnerabilities in sizes:
        with (
            tempfile.TemporaryDirectory() as scratch,
            server("cheap_hub") as hub,
            server("cheap_tenable", vulnerabilities) as tenable,
        ):
            command, env = our("days_side", tenable, hub), {"BENCHMARK_SCRATCH": scratch}
            lived = medians([once(command, env)["days"] for _ in range(rounds)])
            found[f"{vulnerabilities:,}"] = lived
            rows.extend(_row_of(day, quiet=day is lived[1] or day is lived[-1]) for day in lived)
            if not peer:
                config = peer_config(Path(scratch), tenable)
                command, env = [PEER_PYTHON, "-W", "ignore", PEER_SCRIPT, "job", config], aws_env(Path(scratch), hub)
                theirs = [once(command, env) for _ in range(rounds)]
                peer = {"findings": theirs[0]["findings"], "cpu": median(theirs, "cpu")}
    per_finding = 1e6 * peer["cpu"] / peer["findings"]
    rows.append(("any", "peer", f"{peer['findings']:,}", f"{peer['findings']:,}", "", f"{per_finding:.1f}", "", "", ""))
    return rows, {"days": found, "peer_us_per_finding": per_finding}


def medians(lives: list[list[dict[str, Any]]]) -> list[dict[str, Any]]:
    """The same days, lived through several times: the median of what each of them took.

    :raises RuntimeError: what was sent differs from one time to another.
    """
    found = []
    for same in zip(*lives, strict=True):
        taken = {name: median(list(same), name) for name in ("cpu", "import_cpu", "peak_mb")}
        if len({str({**day, **dict.fromkeys(taken)}) for day in same}) > 1:
            raise RuntimeError(f"the same day was not the same: {same}")
        found.append({**same[0], **taken})
    return found


def _row_of(day: dict[str, Any], *, quiet: bool) -> tuple[str, ...]:
    each = 1e6 / day["findings"]
    return (
        day["day"],
        "ours",
        f"{day['findings']:,}",
        f"{day['sent']:,}",
        f"{day['calls']:,}",
        f"{each * day['cpu']:.1f}",
        f"{each * day['import_cpu']:.1f}",
        f"{day['peak_mb']:.0f} MB",
        "0 sent; <= 35 us, of which 5 for the import" if quiet else "",
    )


def index(sizes: list[tuple[int, int]]) -> tuple[Rows, Any]:
    """8. Comparing with an index of one account and Region, by its rows."""
    rows: Rows = [
        (
            "rows of the index",
            "findings compared",
            "changed",
            "sent",
            "us of CPU per finding",
            "s of CPU in all",
            "peak",
            "bytes a row",
            "ages, s of CPU",
        )
    ]
    figures: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as scratch:
        for held, staged in sizes:
            for changed in (0, 100):
                command = our(
                    "compare_side",
                    *("--index", held, "--staged", staged, "--changed", changed, "--folder", scratch),
                )
                # By a process of its own, whose memory is not that of the comparison.
                once([*command, "--only-build"])
                found = once(command)
                figures[f"{held}/{changed}"] = found
                rows.append(
                    (
                        f"{held:,}",
                        f"{staged:,}",
                        "1 %" if changed else "none",
                        f"{found['sent']:,}",
                        f"{found['us_a_finding']:.1f}",
                        f"{found['cpu_s']:.1f}",
                        f"+{found['mb_above_airflow']:.0f} MB",
                        f"{found['index_bytes_a_row']:.0f}",
                        f"{found['ages_cpu_s']:.1f}",
                    )
                )
    rows.append(("bar", "", "", "", "<= 5", "<= 10 for 1,000,000", "< 300 MB", "<= 60", ""))
    return rows, figures


__all__ = ["days", "index"]
