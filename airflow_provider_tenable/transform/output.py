"""Writes the findings, rejects and parked records of one transform task, and its manifest."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import msgspec

from airflow_provider_tenable.staging.crash_points import CrashPoint, reached
from airflow_provider_tenable.staging.files import write_json
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import PartWriter
from airflow_provider_tenable.staging.rows import write_rows
from airflow_provider_tenable.transform.manifest import DestinationEntry, PartEntry, ShardCounts, ShardManifest
from airflow_provider_tenable.transform.waiting_assets import WaitingAssets, write_list
from airflow_provider_tenable.transform.waiting_records import WAITING_STEM

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

#: Findings per part: small enough for memory, and for an import to resume after it.
FINDINGS_PER_PART = 5_000
#: Kept records per part: a part is held in memory until it is closed, and is read as soon as one of its assets settles.
KEPT_PER_PART = 20_000
#: Bytes of memory that all open parts of a task may take together. At this limit, the largest part is compressed, or
#: closed if compressing it would not save half of its memory.
OPEN_BYTES = 96_000_000


class Via(Protocol):
    """How the hub of a finding's account is reached."""

    @property
    def aws_conn_id(self) -> str | None: ...
    @property
    def role_name(self) -> str | None: ...
    @property
    def external_id(self) -> str | None: ...


#: The moment of a row that is not of another moment than the run's export.
_OF_THE_EXPORT = bytes(8)


class _OpenPart(PartWriter):
    """The part of an account and hub Region that is being written, and what its lines are compared by.

    :param severities: of the findings of the account; they are counted here.
    :ivar rows: of the lines, one after the other.
    :ivar ids: of the lines, with a newline after each.
    """

    def __init__(self, folder: ObjectStoragePath, stem: str, severities: Counter[str]) -> None:
        # The name also depends on the content: receipts of other findings, from before a task was cleared, must not
        # count for these.
        super().__init__(folder, stem, by_content=True, packed=True)
        self.severities = severities
        self.rows = bytearray()
        self.ids = bytearray()


