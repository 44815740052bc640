"""Folders and files on a local disk that only the OS user of the tasks can read.

Staged files name hosts and their vulnerabilities, and contain plugin output. So folders get mode 0700 and files 0600,
regardless of the umask, and all tasks of a deployment must run as the same OS user. An object store has its own access
rules.
"""

from __future__ import annotations

import logging
import os
import stat
from contextlib import suppress

log = logging.getLogger(__name__)

FOLDER_MODE = 0o700
FILE_MODE = 0o600
_OTHERS = stat.S_IRWXG | stat.S_IRWXO


def make_private_folder(path: str) -> None:
    """Create a folder and its missing parents. An existing folder, from an earlier version, is closed to other users.

    Existing parents are not changed: they may contain more than staged files.

    :raises OSError: it cannot be created.
    """
    if os.path.isdir(path):
        _close_to_others(path)
    else:
        _create(path)


def keep_private(folder: str) -> None:
    """Close a folder to other users, if it exists. If that is impossible, log a warning: the run can continue."""
    with suppress(OSError):
        _close_to_others(folder)
        mode = stat.S_IMODE(os.stat(folder).st_mode)
        if mode & _OTHERS:
            log.warning(
                "Other OS users can open the staging folder %s (mode %04o), and this task's user (uid %d) cannot "
                "change that. Set its mode to 0700, or mount the file system with such modes.",
                folder,
                mode,
                os.geteuid(),
            )


def private_opener(path: str, flags: int) -> int:
    """An ``opener`` for :func:`open`: a file that it creates has mode 0600 from the start."""
    descriptor = os.open(path, flags, FILE_MODE)
    # A umask can only remove bits, including the owner's.
    if stat.S_IMODE(os.fstat(descriptor).st_mode) != FILE_MODE:
        with suppress(OSError):
            os.fchmod(descriptor, FILE_MODE)
    return descriptor


def _create(path: str) -> None:
    parent = os.path.dirname(path)
    if not os.path.isdir(parent):
        _create(parent)
    # Other tasks create the same folders at the same time.
    with suppress(FileExistsError):
        os.mkdir(path, FOLDER_MODE)
        if stat.S_IMODE(os.stat(path).st_mode) & 0o777 != FOLDER_MODE:
            with suppress(OSError):
                os.chmod(path, FOLDER_MODE)


def _close_to_others(folder: str) -> None:
    # Some network file systems do not support modes, and a folder may belong to another user.
    if stat.S_IMODE(os.stat(folder).st_mode) & _OTHERS:
        with suppress(OSError):
            os.chmod(folder, FOLDER_MODE)
