"""What to do about an error of a file system, by its cause (``errno``).

Rights that this OS user lacks (``EACCES``, ``EPERM``) are explained in :mod:`.staging`, where the user is known.
"""

from __future__ import annotations

import errno

#: No room on the disk, none left of a quota, or more than a limit on the size of files allows (``ulimit -f``).
FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})
#: Too long, or with characters that this file system does not take.
BAD_NAME = frozenset({errno.ENAMETOOLONG, errno.EINVAL})


def words_of(error: OSError) -> str:
    """The error in the system's own words, without the path, which the message has already."""
    return error.strerror or str(error) or type(error).__name__


def after_writing(error: OSError) -> str:
    """What to do where a file could not be staged."""
    if error.errno in FULL:
        return "Free space, or point [tenable] staging_path elsewhere, and clear the task."
    if error.errno == errno.EROFS:
        return "Mount it writable, or point [tenable] staging_path elsewhere, and clear the task."
    if error.errno in BAD_NAME:
        return (
            "The file system does not accept this name. Trigger the run with a shorter run_id of letters, digits, - "
            "and "
            "_, "
            "or point [tenable] staging_path at another file system."
        )
    return "Correct that, or point [tenable] staging_path elsewhere, and clear the task."
