"""The peak memory of this process.

`getrusage` reports more: the kernel counts what the parent had when it started the process, and a benchmark that has
already measured something has much.
"""

from __future__ import annotations

import re
from pathlib import Path

_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB$", re.MULTILINE)


def peak_mb() -> float:
    """The most resident memory since this program was loaded, in MB of 1,024 KB, from ``/proc/self/status``."""
    found = _PEAK.search(Path("/proc/self/status").read_text())
    assert found
    return int(found[1]) / 1024
