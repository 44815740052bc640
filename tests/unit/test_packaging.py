"""The wheel and the source distribution are built and inspected."""

from __future__ import annotations

import ast
import email.message
import email.parser
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest

import airflow_provider_tenable

ROOT = Path(__file__).resolve().parent.parent.parent
PACKAGE = "airflow_provider_tenable"
PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]


def _uv() -> str | None:
    places = (Path(sys.executable).parent / "uv", ROOT / ".venv-nox" / "bin" / "uv", shutil.which("uv"))
    return next((str(place) for place in places if place and os.access(place, os.X_OK)), None)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of both distributions, built from a copy of the project: other tests may be building too."""
    uv = _uv()
    if uv is None:
        pytest.skip("uv is not installed")
    source, out = tmp_path_factory.mktemp("source") / "project", tmp_path_factory.mktemp("dist")
    shutil.copytree(
        ROOT, source, ignore=shutil.ignore_patterns(".*", "*.egg-info", "__pycache__", "build", "dist", "constraints")
    )
    done = subprocess.run(
        [uv, "build", "--quiet", "--python", sys.executable, "--out-dir", out, source],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return out


@pytest.fixture(scope="module")
def wheel(built: Path) -> zipfile.ZipFile:
    [path] = built.glob("*.whl")
    return zipfile.ZipFile(path)


def _read(wheel: zipfile.ZipFile, name: str) -> str:
    [path] = [each for each in wheel.namelist() if each.endswith(f".dist-info/{name}")]
    return wheel.read(path).decode()


@pytest.fixture(scope="module")
def metadata(wheel: zipfile.ZipFile) -> email.message.Message:
    return email.parser.Parser().parsestr(_read(wheel, "METADATA"))


def test_wheel_is_for_every_platform(built: Path) -> None:
    [path] = built.glob("*.whl")
    assert path.name == f"{PACKAGE}-{airflow_provider_tenable.__version__}-py3-none-any.whl"


def test_wheel_holds_the_package_and_nothing_else(wheel: zipfile.ZipFile) -> None:
    assert {name.split("/")[0].split("-")[0] for name in wheel.namelist()} == {PACKAGE}
    held = {name for name in wheel.namelist() if name.startswith(f"{PACKAGE}/")}
    there = {
        str(path.relative_to(ROOT))
        for path in (ROOT / PACKAGE).rglob("*")
        if path.is_file() and "__pycache__" not in path.parts
    }
    assert held == there
    assert not [name for name in held if re.search(r"(^|/)(tests?|sandbox|benchmarks|conftest)", name)]
    assert not [name for name in wheel.namelist() if name.startswith("dags/")]


def test_wheel_says_that_it_is_typed(wheel: zipfile.ZipFile) -> None:
    assert f"{PACKAGE}/py.typed" in wheel.namelist()


def test_wheel_has_the_entry_points(wheel: zipfile.ZipFile) -> None:
    assert _read(wheel, "entry_points.txt").split() == [
        "[airflow.plugins]",
        "tenable",
        "=",
        f"{PACKAGE}.ui.plugin:TenablePlugin",
        "[apache_airflow_provider]",
        "provider_info",
        "=",
        f"{PACKAGE}.provider_info:get_provider_info",
        "[console_scripts]",
        "tenable-to-security-hub",
        "=",
        f"{PACKAGE}.command.main:main",
    ]


def test_wheel_has_the_licence(wheel: zipfile.ZipFile, metadata: email.message.Message) -> None:
    assert metadata["License-Expression"] == "Apache-2.0"
    [path] = [name for name in wheel.namelist() if name.endswith("/LICENSE")]
    assert wheel.read(path) == (ROOT / "LICENSE").read_bytes()


def test_metadata_are_what_a_package_index_accepts(metadata: email.message.Message) -> None:
    # What twine checks: a description of a known type that can be rendered; and what the index itself refuses.
    assert metadata["Metadata-Version"] in ("2.1", "2.2", "2.3", "2.4")
    assert (metadata["Name"], metadata["Version"]) == (PROJECT["name"], airflow_provider_tenable.__version__)
    assert re.fullmatch(r"\d+(\.\d+)*((a|b|rc)\d+)?(\.post\d+)?(\.dev\d+)?", metadata["Version"])
    assert metadata["Description-Content-Type"].startswith("text/markdown")
    assert str(metadata.get_payload()).strip().startswith("# airflow-provider-tenable")
    assert 20 < len(metadata["Summary"]) <= 512
    assert "\n" not in metadata["Summary"]
    assert metadata["Requires-Python"] == PROJECT["requires-python"]
    keys = [
        key
        for key in metadata
        if key not in ("Classifier", "Requires-Dist", "Provides-Extra", "Project-URL", "License-File", "Dynamic")
    ]
    assert len(keys) == len(set(keys))


def test_classifiers_name_airflow_typing_and_every_python_that_is_tested(metadata: email.message.Message) -> None:
    classifiers = metadata.get_all("Classifier") or []
    assert {"Framework :: Apache Airflow", "Framework :: Apache Airflow :: Provider", "Typing :: Typed"} <= set(
        classifiers
    )
    pythons = {each.rsplit(" ", 1)[1] for each in classifiers if re.search(r":: 3\.\d+$", each)}
    assert pythons == {"3.11", "3.12", "3.13"}
    assert not [each for each in classifiers if each.startswith("License ::")]


def test_dependencies_are_those_that_the_package_imports(metadata: email.message.Message) -> None:
    required = {
        re.split(r"[^A-Za-z0-9-]", each)[0]
        for each in metadata.get_all("Requires-Dist") or []
        if "extra ==" not in each
    }
    imported: set[str] = set()
    for path in (ROOT / PACKAGE).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                imported |= {name.name.split(".")[0] for name in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
                imported.add(node.module.split(".")[0])
    foreign = imported - set(sys.stdlib_module_names) - {PACKAGE, "__future__"}
    distribution = {
        "airflow": "apache-airflow",
        "tenable": "pytenable",
        "boto3": "apache-airflow-providers-amazon",
        "botocore": "apache-airflow-providers-amazon",
    }
    # These come with pyTenable and Airflow themselves: the session that pyTenable is given, the old connection form,
    # version comparison, the web server of either Airflow, and its database.
    by_others = {"requests", "urllib3", "flask_appbuilder", "wtforms", "packaging", "fastapi", "flask", "sqlalchemy"}
    # Optional: imported only where Airflow has them.
    optional = {"asgiref", "openlineage"}
    assert {distribution.get(name, name) for name in foreign - by_others - optional} <= required


def test_no_dependency_is_pinned_or_bounded_without_a_reason() -> None:
    for dependency in PROJECT["dependencies"]:
        assert "==" not in dependency
        assert "<" not in dependency or dependency.startswith("restfly"), dependency


def test_source_distribution_builds_what_the_project_builds(built: Path) -> None:
    [path] = built.glob("*.tar.gz")
    with tarfile.open(path) as archive:
        names = {name.split("/", 1)[1] for name in archive.getnames() if "/" in name}
    assert {
        "pyproject.toml",
        "setup.py",
        "README.md",
        "LICENSE",
        f"{PACKAGE}/__init__.py",
        f"{PACKAGE}/py.typed",
    } <= names
    assert not [name for name in names if name.startswith(("sandbox/", "dags/", "benchmarks/", ".venv"))]


def test_changelog_has_this_version() -> None:
    assert re.search(
        rf"^## {re.escape(airflow_provider_tenable.__version__)}\b", (ROOT / "CHANGELOG.md").read_text(), re.M
    )


def test_registry_file_names_what_there_is() -> None:
    import importlib

    import yaml

    from airflow_provider_tenable.provider_info import get_provider_info

    registry = yaml.safe_load((ROOT / ".airflow-registry.yaml").read_text())
    info = get_provider_info()
    assert (registry["package-name"], registry["display-name"], registry["description"]) == (
        PROJECT["name"],
        info["name"],
        info["description"],
    )
    layers = ("hooks", "operators", "sensors", "triggers")
    paths = {
        layer: [entry["module"] for entry in registry[layer]]
        for layer in (*layers, "extra-links", "notifications", "assets")
    }
    for layer, listed in paths.items():
        assert all(entry["description"] for entry in registry[layer])
        assert len(set(listed)) == len(listed)
        for path in listed:
            module, name = path.rsplit(".", 1)
            assert hasattr(importlib.import_module(module), name)
    for layer in layers:
        modules = {name for entry in info[layer] for name in entry["python-modules"]}
        suffix = layer.removesuffix("s").title()
        classes = {
            f"{module}.{name}"
            for module in modules
            for name, found in vars(importlib.import_module(module)).items()
            if name.endswith(suffix) and not name.startswith("_") and found.__module__ == module
        }
        assert {path.rsplit(".", 1)[0] for path in classes} == modules
        assert set(paths[layer]) == classes
    # Everything that the provider registers with Airflow is listed, and nothing else.
    assert (paths["extra-links"], paths["notifications"]) == (info["extra-links"], info["notifications"])
    assert [entry["scheme"] for entry in registry["assets"]] == [
        scheme for entry in info["asset-uris"] for scheme in entry["schemes"]
    ]
    assert set(registry) == {"package-name", "display-name", "description", *paths}
