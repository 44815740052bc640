"""Writes a file of any size, block by block, so that it is complete or absent under its name.

On a local disk it grows under a temporary name next to its own. An object store gets it from a temporary file of the
worker, in one upload, which counts only once it is complete.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING, TypeVar

from airflow_provider_tenable.disk_errors import after_writing, words_of
from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.staging.files import is_local
from airflow_provider_tenable.staging.private_files import make_private_folder, private_opener

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

_T = TypeVar("_T")
_BLOCK_BYTES = 1 << 20


@contextmanager
def _growing(path: ObjectStoragePath) -> Iterator[IO[bytes]]:
    """The file under its temporary name; it is removed if it is not taken over."""
    if not is_local(path):
        with tempfile.NamedTemporaryFile(prefix="tenable-download-") as file:
            yield file
        return
    make_private_folder(os.path.dirname(path.path))
    temporary = f"{path.path}.{uuid.uuid4().hex[:8]}.tmp"
    try:
        with open(temporary, "w+b", opener=private_opener) as file:
            yield file
    finally:
        with contextlib.suppress(FileNotFoundError):
            os.unlink(temporary)


def download_to(path: ObjectStoragePath, write: Callable[[IO[bytes]], _T], accept: Callable[[_T], bool]) -> _T:
    """Write a file with ``write``, and give it its name if ``accept`` returns True for the result.

    :param write: receives the open file; what it raises is passed on, and the file is removed.
    :raises StagingError: the file cannot be written.
    """
    try:
        with _growing(path) as file:
            written = write(file)
            file.flush()
            if accept(written):
                _publish(path, file)
            return written
    except OSError as error:
        raise StagingError(f"Cannot write {path}: {words_of(error)}. {after_writing(error)}") from error


def _publish(path: ObjectStoragePath, file: IO[bytes]) -> None:
    if is_local(path):
        os.fsync(file.fileno())
        os.replace(file.name, path.path)
    else:
        path.fs.put_file(file.name, path.path)


def digest_of(path: ObjectStoragePath) -> tuple[int, str] | None:
    """Size and SHA-256 of a file; None if it does not exist."""
    path.fs.invalidate_cache()
    digest, size = hashlib.sha256(), 0
    try:
        with path.fs.open(path.path, "rb") as file:
            while block := file.read(_BLOCK_BYTES):
                digest.update(block)
                size += len(block)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StagingError(f"Cannot read {path}: {words_of(error)}. Correct that, and clear the task.") from error
    return size, digest.hexdigest()
