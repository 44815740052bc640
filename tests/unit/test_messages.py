"""No message of the package quotes text from outside as it is: what an error of somebody else's says passes
foreign_text first.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

from airflow_provider_tenable import exceptions

ROOT = Path(__file__).resolve().parents[2]
FILES = sorted(ROOT.glob("airflow_provider_tenable/**/*.py")) + sorted(ROOT.glob("dags/*.py"))
#: One line in any case (TenableProviderError), their quotes bounded where they are made.
OURS = {
    name
    for name, value in vars(exceptions).items()
    if isinstance(value, type) and issubclass(value, exceptions.TenableProviderError)
}
#: Raised by this package only, with texts of its own.
OWN_TEXTS = {"UnmappableError"}
#: What makes a foreign error safe to quote, or takes only its class or number from it.
SAFE = {
    "safe",
    "quoted",
    "shown",
    "words_of",
    "_words_of",
    "explain",
    "code_of",
    "verdict_of",
    "type",
    "isinstance",
    "_short",
    "after_writing",
    "refused",
    "getattr",
}
LEVELS = {"debug", "info", "warning", "error", "exception", "critical"}


def _classes(handler: ast.ExceptHandler) -> set[str]:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type] if handler.type else []
    return {kind.attr if isinstance(kind, ast.Attribute) else getattr(kind, "id", "?") for kind in kinds}


def _uses(node: ast.AST, name: str) -> Iterator[ast.Name]:
    """Where a name is used outside of a call that makes it safe."""
    if isinstance(node, ast.Call) and (getattr(node.func, "id", None) or getattr(node.func, "attr", None)) in SAFE:
        return
    if isinstance(node, ast.Name) and node.id == name:
        yield node
    for child in ast.iter_child_nodes(node):
        # error.args or error.response is data that is looked at, not a text that is quoted; __cause__ would be.
        if isinstance(child, ast.Attribute) and child.attr not in (
            "__cause__",
            "__context__",
            "strerror",
            "args",
            "msg",
        ):
            continue
        yield from _uses(child, name)


def _quotes(handler: ast.ExceptHandler) -> Iterator[ast.AST]:
    """The texts that are made in a handler, and what it logs."""
    for node in ast.walk(handler):
        if isinstance(node, ast.FormattedValue):
            yield node.value
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
            yield from node.args


def unsafe(source: str) -> list[int]:
    """The lines of a module in which an error that is not ours is quoted as it is."""
    found = []
    for handler in ast.walk(ast.parse(source)):
        if isinstance(handler, ast.ExceptHandler) and handler.name and not _classes(handler) <= OURS | OWN_TEXTS:
            found += [use.lineno for quote in _quotes(handler) for use in _uses(quote, handler.name)]
    return sorted(set(found))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_an_error_of_somebody_else_is_quoted_through_the_one_function(path: Path) -> None:
    lines = path.read_text().splitlines()
    assert [lines[number - 1].strip() for number in unsafe(path.read_text())] == []


@pytest.mark.parametrize(
    ("source", "lines"),
    [
        ('try: x\nexcept OSError as e:\n    raise Y(f"{e}")', [3]),
        ('try: x\nexcept (TemporaryError, OSError) as e:\n    raise Y(f"{a}: {e!r}")', [3]),
        ('try: x\nexcept OSError as e:\n    log.warning("%s", e)', [3]),
        ('try: x\nexcept OSError as e:\n    self.log.error("%s", str(e))', [3]),
        ('try: x\nexcept OSError as e:\n    raise Y(f"{e.__cause__ or e}")', [3]),
        ('try: x\nexcept OSError as e:\n    raise Y(f"{safe(e)} {type(e).__name__}")', []),
        ('try: x\nexcept TemporaryError as e:\n    log.warning("%s", e)', []),
        ('try: x\nexcept OSError as e:\n    raise Y("text") from e', []),
    ],
)
def test_the_check_sees_what_it_looks_for(source: str, lines: list[int]) -> None:
    assert unsafe(source) == lines
