"""Advice for a file system error, by its cause (``errno``).

:mod:`.staging` explains missing permissions (``EACCES``, ``EPERM``), because it knows the OS user.
"""

from __future__ import annotations

import errno

#: The disk or a quota is full, or a limit on file sizes is reached (``ulimit -f``).
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: The name is too long, or has characters that this file system does not accept.
BAD_NAME = frozenset({errno.ENAMETOOLONG, errno.EINVAL})


def words_of(error: OSError) -> str:
    """The system's own text for the error, without the path, which the message already contains."""
    return error.strerror or str(error) or type(error).__name__


def after_writing(error: OSError) -> str:
    """Advice for a file that could not be staged."""
    if error.errno in FULL:
        return "Free space, or point [tenable] staging_path elsewhere, and clear the task."
    if error.errno == errno.EROFS:
        return "Mount it writable, or point [tenable] staging_path elsewhere, and clear the task."
    if error.errno in BAD_NAME:
        return (
            "The file system does not accept this name. Trigger the run with a shorter run_id of letters, digits, - "
            "and _, or point [tenable] staging_path at another file system."
        )
    return "Correct that, or point [tenable] staging_path elsewhere, and clear the task."
