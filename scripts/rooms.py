"""Draw the rooms of the package from its imports, as Mermaid for docs/architecture.md: `python scripts/rooms.py`.

An arrow leads from a room to one that it imports. Imports that a chain of arrows already shows are left out, and so are
those that every room may have: names of AWS, errors, guards, options.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

PACKAGE = Path(__file__).resolve().parent.parent / "airflow_provider_tenable"
#: Room -> what it does, in the order of the picture.
ROOMS = {
    "command": "command<br>tenable-to-security-hub",
    "dags": "dags<br>the DAGs, as functions",
    "operators": "operators<br>sensors, triggers, links,<br>notifications: Airflow's faces",
    "ui": "ui<br>the page in Airflow's<br>navigation",
    "requirements": "requirements<br>what must be so<br>before an import",
    "run": "run<br>plan, ledger, watermark,<br>report, replay",
    "hooks": "hooks<br>connections to Tenable and AWS",
    "export": "export<br>stage 1: a job becomes<br>staged chunks",
    "assets": "assets<br>of a run, and between runs",
    "transform": "transform<br>stage 2: records become<br>routed lines",
    "state": "state<br>what the hubs hold,<br>and what is sent",
    "asff": "asff<br>the output format",
    "security_hub": "security_hub<br>stage 3: findings are<br>acknowledged",
    "scan": "scan<br>scanners and scans",
    "tenable_vm": "tenable_vm<br>what Tenable says",
    "staging": "staging<br>files and folders",
    "observability": "observability<br>metrics, lineage",
}
_FACES = frozenset({"operators", "sensors", "triggers", "links", "notifications"})


def imports() -> set[tuple[str, str]]:
    """Room -> room that it imports when it runs."""
    found = set()
    for file in PACKAGE.rglob("*.py"):
        room = _room(file.relative_to(PACKAGE).parts[0])
        for module in _modules(ast.parse(file.read_text()).body):
            other = _room(module)
            if room in ROOMS and other in ROOMS and other != room:
                found.add((room, other))
    return found


def reduced(edges: set[tuple[str, str]]) -> list[tuple[str, str]]:
    """The edges without those that a chain of others implies.

    :raises ValueError: the rooms import each other in a cycle.
    """
    after: dict[str, set[str]] = {room: {end for begin, end in edges if begin == room} for room in ROOMS}

    def reach(room: str, path: tuple[str, ...] = ()) -> set[str]:
        if room in path:
            raise ValueError(f"The rooms import each other in a circle: {' -> '.join([*path, room])}.")
        return after[room].union(*(reach(each, (*path, room)) for each in after[room]))

    reached = {room: reach(room) for room in ROOMS}
    order = list(ROOMS)
    kept = [(begin, end) for begin, end in edges if not any(end in reached[other] for other in after[begin] - {end})]
    return sorted(kept, key=lambda edge: (order.index(edge[0]), order.index(edge[1])))


def picture() -> str:
    """The picture in Mermaid's language."""
    nodes = [f'    {room}["{text}"]' for room, text in ROOMS.items()]
    return "\n".join(["flowchart TD", *nodes, *(f"    {begin} --> {end}" for begin, end in reduced(imports()))])


def _room(name: str) -> str:
    return "operators" if name in _FACES else name


def _modules(body: list[ast.stmt]) -> Iterator[str]:
    """The parts of our own package that statements import, without those that only type checkers read."""
    for statement in body:
        if (
            isinstance(statement, ast.ImportFrom)
            and statement.module
            and statement.module.split(".")[0] == PACKAGE.name
        ):
            path = statement.module.split(".")[1:]
            yield from [path[0]] if path else [alias.name for alias in statement.names]
        elif isinstance(statement, ast.Import):
            yield from [
                alias.name.split(".")[1] for alias in statement.names if alias.name.startswith(f"{PACKAGE.name}.")
            ]
        elif not (isinstance(statement, ast.If) and "TYPE_CHECKING" in ast.unparse(statement.test)):
            for field in ("body", "orelse", "finalbody", "handlers"):
                inner = getattr(statement, field, [])
                yield from _modules([each for each in inner if isinstance(each, ast.stmt)])
                for handler in inner:
                    if isinstance(handler, ast.ExceptHandler):
                        yield from _modules(handler.body)


if __name__ == "__main__":
    print(picture())
