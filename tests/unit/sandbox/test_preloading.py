"""What the sandbox's Airflow imports before it forks tasks."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from sandbox.garbage import THRESHOLDS
from sandbox.standalone.preloading import preload


@pytest.mark.parametrize(("component", "loads"), [("scheduler", True), ("worker", True), ("api-server", False)])
def test_only_those_import_that_fork_tasks(tmp_path: Path, component: str, loads: bool) -> None:
    preload(tmp_path, "ours = 1")
    module = tmp_path / "config" / "airflow_local_settings.py"
    code = f"{module.read_text()}\nprint(ours, 'pandas' in sys.modules, gc.get_threshold()[0])"
    command = [sys.executable, "-W", "ignore", "-c", code, component]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.stdout.split()[-3:] == ["1", str(loads), str(THRESHOLDS[0])], done.stderr


def test_a_module_that_exists_is_kept(tmp_path: Path) -> None:
    module = tmp_path / "config" / "airflow_local_settings.py"
    module.parent.mkdir()
    module.write_text("own = 1")
    preload(tmp_path)
    assert module.read_text() == "own = 1"
