"""Which unit tests run with the newest Airflow only (scripts/import_closure.py): none that may depend on Airflow."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
try:
    import import_closure
finally:
    sys.path.remove(str(ROOT / "scripts"))

FILES = {
    "package/__init__.py": "",
    "package/plain.py": "import json\nfrom . import other",
    "package/other.py": "from .inner import deep",
    "package/inner/__init__.py": "",
    "package/inner/deep.py": "",
    "package/face.py": "def late():\n    try:\n        from airflow.sdk import DAG\n    except KeyError:\n        pass",
    "package/typed.py": "from typing import TYPE_CHECKING\nif TYPE_CHECKING:\n    import airflow",
    "package/dynamic.py": "import importlib.util",
    "heavy/__init__.py": "import airflow",
    "heavy/light.py": "",
    "scripts/tool.py": "import subprocess",
    "tests/helper.py": "import package.face",
}


def found(root: Path, text: str) -> bool:
    """Whether a unit test of this text is left out with other Airflows."""
    for name, content in {**FILES, "tests/unit/room/test_it.py": text}.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(content)
    return import_closure.without_airflow(root) == ["room/test_it.py"]


@pytest.mark.parametrize(
    "text",
    [
        "import json",
        "from package import plain",
        "import package.plain",
        "from package.typed import x",
        "import pytest",
    ],
)
def test_what_reaches_no_airflow_is_left_out(tmp_path: Path, text: str) -> None:
    assert found(tmp_path, text)


@pytest.mark.parametrize(
    "text",
    [
        "import airflow",
        "import airflow.sdk",
        "def test_it():\n    from airflow import DAG",
        "from package.face import late",
        "from package import face",
        "import package.face as it",
        # The package's own file runs first.
        "from heavy.light import x",
        "from tests.helper import x",
        "from tests import helper",
        "class A:\n    def b(self):\n        with c:\n            import package.face",
        # What these import is not in the text.
        "import runpy",
        "import importlib",
        "from importlib import import_module",
        "from package import dynamic",
        "import subprocess",
        "import tool",
    ],
)
def test_what_may_reach_airflow_runs_everywhere(tmp_path: Path, text: str) -> None:
    assert not found(tmp_path, text)


def test_fixtures_of_the_folder_count_too(tmp_path: Path) -> None:
    assert found(tmp_path, "import json")
    (tmp_path / "tests" / "unit" / "conftest.py").write_text("import package.face")
    assert not found(tmp_path, "import json")


def test_tests_of_airflows_faces_run_everywhere() -> None:
    left_out = import_closure.without_airflow()
    assert "asff/test_limits.py" in left_out
    faces = ("operators/", "hooks/", "triggers/", "links/", "notifications/", "observability/")
    assert [file for file in left_out if file.startswith(faces)] == []
    assert {"test_dags.py", "test_config.py", "test_provider_info.py", "test_template_safety.py"}.isdisjoint(left_out)
