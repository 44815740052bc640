"""The checks of the staging area."""

from __future__ import annotations

import os
import shutil
import socket
import stat
import time
import uuid
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable._compat import conf
from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.requirements.lines import FAILED, OK, UNCHECKED, Line, guarded
from airflow_provider_tenable.staging.files import is_local, read_json, remove_file, write_json
from airflow_provider_tenable.tenable_vm.times import utc

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

#: Free space that a local staging area must have, in bytes.
LEAST_FREE = 1024**3
#: Executors that run all tasks on the machine of the scheduler.
_ONE_MACHINE = frozenset({"LocalExecutor", "SequentialExecutor"})
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def check_staging(folder: ObjectStoragePath, *, marker: bool, earlier: Any = None) -> tuple[list[Line], dict[str, Any]]:
    """The lines of ``staging.*``.

    :param folder: the DAG's folder, or the staging area itself.
    :param marker: whether to leave a marker that a later task can look for. Otherwise the file is removed.
    :param earlier: the marker that an earlier run of the task has returned.
    :return: the lines, and the new marker; empty without one.
    """
    path = folder / "deployment" / "requirements.json" if marker else folder / f".requirements-{uuid.uuid4().hex}.json"
    # Before this task writes its own marker.
    shared = guarded("staging.shared", "", lambda: _shared(path, earlier, marker))
    own = {"host": socket.gethostname(), "at": int(time.time()), "token": uuid.uuid4().hex}
    write = guarded("staging.write", "", lambda: _write(folder, path, own, marker))
    lines = [write, shared, *_local(folder)]
    return lines, own if marker and write.state == OK else {}


def _write(folder: ObjectStoragePath, path: ObjectStoragePath, own: dict[str, Any], marker: bool) -> Line | str:
    if not marker and is_local(folder) and not os.path.isdir(folder.path):
        existing = _existing(folder.path)
        state = OK if os.access(existing, os.W_OK | os.X_OK) else FAILED
        return Line("staging.write", "", state, f"{safe(folder, 200)} does not exist yet; its parent is {existing}.")
    write_json(path, own)
    try:
        found = read_json(path, advice="")
    finally:
        if not marker:
            remove_file(path)
    if not isinstance(found, dict) or found.get("token") != own["token"]:
        raise StagingError("The file that was written just now does not have its content when it is read.")
    return f"A file was written to {safe(folder, 200)} and read back."


def _shared(path: ObjectStoragePath, earlier: Any, marker: bool) -> Line:
    check = "staging.shared"
    if not is_local(path):
        return Line(check, "", OK, "An object store is the same for all workers.")
    if _executor() in _ONE_MACHINE:
        return Line(check, "", OK, f"{_executor()} runs all tasks on one machine.")
    if not marker:
        return Line(
            check, "", UNCHECKED, "It takes two tasks to find out.", "Let the DAG tenable_requirements run twice."
        )
    if not (isinstance(earlier, dict) and isinstance(earlier.get("host"), str) and type(earlier.get("at")) is int):
        advice = "Nothing: the next run looks for the file that this one writes."
        return Line(check, "", UNCHECKED, "No earlier run of this task has written a file.", advice)
    wrote = f"the file that worker {safe(earlier['host'], 80)} wrote at {utc(earlier['at'])}"
    found = read_json(path, advice="")
    if not isinstance(found, dict) or type(found.get("at")) is not int or found["at"] < earlier["at"]:
        return Line(check, "", FAILED, f"Worker {safe(socket.gethostname(), 80)} does not see {wrote}.")
    if found.get("host") == socket.gethostname():
        detail = f"This worker sees {wrote}. Whether others do is not known: it was the same worker."
        return Line(check, "", UNCHECKED, detail, "Nothing: a run on another worker finds out.")
    return Line(check, "", OK, f"Worker {safe(socket.gethostname(), 80)} sees {wrote}.")


def _local(folder: ObjectStoragePath) -> Iterator[Line]:
    if not is_local(folder):
        yield Line("staging.space", "", OK, "An object store has no fixed size.")
        detail = "The bucket's own policy decides who can read it."
        yield Line(
            "staging.permissions", "", UNCHECKED, detail, "Block public access, and let only the workers read it."
        )
        return
    yield guarded("staging.space", "", lambda: _space(folder.path))
    yield guarded("staging.permissions", "", lambda: _permissions(folder.path))


def _space(folder: str) -> Line:
    free = shutil.disk_usage(_existing(folder)).free
    return Line("staging.space", "", OK if free >= LEAST_FREE else FAILED, f"{free / 1024**3:.1f} GiB are free.")


def _permissions(folder: str) -> Line:
    if not os.path.isdir(folder):
        return Line("staging.permissions", "", OK, "The folder does not exist yet; it is created with mode 0700.")
    status = os.stat(folder)
    mode = stat.S_IMODE(status.st_mode)
    detail = f"{safe(folder, 200)} has mode {mode:04o} and belongs to uid {status.st_uid}."
    return Line("staging.permissions", "", FAILED if mode & _OTHERS else OK, detail)


def _existing(folder: str) -> str:
    """The folder, or the closest of its parents that exists."""
    while not os.path.isdir(folder) and os.path.dirname(folder) != folder:
        folder = os.path.dirname(folder)
    return folder


def _executor() -> str:
    return str(conf.get("core", "executor", fallback="")).rpartition(".")[2]
