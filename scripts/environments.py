"""The environments of this repository, made by uv: `.venv` to work in, and `.venv-<name>` for everything that must not
share its packages. `noxfile.py` says what goes into which.

    python scripts/environments.py oldest      # prints the oldest Airflow in scope; or `newest`
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def in_order(version: str) -> list[int]:
    """The key to sort versions by."""
    return [int(number) for number in version.split(".")]


def airflow_versions(prefix: str = "*-") -> dict[str, str]:
    """Version of Airflow -> its file in ``constraints/``, whose names hold the versions; from the oldest on.

    :param prefix: of the files: ``mwaa-`` for those that Amazon MWAA runs.
    """
    files = {file.stem.partition("-")[2]: file.name for file in (ROOT / "constraints").glob(f"{prefix}*.txt")}
    return {version: files[version] for version in sorted(files, key=in_order)}


OLDEST, *_, NEWEST = airflow_versions()
#: The newest Airflow that Amazon MWAA runs.
*_, NEWEST_ON_MWAA = airflow_versions("mwaa-")


def uv() -> str:
    """Path of uv. :raises SystemExit: uv is not installed."""
    places = (Path(sys.executable).parent / "uv", ROOT / ".venv-nox" / "bin" / "uv", shutil.which("uv"))
    for place in places:
        if place and os.access(place, os.X_OK):
            return str(place)
    raise SystemExit("uv was not found. Run make setup, or see https://docs.astral.sh/uv/.")


def interpreter(version: str) -> str:
    """A working Python of this version, from the path or pyenv; otherwise the version itself, for uv to find one."""
    pyenv = Path(os.environ.get("PYENV_ROOT") or Path.home() / ".pyenv") / "versions"
    for place in (shutil.which(f"python{version}"), *sorted(pyenv.glob(f"{version}.*/bin/python")), sys.executable):
        if place:
            command = [place, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"]
            asked = subprocess.run(command, capture_output=True, text=True, check=False)
            if asked.stdout.strip() == version:
                return str(place)
    return version


@contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Let one process at a time make an environment: concurrent targets may need the same."""
    with (folder.parent / f"{folder.name}.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def environment(name: str, *arguments: str, python: str | None = None) -> str:
    """Make an environment, unless it already exists with the same contents.

    :param name: of its folder, such as ``.venv-docs``.
    :param arguments: of ``uv pip install``.
    :param python: version; None for the Python that runs this.
    :return: path of its Python, from the root of the repository.
    """
    folder = ROOT / name
    stamp, own = folder / "made-of", f"{name}/bin/python"
    with alone(folder):
        made_of = _made_of(arguments, python)
        if stamp.is_file() and stamp.read_text() == made_of:
            return own
        print(f"Installing into {name}: {' '.join(arguments)}", flush=True)
        base = interpreter(python) if python else sys.executable
        # As `python -m venv` makes it, so that a person finds pip in it.
        _run("venv", "--quiet", "--clear", "--seed", "-p", base, name)
        _run("pip", "install", "--quiet", "-p", own, *arguments)
        stamp.write_text(made_of)
    return own


def _made_of(arguments: tuple[str, ...], python: str | None) -> str:
    files = [ROOT / "pyproject.toml", *(ROOT / argument for argument in arguments if argument.endswith(".txt"))]
    contents = hashlib.sha256(b"".join(file.read_bytes() for file in files)).hexdigest()
    return f"{python or sys.version} {' '.join(arguments)}\n{contents}\n"


def _run(*command: str) -> None:
    ended = subprocess.run([uv(), *command], cwd=ROOT, check=False)
    if ended.returncode:
        raise SystemExit(f"uv {' '.join(command)} failed; its output is above.")


if __name__ == "__main__":
    print({"oldest": OLDEST, "newest": NEWEST}[sys.argv[1]])
