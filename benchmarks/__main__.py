"""`make bench`: measures the provider and Tenable's own tool on the same records and servers, prints tables, writes a
JSON file.

    python -m benchmarks [--quick] [--json FILE] [transform import job memory accounts downloads days index dag
                                                 freshness scheduled size workers]
    python -m benchmarks --render [--json FILE]
    python -m benchmarks --compare [--json FILE]

The figures are ratios and medians of CPU time from interleaved runs: wall-clock times on a shared machine mean little.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks import downloads, freshness, hub_state, scheduled, size, suites, workers
from benchmarks.measure import PEER_PYTHON, ROOT
from benchmarks.render import render, table
from benchmarks.worse import changes, committed
from benchmarks.worse import rows as rows_of

#: Run only where they are asked for: one takes an hour, the other needs the services of the Celery tests.
ONLY_BY_NAME = ("size", "workers")


def suites_of(*, quick: bool) -> dict[str, Callable[[], tuple[suites.Rows, Any]]]:
    """The suites, in the order in which they run."""
    rounds = 3 if quick else 5
    return {
        "transform": lambda: suites.transform(rounds),
        "import": lambda: suites.importing(rounds),
        "job": lambda: suites.job(*((20_000, 5_000, 1) if quick else (50_000, 50_000, 3))),
        "memory": lambda: suites.memory([50_000] if quick else [50_000, 200_000, 1_000_000]),
        "accounts": lambda: suites.accounts([1, 4, 16, 64], 12_000),
        "downloads": lambda: downloads.downloads(*((20_000, (1, 4)) if quick else (200_000, (1, 2, 4, 10)))),
        "days": lambda: hub_state.days(*(([20_000], 1) if quick else ([100_000, 1_000_000], 3))),
        "index": lambda: hub_state.index(
            [(50_000, 50_000)] if quick else [(50_000, 50_000), (1_000_000, 1_000_000), (10_000_000, 1_000_000)]
        ),
        "dag": lambda: suites.dag(*((1, 2_000) if quick else (5, 20_000))),
        "freshness": lambda: freshness.freshness(
            *((freshness.QUICK_SCHEDULES, 1) if quick else (freshness.SCHEDULES, 2))
        ),
        "scheduled": lambda: scheduled.scheduled(1 if quick else 3),
        "size": size.size,
        "workers": workers.workers,
    }


def compare(name: str, before: dict[str, Any], after: dict[str, Any]) -> None:
    """Print how a suite's figures differ from the committed ones, and what became worse."""
    old, new = before.get(name), after.get(name)
    if old is None or new is None or old["quick"] != new["quick"]:
        print(f"\n{name}: there are no committed results of the same size to compare with.", flush=True)
        return
    found = changes(old["figures"], new["figures"])
    flagged = sum(change.is_worse for change in found)
    print(f"\n{name} beside the committed results\n\n{table(rows_of(found))}", flush=True)
    print(f"\n{name}: {flagged or 'none'} of {len(found)} figures became worse.", flush=True)


def main() -> int:
    """Run the suites that were asked for."""
    known = suites_of(quick=False)
    parser = argparse.ArgumentParser(prog="python -m benchmarks")
    parser.add_argument("--quick", action="store_true", help="smaller and fewer: some minutes instead of 25")
    parser.add_argument("--json", type=Path, help="default benchmarks/results.json, or results-quick.json")
    parser.add_argument("suite", nargs="*", help=", ".join(known))
    parser.add_argument(
        "--render",
        action="store_true",
        help="measure nothing: put the results into docs/performance.md and docs/scaling.md",
    )
    parser.add_argument("--compare", action="store_true", help="measure nothing: compare with the committed results")
    options = parser.parse_args()
    options.json = options.json or ROOT / "benchmarks" / f"results{'-quick' if options.quick else ''}.json"
    if options.render:
        missing = render(json.loads(options.json.read_text()))
        print(f"Not measured, and therefore left unchanged: {', '.join(missing) or 'nothing'}.")
        return 0
    before = committed(options.json)
    chosen = options.suite or [name for name in known if name not in ONLY_BY_NAME]
    if unknown := set(chosen) - set(known):
        parser.error(f"unknown: {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    results: dict[str, Any] = json.loads(options.json.read_text()) if options.json.exists() else {}
    if options.compare:
        for name in chosen:
            compare(name, before, results)
        return 0
    if not PEER_PYTHON.exists():
        parser.error(f"{PEER_PYTHON} does not exist: run `make bench`, which installs the peer.")
    # Otherwise each measured process compiles all modules that it loads, which takes longer than planning a run.
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    results["machine"] = {
        "python": sys.version.split()[0],
        "system": platform.platform(),
        "cores": os.cpu_count(),
        "load": os.getloadavg(),
    }
    for name, measure in suites_of(quick=options.quick).items():
        if name in chosen:
            began = time.monotonic()
            rows, figures = measure()
            seconds = time.monotonic() - began
            results[name] = {
                "rows": rows,
                "figures": figures,
                "seconds": seconds,
                "quick": options.quick,
                "load": os.getloadavg(),
            }
            print(f"\n{name} ({seconds:.0f} s)\n\n{table(rows)}", flush=True)
            compare(name, before, results)
            options.json.write_text(json.dumps(results, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
