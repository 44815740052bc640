"""The files between one stage and the next.

Every file is written atomically: on a local disk under a temporary name, flushed and renamed; in an object store with a
single request. A file counts only once a manifest names it. On a local disk only the tasks' OS user can read the files.
"""

from __future__ import annotations

import contextlib
import inspect
import io
import os
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor
from typing import IO, TYPE_CHECKING, Any

from airflow_provider_tenable.disk_errors import after_writing, words_of
from airflow_provider_tenable.exceptions import (
    DamagedFileError,
    MissingFileError,
    StagingError,
    StorageUnavailableError,
)
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging.private_files import make_private_folder, private_opener

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

_REMOVALS_AT_A_TIME = 8

#: The suffix of a file's name until the file is complete.
_TEMPORARY = ".{}.tmp"
#: Maximum bytes of a file's name: file systems allow 255, including the suffix.
LONGEST_NAME_BYTES = 255 - len(_TEMPORARY.format("01234567"))

#: The keys of a manifest's own checksum, and of the format that it is written in.
_CHECKSUM = "checksum"
_FORMAT = "format"
#: The format of all staged files. Raise it when an older version would misread what this version writes.
FORMAT = 1


def newer_format(path: ObjectStoragePath, found: Any) -> StagingError:
    """The error for a file that a newer version has written: using it with half of its meaning would be worse than
    stopping.
    """
    return StagingError(
        f"The staged file {path} has format {found}, written by a newer version of airflow-provider-tenable; this one "
        f"reads format {FORMAT}. Install the newer version again. Or, if the file is in a run's own folder, remove "
        "that folder and clear the run. Move parked records elsewhere, and keep everything in deployment/: it records "
        "which findings are outstanding."
    )


def is_local(path: ObjectStoragePath) -> bool:
    """Whether the path is on this machine's file system."""
    return path.protocol in ("file", "local", "")


def write_whole(path: ObjectStoragePath, data: bytes) -> None:
    """Write a file atomically: it is complete or absent, even if the process is killed or the disk is full."""
    if not is_local(path):
        try:
            # One request, or a multipart upload that counts only once it is complete.
            path.fs.pipe_file(path.path, data)
        except OSError as error:
            raise StagingError(
                f"Cannot write {path}: {words_of(error)}. Check the bucket's name and the connection's permissions "
                "there, and clear the task."
            ) from error
        return
    target = path.path
    temporary = target + _TEMPORARY.format(uuid.uuid4().hex[:8])
    try:
        make_private_folder(os.path.dirname(target))
        with open(temporary, "wb", opener=private_opener) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        reached(CrashPoint.FILE_NOT_RENAMED)
        os.replace(temporary, target)
    except OSError as error:
        with contextlib.suppress(OSError):
            os.unlink(temporary)
        if isinstance(error, PermissionError):
            raise _not_ours("write", path, error) from error
        raise StagingError(f"Cannot write {target}: {words_of(error)}. {after_writing(error)}") from error


def create_whole(path: ObjectStoragePath, data: bytes) -> bool:
    """Write a file atomically unless it exists.

    Of several processes, only one creates the file. Where the file system has no hard links, or the object store no
    conditional writes, the last one that writes at the same moment wins: read the file again to see which.

    :return: whether this call has written it.
    """
    if not is_local(path):
        return _create_object(path, data)
    complete = path.with_name(path.name + _TEMPORARY.format(uuid.uuid4().hex[:8]))
    write_whole(complete, data)
    try:
        os.link(complete.path, path.path)
    except FileExistsError:
        return False
    except OSError:
        if path.exists():
            return False
        os.replace(complete.path, path.path)
    finally:
        remove_file(complete)
    return True


def _create_object(path: ObjectStoragePath, data: bytes) -> bool:
    try:
        path.fs.pipe_file(path.path, data, mode="create")
    except FileExistsError:
        return False
    except (OSError, TypeError, NotImplementedError):
        # The store or its client has no conditional writes, or the store rejects one of two simultaneous requests.
        path.fs.invalidate_cache()
        if path.exists():
            return False
        write_whole(path, data)
    return True


def _not_ours(what: str, path: ObjectStoragePath, error: OSError) -> StagingError:
    return StorageUnavailableError(
        f"Cannot {what} {path.path}: {error.strerror or error} for this task's OS user (uid {os.geteuid()}). "
        "Staged files are readable by one user only: run all of Airflow's components, and tasks with run_as_user, as "
        "the user who owns [tenable] staging_path, or change the owner of the existing files. Then clear the task."
    )


def content_of(path: ObjectStoragePath) -> bytes:
    """Read the current content of a file.

    :raises FileNotFoundError: it does not exist.
    :raises StagingError: this OS user may not read it.
    """
    if is_local(path):
        try:
            return bytes(path.read_bytes())
        except PermissionError as error:
            raise _not_ours("read", path, error) from error
    # Opening it would use fsspec's cached listings: a file that another worker has written since would be missing, or
    # truncated to its earlier length.
    return bytes(path.fs.cat_file(path.path, **_in_one_request(path.fs)))


def _in_one_request(file_system: Any) -> dict[str, int]:
    """The arguments with which a file system reads a file in a single request.

    Without them, s3fs first asks for the length, and lists what begins with the name if there is no such file. It reads
    ranges of a large file side by side, and these belong to different versions if another worker replaces the file
    meanwhile.
    """
    read = getattr(file_system, "_cat_file", None)
    return {"max_concurrency": 1} if read and "max_concurrency" in inspect.signature(read).parameters else {}


