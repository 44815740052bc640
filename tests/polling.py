"""Waiting in a test for what another process does."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any


def until(found: Callable[[], Any], seconds: float, what: str = "not reached", pause: float = 0.05) -> Any:
    """Wait for a true value and return it. ``what`` is the failure's text, ``pause`` in seconds."""
    deadline = time.monotonic() + seconds
    while not (value := found()):
        assert time.monotonic() < deadline, f"{what} in {seconds} s"
        time.sleep(pause)
    return value
