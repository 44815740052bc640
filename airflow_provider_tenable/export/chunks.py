"""How the chunks of a kind are staged: compressed as Tenable returns them, or as the rows of a Parquet part."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, NamedTuple, Protocol

from airflow_provider_tenable.staging.parts import BLOCK_BYTES, read_blocks
from airflow_provider_tenable.staging.zstd import Packer, pack
from airflow_provider_tenable.tenable_vm.kinds import RecordKind, Table

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath


class Encoded(NamedTuple):
    """A staged chunk: the file's content, the number of records, and the size in bytes as Tenable returned it."""

    content: bytes
    records: int
    size: int


class ChunkFormat(Protocol):
    """A format of staged chunks."""

    @property
    def ending(self) -> str:
        """The ending of a part's file name."""

    def encode(self, data: bytes | IO[bytes]) -> Encoded:
        """Encode a chunk. A large chunk is a file, which is closed.

        :raises ValueError: the chunk is not a JSON array.
        """

    def check(self, part: ObjectStoragePath) -> None:
        """Read a part. :raises StagingError: it is missing or damaged."""


class AsServed:
    """The bytes as Tenable returns them, compressed piece by piece: a chunk may have several GB."""

    ending = ".json.zst"

    def encode(self, data: bytes | IO[bytes]) -> Encoded:
        from airflow_provider_tenable.tenable_vm.decode import count_blocks, count_records

        if isinstance(data, bytes):
            return Encoded(pack(data), count_records(data), len(data))
        packer = Packer()

        def packing(file: IO[bytes]) -> Iterator[bytes]:
            while block := file.read(BLOCK_BYTES):
                packer.write(block)
                yield block

        with data:
            records = count_blocks(packing(data))
            return Encoded(packer.close(), records, data.tell())

    def check(self, part: ObjectStoragePath) -> None:
        for _ in read_blocks(part):
            pass


@dataclass(frozen=True)
class AsRows:
    """The rows of a Parquet part."""

    kind: RecordKind[Any]
    table: Table[Any]
    ending = ".parquet"

    def encode(self, data: bytes | IO[bytes]) -> Encoded:
        from airflow_provider_tenable.staging.parquet import encode_rows

        content = data if isinstance(data, bytes) else _read(data)
        rows = self.kind.rows(content)
        return Encoded(encode_rows(rows, self.table.row), len(rows), len(content))

    def check(self, part: ObjectStoragePath) -> None:
        from airflow_provider_tenable.staging.parquet import read_table

        read_table(part)


def format_of(kind: RecordKind[Any]) -> ChunkFormat:
    """How the chunks of a kind are staged."""
    return AsServed() if kind.table is None else AsRows(kind, kind.table)


def _read(file: IO[bytes]) -> bytes:
    with file:
        return file.read()
