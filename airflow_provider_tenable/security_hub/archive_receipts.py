"""Records what became of each finding that a run archives in one account and Region, so that a retry resumes after it.

``{run}/archived/{account}/{region}/{part}-{number}.jsonl.gz``: a line with the format, then one per finding. Parts are
written once, each with what was settled since the one before. A receipt belongs to a finding, a reason and a floor:
once another import has moved the floor, the finding has to be archived again.
"""

from __future__ import annotations

import hashlib

import msgspec
from msgspec import Struct

from airflow_provider_tenable.exceptions import DamagedFileError, StagingError
from airflow_provider_tenable.guards.foreign_text import LONGEST_CODE, LONGEST_MESSAGE, safe
from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging.files import FORMAT, names, newer_format
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines, write_lines


class Archival(Struct, frozen=True, gc=False):
    """A finding to be archived.

    :ivar reason: ``fixed``, ``not_reported``, ...; it becomes an entry of ``ProductFields``.
    :ivar floor: the ``UpdatedAt`` that was sent last, unix milliseconds.
    :ivar sent_at: when that was acknowledged, unix milliseconds; None: unknown, and long ago.
    """

    finding_id: str
    reason: str
    floor: int
    sent_at: int | None = None


class Settled(Struct, frozen=True, omit_defaults=True):
    """What became of an archival: exactly one of ``updated_at``, ``gone`` and ``code`` is set.

    :ivar updated_at: archived, with this ``UpdatedAt`` (unix milliseconds).
    :ivar because: the reason that the archived finding has, where it is not ``reason``.
    :ivar gone: the hub does not have the finding any more.
    :ivar code: why it could not be archived; ``message`` has the details.
    """

    id: str
    reason: str
    floor: int
    updated_at: int | None = None
    because: str = ""
    gone: bool = False
    code: str | None = None
    message: str = ""


class _Head(Struct):
    format: int


_decode_settled = msgspec.json.Decoder(Settled).decode
_decode_head = msgspec.json.Decoder(_Head).decode


class ArchiveReceipts:
    """The receipts of one account and Region.

    :param part: the part of the archivals that they belong to. A million findings to be archived are best split into
        parts of 100,000: receipts and outcome take about 600 bytes of memory for each finding.
    """

    def __init__(self, run: RunFolder, account: str, region: str, part: str = "part") -> None:
        self.account = account
        self.region = region
        self._folder = run.archive_receipts(account, region)
        self._part = part
        self._settled: dict[bytes, Settled] = {}
        self._unwritten: list[Settled] = []
        self._parts = 0
        self._load()

    def __len__(self) -> int:
        return len(self._settled)

    def _load(self) -> None:
        for name in names(self._folder):
            if not name.startswith(f"{self._part}-"):
                continue
            path = self._folder / name
            try:
                head, *lines = read_lines(path)
                if (found := _decode_head(head).format) > FORMAT:
                    raise newer_format(path, found)
                for line in lines:
                    settled = _decode_settled(line)
                    self._settled[_key(settled.id, settled.reason, settled.floor)] = settled
                # Not as many as there are: somebody may have removed a damaged one.
                self._parts = int(name.removeprefix(f"{self._part}-").partition(".")[0]) + 1
            except (DamagedFileError, msgspec.DecodeError, UnicodeDecodeError, ValueError) as error:
                raise StagingError(
                    f"The receipts {path} are damaged ({safe(error)}). Remove the file and clear the task: archiving "
                    "findings again does not change anything."
                ) from error

    def of(self, archival: Archival) -> Settled | None:
        """What became of an archival; None if it is still to be done."""
        return self._settled.get(_key(archival.finding_id, archival.reason, archival.floor))

    def archived(self, archival: Archival, updated_at: int, because: str = "") -> Settled:
        """Record that the hub shows the finding as archived, with this ``UpdatedAt``.

        :param because: the reason that it has; empty: that of the archival.
        """
        other = "" if because == archival.reason else because
        settled = Settled(archival.finding_id, archival.reason, archival.floor, updated_at=updated_at, because=other)
        return self._settle(settled, archival)

    def gone(self, archival: Archival) -> Settled:
        """Record that the hub does not have the finding."""
        return self._settle(Settled(archival.finding_id, archival.reason, archival.floor, gone=True), archival)

    def refused(self, archival: Archival, code: str, message: str) -> Settled:
        """Record that the finding could not be archived.

        :param message: Security Hub's own text, which may contain invalid Unicode, and may quote the request.
        """
        return self._settle(
            Settled(
                archival.finding_id,
                archival.reason,
                archival.floor,
                code=safe(code, LONGEST_CODE),
                message=safe(message, LONGEST_MESSAGE),
            ),
            archival,
        )

    def _settle(self, settled: Settled, archival: Archival) -> Settled:
        self._settled[_key(archival.finding_id, archival.reason, archival.floor)] = settled
        self._unwritten.append(settled)
        return settled

    def flush(self) -> None:
        """Write what was settled since the last flush. If the process dies before, these findings are read again."""
        if not self._unwritten:
            return
        lines = [msgspec.json.encode(_Head(FORMAT)), *map(msgspec.json.encode, self._unwritten)]
        write_lines(self._folder, f"{self._part}-{self._parts:05d}", lines)
        self._parts += 1
        self._unwritten = []
        reached(CrashPoint.RECEIPTS_WRITTEN)


def _key(finding_id: str, reason: str, floor: int) -> bytes:
    return hashlib.blake2b(f"{floor}\0{reason}\0{finding_id}".encode(), digest_size=16).digest()
