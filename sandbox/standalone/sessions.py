"""The processes of a session, and ending all of them.

A session, not a process group: Airflow gives every task a group of its own, and a signal to the scheduler's group would
miss the task.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Callable, Iterable

import psutil

_POLL_SECONDS = 0.1
_REPEAT_SECONDS = 0.5


def members(sessions: Iterable[int]) -> list[int]:
    """Pids of the processes in these sessions, without zombies: those no longer run, and only their parent can remove
    them.
    """
    wanted, found = set(sessions), []
    for pid in psutil.pids():
        with contextlib.suppress(OSError, psutil.Error):
            if os.getsid(pid) in wanted and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
                found.append(pid)
    return found


def end(sessions: Iterable[int], patience: float, *, reap: Callable[[], object] = lambda: None) -> None:
    """End every process of these sessions: SIGTERM, and SIGKILL for those that are left after ``patience`` seconds.

    Signals are repeated, since a process that starts others may have done so after it was signalled.

    :param reap: called between two polls; a parent collects its children there.
    """
    wanted = list(sessions)
    for number in (signal.SIGTERM, signal.SIGKILL):
        now = time.monotonic()
        deadline, repeat = now + patience, now
        while left := members(wanted):
            now = time.monotonic()
            if now >= deadline:
                break
            if now >= repeat:
                repeat = now + _REPEAT_SECONDS
                for pid in left:
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, number)
            time.sleep(_POLL_SECONDS)
            reap()
        reap()
