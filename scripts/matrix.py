"""Run sessions of the matrix (`noxfile.py`), some cells at a time, and print the results as a table.

    python scripts/matrix.py                                       # smoke and unit tests on what `make test` leaves out
    python scripts/matrix.py --cells all --sessions smoke unit integration system
    python scripts/matrix.py --cells 2.11.2 3.3.2
    python scripts/matrix.py --jobs 2

The output of each cell goes to `.matrix/<cell>.log`. Exits with 1 if a session failed, or ran no test.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
import xml.etree.ElementTree as ET
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from environments import NEWEST, OLDEST, ROOT, airflow_versions

REPORTS = ROOT / ".matrix"


def cells() -> dict[str, tuple[str, str, str]]:
    """Name of a cell -> Airflow, Python, constraints. MWAA's images run Python 3.12, the newest Airflow 3.13 too."""
    files = airflow_versions()
    found = {version: (version, "3.12", name) for version, name in files.items()}
    return {**found, f"{NEWEST}-py3.13": (NEWEST, "3.13", files[NEWEST])}


CELLS = cells()
#: The cells that `make test` leaves out.
REMAINING = [cell for cell in CELLS if cell not in (OLDEST, NEWEST)]
#: Unit tests of the stand-in servers, the distributions, the files of deployments, and the repository itself. Those
#: whose imports show that they cannot depend on Airflow (import_closure.py) need no entry.
WITHOUT_AIRFLOW = (
    "sandbox",
    "test_packaging.py",
    "test_compose.py",
    "test_entry_point.py",
    "test_deploy.py",
    "test_install_lines.py",
    "test_mapping_docs.py",
    "test_repository.py",
    "test_site.py",
    "test_benchmarks.py",
    "test_matrix.py",
    "test_environments.py",
    "test_import_closure.py",
    "test_mutation.py",
    "test_noxfile.py",
    "test_stages.py",
    "test_mwaa_bundle.py",
    "test_mwaa_merge.py",
    "test_walls.py",
    "test_architecture.py",
    "test_known_bad_variants.py",
)
#: The rooms of the package that import-linter keeps Airflow out of (pyproject.toml). `make test` runs their unit tests
#: with the newest Airflow only; the workflow `matrix.yml` with each, every night, since Python and the libraries change
#: with it. Staging is not among them: its paths are Airflow's.
ROOMS_WITHOUT_AIRFLOW = (
    "asff",
    "assets",
    "export",
    "guards",
    "scan",
    "security_hub",
    "state",
    "tenable_vm",
    "transform",
)
#: Integration tests that `make test` runs with the newest Airflow only. They call the tasks of a run one after the
#: other, without Airflow's scheduler, templates or database, and do not depend on its versions. `make matrix` runs them
#: with each.
SAME_ON_EVERY_AIRFLOW = (
    "test_accept_rules.py",
    "test_accepted_risks.py",
    "test_archiving.py",
    "test_asset_index.py",
    "test_backfill_costs.py",
    "test_compliance.py",
    "test_concurrent_runs.py",
    "test_emptied_hub.py",
    "test_external_ids.py",
    "test_fewer_assets.py",
    "test_first_steps.py",
    "test_get_conn.py",
    "test_hub_audit.py",
    "test_identity.py",
    "test_narrowed_scope.py",
    "test_nessus_crashes.py",
    "test_object_store.py",
    "test_owners.py",
    "test_params_and_watermark.py",
    "test_plugin_output.py",
    "test_refused_places.py",
    "test_scope.py",
    "test_taking_over.py",
    "test_two_deployments.py",
    "test_typed_resources.py",
    "test_unknown_assets.py",
    "test_unplaced_instances.py",
    "test_unserved.py",
    "test_unsettled_assets.py",
    "test_whole_job.py",
    "test_worker_clocks.py",
)


