"""On a local disk staged files are for the tasks' OS user alone, whatever its umask, and whoever made the folders."""

from __future__ import annotations

import logging
import os
import stat
import subprocess
import sys
import tempfile
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest

from airflow_provider_tenable.export.state import ExportState
from airflow_provider_tenable.export.store import StagedExport
from airflow_provider_tenable.security_hub.assignment import Target, write_group
from airflow_provider_tenable.security_hub.receipts import Receipts
from airflow_provider_tenable.staging.files import read_json, read_whole, write_json, write_whole
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.transform.output import FindingsWriter
from airflow_provider_tenable.transform.waiting_records import claim_pool, settle_pool

ACCOUNT, REGION = "111122223333", "eu-west-1"
VIA = SimpleNamespace(aws_conn_id="aws_default", role_name=None, external_id=None)
UMASKS = [0o000, 0o022, 0o027, 0o077, 0o277, 0o777]


@pytest.fixture
def umask():
    """Sets the process's umask for a test."""
    before = os.umask(0o022)
    yield os.umask
    os.umask(before)


def modes(root: Path) -> dict[str, str]:
    """The modes of everything below a folder, itself included."""
    return {
        str(path.relative_to(root.parent)): f"{stat.S_IMODE(path.lstat().st_mode):04o}"
        for path in [root, *root.rglob("*")]
    }


def wrong(root: Path) -> dict[str, str]:
    return {
        name: mode
        for name, mode in modes(root).items()
        if mode != ("0700" if (root.parent / name).is_dir() else "0600")
    }


def stage_everything(base: str) -> RunFolder:
    """Every kind of file that a run stages, by the code that stages it."""
    run = RunFolder.of({"dag_run": SimpleNamespace(dag_id="dag", run_id="run")}, base)
    write_json(run.plan, {"window": {}})
    write_json(run.shards, {"count": 1})
    export = StagedExport(run.export("vulnerabilities"), "vulnerabilities")
    export.put("job-uuid", 1, export.encode([b"[]"]))
    export.save(ExportState(kind="vulnerabilities", body={}, started_at=0.0))
    assets = StagedExport(run.export("assets"), "assets")
    assets.put("job-uuid", 1, assets.encode([b'[{"id": "a"}]']))
    writer = FindingsWriter(run, 0)
    writer.write(ACCOUNT, REGION, b'{"Id":"1"}', "high", VIA)
    writer.reject("unmappable_record", "no", b"{}")
    writer.park(b'{"parked_at":1,"record":{}}')
    manifest = writer.close(
        {
            "read": 3,
            "skipped": {},
            "skipped_accounts": [],
            "parked": 1,
            "findings": 1,
            "from_pool": False,
            "pool_parts": [],
        }
    )
    receipts = Receipts(run, ACCOUNT, REGION, [manifest["destinations"][0]["parts"][0]["name"]])
    receipts.reject(
        manifest["destinations"][0]["parts"][0]["name"],
        0,
        finding_id="1",
        code="InvalidInput",
        message="no",
        finding=b'{"Id":"1"}',
    )
    receipts.flush()
    write_group(run, 0, [Target(ACCOUNT, REGION, "aws_default", None, 1)])
    settle_pool(run, [manifest["parked_part"]], done=[])
    claim_pool(run)
    write_json(run.asset_index / "manifest.json", {})
    write_json(run.ledger, {"complete": True})
    return run


@pytest.mark.parametrize("mask", UMASKS, ids=oct)
def test_every_folder_and_file_is_for_its_owner_alone_whatever_the_umask(tmp_path, umask, mask):
    umask(mask)
    run = stage_everything(f"file://{tmp_path}/deep/staging")
    umask(0o022)
    found = modes(tmp_path / "deep")
    assert len(found) > 25
    assert wrong(tmp_path / "deep") == {}
    assert read_json(run.plan) == {"window": {}}


def test_a_file_is_for_its_owner_alone_before_it_has_its_name(tmp_path, umask, monkeypatch):
    umask(0o000)
    seen = []
    replace = os.replace
    monkeypatch.setattr(
        os,
        "replace",
        lambda source, target: (seen.append(stat.S_IMODE(os.stat(source).st_mode)), replace(source, target)),
    )
    write_whole(open_path(f"file://{tmp_path}") / "run" / "file", b"secret")
    assert seen == [0o600]


def test_a_file_of_an_earlier_version_is_closed_when_it_is_written_over(tmp_path):
    path = tmp_path / "run" / "run.json"
    path.parent.mkdir(mode=0o755)
    path.write_text("{}")
    path.chmod(0o644)
    write_whole(open_path(f"file://{path}"), b"{}")
    assert wrong(path.parent) == {}


