"""The parts of the finding index: Parquet, sorted by key, each key once.

An id stands in two columns, the resource and what follows. In the order of the keys the findings of a resource are
adjacent, so that resource and asset take next to no room.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.exceptions import DamagedFileError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.parquet import encode_table
from airflow_provider_tenable.state.buckets import halves
from airflow_provider_tenable.state.lookup import RANK, VALUES, Columns

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

    Array = np.ndarray[Any, Any]

#: What the columns of a part mean. A part of another version is not read.
VERSION = 1
#: Rows of a part: some 15 MB of Arrow.
PART_ROWS = 100_000
#: Columns with few values.
_REPEATED = ["asset", "plugin", "severity", "updated_at", "as_of", "sent_at", "first_observed", "resource", "place"]


def schema() -> pa.Schema:
    """The columns of a part. Times are unix milliseconds, ``content`` is that of a finding's row."""
    import pyarrow as pa

    return pa.schema(
        [
            ("key", pa.binary(16)),
            ("resource", pa.string()),
            ("place", pa.string()),
            ("asset", pa.binary(16)),
            ("plugin", pa.int64()),
            ("archived", pa.bool_()),
            ("severity", pa.uint8()),
            ("content", pa.uint64()),
            ("updated_at", pa.int64()),
            ("as_of", pa.int64()),
            ("sent_at", pa.int64()),
            ("first_observed", pa.int64()),
        ],
        metadata={"finding_index": str(VERSION)},
    )


def encode(table: pa.Table) -> bytes:
    """A part of rows that are sorted and have each key once."""
    return encode_table(table, compression="zstd", use_dictionary=_REPEATED, row_group_size=PART_ROWS)


def decode(content: bytes, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of a part, or some of their columns. What its content was written as, the digest in its name says.

    :raises DamagedFileError: it is not Parquet, or of another version.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
        if (file.schema_arrow.metadata or {}).get(b"finding_index") != str(VERSION).encode():
            raise DamagedFileError("A part of the finding index is of another version of this package.")
        return file.read(columns=None if columns is None else list(columns), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise DamagedFileError(f"A part of the finding index cannot be read ({safe(error)}).") from error


def compared(content: bytes) -> Columns:
    """What a comparison needs of a part. :raises DamagedFileError: as :func:`decode`."""
    names = [name for name, _ in VALUES]
    table = decode(content, ["key", *names])
    hi, lo = keys_of(table)
    return Columns(hi, lo, {name: table[name].to_numpy() for name in names})


def keys_of(table: pa.Table) -> tuple[Array, Array]:
    """The keys of rows, as the two halves of each."""
    import numpy as np

    found = [halves(chunk.buffers()[1][16 * chunk.offset :][: 16 * len(chunk)]) for chunk in table["key"].chunks]
    if not found:
        return np.empty(0, "<u8"), np.empty(0, "<u8")
    return np.concatenate([hi for hi, _ in found]), np.concatenate([lo for _, lo in found])


def latest(table: pa.Table) -> pa.Table:
    """The rows in the order of their keys, of each key the latest one.

    The later ``as_of`` counts, then ``updated_at``. The rest only makes the choice among equals the same in whatever
    order the rows came.
    """
    import numpy as np

    hi, lo = keys_of(table)
    order = np.lexsort((*(table[name].to_numpy() for name in reversed(RANK)), lo, hi))
    ordered_hi, ordered_lo = hi[order], lo[order]
    last = (ordered_hi[1:] != ordered_hi[:-1]) | (ordered_lo[1:] != ordered_lo[:-1])
    return table.take(order[np.append(last, True)] if len(order) else order)
