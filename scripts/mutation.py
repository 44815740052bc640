"""Mutation tests of the modules that decide about findings, by mutmut, and the share of mutants that a test notices.

    python scripts/mutation.py                          all of [tool.mutmut] in pyproject.toml
    python scripts/mutation.py asff.finding asff.limits these modules only

Prints the mutants that survived, by module, and fails where a module has less than 85 %. Run it by `make mutation`.
"""

from __future__ import annotations

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
#: mutmut's exit codes of a mutant that nothing noticed: its tests passed, or there are none that reach it.
SURVIVED = (0, 33)


def targets() -> list[str]:
    """The modules that mutmut changes, without the package's name."""
    patterns = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mutmut"]["only_mutate"]
    files = [str(file.relative_to(ROOT)) for file in sorted((ROOT / PACKAGE).rglob("*.py"))]
    chosen = [file for file in files if any(fnmatch.fnmatch(file, pattern) for pattern in patterns)]
    return [file.removeprefix(f"{PACKAGE}/").removesuffix(".py").replace("/", ".") for file in chosen]


def results(module: str) -> dict[str, int | None]:
    """Mutant -> exit code of its tests; None where it was not tried."""
    file = ROOT / "mutants" / PACKAGE / f"{module.replace('.', '/')}.py.meta"
    codes: dict[str, int | None] = json.loads(file.read_text())["exit_code_by_key"] if file.exists() else {}
    return codes


def main() -> int:
    """Run mutmut; 1 if the tests of a module notice too few mutants, or none was tried."""
    chosen = sys.argv[1:] or targets()
    if unknown := set(chosen) - set(targets()):
        print(f"Not in [tool.mutmut] of pyproject.toml: {', '.join(sorted(unknown))}.", file=sys.stderr)
        return 2
    workers = str(len(os.sched_getaffinity(0)))
    mutmut = str(Path(sys.executable).parent / "mutmut")
    names = [f"{PACKAGE}.{module}.*" for module in chosen]
    ended = subprocess.run([mutmut, "run", "--max-children", workers, *names], cwd=ROOT, check=False)
    if ended.returncode:
        return ended.returncode
    failed = False
    total: Counter[str] = Counter()
    for module in chosen:
        tried = {name: code for name, code in results(module).items() if code is not None}
        survivors = [name for name, code in tried.items() if code in SURVIVED]
        killed = len(tried) - len(survivors)
        for name in survivors:
            print(f"survived: {name}")
        enough = bool(tried) and killed >= LEAST * len(tried)
        failed |= not enough
        share = f"{killed / len(tried):.0%}" if tried else "none tried"
        print(f"{module:28} {killed:5} of {len(tried):5} killed ({share}){'' if enough else '  TOO FEW'}")
        total.update(killed=killed, tried=len(tried))
    print(f"{'all':28} {total['killed']:5} of {total['tried']:5} killed")
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
