"""How the chunks of a kind are staged: compressed as Tenable returns them, or as the rows of a Parquet part."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from airflow_provider_tenable.staging.parts import read_blocks
from airflow_provider_tenable.staging.zstd import Packer
from airflow_provider_tenable.tenable_vm.kinds import RecordKind, Table

if TYPE_CHECKING:
    from airflow_provider_tenable._compat import ObjectStoragePath

#: Bytes of a chunk that are compressed together. With 1 MB, the result is half as large again. To compress the complete
#: chunk at once takes as long, but needs all of it in memory.
_FRAME_BYTES = 4_000_000


class Encoded(NamedTuple):
    """An encoded chunk: the file's content, the number of records, and the size in bytes as Tenable returned it."""

    content: bytes
    records: int
    size: int


class ChunkFormat(Protocol):
    """A format of staged chunks."""

    @property
    def ending(self) -> str:
        """The ending of a part's file name."""

    def encode(self, pieces: Iterable[bytes]) -> Encoded:
        """Encode a chunk.

        :param pieces: its bytes, in order. They may still be arriving, and their errors are passed on.
        :raises ValueError: the chunk is not a JSON array.
        """

    def check(self, part: ObjectStoragePath) -> None:
        """Read a part. :raises StagingError: it is missing or damaged."""


class AsServed:
    """The bytes as Tenable returns them, compressed piece by piece: a chunk may have several GB."""

    ending = ".json.zst"

    def encode(self, pieces: Iterable[bytes]) -> Encoded:
        from airflow_provider_tenable.tenable_vm.decode import count_blocks

        packer = Packer(_FRAME_BYTES)

        def packing() -> Iterator[bytes]:
            for piece in pieces:
                packer.write(piece)
                yield piece

        records = count_blocks(packing())
        return Encoded(packer.close(), records, packer.length)

    def check(self, part: ObjectStoragePath) -> None:
        for _ in read_blocks(part):
            pass


@dataclass(frozen=True)
class AsRows:
    """The rows of a Parquet part."""

    kind: RecordKind[Any]
    table: Table[Any]
    ending = ".parquet"

    def encode(self, pieces: Iterable[bytes]) -> Encoded:
        from airflow_provider_tenable.staging.parquet import encode_rows

        content = b"".join(pieces)
        rows = self.kind.rows(content)
        return Encoded(encode_rows(rows, self.table.row), len(rows), len(content))

    def check(self, part: ObjectStoragePath) -> None:
        from airflow_provider_tenable.staging.parquet import read_table

        read_table(part)


def format_of(kind: RecordKind[Any]) -> ChunkFormat:
    """How the chunks of a kind are staged."""
    return AsServed() if kind.table is None else AsRows(kind, kind.table)
