"""The sessions of noxfile.py, with a stand-in for nox: what reaches pytest, and that no system test is left out."""

from __future__ import annotations

import importlib.util
import re
import sys
import tomllib
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
SCRIPTS = str(ROOT / "scripts")


@dataclass
class FakeSession:
    """A session of nox that only remembers its commands."""

    name: str
    posargs: list[str]
    commands: list[list[str]] = field(default_factory=list)
    variables: list[dict[str, str]] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    fails: bool = False

    def run(self, *command: str, external: bool, env: dict[str, str] | None = None) -> None:
        assert external
        self.commands.append(list(command))
        self.variables.append(env or {})
        if env and (folder := env.get("TMPDIR")):
            (Path(folder) / "of a test").write_text("x")
        if self.fails:
            raise RuntimeError("nox reports it")

    def warn(self, text: str) -> None:
        self.warnings.append(text)


def _decorator(function: Callable[..., Any] | None = None, **_: Any) -> Any:
    return function or (lambda decorated: decorated)


@pytest.fixture
def noxfile(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """noxfile.py, as nox imports it; no environment is made."""
    nox = ModuleType("nox")
    nox.Session = FakeSession  # type: ignore[attr-defined]
    nox.session = _decorator  # type: ignore[attr-defined]
    nox.parametrize = lambda *_, **__: _decorator  # type: ignore[attr-defined]
    nox.options = ModuleType("options")  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "nox", nox)
    monkeypatch.setattr(sys, "path", [SCRIPTS, *sys.path])
    # The module changes the environment; what it removes comes back.
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    spec = importlib.util.spec_from_file_location("noxfile", ROOT / "noxfile.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "environment", lambda name, *_, **__: f"{name}/bin/python")
    return module


def pytest_arguments(session: FakeSession) -> list[str]:
    """What pytest got, without the report, the plugins and the limit, which every session has."""
    [command] = session.commands
    at = command.index("pytest")
    assert command[at - 1] == "-m"
    assert command[at + 1].startswith("--junitxml=")
    assert command[at + 4] == "--timeout=900"
    return command[at + 5 :]


@pytest.mark.parametrize(
    ("posargs", "chosen"),
    [
        ([], ["-n", "2", "--dist", "loadgroup", "tests/integration"]),
        (["-x"], ["-n", "2", "--dist", "loadgroup", "tests/integration", "-x"]),
        (["-k", "tests"], ["-n", "2", "--dist", "loadgroup", "tests/integration", "-k", "tests"]),
        (["--ignore=tests/integration/test_first_steps.py"], None),
        (["tests/unit/asff", "-x"], ["tests/unit/asff", "-x"]),
        (["-x", "./tests/unit/test_dags.py::test_a[b::c]"], ["-x", "./tests/unit/test_dags.py::test_a[b::c]"]),
        ([str(ROOT / "tests" / "unit")], [str(ROOT / "tests" / "unit")]),
        # A mistyped path: pytest reports it, instead of running everything.
        (["tests/unti"], ["tests/unti"]),
    ],
)
def test_options_keep_the_tests_of_a_session_and_paths_replace_them(
    noxfile: ModuleType, posargs: list[str], chosen: list[str] | None
) -> None:
    session = FakeSession("integration(3.0.6)", posargs)
    noxfile.integration(session, "3.0.6")
    assert pytest_arguments(session) == (chosen or ["-n", "2", "--dist", "loadgroup", "tests/integration", *posargs])


def test_unit_tests_that_cannot_depend_on_airflow_run_with_the_newest_one_only(noxfile: ModuleType) -> None:
    for cell, left_out in ((noxfile.NEWEST, False), ("2.11.2", True)):
        session = FakeSession(f"unit({cell})", [])
        noxfile.unit(session, cell)
        arguments = pytest_arguments(session)
        assert ("--ignore=tests/unit/asff/test_limits.py" in arguments) is left_out
        assert ("--ignore=tests/unit/sandbox" in arguments) is left_out
        assert not [argument for argument in arguments if argument.startswith("--ignore=tests/unit/operators")]


def test_the_oldest_airflow_skips_the_unit_tests_of_the_rooms_that_import_linter_keeps_it_out_of(
    noxfile: ModuleType,
) -> None:
    session = FakeSession("unit-old", [])
    noxfile.unit_old(session)
    skipped = {each.partition("tests/unit/")[2] for each in pytest_arguments(session) if each.startswith("--ignore=")}
    [contract] = [
        contract
        for contract in tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["importlinter"]["contracts"]
        if contract["name"].startswith("Airflow stays with")
    ]
    kept_out = {module.partition(".")[2] for module in contract["source_modules"]}
    assert "airflow" in contract["forbidden_modules"]
    rooms = {name for name in skipped if (ROOT / "airflow_provider_tenable" / name).is_dir()}
    # Only the paths of staging are Airflow's.
    assert rooms == {name for name in kept_out if (ROOT / "tests" / "unit" / name).is_dir()} - {"staging"}
    assert all(each.startswith("airflow_provider_tenable.staging.location ->") for each in contract["ignore_imports"])


def test_integration_tests_that_the_oldest_airflow_skips_use_nothing_of_its_own(noxfile: ModuleType) -> None:
    session = FakeSession("integration-old", [])
    noxfile.integration_old(session)
    folder = "tests/integration/"
    skipped = [each.partition(folder)[2] for each in pytest_arguments(session) if each.startswith("--ignore=")]
    every = {path.name: path.read_text() for path in (ROOT / folder).glob("test_*.py")}
    assert set(skipped) < set(every)
    # What runs Airflow itself, or knows its versions. The exceptions that our code raises are the same in all of them.
    own = re.compile(r"dag_runs|_compat|\bairflow\.|\brunpy\b|'airflow'|render_template|create_session")
    raised = re.compile(r"^from airflow_provider_tenable\._compat import (TaskDeferred|AirflowFailException)$", re.M)
    assert {name for name in skipped if own.search(raised.sub("", every[name]))} == set()
    assert {"test_templates.py", "test_operators.py", "test_scan_dag.py", "test_documented_chain.py"}.isdisjoint(
        skipped
    )


def test_the_unit_session_with_an_option_runs_no_other_tests(noxfile: ModuleType) -> None:
    session = FakeSession("unit(3.0.6)", ["-x"])
    noxfile.unit(session, "3.0.6")
    arguments = pytest_arguments(session)
    assert [argument for argument in arguments if argument.startswith("tests/")] == ["tests/unit"]
    assert arguments[-1] == "-x"


def test_no_session_loads_the_plugin_of_anyio(noxfile: ModuleType) -> None:
    session = FakeSession("faults", [])
    noxfile.faults(session)
    [command] = session.commands
    assert command[command.index("-p") + 1] == "no:anyio"


@pytest.mark.parametrize(("name", "file"), [("unit(3.3.2-py3.13)", "unit-3.3.2-py3.13.xml"), ("faults", "faults.xml")])
def test_the_report_is_where_the_matrix_reads_it(noxfile: ModuleType, name: str, file: str) -> None:
    session = FakeSession(name, [])
    noxfile._pytest(session, "python", "tests/unit")
    [command] = session.commands
    [report] = [argument for argument in command if argument.startswith("--junitxml=")]
    assert report == f"--junitxml={ROOT / '.matrix' / file}"


def test_the_large_fault_tests_have_no_time_limit(noxfile: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    for size, limits in (("", ["--timeout=900"]), ("full", ["--timeout=900", "--timeout=0"])):
        monkeypatch.setenv("FAULTS", size)
        session = FakeSession("faults", [])
        noxfile.faults(session)
        assert [argument for argument in session.commands[0] if argument.startswith("--timeout")] == limits


@pytest.mark.parametrize("file", sorted(path.name for path in (ROOT / "tests" / "system").glob("test_*.py")))
def test_every_system_test_belongs_to_a_session(file: str) -> None:
    assert re.search(rf'"tests/system/{re.escape(file)}"', (ROOT / "noxfile.py").read_text())


@pytest.fixture
def memory(noxfile: ModuleType, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Stands for a file system in memory, with room."""
    monkeypatch.delenv("TMPDIR", raising=False)
    monkeypatch.setattr(noxfile, "_MEMORY", tmp_path)
    monkeypatch.setattr(noxfile, "_ROOM_BYTES", 1)
    return tmp_path


def test_temporary_files_are_in_memory_and_removed(noxfile: ModuleType, memory: Path) -> None:
    session = FakeSession("faults", [])
    noxfile.faults(session)
    [variables] = session.variables
    assert Path(variables["TMPDIR"]).parent == memory
    assert list(memory.iterdir()) == []
    assert session.warnings == []


def test_temporary_files_of_failed_tests_are_kept_and_named(noxfile: ModuleType, memory: Path) -> None:
    session = FakeSession("faults", [], fails=True)
    with pytest.raises(RuntimeError, match="nox reports it"):
        noxfile.faults(session)
    [folder] = memory.iterdir()
    assert [path.name for path in folder.iterdir()] == ["of a test"]
    # PostgreSQL runs as a user of its own, below this folder.
    assert folder.stat().st_mode & 0o777 == 0o711
    assert str(folder) in session.warnings[0]


@pytest.mark.parametrize("why", ["no room", "no such folder", "TMPDIR is set"])
def test_temporary_files_go_to_memory_only_with_room_and_without_tmpdir(
    noxfile: ModuleType, monkeypatch: pytest.MonkeyPatch, memory: Path, why: str
) -> None:
    if why == "no such folder":
        monkeypatch.setattr(noxfile, "_MEMORY", memory / "none")
    elif why == "no room":
        monkeypatch.setattr(noxfile, "_ROOM_BYTES", 1 << 60)
    else:
        monkeypatch.setenv("TMPDIR", str(memory))
    session = FakeSession("faults", [])
    noxfile.faults(session)
    assert session.variables == [{}]
    assert list(memory.iterdir()) == []
