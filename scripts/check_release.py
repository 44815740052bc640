"""Checks that a release tag matches the package's version and the newest entry of the changelog.

    python scripts/check_release.py v0.1.0

Says what to change and exits with 1 if they differ. Needs only Python, since it runs before anything is installed.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


def problems(tag: str, root: Path = ROOT) -> list[str]:
    """The reasons not to release this tag; empty if there are none."""
    module = "airflow_provider_tenable/__init__.py"
    [version] = re.findall(r'^__version__ = "(.+)"$', (root / module).read_text(), re.M)
    newest = next(iter(re.findall(r"^## (.+)$", (root / "CHANGELOG.md").read_text(), re.M)), "no release")
    found = []
    if tag != f"v{version}":
        found.append(f"The tag is {tag}, but the version in {module} is {version}. Tag v{version}, or change it first.")
    if newest.split()[0] != version:
        found.append(f"CHANGELOG.md starts with {newest}. Add '## {version}' with the changes of this release.")
    return found


def main() -> int:
    [tag] = sys.argv[1:]
    found = problems(tag)
    print("\n".join(found) or f"{tag} matches the version and the changelog")
    return bool(found)


if __name__ == "__main__":
    sys.exit(main())