def test_folders_of_an_earlier_version_are_closed_by_the_first_task(tmp_path):
    old = tmp_path / "dag" / "old_run" / "findings"
    old.mkdir(parents=True, mode=0o755)
    for folder in (tmp_path / "dag", tmp_path / "dag" / "old_run", old):
        folder.chmod(0o755)
    tmp_path.chmod(0o755)
    RunFolder.of({"dag_run": SimpleNamespace(dag_id="dag", run_id="new_run")}, f"file://{tmp_path}")
    # Nobody else comes past it, so what lies below needs no look.
    assert modes(tmp_path / "dag")["dag"] == "0700"
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755


def test_the_folder_above_the_dags_which_may_hold_more_keeps_its_mode(tmp_path):
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o775)
    stage_everything(f"file://{shared}")
    assert stat.S_IMODE(shared.stat().st_mode) == 0o775
    assert wrong(shared / "dag") == {}


def test_an_object_store_has_no_modes_and_nothing_is_asked_of_it():
    from fsspec.implementations.memory import MemoryFileSystem

    from airflow_provider_tenable._compat import AIRFLOW_V_3_0_PLUS

    if AIRFLOW_V_3_0_PLUS:
        from airflow.sdk.io import attach
    else:
        from airflow.io.store import attach
    attach("memory", fs=MemoryFileSystem())
    run = stage_everything("memory://private-files")
    assert read_json(run.plan) == {"window": {}}


def test_a_file_system_that_keeps_its_modes_costs_a_warning_and_no_run(tmp_path, monkeypatch, caplog):
    (tmp_path / "dag").mkdir()
    (tmp_path / "dag").chmod(0o755)

    def refuse(*args, **kwargs):
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(os, "chmod", refuse)
    monkeypatch.setattr(os, "fchmod", refuse)
    with caplog.at_level(logging.WARNING, "airflow_provider_tenable.staging.private_files"):
        run = stage_everything(f"file://{tmp_path}")
    assert read_json(run.plan) == {"window": {}}
    (message,) = [
        record.getMessage()
        for record in caplog.records
        if record.name == "airflow_provider_tenable.staging.private_files"
    ]
    assert message == (
        f"Other OS users can open the staging folder {tmp_path}/dag (mode 0755), and this task's user "
        f"(uid {os.geteuid()}) cannot change that. Set its mode to 0700, or mount the file system with such modes."
    )


def test_folders_that_two_tasks_make_at_once_are_no_error(tmp_path, monkeypatch):
    mkdir = os.mkdir

    def late(path, *args, **kwargs):
        """Another task was faster."""
        mkdir(path, 0o700)
        mkdir(path, *args, **kwargs)

    monkeypatch.setattr(os, "mkdir", late)
    path = open_path(f"file://{tmp_path}") / "a" / "b" / "file"
    write_whole(path, b"x")
    assert read_whole(path) == b"x"


_AS_ANOTHER_USER = """
    import os, sys
    from airflow_provider_tenable.exceptions import StagingError
    from airflow_provider_tenable.staging.files import names, read_json, read_whole, write_whole
    from airflow_provider_tenable.staging.location import open_path

    folder = open_path(sys.argv[1])
    # Read once by root, so that every module is imported while the interpreter's own files can be read.
    read_json(folder / "run.json"), names(folder)
    os.setgid(65534)
    os.setuid(65534)
    for do in (
        lambda: read_whole(folder / "run.json"),
        lambda: read_json(folder / "run.json"),
        lambda: write_whole(folder / "x", b""),
        lambda: names(folder),
    ):
        try:
            do()
        except StagingError as error:
            print(error)
        else:
            print("nothing was refused")
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a_task_of_another_user_is_told_what_to_do():
    with tempfile.TemporaryDirectory() as folder:
        # Not pytest's folder, which other users cannot enter.
        os.chmod(folder, 0o755)
        _another_user_is_refused(stage_everything(f"file://{folder}"))


def _another_user_is_refused(run: RunFolder) -> None:
    command = [sys.executable, "-W", "ignore", "-c", textwrap.dedent(_AS_ANOTHER_USER), str(run.root)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=False)
    said = [line for line in done.stdout.splitlines() if "staged" in line.lower() or "refused" in line]
    assert len(said) == 4, (done.stdout, done.stderr[-2000:])
    for line, what in zip(said, ("read", "read", "write", "list"), strict=True):
        assert line.startswith(f"Cannot {what} {run.root.path}"), line
        assert "Permission denied for this task's OS user (uid 65534)" in line
        assert (
            "run all of Airflow's components, and tasks with run_as_user, as the user who owns [tenable] staging_path"
            in line
        )
