"""Which packages the bundle for Amazon MWAA needs, by uv's resolver, and their wheels."""

from __future__ import annotations

import importlib.util
import re
import subprocess
import sys
import tempfile
import zipfile
from pathlib import Path

from environments import ROOT, interpreter, uv

PLUGINS = "/usr/local/airflow/plugins"
PYTHON = "3.12"
#: MWAA's workers run Amazon Linux 2023 on x86-64.
PLATFORMS = (
    "manylinux_2_28_x86_64",
    "manylinux_2_17_x86_64",
    "manylinux2014_x86_64",
    "manylinux_2_5_x86_64",
    "manylinux1_x86_64",
)
IMAGE = ("apache-airflow=={airflow}", "apache-airflow-providers-amazon[aiobotocore]")


class BundleError(Exception):
    """The bundle cannot be built, or does not work; the message says why."""


def run(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """Run a command; what it printed. :raises BundleError: it failed."""
    done = subprocess.run(
        [str(part) for part in command], capture_output=True, text=True, env=env, cwd=ROOT, check=False
    )
    if done.returncode:
        raise BundleError(f"{' '.join(map(str, command))} failed:\n{(done.stderr + done.stdout)[-4000:]}")
    return done.stdout


def build_wheel(folder: Path) -> Path:
    """Build the provider's wheel, from the source distribution: otherwise files of an earlier `build/` folder would get
    into it.
    """
    run(uv(), "build", "--quiet", "--python", interpreter(PYTHON), "--out-dir", folder, ROOT)
    [wheel] = folder.glob("airflow_provider_tenable-*.whl")
    return wheel


def resolve(airflow: str, constraints: Path, *further: str) -> dict[str, str]:
    """Name -> version of Airflow with the Amazon provider, and what else is asked for, under MWAA's constraints."""
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.in"
        wanted.write_text("\n".join([*(each.format(airflow=airflow) for each in IMAGE), *further]) + "\n")
        return _compiled(wanted, constraints)


def resolve_together(airflow: str, constraints: Path, requirements: str, plugins: Path) -> None:
    """Check whether merged requirements fit together, as MWAA would install them.

    :param plugins: the merged plugins.zip.
    :raises BundleError: they contradict each other, or a wheel is missing where no index is used.
    """
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with zipfile.ZipFile(plugins) as archive:
            archive.extractall(folder / "plugins")
        wanted = folder / "wanted.in"
        # Airflow itself comes from an index here; wheels that MWAA would not find are checked below.
        lines = [
            line
            for line in requirements.replace(PLUGINS, str(folder / "plugins")).splitlines()
            if line.strip() != "--no-index"
        ]
        asked = "\n".join([*(each.format(airflow=airflow) for each in IMAGE), *lines]) + "\n"
        wanted.write_bytes(asked.encode("utf-8", "surrogateescape"))
        # MWAA does not apply its constraints if the file names others.
        own = any(option in requirements for option in ("-c ", "--constraint "))
        try:
            found = _compiled(wanted, None if own else constraints)
        except BundleError as error:
            # Without the command line: it names a temporary file, which means nothing to the reader.
            words = str(error).partition(" failed:\n")[2] or str(error)
            raise BundleError(
                f"The environment's requirements.txt and the provider's do not fit together on Airflow {airflow}. "
                f"Nothing was changed there.\n{words}"
            ) from error
        if "--no-index" in requirements:
            image = resolve(airflow, constraints)
            wheels = {
                re.sub(r"[-_.]+", "-", path.name.split("-")[0]).lower() for path in (folder / "plugins").rglob("*.whl")
            }
            missing = sorted(
                package for package, version in found.items() if image.get(package) != version and package not in wheels
            )
            if missing:
                raise BundleError(f"requirements.txt has --no-index, and plugins.zip no wheel of {', '.join(missing)}.")


def _compiled(wanted: Path, constraints: Path | None) -> dict[str, str]:
    """Name -> version of what a requirements file resolves to on MWAA's platform."""
    bound = ("--constraint", constraints) if constraints else ()
    text = run(
        uv(),
        "pip",
        "compile",
        "--quiet",
        "--no-header",
        "--no-annotate",
        *bound,
        "--python-version",
        PYTHON,
        "--python-platform",
        "x86_64-manylinux_2_28",
        wanted,
    )
    found = re.findall(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?(?:==| @ )(\S+)", text, re.M)
    return {re.sub(r"[-_.]+", "-", name).lower(): version for name, version in found}


def download(requirements: dict[str, str], folder: Path) -> None:
    """The wheels of these versions, for MWAA's platform."""
    if not requirements:
        return
    # pip downloads for the Python that it is given, not only for its own: MWAA's need not be installed here. uv, which
    # has no such command, makes environments without pip unless asked for it.
    has_pip = importlib.util.find_spec("pip") is not None
    command = [sys.executable, "-m", "pip"] if has_pip else [uv(), "tool", "run", "--quiet", "pip"]
    platforms = [part for platform in PLATFORMS for part in ("--platform", platform)]
    pins = [f"{name}=={version}" for name, version in sorted(requirements.items())]
    run(
        *command,
        "download",
        "--quiet",
        "--no-deps",
        "--only-binary=:all:",
        "--python-version",
        PYTHON,
        "--implementation",
        "cp",
        *platforms,
        "--dest",
        folder,
        *pins,
    )
