"""SIGTERM and SIGHUP end a program the way Ctrl-C does: by an exception, so that it stops what it has started."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType

_NUMBERS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def ended_by_signals() -> Iterator[None]:
    """In the body, SIGTERM (``kill``, ``docker stop``) and SIGHUP (a closed terminal) raise SystemExit with 128 and the
    signal's number.

    Only the first signal counts: the cleanup that it starts is not interrupted. A signal that is already ignored stays
    ignored, as ``nohup`` requires.
    """

    def leave(number: int, _: FrameType | None) -> None:
        for each in installed:
            signal.signal(each, signal.SIG_IGN)
        sys.exit(128 + number)

    installed = [number for number in _NUMBERS if signal.getsignal(number) is not signal.SIG_IGN]
    before = {number: signal.signal(number, leave) for number in installed}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