class FindingsWriter:
    """Collects findings per destination. The names of parts depend on the shard's number, so that a retry overwrites
    its own files.

    :param shard: the number of the shard.
    :param id_of: the id in a finding, without newlines; empty where the finding does not begin with it. The finding
        index needs the ids of what was sent, and does not read the findings again for them.
    """

    def __init__(self, run: RunFolder, shard: int, id_of: Callable[[bytes], bytes] | None = None) -> None:
        self.run = run
        self.shard = shard
        self._id_of = id_of
        self.findings = 0
        self._open: dict[tuple[str, str], _OpenPart] = {}
        self._parts: dict[tuple[str, str], list[PartEntry]] = {}
        self._via: dict[tuple[str, str], Via] = {}
        self._severities: dict[str, Counter[str]] = {}
        self._open_bytes = 0
        self._rejected: PartWriter | None = None
        self._parked: PartWriter | None = None
        self._contested: PartWriter | None = None
        self._waiting: PartWriter | None = None
        self._waiting_assets = WaitingAssets()
        self._waiting_parts: list[str] = []

    def write(
        self, account: str, region: str, line: bytes, severity: str, destination: Via, row: bytes = b"", as_of: int = 0
    ) -> None:
        """Add a finding to the part of its account and hub Region.

        :param row: what is compared of it; empty where the output format has no rows.
        :param as_of: for which moment Tenable said so, unix milliseconds; 0 for that of the run's export.
        """
        key = (account, region)
        part = self._open.get(key) or self._begin(key, destination)
        size = part.write(line)
        if row:
            rows = part.rows
            rows += row
            rows += as_of.to_bytes(8, "little") if as_of else _OF_THE_EXPORT
            size += len(row) + len(_OF_THE_EXPORT)
            if self._id_of is not None and (finding_id := self._id_of(line)):
                ids = part.ids
                ids += finding_id
                ids += b"\n"
                size += len(finding_id) + 1
        self._open_bytes += size
        self.findings += 1
        part.severities[severity] += 1
        if part.lines >= FINDINGS_PER_PART:
            self._close(key)
        elif self._open_bytes >= OPEN_BYTES:
            self._shrink(max(self._open, key=self._held_bytes))

    def _begin(self, key: tuple[str, str], destination: Via) -> _OpenPart:
        number = len(self._parts.setdefault(key, []))
        severities = self._severities.setdefault(key[0], Counter())
        self._via[key] = destination
        found = self._open[key] = _OpenPart(
            self.run.destination(*key), f"part-{self.shard:04d}-{number:05d}", severities
        )
        return found

    def reject(self, reason: str, detail: str, record: bytes, *, as_of: int = 0) -> None:
        """Store a record that cannot become a finding.

        :param as_of: as for :meth:`write`.
        """
        if self._rejected is None:
            self._rejected = PartWriter(self.run.rejected, f"part-shard-{self.shard:04d}")
        # An unreadable record may not be JSON, so it is stored as text.
        try:
            readable: Any = msgspec.json.decode(record)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            readable = record.decode("utf-8", "replace")[:100_000]
        line = {
            "id": None,
            "account": None,
            "region": None,
            "code": reason,
            "message": detail[:2000],
            "finding": None,
            "record": readable,
            **({"as_of": as_of} if as_of else {}),
        }
        self._rejected.write(msgspec.json.encode(line))

    def park(self, line: bytes) -> None:
        """Keep a record for the following runs."""
        if self._parked is None:
            self._parked = PartWriter(self.run.parked, f"part-shard-{self.shard:04d}", packed=True)
        self._parked.write(line)

    def keep(self, line: bytes, asset: str, parked_at: int) -> None:
        """Keep a record that was skipped until the account, Region and instance of its asset are known.

        :param parked_at: since when it waits, unix seconds.
        """
        if self._waiting is None:
            stem = f"{WAITING_STEM}-{self.shard:04d}-{len(self._waiting_parts):05d}"
            self._waiting = PartWriter(self.run.parked, stem, packed=True)
        self._waiting.write(line)
        self._waiting_assets.add(asset, parked_at)
        if self._waiting.lines >= KEPT_PER_PART:
            self._close_waiting()

    def contest(self, line: bytes) -> None:
        """Set a finding aside until all shards are done."""
        if self._contested is None:
            # Named by content, because the selection among other findings may differ.
            self._contested = PartWriter(self.run.contested, f"part-shard-{self.shard:04d}", by_content=True)
        self._contested.write(line)

    def close(self, counts: ShardCounts) -> ShardManifest:
        """Close all parts, then write and return the manifest, which makes them count."""
        for key in list(self._open):
            self._close(key)
        self._close_waiting()
        reached(CrashPoint.SHARD_TRANSFORMED)
        manifest: ShardManifest = {
            **counts,
            "shard": self.shard,
            "parked_part": self._parked.close() if self._parked else None,
            "waiting_parts": self._waiting_parts,
            "rejected_part": self._rejected.close() if self._rejected else None,
            "contested_part": self._contested.close() if self._contested else None,
            "severities": {
                account: dict(sorted(counter.items())) for account, counter in sorted(self._severities.items())
            },
            "destinations": [
                _entry(account, region, self._via[account, region], parts)
                for (account, region), parts in sorted(self._parts.items())
            ],
        }
        write_json(self.run.shard_manifest(self.shard), manifest)
        reached(CrashPoint.SHARD_MANIFEST_WRITTEN)
        return manifest

    def _close_waiting(self) -> None:
        if self._waiting is not None:
            name = self._waiting.close()
            write_list(self.run.parked, name, WaitingAssets(self._waiting.digest, self._waiting_assets.assets))
            self._waiting_parts.append(name)
            self._waiting, self._waiting_assets = None, WaitingAssets()

    def _held_bytes(self, key: tuple[str, str]) -> int:
        part = self._open[key]
        return part.held_bytes + len(part.rows) + len(part.ids)

    def _shrink(self, key: tuple[str, str]) -> None:
        part = self._open[key]
        if 2 * part.uncompressed_bytes > self._held_bytes(key):
            self._open_bytes -= part.compress()
        else:
            self._close(key)

    def _close(self, key: tuple[str, str]) -> None:
        self._open_bytes -= self._held_bytes(key)
        part = self._open.pop(key)
        rows, ids, name = part.rows, part.ids, part.close()
        # Without the rows, or the ids, of all its lines a part is read line by line.
        if rows and len(rows) % part.lines == 0:
            of_all = bytes(ids) if ids.count(b"\n") == part.lines else b""
            write_rows(self.run.rows(*key, name), bytes(rows), len(rows) // part.lines, of_all)
        reached(CrashPoint.FINDINGS_PART_WRITTEN)
        self._parts[key].append({"name": name, "lines": part.lines, "bytes": part.raw_bytes})


def _entry(account: str, region: str, via: Via, parts: list[PartEntry]) -> DestinationEntry:
    entry: DestinationEntry = {
        "account": account,
        "region": region,
        "aws_conn_id": via.aws_conn_id,
        "role_name": via.role_name,
        "parts": parts,
    }
    if via.external_id:
        entry["external_id"] = via.external_id
    return entry
