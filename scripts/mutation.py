"""Mutation tests of the modules that decide about findings, by mutmut, and the share of mutants that a test notices.

    python scripts/mutation.py                          all of [tool.mutmut] in pyproject.toml
    python scripts/mutation.py asff.finding asff.limits these modules only
    python scripts/mutation.py --max-children 1         one process at a time; otherwise as many as there are CPUs

Prints the mutants that no test noticed and a table of the results, and fails if less than 85 % of a module's mutants
were noticed. Run it by `make mutation`.
"""

from __future__ import annotations

import argparse
import fnmatch
import json
import os
import subprocess
import sys
import tomllib
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = "airflow_provider_tenable"
#: Share of a module's mutants that its tests must notice.
LEAST = 0.85
#: Exit code of a mutant's tests, as mutmut records it -> column of the table. Other codes are `undecided`.
STATUS: dict[int | None, str] = {
    1: "killed",
    # pytest's own error: the mutant breaks the collection of the tests.
    3: "killed",
    37: "killed",
    # The tests took many times longer than without the mutant: an endless loop, usually.
    **dict.fromkeys((-24, 24, 36, 152, 255), "timeout"),
    0: "survived",
    **dict.fromkeys((5, 33), "no tests"),
    # Excluded by a pragma, interrupted, or not started.
    **dict.fromkeys((34, 2, None), "not tried"),
}
#: Noticed by a test. A crash of the interpreter (`undecided`) is not: the machine may have run out of memory.
NOTICED = ("killed", "timeout")
COLUMNS = ("killed", "timeout", "survived", "no tests", "undecided")


def targets() -> list[str]:
    """The modules that mutmut changes, without the package's name."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]["only_mutate"]
    files = [str(file.relative_to(ROOT)) for file in sorted((ROOT / PACKAGE).rglob("*.py"))]
    chosen = [file for file in files if any(fnmatch.fnmatch(file, pattern) for pattern in patterns)]
    return [file.removeprefix(f"{PACKAGE}/").removesuffix(".py").replace("/", ".") for file in chosen]


def results(module: str) -> dict[str, str]:
    """Mutant -> status (:data:`STATUS`), without those that were not tried."""
    file = ROOT / "mutants" / PACKAGE / f"{module.replace('.', '/')}.py.meta"
    codes: dict[str, int | None] = json.loads(file.read_text())["exit_code_by_key"] if file.exists() else {}
    found = {name: STATUS.get(code, "undecided") for name, code in codes.items()}
    return {name: status for name, status in found.items() if status != "not tried"}


def row(name: str, counts: Counter[str]) -> str:
    """A line of the table: counts by status, and the share that was noticed."""
    numbers = "".join(f"{counts[column]:>10}" for column in COLUMNS)
    return f"{name:28}{numbers}{_share(counts):>10.0%}" if counts else f"{name:28}{'none tried':>10}"


def enough(counts: Counter[str]) -> bool:
    """Whether the tests of a module noticed enough of its mutants, and there were any."""
    return bool(counts) and _share(counts) >= LEAST


def _share(counts: Counter[str]) -> float:
    return sum(counts[status] for status in NOTICED) / counts.total()


def main() -> int:
    """Run mutmut; 1 if the tests of a module notice too few mutants, or none was tried."""
    parser = argparse.ArgumentParser()
    parser.add_argument("modules", nargs="*", help="without the package's name, such as asff.finding; default: all")
    parser.add_argument("--max-children", type=int, default=len(os.sched_getaffinity(0)), help="concurrent processes")
    options = parser.parse_args()
    chosen = options.modules or targets()
    if unknown := set(chosen) - set(targets()):
        print(f"Not in [tool.mutmut] of pyproject.toml: {', '.join(sorted(unknown))}.", file=sys.stderr)
        return 2
    mutmut = str(Path(sys.executable).parent / "mutmut")
    names = [f"{PACKAGE}.{module}.*" for module in chosen]
    ended = subprocess.run(
        [mutmut, "run", "--max-children", str(options.max_children), *names],
        cwd=ROOT,
        check=False,
    )
    if ended.returncode:
        return ended.returncode
    by_module = {module: results(module) for module in chosen}
    for found in by_module.values():
        for name, status in found.items():
            if status not in NOTICED:
                print(f"{status}: {name}")
    print(f"{'':28}{''.join(f'{column:>10}' for column in COLUMNS)}{'noticed':>10}")
    counts = {module: Counter(found.values()) for module, found in by_module.items()}
    for module, counted in counts.items():
        print(row(module, counted) + ("" if enough(counted) else "  TOO FEW"))
    print(row("all", sum(counts.values(), Counter())))
    return int(not all(map(enough, counts.values())))


if __name__ == "__main__":
    sys.exit(main())
