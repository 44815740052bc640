"""Which unit tests cannot depend on Airflow: neither they nor anything of this repository that they import, directly or
not, imports it. Those run with the newest Airflow only.

    python scripts/import_closure.py      # prints them

An import counts wherever it stands, also inside a function. A file does not qualify if anything that it reaches can
import what its text does not say: by runpy, importlib or another process.
"""

from __future__ import annotations

import ast
import functools
from collections.abc import Iterator
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
#: Modules that a test which does not depend on Airflow may not reach.
AIRFLOW = frozenset({"airflow"})
DYNAMIC = frozenset({"runpy", "subprocess", "importlib", "importlib.util", "importlib.machinery", "multiprocessing"})


def without_airflow(root: Path = ROOT) -> list[str]:
    """The files of unit tests that cannot depend on Airflow, from ``tests/unit`` on."""
    unit = root / "tests" / "unit"
    return [
        str(file.relative_to(unit))
        for file in sorted(unit.rglob("test_*.py"))
        if not reached(file, root) & (AIRFLOW | DYNAMIC)
    ]


def reached(file: Path, root: Path = ROOT) -> frozenset[str]:
    """What a file imports from outside of this repository, directly or by files of this repository.

    :return: names as they are imported; of ``airflow.sdk`` also ``airflow``.
    """
    # Fixtures of its folders; those in tests/ only set Airflow up.
    folders = [folder for folder in file.parents if root / "tests" in folder.parents]
    seen = {file, *(folder / "conftest.py" for folder in folders if (folder / "conftest.py").is_file())}
    outside, waiting = set[str](), list(seen)
    while waiting:
        for name in _imported(waiting.pop(), root):
            files = _files(name, root)
            if not files:
                outside |= {name, name.partition(".")[0]} if name.partition(".")[0] in AIRFLOW else {name}
            # A package's own file runs too.
            waiting += [found for found in files if found not in seen]
            seen |= set(files)
    return frozenset(outside)


@functools.cache
def _files(name: str, root: Path) -> tuple[Path, ...]:
    """The files of this repository that run when a module is imported."""
    parent, _, last = name.rpartition(".")
    before = _files(parent, root) if parent else ()
    if parent and not before and not root.joinpath(*parent.split(".")).is_dir():
        return ()
    path = root.joinpath(*name.split("."))
    # Tests put the folder of the scripts on the path.
    files = (path.with_suffix(".py"), path / "__init__.py", *(() if parent else (root / "scripts" / f"{last}.py",)))
    return (*before, *(file for file in files if file.is_file()))


@functools.cache
def _imported(file: Path, root: Path) -> frozenset[str]:
    """The modules that a file imports. ``from a import b`` may be the module ``a.b``."""
    return frozenset(_names(ast.parse(file.read_text()), file.relative_to(root).with_suffix("").parts))


def _names(node: ast.AST, own: tuple[str, ...]) -> Iterator[str]:
    if isinstance(node, ast.Import):
        yield from (alias.name for alias in node.names)
    elif isinstance(node, ast.ImportFrom):
        # The parts of `own` end with the module's name, or with `__init__`.
        base = ".".join([*(own[: -node.level] if node.level else ()), *([node.module] if node.module else [])])
        yield base
        yield from (f"{base}.{alias.name}" for alias in node.names)
    elif isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        for statement in node.orelse:
            yield from _names(statement, own)
    else:
        for child in ast.iter_child_nodes(node):
            yield from _names(child, own)


if __name__ == "__main__":
    print("\n".join(without_airflow()))
