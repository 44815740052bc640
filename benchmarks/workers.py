"""`make bench BENCH=workers`: the same job over one, two and four Celery workers."""

from __future__ import annotations

from typing import Any

from benchmarks.measure import ROOT
from benchmarks.suites import Rows, once, server

CELERY_PYTHON = ROOT / ".venv-celery" / "bin" / "python"
VULNERABILITIES, ACCOUNTS = 200_000, 16
WORKERS = (1, 2, 4)
#: As Security Hub answers: with its quota, and after the time that a call takes from another network.
HUB = ("--rate", 10, "--burst", 30, "--latency-ms", 300)


def workers(vulnerabilities: int = VULNERABILITIES, numbers: tuple[int, ...] = WORKERS) -> tuple[Rows, Any]:
    """10. Workers: how much faster more of them are, by stage."""
    if not CELERY_PYTHON.exists():
        raise RuntimeError(f"{CELERY_PYTHON} does not exist: run `make test-celery`, which makes it.")
    with server("cheap_hub", *HUB) as hub, server("cheap_tenable", vulnerabilities, ACCOUNTS) as tenable:
        measured = once([CELERY_PYTHON, "-m", "benchmarks.workers_side", tenable, hub, ACCOUNTS, *numbers])
    return rows_of(measured), {"vulnerabilities": vulnerabilities, "accounts": ACCOUNTS, "workers": measured}


def rows_of(measured: dict[str, Any]) -> Rows:
    """A row for each number of workers."""
    first = next(iter(measured.values()))
    rows: Rows = [("workers", "run", "transform", "import", "workers busy in the transform", "in the import")]
    for number, each in measured.items():
        stages = [each[name] for name in ("transform", "import")]
        rows.append(
            (
                number,
                f"{each['run']:.0f} s",
                *(
                    f"{stage['seconds']:.0f} s ({first[name]['seconds'] / stage['seconds']:.1f} times)"
                    for name, stage in zip(("transform", "import"), stages, strict=True)
                ),
                *(f"{stage['busy'] / stage['seconds']:.1f}" for stage in stages),
            )
        )
    return rows
