"""Generated results of audits for the benchmarks: Tenable's own example, for the hosts of :mod:`benchmarks.estate`."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cached_property

from benchmarks.estate import HOSTS_PER_CHUNK, PER_HOST, Generated
from benchmarks.measure import ROOT

EXAMPLE = ROOT / "tests" / "data" / "compliance_chunk_official_example.json"
_ASSET, _CHECK, _STATUS, _VALUE = "@asset@", "@check@", "@status@", "@value@"
_STATUSES = (b"PASSED", b"FAILED", b"WARNING")


class GeneratedAudits:
    """Chunks of a compliance export: an audit of :data:`~benchmarks.estate.PER_HOST` checks on each host.

    :param estate: of as many vulnerabilities as there are to be results.
    """

    def __init__(self, estate: Generated) -> None:
        self.estate = estate

    @cached_property
    def _pieces(self) -> tuple[bytes, ...]:
        """The example, cut where records differ: at asset, check, value and status."""
        (example, *_) = json.loads(EXAMPLE.read_text())
        first = {"asset_uuid": _ASSET, "compliance_full_id": _CHECK}
        last = {"actual_value": f"{_VALUE}{example['actual_value']}", "status": _STATUS}
        rest = {name: value for name, value in example.items() if name not in first | last}
        text = json.dumps({**first, **last, **rest})
        pieces = []
        for mark in (_ASSET, _CHECK, _VALUE, _STATUS):
            piece, text = text.split(mark)
            pieces.append(piece.encode())
        return (*pieces, text.encode())

    def host_records(self, number: int) -> list[bytes]:
        """The results of one host."""
        asset, _ = self.estate.ids(number)
        start, check, value, status, end = self._pieces
        return [
            b"%b%b%b%064x%b%d. %b%b%b"
            % (start, asset, check, each, value, number, status, _STATUSES[(number + each) % 3], end)
            for each in range(PER_HOST)
        ]

    def chunks(self) -> Iterator[bytes]:
        """All chunks, one after the other."""
        for first in range(0, self.estate.hosts, HOSTS_PER_CHUNK):
            hosts = range(first, min(first + HOSTS_PER_CHUNK, self.estate.hosts))
            yield b"[" + b", ".join(record for host in hosts for record in self.host_records(host)) + b"]"
