"""The matrix: every Airflow that MWAA runs, as MWAA pins it, and the newest one.

    uvx nox --list
    uvx nox -s smoke                    # imports, provider discovery, DAG parsing, on every version
    uvx nox -s "unit(3.0.6)"            # unit tests on one version
    uvx nox -s "integration(2.11.2)" "system(3.3.2)"
    python scripts/matrix.py --jobs 2   # smoke and unit on every version, as a table

Each version has one environment, `.venv-<version>`, which uv fills and which all of its sessions share.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nox

ROOT = Path(__file__).resolve().parent
sys.path.insert(0, str(ROOT / "scripts"))

from matrix import CELLS, WITHOUT_AIRFLOW  # noqa: E402

#: What MWAA's image has beside, and tests look at: the connection form of Airflow 2.11 to 3.1 is one of the FAB
#: provider's. 2.11 brings it itself.
FURTHER = {"3.0.6": ("apache-airflow-providers-fab",)}
nox.options.default_venv_backend = "none"
nox.options.sessions = ["smoke"]


def _uv() -> str:
    for place in (shutil.which("uv"), str(ROOT / ".venv" / "bin" / "uv")):
        if place and os.access(place, os.X_OK):
            return place
    raise RuntimeError("uv was not found: https://docs.astral.sh/uv/ or `make setup`")


def _interpreter(version: str) -> str:
    """A Python of this version that works: on the path, of pyenv, or in `.venv`; else its number, and uv looks for one
    itself.
    """
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for place in (
        shutil.which(f"python{version}"),
        *sorted(pyenv.glob(f"{version}.*/bin/python")),
        ROOT / ".venv" / "bin" / "python",
    ):
        if place:
            command = [place, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
            asked = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603
            if asked.stdout.strip() == version:
                return str(place)
    return version


def _python(session: nox.Session, cell: str) -> str:
    """The Python of a cell's environment, which is made or brought up to date."""
    airflow, python, constraints = CELLS[cell]
    uv, folder = _uv(), f".venv-{cell}"
    interpreter = f"{folder}/bin/python"
    if not (ROOT / interpreter).exists():
        session.run(uv, "venv", "--quiet", "--seed", "-p", _interpreter(python), folder, external=True)
    session.run(
        uv,
        "pip",
        "install",
        "--quiet",
        "-p",
        interpreter,
        "-c",
        f"constraints/{constraints}",
        f"apache-airflow=={airflow}",
        *FURTHER.get(cell, ()),
        "-e",
        ".[test]",
        external=True,
    )
    return interpreter


def _pytest(session: nox.Session, cell: str, *arguments: str) -> None:
    # For `scripts/matrix.py`, which makes a table of them.
    report = f"--junitxml=.matrix/{cell}-{session.name.partition('(')[0]}.xml"
    # The plugin of the anyio that 3.2 and 3.3 pin uses what pytest deprecates, and warnings are errors here. We do not
    # need it.
    session.run(
        _python(session, cell),
        "-m",
        "pytest",
        "-p",
        "no:anyio",
        "-q",
        report,
        *(session.posargs or arguments),
        external=True,
    )


@nox.session
@nox.parametrize("cell", list(CELLS), ids=list(CELLS))
def smoke(session: nox.Session, cell: str) -> None:
    """Every module imports, Airflow discovers the provider, the DAG parses."""
    session.run(_python(session, cell), "scripts/smoke.py", external=True)


@nox.session
@nox.parametrize("cell", list(CELLS), ids=list(CELLS))
def unit(session: nox.Session, cell: str) -> None:
    """Unit tests, but for those that do not depend on Airflow or on what it pins: they run once, in `make unit`."""
    _pytest(session, cell, "tests/unit", *(f"--ignore=tests/unit/{name}" for name in WITHOUT_AIRFLOW))


@nox.session
@nox.parametrize("cell", list(CELLS), ids=list(CELLS))
def integration(session: nox.Session, cell: str) -> None:
    """The operators and the whole job against the sandbox, without a scheduler."""
    _pytest(session, cell, "tests/integration")


@nox.session
@nox.parametrize("cell", list(CELLS), ids=list(CELLS))
def system(session: nox.Session, cell: str) -> None:
    """The whole DAG under a real scheduler and triggerer."""
    _pytest(session, cell, "tests/system/test_scheduler.py")


@nox.session
@nox.parametrize(
    "version",
    [name for name in CELLS if CELLS[name][2].startswith("mwaa-")],
    ids=[name for name in CELLS if CELLS[name][2].startswith("mwaa-")],
)
def mwaa(session: nox.Session, version: str) -> None:
    """MWAA's bundle: built, then installed without an index into a clean environment."""
    session.run(_python(session, version), "scripts/mwaa_bundle.py", "--airflow", version, "--check", external=True)
