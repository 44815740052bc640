"""MWAA's bundle: what can be said about it without building one. `scripts/mwaa_bundle.py --check` builds and installs
it.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent.parent
sys.path.insert(0, str(ROOT / "scripts"))
try:
    import mwaa_bundle
    import mwaa_packages
finally:
    sys.path.remove(str(ROOT / "scripts"))

FURTHER = {"pytenable": "26.10.1", "s3fs": "2026.7.0"}


@pytest.mark.parametrize("form", ["offline", "plain"])
def test_requirements_leave_mwaas_constraints_in_force(form: str) -> None:
    # MWAA searches for these two texts in the entire file, even in comments, and then adds no constraints.
    text = mwaa_bundle.requirements_text(form, "0.1.0", FURTHER)
    assert "-c " not in text
    assert "--constraint " not in text


def test_offline_requirements_need_no_index() -> None:
    assert mwaa_bundle.requirements_text("offline", "0.1.0", FURTHER).splitlines() == [
        "--find-links /usr/local/airflow/plugins",
        "--no-index",
        "airflow-provider-tenable[s3]==0.1.0",
        "pytenable==26.10.1",
        "s3fs==2026.7.0",
    ]


def test_plain_requirements_use_the_index_for_all_but_the_provider() -> None:
    lines = mwaa_bundle.requirements_text("plain", "0.1.0", FURTHER).splitlines()
    assert "--no-index" not in lines
    assert lines[0] == "--find-links /usr/local/airflow/plugins"


def test_plugins_depend_on_nothing_but_their_content(tmp_path: Path) -> None:
    for name in ("b.whl", "a.whl"):
        (tmp_path / name).write_bytes(name.encode())
    mwaa_bundle.pack([tmp_path / "b.whl", tmp_path / "a.whl"], tmp_path / "one.zip")
    mwaa_bundle.pack([tmp_path / "a.whl", tmp_path / "b.whl"], tmp_path / "two.zip")
    assert (tmp_path / "one.zip").read_bytes() == (tmp_path / "two.zip").read_bytes()
    assert zipfile.ZipFile(tmp_path / "one.zip").namelist() == ["a.whl", "b.whl"]


def test_check_reaches_no_index(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("PIP_INDEX_URL", "PIP_EXTRA_INDEX_URL", "PIP_FIND_LINKS", "UV_INDEX_URL", "TIO_ACCESS_KEY"):
        monkeypatch.setenv(name, "something")
    env = mwaa_bundle.offline_environment(tmp_path)
    assert not [
        name
        for name in env
        if name.startswith(("UV_", "TIO_")) or name.endswith("INDEX_URL") or name == "PIP_FIND_LINKS"
    ]
    assert env["HTTPS_PROXY"] == "http://127.0.0.1:9"


@pytest.mark.parametrize("has_pip", [True, False])
def test_wheels_are_downloaded_with_and_without_pip_in_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, has_pip: bool
) -> None:
    commands: list[list[str]] = []
    monkeypatch.setattr(mwaa_packages, "run", lambda *command: commands.append([str(part) for part in command]))
    monkeypatch.setattr(mwaa_packages.importlib.util, "find_spec", lambda name: object() if has_pip else None)
    monkeypatch.setattr(mwaa_packages, "uv", lambda: "/bin/uv")
    mwaa_packages.download(FURTHER, tmp_path)
    [command] = commands
    at = command.index("download")
    assert command[:at] == ([sys.executable, "-m", "pip"] if has_pip else ["/bin/uv", "tool", "run", "--quiet", "pip"])
    assert command[-2:] == ["pytenable==26.10.1", "s3fs==2026.7.0"]
    assert command[command.index("--python-version") + 1] == "3.12"


@pytest.mark.parametrize(
    ("settings", "asked"),
    [([], ""), (["AIRFLOW=2.11.2"], "--airflow 2.11.2"), (["AIRFLOW=3.3.2"], "--airflow 3.3.2")],
)
def test_make_builds_for_the_airflow_that_it_is_given(settings: list[str], asked: str) -> None:
    """Also for one without a bundle, which the script then refuses."""
    make = shutil.which("make")
    if make is None:
        pytest.skip("make is not installed")
    env = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "AIRFLOW"))}
    command = [make, "--dry-run", f"PYTHON={sys.executable}", *settings, "mwaa"]
    done = subprocess.run(command, cwd=ROOT, env=env, capture_output=True, text=True, check=True)
    [line] = [line for line in done.stdout.splitlines() if "--session mwaa " in line]
    assert line.partition(" -- ")[2].strip() == asked


def test_check_refuses_requirements_that_name_constraints(tmp_path: Path) -> None:
    (tmp_path / "MANIFEST.json").write_text(json.dumps({"airflow": "3.3.1"}))
    (tmp_path / "requirements.txt").write_text("# never write -c in here\n")
    with pytest.raises(mwaa_bundle.BundleError, match="not apply its own constraints"):
        mwaa_bundle.check(tmp_path)


def test_unknown_version_is_refused_with_the_known_ones(tmp_path: Path) -> None:
    with pytest.raises(mwaa_bundle.BundleError, match=r"2\.11\.2, 3\.0\.6, 3\.2\.1, 3\.3\.1"):
        mwaa_bundle.build("2.9.0", "offline", tmp_path / "bundle")


def test_startup_script_is_plain_shell_and_names_real_options() -> None:
    from airflow_provider_tenable.config import OPTIONS

    script = ROOT / "deploy" / "mwaa" / "startup.sh"
    subprocess.run(["sh", "-n", script], check=True)
    assert {name.lower() for name in re.findall(r"AIRFLOW__TENABLE__(\w+)", script.read_text())} <= set(OPTIONS)
    done = subprocess.run(
        ["sh", "-eu", script],
        env={"PATH": "/usr/bin:/bin", "MWAA_AIRFLOW_COMPONENT": "worker"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "component worker" in done.stdout
