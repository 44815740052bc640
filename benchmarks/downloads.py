"""Measures exports of which Tenable takes a while for each chunk, by how many are downloaded at the same time."""

from __future__ import annotations

import tempfile
from typing import Any

from benchmarks.suites import Rows, once, our, server

#: Seconds from the request for a chunk until its first byte. We do not know how long Tenable itself takes.
SECONDS = 1.0


def downloads(vulnerabilities: int, counts: tuple[int, ...]) -> tuple[Rows, Any]:
    """The export alone, with chunks of 100 hosts.

    :param vulnerabilities: how many are exported, each time.
    :param counts: how many chunks at the same time.
    """
    rows: Rows = [("chunks at the same time", "s in all", "records/s", "us of CPU per record", "peak")]
    figures: dict[str, Any] = {}
    with server("cheap_tenable", vulnerabilities, 1, SECONDS) as tenable:
        for count in counts:
            with tempfile.TemporaryDirectory() as scratch:
                found = once(our("stage_side", "export", scratch, vulnerabilities, tenable, count))
            assert found["records"] == vulnerabilities
            figures[str(count)] = found
            rows.append(
                (
                    str(count),
                    f"{found['wall']:.1f}",
                    f"{found['records'] / found['wall']:,.0f}",
                    f"{1e6 * found['cpu'] / found['records']:.1f}",
                    f"{found['peak_mb']:.0f} MB",
                )
            )
    return rows, {"chunk_seconds": SECONDS, "downloads": figures}


__all__ = ["downloads"]
