"""Resolve every installation line of the README and docs/standalone.md for each Python that it names. `make package`.

A line is a shell command with the Pythons in a comment:

    pip install . apache-airflow==3.3.2 -c constraints/...   # Python 3.11 to 3.13

A line with constraints of Amazon MWAA stands for each of MWAA's versions.

Resolving with wheels alone shows that the line can be satisfied without a compiler. Needs a package index, and takes
seconds.
"""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import mwaa_packages
from environments import ROOT, uv

PAGES = (ROOT / "README.md", ROOT / "docs" / "standalone.md")
PYTHONS = ("3.11", "3.12", "3.13")
#: Of MWAA's older pins, published as source only; pure Python, so they need no compiler.
SOURCES = ("dill", "python-nvd3", "unicodecsv")

_LINE = re.compile(r"^ *((?:uv )?pip install .*constraints/.*?)\s+# Python (3\.\d+)(?: to (3\.\d+))?\b.*$", re.M)


@dataclass(frozen=True)
class Line:
    """An installation line.

    :ivar extras: of the provider, as ``[s3]``; may be empty.
    :ivar airflow: version of Airflow.
    :ivar constraints: path of the file from the project's root.
    :ivar pythons: versions that the line is for.
    """

    page: str
    command: str
    extras: str
    airflow: str
    constraints: str
    pythons: tuple[str, ...]


def lines_of(page: Path) -> list[Line]:
    """The installation lines of a page. :raises ValueError: one that cannot be read, or that names no Python."""
    text, found = page.read_text(), []
    for command, first, last in _LINE.findall(text):
        words = shlex.split(command)
        option = next(number for number, word in enumerate(words) if word in ("-c", "--constraint"))
        [airflow] = [word.partition("==")[2] for word in words if word.startswith("apache-airflow==")]
        [provider] = [word for word in words if re.fullmatch(r"\.(\[[\w,]+\])?", word)]
        pythons = PYTHONS[PYTHONS.index(first) : PYTHONS.index(last or first) + 1]
        found.append(Line(page.name, command, provider[1:], airflow, words[option + 1], pythons))
    if len(found) != len(re.findall(r"pip install .*constraints/", text)):
        raise ValueError(f"{page.name} has an installation line without the Pythons that it is for.")
    return found


def expanded(line: Line) -> list[Line]:
    """The line, or for MWAA one for each of its versions."""
    if "/mwaa-" not in line.constraints:
        return [line]
    versions = sorted(path.stem.removeprefix("mwaa-") for path in (ROOT / "constraints").glob("mwaa-*.txt"))
    return [replace(line, airflow=version, constraints=f"constraints/mwaa-{version}.txt") for version in versions]


def resolve(line: Line, python: str, wheel: Path) -> int:
    """The number of packages that the line installs.

    :raises mwaa_packages.BundleError: it cannot be satisfied; the resolver's words.
    """
    with tempfile.TemporaryDirectory() as folder:
        wanted = Path(folder) / "wanted.in"
        wanted.write_text(f"apache-airflow=={line.airflow}\nairflow-provider-tenable{line.extras} @ {wheel.as_uri()}\n")
        sources = [part for name in SOURCES for part in ("--no-binary", name)]
        text = mwaa_packages.run(
            uv(),
            "pip",
            "compile",
            "--quiet",
            "--no-header",
            "--no-annotate",
            "--only-binary",
            ":all:",
            *sources,
            "--python-version",
            python,
            "--python-platform",
            "x86_64-manylinux_2_28",
            "--constraint",
            line.constraints,
            wanted,
        )
    return len(text.splitlines())


def main() -> int:
    """Resolve all; 1 where one cannot be satisfied."""
    failures = 0
    with tempfile.TemporaryDirectory() as folder:
        wheel = mwaa_packages.build_wheel(Path(folder))
        every = [each for page in PAGES for line in lines_of(page) for each in expanded(line)]
        # With the most extras last: a set without them is a part of it, and need not be resolved.
        wanted = {
            (line.constraints, python): line
            for line in sorted(every, key=lambda line: len(line.extras))
            for python in line.pythons
        }
        for (_, python), line in sorted(wanted.items()):
            try:
                print(f"Python {python}, Airflow {line.airflow}: {resolve(line, python, wheel)} packages", flush=True)
            except mwaa_packages.BundleError as error:
                failures += 1
                print(f"{line.page} cannot be satisfied on Python {python}: {line.command}\n{error}", file=sys.stderr)
    return int(bool(failures))


if __name__ == "__main__":
    try:
        raise SystemExit(main())
    except (ValueError, subprocess.SubprocessError) as error:
        raise SystemExit(str(error)) from error
