"""Runs what is measured in separate processes, in turns, and calculates medians."""

from __future__ import annotations

import contextlib
import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

ROOT = Path(__file__).resolve().parent.parent
PEER_PYTHON = ROOT / ".venv-peer" / "bin" / "python"
PEER_SCRIPT = Path(__file__).with_name("peer_side.py")

Measurement = dict[str, Any]


class Child:
    """A process that answers each line with one measurement as a line of JSON."""

    def __init__(self, command: Sequence[str | Path], env: dict[str, str] | None = None) -> None:
        self._process = subprocess.Popen(
            [str(part) for part in command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **(env or {})},
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin
        assert self._process.stdout
        with contextlib.suppress(BrokenPipeError):
            self._process.stdin.close()
        self._process.stdout.close()
        self._process.terminate()
        self._process.wait()

    def ask(self, order: Any = None) -> Measurement:
        """Measure once."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(json.dumps(order) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise RuntimeError(f"{self._process.args!r} ended with {self._process.wait()}.")
        answer: Measurement = json.loads(line)
        return answer


def ours(module: str, *arguments: str | Path) -> Child:
    """A measuring module of ours, in the environment that this process runs in."""
    return Child(
        [sys.executable, "-W", "ignore", "-m", f"benchmarks.{module}", *arguments],
        {"AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR"},
    )


def peer(*arguments: str | Path) -> Child:
    """The peer, in its own environment."""
    return Child([PEER_PYTHON, "-W", "ignore", PEER_SCRIPT, *arguments])


def interleaved(children: dict[str, Child], rounds: int) -> dict[str, list[Measurement]]:
    """Let all measure in turns, so that other load on the machine affects them equally. The first round is a warm-up
    and does not count.
    """
    results: dict[str, list[Measurement]] = {name: [] for name in children}
    for number in range(rounds + 1):
        for name, child in children.items():
            measured = child.ask()
            if number:
                results[name].append(measured)
    return results


def median(measurements: list[Measurement], name: str) -> float:
    """The median of one figure."""
    return statistics.median(each[name] for each in measurements)


@contextlib.contextmanager
def many(children: dict[str, Child]) -> Iterator[dict[str, Child]]:
    """Children that end together."""
    with contextlib.ExitStack() as stack:
        for child in children.values():
            stack.enter_context(child)
        yield children
