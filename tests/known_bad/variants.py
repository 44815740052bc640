"""Mistakes that other connectors have made (a lost chunk skipped, FailedFindings ignored, ...), as patches of the
package. Each names the test that must detect it:

    What is wrong with the patch applied.

    Caught-by: tests/unit/...::test_...

    --- a/airflow_provider_tenable/...
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

FOLDER = Path(__file__).resolve().parent
ROOT = FOLDER.parent.parent
#: What a test needs in addition to the package.
COPIED = ("airflow_provider_tenable", "tests", "sandbox", "dags", "scripts")


@dataclass(frozen=True)
class Variant:
    """A patch and the test that notices it.

    :ivar test: id of the test for pytest, from the root of the repository.
    """

    patch: Path
    name: str
    test: str

    @property
    def file(self) -> str:
        """Path of the changed file, from the root of the repository."""
        [changed] = re.findall(r"^\+\+\+ b/(\S+)$", self.patch.read_text(), re.M)
        return str(changed)


def variants() -> list[Variant]:
    """All of them. :raises ValueError: a patch does not have the form above."""
    found = []
    for patch in sorted(FOLDER.glob("*.patch")):
        head = re.fullmatch(r"(.+)\n\nCaught-by: (tests/\S+::.+)\n\n", patch.read_text().partition("--- a/")[0])
        if head is None:
            raise ValueError(f"{patch} does not begin with a sentence and a line `Caught-by: tests/...`.")
        found.append(Variant(patch, head[1], head[2]))
    return found


def apply(variant: Variant, root: Path, *options: str) -> subprocess.CompletedProcess[str]:
    """Apply the patch to a copy of the repository, or with ``--check`` see whether it applies."""
    git = shutil.which("git")
    if git is None:
        raise FileNotFoundError("git is needed to apply a patch")
    # One line of context is enough. Run outside of any repository: within one, git skips files that it ignores.
    command = [git, "apply", "-C1", *options, str(variant.patch)]
    env = {"GIT_CEILING_DIRECTORIES": str(root.parent), "GIT_DIR": str(root / "no repository")}
    return subprocess.run(command, cwd=root, env=env, capture_output=True, text=True, check=False)


def copy_repository(folder: Path) -> None:
    """Copy the package and what its tests need."""
    for part in COPIED:
        shutil.copytree(ROOT / part, folder / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)


def run_its_test(variant: Variant, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run the variant's test on a copy of the repository that has the mistake."""
    copy_repository(folder)
    applied = apply(variant, folder)
    if applied.returncode:
        raise ValueError(f"{variant.patch.name} no longer applies: {applied.stderr}")
    return run_tests(folder, "-x", variant.test)


def run_tests(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run pytest in a copy of the repository."""
    command = [sys.executable, "-m", "pytest", "-q", *arguments]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=900, check=False)
