"""The parts of the finding index: Parquet, sorted by key, each key once.

An id stands in two columns, the resource and what follows. In the order of the keys the findings of a resource are
adjacent, so that resource and asset take next to no room.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.guards.foreign_text import safe
from airflow_provider_tenable.staging.parquet import encode_table

if TYPE_CHECKING:
    import numpy as np
    import pyarrow as pa

#: What the columns of a part mean. A part of another version is not read.
VERSION = 1
#: Rows of a part: some 15 MB of Arrow.
PART_ROWS = 100_000
#: The columns that a comparison reads, and how they are held.
COMPARED = [
    ("key", "S16"),
    ("content", "<u8"),
    ("archived", "?"),
    ("updated_at", "<i8"),
    ("as_of", "<i8"),
    ("sent_at", "<i8"),
]
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
    """The rows of a part, or some of their columns.

    :raises StagingError: it is not Parquet, or of another version.
    """
    import pyarrow as pa

    try:
        return _opened(content).read(columns=None if columns is None else list(columns), use_threads=False)
    except (pa.ArrowException, OSError) as error:
        raise StagingError(f"A part of the finding index cannot be read ({safe(error)}).") from error


def count(content: bytes) -> int:
    """How many rows a part has. :raises StagingError: as :func:`decode`."""
    import pyarrow as pa

    try:
        return int(_opened(content).metadata.num_rows)
    except (pa.ArrowException, OSError) as error:
        raise StagingError(f"A part of the finding index cannot be read ({safe(error)}).") from error


def _opened(content: bytes) -> Any:
    import pyarrow as pa
    import pyarrow.parquet as pq

    file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
    if (file.schema_arrow.metadata or {}).get(b"finding_index") != str(VERSION).encode():
        raise StagingError("A part of the finding index is of another version of this package.")
    return file


def compared(content: bytes) -> np.ndarray[Any, Any]:
    """What a comparison needs of a part. :raises StagingError: as :func:`decode`."""
    import numpy as np

    table = decode(content, [name for name, _ in COMPARED])
    rows = np.empty(table.num_rows, np.dtype(COMPARED))
    for name, _ in COMPARED:
        rows[name] = keys_of(table) if name == "key" else table[name].to_numpy()
    return rows


def keys_of(table: pa.Table) -> np.ndarray[Any, Any]:
    """The keys of rows."""
    import numpy as np

    found = [np.frombuffer(chunk.buffers()[1], "S16")[chunk.offset :][: len(chunk)] for chunk in table["key"].chunks]
    return np.concatenate(found) if found else np.empty(0, "S16")


def latest(table: pa.Table) -> pa.Table:
    """The rows in the order of their keys, of each key the latest one.

    The later ``as_of`` counts, then ``updated_at``. The rest only makes the choice among equals the same in whatever
    order the rows came.
    """
    import numpy as np

    keys = keys_of(table)
    columns = [table[name].to_numpy() for name in ("content", "archived", "sent_at", "updated_at", "as_of")]
    order = np.lexsort((*columns, keys))
    ordered = keys[order]
    last = np.append(ordered[1:] != ordered[:-1], True) if len(ordered) else np.empty(0, bool)
    return table.take(order[last])
