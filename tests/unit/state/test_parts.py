"""The parts of the finding index as files: small, in pieces of bounded size, and of one version."""

from __future__ import annotations

import io

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from airflow_provider_tenable.exceptions import DamagedFileError
from airflow_provider_tenable.state import parts
from airflow_provider_tenable.state.lookup import VALUES


def rows(count: int) -> pa.Table:
    """So many rows, which repeat as those of an estate do."""
    values = {name: np.arange(count) % 3 for name in parts.schema().names}
    binary = np.repeat(np.arange(count), 2).astype(">u8").tobytes()
    for name in ("key", "asset"):
        values[name] = pa.FixedSizeBinaryArray.from_buffers(pa.binary(16), count, [None, pa.py_buffer(binary)])
    for name in ("resource", "place"):
        values[name] = pa.array([f"{name}-{number % 3}" for number in range(count)])
    values["archived"] = np.arange(count) % 2 == 0
    return pa.table(values, schema=parts.schema())


def test_a_part_is_written_in_groups_of_bounded_size_and_compressed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "PART_ROWS", 100)
    table = rows(250)
    file = pq.ParquetFile(io.BytesIO(parts.encode(table)))
    groups = [file.metadata.row_group(number) for number in range(file.num_row_groups)]
    assert [group.num_rows for group in groups] == [100, 100, 50]
    columns = [groups[0].column(number) for number in range(groups[0].num_columns)]
    assert {column.compression for column in columns} == {"ZSTD"}
    # Values that repeat are stored once; a dictionary of keys would only be larger.
    repeated = {column.path_in_schema for column in columns if "RLE_DICTIONARY" in column.encodings}
    assert repeated == set(parts._REPEATED)
    assert parts.decode(parts.encode(table)).equals(table)


def test_a_comparison_reads_its_own_columns() -> None:
    content = parts.encode(rows(5))
    assert parts.decode(content, ["key", "content"]).column_names == ["key", "content"]
    found = parts.compared(content)
    assert set(found.values) == {name for name, _ in VALUES}
    assert (found.hi.tolist(), found.lo.tolist()) == ([0, 1, 2, 3, 4],) * 2


def test_keys_of_no_rows_are_keys_all_the_same() -> None:
    without_chunks = pa.table({"key": pa.chunked_array([], pa.binary(16))})
    for table in (without_chunks, parts.schema().empty_table(), rows(0)):
        hi, lo = parts.keys_of(table)
        assert (len(hi), len(lo)) == (0, 0)
        assert hi.dtype == lo.dtype == np.dtype("<u8")


def test_a_part_of_another_version_and_what_is_not_parquet_are_refused() -> None:
    table = rows(1)
    other = table.replace_schema_metadata({"finding_index": "2"})
    for strange in (other, table.replace_schema_metadata(None)):
        with pytest.raises(
            DamagedFileError, match=r"^A part of the finding index is of another version of this package\.$"
        ):
            parts.decode(parts.encode(strange))
    with pytest.raises(DamagedFileError, match=r"^A part of the finding index cannot be read \(.*Parquet magic"):
        parts.decode(b"no Parquet at all")
