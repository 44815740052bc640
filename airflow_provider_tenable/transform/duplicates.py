"""Selects one finding per id and run if Tenable has several assets for one EC2 instance.

Tenable may have two assets of one instance, such as one from an agent and one from a network scan. Their records of a
plugin and port have the same finding id, but are in different chunks and therefore in different shards. So each shard
sets aside the findings of such instances. When all shards are done, one finding per id is selected: the one that the
output format prefers (ASFF: open before fixed, then the later one), and among equals the one with the larger bytes, so
that neither the shards nor their order matter. The others are counted as ``duplicate_asset``.

An asset that the export lacks can be a second asset of an instance too. What holds for assets that are looked up
individually, for all shards of a run:

* All shards read the same table of assets. If it contains the instance, the shards write the findings of that other
  asset without setting them aside, so none of them writes findings of the asset that was looked up: its records are
  parked until the asset index contains both assets.
* If the table does not contain the instance, another shard may have looked up a second asset of it. So findings of
  assets that were looked up are always set aside, and one per id is selected like the others.

The findings that were set aside are compared on disk: memory grows with the number of instances that have several
assets, not with the number of findings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.guards.identifiers import invalid_target
from airflow_provider_tenable.staging.files import read_json
from airflow_provider_tenable.staging.keyed_rows import KeyedRows
from airflow_provider_tenable.staging.layout import RunFolder
from airflow_provider_tenable.staging.parts import read_lines
from airflow_provider_tenable.transform.manifest import ShardManifest
from airflow_provider_tenable.transform.output import FindingsWriter, Via

if TYPE_CHECKING:
    from airflow_provider_tenable.assets.table import AssetTable

#: The reason for the findings that are not selected.
DUPLICATE = "duplicate_asset"


class Contested(Struct):
    """A finding that was set aside, its destination, and its precedence among findings with the same id.

    ``row`` and ``as_of`` as for :meth:`FindingsWriter.write`; the row is Base64 in JSON.
    """

    account: str
    region: str
    aws_conn_id: str | None
    role_name: str | None
    external_id: str | None
    severity: str
    id: str
    order: str
    finding: str
    # A folder of release 0.1.0 lacks these two.
    row: bytes = b""
    as_of: int = 0


class Instances:
    """The EC2 instances of the assets in a table.

    Memory grows with the number of instances that have several assets. All other ids, if they are many, are in a
    private temporary file. :meth:`shared` removes it; the first call of :meth:`contains`, which few tasks need, reads
    the table once more.
    """

    def __init__(self, assets: AssetTable) -> None:
        self._met_again: set[str] = set()
        self._shared: frozenset[str] | None = None
        self._rows = KeyedRows([assets], _instances, prefer=self._meet_again)

    def shared(self) -> frozenset[str]:
        """The ids of instances with more than one asset."""
        if self._shared is None:
            with closing(self._rows):
                self._rows.get("")
            self._shared = frozenset(self._met_again)
        return self._shared

    def contains(self, instance_id: str) -> bool:
        """Whether an asset of the table is on this instance. The file remains until :meth:`close`."""
        # First, because it removes the file.
        self.shared()
        return self._rows.get(instance_id) is not None

    def close(self) -> None:
        """Remove the file."""
        self._rows.close()

    def _meet_again(self, new: bytes, old: bytes) -> bool:
        self._met_again.add(new.decode())
        return False


def _instances(table: AssetTable) -> Iterator[tuple[str, bytes]]:
    return ((instance_id, instance_id.encode("utf-8", "replace")) for instance_id in table.instance_ids())


def contested_line(
    account: str,
    region: str,
    via: Via,
    severity: str,
    precedence: tuple[str, str],
    finding: bytes,
    row: bytes = b"",
    as_of: int = 0,
) -> bytes:
    """The line of a finding that was set aside.

    :param via: how the hub of its account is reached.
    :param precedence: what the format says of it
        (:meth:`~airflow_provider_tenable.transform.mapper.Mapper.precedence`).
    """
    return msgspec.json.encode(
        Contested(
            account,
            region,
            via.aws_conn_id,
            via.role_name,
            via.external_id,
            severity,
            *precedence,
            finding.decode(),
            row,
            as_of,
        )
    )


def resolved(
    run: RunFolder, manifests: list[ShardManifest], id_of: Callable[[bytes], bytes] | None = None
) -> ShardManifest | None:
    """Select among the findings that the shards have set aside; None if there are none.

    The result is a separate manifest after those of the shards. Several tasks can repeat this at the same time, because
    the same findings give the same files.

    :param id_of: as for :class:`~airflow_provider_tenable.transform.output.FindingsWriter`.
    :raises StagingError: a part is missing, damaged, or contains an invalid destination.
    """
    parts = sorted(name for manifest in manifests if (name := manifest.get("contested_part")))
    if not parts:
        return None
    number = len(manifests)
    before: ShardManifest | None = read_json(run.shard_manifest(number))
    if before and before.get("resolves") == parts:
        return before
    writer, read = FindingsWriter(run, number, id_of), sum(manifest.get("contested", 0) for manifest in manifests)
    chosen = KeyedRows([run.contested / name for name in parts], _ranked_lines, prefer=_wins)
    with closing(chosen):
        for row in chosen.rows():
            entry = msgspec.json.decode(msgspec.msgpack.decode(row)[1], type=Contested)
            target = {
                name: getattr(entry, name) for name in ("account", "region", "aws_conn_id", "role_name", "external_id")
            }
            if fault := invalid_target(**target):
                raise StagingError(
                    f"A part of {run.contested} was changed after it was written: {fault}. Clear the tasks of the "
                    "transform."
                )
            writer.write(
                entry.account, entry.region, entry.finding.encode(), entry.severity, entry, entry.row, entry.as_of
            )
    skipped = {DUPLICATE: read - writer.findings} if read > writer.findings else {}
    return writer.close(
        {
            "read": 0,
            "skipped": skipped,
            "skipped_accounts": [],
            "parked": 0,
            "findings": writer.findings,
            "from_pool": False,
            "pool_parts": [],
            "resolves": parts,
        }
    )


def _ranked_lines(part: Any) -> Iterable[tuple[str, bytes]]:
    """The findings of a part by account, hub Region and id, each as MessagePack of (rank, line)."""
    for line in read_lines(part):
        entry = msgspec.json.decode(line, type=Contested)
        yield f"{entry.account}/{entry.region}/{entry.id}", msgspec.msgpack.encode((entry.order, line))


def _wins(new: bytes, old: bytes) -> bool:
    later: tuple[str, bytes] = msgspec.msgpack.decode(new, type=tuple[str, bytes])
    return later > msgspec.msgpack.decode(old, type=tuple[str, bytes])
