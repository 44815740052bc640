"""scripts/environments.py: which versions there are, and when an environment is made, with a stand-in for uv."""

from __future__ import annotations

import subprocess
import sys
import threading
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
try:
    import environments
finally:
    sys.path.remove(str(ROOT / "scripts"))

#: Stands in for uv: notes its arguments, makes the folder of a virtual environment, fails where it is asked to.
UV = """#!/bin/sh
echo "$*" >> calls
[ ! -e fail ] || exit 3
if [ "$1" = venv ]; then for folder; do :; done; rm -rf "$folder"; mkdir "$folder"; fi
"""


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A repository in which environments are made."""
    (tmp_path / "constraints").mkdir()
    for name in ("mwaa-2.11.2", "mwaa-3.3.1", "mwaa-3.10.0", "airflow-3.11.0"):
        (tmp_path / "constraints" / f"{name}.txt").write_text(f"# {name}\n")
    (tmp_path / "pyproject.toml").write_text("[project]\n")
    uv = tmp_path / "uv"
    uv.write_text(UV)
    uv.chmod(0o755)
    monkeypatch.setattr(environments, "ROOT", tmp_path)
    monkeypatch.setattr(environments, "uv", lambda: str(uv))
    return tmp_path


def calls(root: Path) -> list[str]:
    """What uv was asked since the last look."""
    file = root / "calls"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


def test_versions_come_from_the_names_of_the_constraints_in_the_order_of_their_numbers(root: Path) -> None:
    assert environments.airflow_versions() == {
        "2.11.2": "mwaa-2.11.2.txt",
        "3.3.1": "mwaa-3.3.1.txt",
        "3.10.0": "mwaa-3.10.0.txt",
        "3.11.0": "airflow-3.11.0.txt",
    }
    assert list(environments.airflow_versions("mwaa-")) == ["2.11.2", "3.3.1", "3.10.0"]


@pytest.mark.parametrize(("word", "version"), [("oldest", environments.OLDEST), ("newest", environments.NEWEST)])
def test_the_makefile_can_ask_for_a_version(word: str, version: str) -> None:
    command = [sys.executable, str(ROOT / "scripts" / "environments.py"), word]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [version]


def test_environment_is_made_once(root: Path) -> None:
    assert environments.environment(".venv-x", "one", "two") == ".venv-x/bin/python"
    made, installed = calls(root)
    assert made == f"venv --quiet --clear --seed -p {sys.executable} .venv-x"
    assert installed == "pip install --quiet -p .venv-x/bin/python one two"
    environments.environment(".venv-x", "one", "two")
    assert calls(root) == []


@pytest.mark.parametrize("change", ["arguments", "project", "constraints", "stamp"])
def test_environment_is_made_again_if_it_would_differ(root: Path, change: str) -> None:
    arguments = ["-c", "constraints/mwaa-3.3.1.txt", "one"]
    environments.environment(".venv-x", *arguments)
    calls(root)
    if change == "arguments":
        arguments.append("two")
    elif change == "project":
        (root / "pyproject.toml").write_text("[project]\nname = 'other'\n")
    elif change == "constraints":
        (root / "constraints" / "mwaa-3.3.1.txt").write_text("pandas==3\n")
    else:
        (root / ".venv-x" / "made-of").unlink()
    environments.environment(".venv-x", *arguments)
    assert len(calls(root)) == 2


def test_environment_of_another_python_is_another_one(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(environments, "interpreter", lambda version: f"/python{version}")
    environments.environment(".venv-x", "one", python="3.12")
    assert " -p /python3.12 " in calls(root)[0]
    environments.environment(".venv-x", "one", python="3.13")
    assert " -p /python3.13 " in calls(root)[0]


def test_failed_installation_says_what_failed_and_is_repeated(root: Path) -> None:
    (root / "fail").touch()
    with pytest.raises(SystemExit, match=r"uv venv .*\.venv-x failed; its output is above"):
        environments.environment(".venv-x", "one")
    (root / "fail").unlink()
    calls(root)
    environments.environment(".venv-x", "one")
    assert len(calls(root)) == 2


def test_two_that_need_the_same_environment_make_it_once(root: Path) -> None:
    threads = [threading.Thread(target=environments.environment, args=(".venv-x", "one")) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(calls(root)) == 2


def test_interpreter_is_one_of_that_version_or_the_number_for_uv() -> None:
    own = f"{sys.version_info.major}.{sys.version_info.minor}"
    found = environments.interpreter(own)
    asked = subprocess.run([found, "--version"], capture_output=True, text=True, check=True)
    assert asked.stdout.startswith(f"Python {own}.")
    assert environments.interpreter("3.99") == "3.99"


def test_uv_that_is_missing_is_named(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    monkeypatch.setattr(environments, "ROOT", root)
    monkeypatch.setattr(sys, "executable", str(root / "bin" / "python"))
    monkeypatch.setenv("PATH", str(root / "nothing"))
    with pytest.raises(SystemExit, match=r"uv was not found\. Run make setup"):
        environments.uv()