def report_of(session: str, cell: str = "") -> Path:
    """The JUnit report of a session; noxfile.py has pytest write it there.

    :param cell: what the session is parametrised with: a cell, or a version of Airflow.
    """
    return REPORTS / f"{session}{'-' if cell else ''}{cell}.xml"


@dataclass
class Result:
    """The result of a session of a cell. ``tests`` is None where the session runs no pytest."""

    cell: str
    session: str
    passed: bool
    seconds: float
    tests: int | None = None
    failed: int = 0
    skipped: Counter[str] = field(default_factory=Counter)

    def row(self) -> list[str]:
        """The table's cells."""
        if self.tests is None:
            return [self.cell, self.session, "", "", "", "ok" if self.passed else "FAILED", f"{self.seconds:.0f}"]
        passed = self.tests - self.failed - self.skipped.total()
        return [
            self.cell,
            self.session,
            str(self.tests),
            str(passed),
            str(self.skipped.total()),
            "ok" if self.passed else "FAILED",
            f"{self.seconds:.0f}",
        ]


def read_report(file: Path) -> tuple[int, int, Counter[str]]:
    """Tests, failed ones and reasons of skipped ones in a JUnit report."""
    cases = list(ET.parse(file).getroot().iter("testcase"))
    failed = sum(1 for case in cases if case.find("failure") is not None or case.find("error") is not None)
    return len(cases), failed, Counter(skip.get("message", "") for case in cases for skip in case.findall("skipped"))


def run_cell(cell: str, sessions: list[str]) -> list[Result]:
    """Run the sessions of a cell one after the other; a failed one does not stop those that follow."""
    results = []
    with (REPORTS / f"{cell}.log").open("w") as log:
        for session in sessions:
            report = report_of(session, cell)
            report.unlink(missing_ok=True)
            began = time.monotonic()
            command = [sys.executable, "-m", "nox", "--session", f"{session}({cell})"]
            code = subprocess.run(
                command, cwd=ROOT, stdout=log, stderr=subprocess.STDOUT, stdin=subprocess.DEVNULL, check=False
            ).returncode
            result = Result(cell, session, code == 0, time.monotonic() - began)
            if report.exists():
                result.tests, result.failed, result.skipped = read_report(report)
                result.passed = result.passed and result.tests > 0
            elif session != "smoke":
                result.passed = False
            print(" ".join(filter(None, result.row())), flush=True)
            results.append(result)
    return results


def table(results: list[Result]) -> str:
    """The results as a Markdown table, followed by the reasons for which tests were skipped."""
    rows = [["cell", "session", "tests", "passed", "skipped", "", "seconds"], *(result.row() for result in results)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    lines = [
        "| " + " | ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)) + " |" for row in rows
    ]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    for result in results:
        lines += [
            f"{result.cell} {result.session} skipped {count}: {reason}"
            for reason, count in sorted(result.skipped.items())
        ]
    return "\n".join(lines)


def main() -> int:
    """Run the cells."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--cells",
        nargs="+",
        default=REMAINING,
        choices=["all", *CELLS],
        metavar="CELL",
        help=f"all, or some of {', '.join(CELLS)} (those that `make test` leaves out)",
    )
    parser.add_argument(
        "--sessions", nargs="+", default=["smoke", "unit"], choices=("smoke", "unit", "integration", "system")
    )
    parser.add_argument("--jobs", type=int, default=1, help="cells at a time (1)")
    options = parser.parse_args()
    chosen = list(CELLS) if "all" in options.cells else options.cells
    REPORTS.mkdir(exist_ok=True)
    with ThreadPoolExecutor(options.jobs) as pool:
        results = [
            result for found in pool.map(lambda cell: run_cell(cell, options.sessions), chosen) for result in found
        ]
    print(f"\n{table(results)}")
    failed = [result for result in results if not result.passed]
    for cell in dict.fromkeys(result.cell for result in failed):
        log = REPORTS / f"{cell}.log"
        print(f"\n{log}:\n" + "\n".join(log.read_text(errors="replace").splitlines()[-40:]), file=sys.stderr)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
