"""scripts/mutation.py: what counts as noticed, by the exit codes that mutmut records."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
try:
    import mutation
finally:
    sys.path.remove(str(ROOT / "scripts"))


@pytest.fixture
def mutants(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of mutmut's results on a module."""
    monkeypatch.setattr(mutation, "ROOT", tmp_path)
    folder = tmp_path / "mutants" / mutation.PACKAGE / "asff"
    folder.mkdir(parents=True)
    return folder


def _record(folder: Path, *codes: int | None) -> None:
    by_key = {f"mutant_{number}": code for number, code in enumerate(codes)}
    (folder / "finding.py.meta").write_text(json.dumps({"exit_code_by_key": by_key}))


@pytest.mark.parametrize(
    ("code", "status"),
    [
        (1, "killed"),
        (3, "killed"),
        (0, "survived"),
        (33, "no tests"),
        (5, "no tests"),
        (36, "timeout"),
        (-24, "timeout"),
        (255, "timeout"),
        # A crash, and pytest's exit code for wrong arguments.
        (-11, "undecided"),
        (-9, "undecided"),
        (4, "undecided"),
        (35, "undecided"),
    ],
)
def test_status_of_a_mutant(mutants: Path, code: int, status: str) -> None:
    _record(mutants, code)
    assert mutation.results("asff.finding") == {"mutant_0": status}


@pytest.mark.parametrize("code", [None, 2, 34])
def test_what_was_not_tried_does_not_count(mutants: Path, code: int | None) -> None:
    _record(mutants, code)
    assert mutation.results("asff.finding") == {}
    assert not mutation.enough(Counter())


@pytest.mark.parametrize(
    ("counts", "enough"),
    [
        ({"killed": 17, "survived": 3}, True),
        ({"killed": 16, "timeout": 1, "survived": 3}, True),
        ({"killed": 16, "survived": 4}, False),
        ({"killed": 16, "survived": 3, "undecided": 1}, False),
        ({"killed": 16, "survived": 3, "no tests": 1}, False),
    ],
)
def test_undecided_and_untested_mutants_are_not_noticed(counts: dict[str, int], enough: bool) -> None:
    assert mutation.enough(Counter(counts)) is enough


def test_table_shows_every_status(
    mutants: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    _record(mutants, *[1] * 16, 36, 0, 33, -11, None)
    monkeypatch.setattr(mutation, "targets", lambda: ["asff.finding"])
    monkeypatch.setattr(sys, "argv", ["mutation.py"])
    monkeypatch.setattr(subprocess, "run", lambda *_, **__: subprocess.CompletedProcess([], 0))
    assert mutation.main() == 0
    *unnoticed, head, module, total = capsys.readouterr().out.splitlines()
    assert unnoticed == ["survived: mutant_17", "no tests: mutant_18", "undecided: mutant_19"]
    assert head.split() == ["killed", "timeout", "survived", "no", "tests", "undecided", "noticed"]
    assert module.split() == ["asff.finding", "16", "1", "1", "1", "1", "85%"]
    assert total.split()[1:] == module.split()[1:]
    _record(mutants, 0)
    assert mutation.main() == 1
    assert "TOO FEW" in capsys.readouterr().out
