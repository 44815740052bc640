"""State is where a reader sees it, in the rooms that read Tenable and keep files: no attribute invented on a foreign
object, no shared mutable default.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
import requests

PACKAGE = Path(__file__).parents[2] / "airflow_provider_tenable"
FILES = sorted(
    path
    for room in ("tenable_vm", "export", "assets", "staging", "transform")
    for path in (PACKAGE / room).glob("*.py")
)

#: Attributes of another library's objects that are set, all of ``requests.Response``: what pyTenable reads of an
#: answer.
SET_ON_RESPONSES = {"_content", "reason", "raw"}
#: Objects of our own that are changed where they are not ``self``, each where it was made a moment before: (file,
#: object).
SET_ON_OUR_OWN = {
    # Loaded from staging: what is gone is taken out before anybody sees it.
    ("export/store.py", "state"),
    # Decoded, and put aside without its output.
    ("transform/shard.py", "record"),
    # Read from the params, and completed with what AWS says.
    ("transform/destinations.py", "destination"),
}
#: What a method may change: its object, and the state of an export, which it keeps.
OWN = {"self", "self.state"}


def set_attributes(tree: ast.AST) -> Iterator[tuple[str, str]]:
    """(object, attribute) of every attribute that is set, but for those of :data:`OWN`."""
    for node in ast.walk(tree):
        targets = (
            node.targets
            if isinstance(node, ast.Assign)
            else [node.target]
            if isinstance(node, (ast.AugAssign, ast.AnnAssign))
            else []
        )
        for target in [part for each in targets for part in (each.elts if isinstance(each, ast.Tuple) else [each])]:
            if isinstance(target, ast.Attribute) and ast.unparse(target.value) not in OWN:
                yield ast.unparse(target.value), target.attr
        if isinstance(node, ast.Call) and ast.unparse(node.func) in ("setattr", "object.__setattr__"):
            yield ast.unparse(node.args[0]), ast.unparse(node.args[1])


def mutable_class_attributes(tree: ast.AST) -> Iterator[str]:
    """Defaults that all instances would share. msgspec copies those of a Struct, and dataclasses refuse them."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef) and not any(
            "Struct" in ast.unparse(base) or ast.unparse(base) in ("Manifest",) for base in node.bases
        ):
            for statement in node.body:
                value = statement.value if isinstance(statement, (ast.Assign, ast.AnnAssign)) else None
                if isinstance(value, (ast.List, ast.Dict, ast.Set, ast.ListComp, ast.DictComp, ast.SetComp)):
                    yield f"{node.name}: {ast.unparse(statement)}"


def test_nothing_is_set_on_foreign_objects_but_what_they_have() -> None:
    found = {
        (str(path.relative_to(PACKAGE)), *place)
        for path in FILES
        for place in set_attributes(ast.parse(path.read_text()))
    }
    on_responses = {place for place in found if place[1] == "response"}
    assert {attribute for _, _, attribute in on_responses} == SET_ON_RESPONSES
    assert all(attribute in vars(requests.Response()) for attribute in SET_ON_RESPONSES)
    assert {place[:2] for place in found - on_responses} == SET_ON_OUR_OWN


def test_no_class_shares_something_mutable_among_its_instances() -> None:
    assert [text for path in FILES for text in mutable_class_attributes(ast.parse(path.read_text()))] == []


def test_no_function_changes_a_global_name() -> None:
    assert [
        path.name
        for path in FILES
        if any(isinstance(node, ast.Global) for node in ast.walk(ast.parse(path.read_text())))
    ] == []


@pytest.mark.parametrize(
    ("code", "found"),
    [
        ("class A:\n    x: dict = {}", ["A: x: dict = {}"]),
        ("class A:\n    x = []", ["A: x = []"]),
        ("class A(Struct):\n    x: list = []", []),
    ],
)
def test_the_search_finds_shared_defaults(code: str, found: list[str]) -> None:
    assert list(mutable_class_attributes(ast.parse(code))) == found


@pytest.mark.parametrize(
    "code",
    [
        "session.told = 1",
        "a, client.x = 1, 2",
        "setattr(client, 'x', 1)",
        "client.x += 1",
        "client.x: int = 1",
        "self._client.x = 1",
    ],
)
def test_the_search_finds_what_is_set(code: str) -> None:
    assert len(list(set_attributes(ast.parse(code)))) == 1