def read_whole(path: ObjectStoragePath) -> bytes:
    """Read a file. :raises StagingError: it does not exist, or cannot be read."""
    try:
        return content_of(path)
    except OSError as error:
        raise _unreadable(path, error) from error


def open_whole(path: ObjectStoragePath) -> IO[bytes]:
    """Open a file to read it in pieces. A file in an object store is read into memory with one request.

    :raises StagingError: it does not exist, or cannot be read.
    """
    if not is_local(path):
        return io.BytesIO(read_whole(path))
    try:
        return open(path.path, "rb")
    except OSError as error:
        raise _unreadable(path, error) from error


def _unreadable(path: ObjectStoragePath, error: OSError) -> StagingError:
    if isinstance(error, FileNotFoundError):
        return MissingFileError(f"The staged file {path} is missing. Clear the run's tasks from the export on.")
    if isinstance(error, PermissionError) and is_local(path):
        return _not_ours("read", path, error)
    return StorageUnavailableError(f"Cannot read {path}: {words_of(error)}. Correct that, and clear the task.")


def write_json(path: ObjectStoragePath, value: Any) -> None:
    """Write a value as JSON, atomically, with sorted keys so that the same value gives the same bytes."""
    write_whole(path, _encoded(value))


def create_json(path: ObjectStoragePath, value: Any) -> bool:
    """As :func:`write_json`, unless the file exists. :return: whether this call has written it."""
    return create_whole(path, _encoded(value))


def _encoded(value: Any) -> bytes:
    # Imported here and below, because operators import this module, and parsing a DAG file must stay cheap.
    import msgspec

    if isinstance(value, dict):
        value = {**value, _FORMAT: FORMAT}
        value[_CHECKSUM] = _checksum(value)
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=1)


def _checksum(value: Any) -> int:
    import msgspec

    return zlib.crc32(msgspec.json.encode(value, order="sorted"))


#: What to do about a damaged file in a run's own folder.
_BEGIN_AGAIN = " Remove the run's folder and clear the run."


def read_json(path: ObjectStoragePath, *, advice: str = _BEGIN_AGAIN) -> Any:
    """Read a JSON file; None if it does not exist.

    :param advice: the end of the error about a damaged file. Files next to the runs need their own, because removing
        them may lose findings.
    :raises StagingError: it cannot be read or decoded, or a newer version has written it.
    """
    import msgspec

    try:
        data = content_of(path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise _unreadable(path, error) from error
    try:
        value = msgspec.json.decode(data)
        # A flipped digit would still be valid JSON, but change the window or the number of records. Whoever writes this
        # format writes a checksum, too: where that is missing, its key has changed.
        if isinstance(value, dict):
            checksum = value.pop(_CHECKSUM, None)
            if checksum is None and value.get(_FORMAT) == FORMAT:
                raise ValueError("it has no checksum")
            if checksum not in (None, _checksum(value)):
                raise ValueError("its checksum does not match")
    # msgspec's own error is a ValueError only in its newer releases.
    except (ValueError, msgspec.DecodeError) as error:
        raise DamagedFileError(f"The staged file {path} is damaged ({safe(error)}).{advice}") from error
    if isinstance(value, dict):
        written_in = value.pop(_FORMAT, FORMAT)
        if written_in > FORMAT:
            raise newer_format(path, written_in)
    return value


def names(folder: ObjectStoragePath) -> list[str]:
    """The sorted names in a folder; empty if it does not exist.

    :raises StagingError: this OS user may not list it.
    """
    folder.fs.invalidate_cache()
    try:
        # Not folder.iterdir(): a path object for each of thousands of files takes as long as reading many of them. And
        # on a local disk, fsspec treats a folder that this user may not read as missing.
        found = os.listdir(folder.path) if is_local(folder) else _names_in_store(folder)
        return sorted(name for name in found if not name.endswith(".tmp"))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except PermissionError as error:
        if is_local(folder):
            raise _not_ours("list", folder, error) from error
        raise
    finally:
        # The listing may be outdated soon: the next call must ask the store again.
        folder.fs.invalidate_cache()


def _names_in_store(folder: ObjectStoragePath) -> list[str]:
    own = folder.path.rstrip("/")
    # Some stores list a folder in itself, and end the names of folders with a slash.
    listed = (entry.rstrip("/") for entry in folder.fs.ls(folder.path, detail=False))
    return [entry.rpartition("/")[2] for entry in listed if entry != own]


def remove(folder: ObjectStoragePath) -> None:
    """Remove a folder and its contents, if it exists."""
    if is_local(folder):
        if folder.fs.exists(folder.path):
            folder.fs.rm(folder.path, recursive=True)
        return
    folder.fs.invalidate_cache()
    # Not rm(): it treats a path with *, ? or [, which a run id may contain, as a pattern, and would remove files of
    # other runs.
    with ThreadPoolExecutor(_REMOVALS_AT_A_TIME) as pool:
        list(pool.map(folder.fs.rm_file, folder.fs.find(folder.path)))
    folder.fs.invalidate_cache()


def remove_file(path: ObjectStoragePath) -> None:
    """Remove a file, if it exists."""
    with contextlib.suppress(FileNotFoundError):
        if is_local(path):
            path.unlink()
        else:
            path.fs.rm_file(path.path)
