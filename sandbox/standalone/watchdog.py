"""Ends the children of a process that died without ending them, by SIGKILL for example.

One helper process per parent. It reads from a pipe which sessions to watch; when the pipe ends, the parent is gone, and
the helper ends the sessions that are left. A pipe works wherever POSIX does; Linux's PR_SET_PDEATHSIG would reach the
direct children only.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import IO

from sandbox.standalone import sessions

_ROOT = Path(__file__).resolve().parent.parent.parent
_PATIENCE = 4.0

_helper: subprocess.Popen[str] | None = None
_watched: set[int] = set()


def watch(session: int) -> None:
    """End this session when the calling process dies."""
    _watched.add(session)
    _tell(f"+{session}")


def release(session: int) -> None:
    """The session has ended, and its number may be given to another one."""
    _watched.discard(session)
    _tell(f"-{session}")


def watched() -> frozenset[int]:
    """The sessions that are watched for this process."""
    return frozenset(_watched)


def _tell(order: str) -> None:
    with contextlib.suppress(BrokenPipeError):
        pipe = _pipe()
        pipe.write(order + "\n")
        pipe.flush()


def _pipe() -> IO[str]:
    global _helper
    if _helper is None or _helper.poll() is not None:
        # A session of its own: Ctrl-C and the end of a terminal are the parent's to handle.
        _helper = subprocess.Popen(
            [sys.executable, "-m", "sandbox.standalone.watchdog"],
            cwd=_ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        assert _helper.stdin is not None
        # One that was killed is replaced, and has to know all of them.
        _helper.stdin.writelines(f"+{session}\n" for session in _watched)
    assert _helper.stdin is not None
    return _helper.stdin


def _forget() -> None:
    """In a forked child: the pipe is its parent's, and must end with that one."""
    global _helper
    if _helper is not None and _helper.stdin is not None:
        # Replaced instead of closed: the file object still has the descriptor's number.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, _helper.stdin.fileno(), inheritable=False)
        os.close(nowhere)
    _helper = None
    _watched.clear()


def _finish() -> None:
    """At the end of the program: let the helper end what is left, and wait for it."""
    if _helper is not None and _helper.stdin is not None:
        with contextlib.suppress(BrokenPipeError, subprocess.TimeoutExpired):
            _helper.stdin.close()
            _helper.wait(3 * _PATIENCE)


os.register_at_fork(after_in_child=_forget)
atexit.register(_finish)


def main() -> None:
    """Watch until stdin ends, then end what is left."""
    left: set[int] = set()
    for line in sys.stdin:
        session = int(line[1:])
        if line[0] == "+":
            left.add(session)
        else:
            left.discard(session)
    sessions.end(left, _PATIENCE)


if __name__ == "__main__":
    main()
