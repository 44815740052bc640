"""Parts of rows are what pandas itself would write: users read them with pandas."""

from __future__ import annotations

import io
from pathlib import Path

import msgspec
import pandas as pd
import pyarrow.parquet as pq
import pytest

from airflow_provider_tenable._compat import ObjectStoragePath
from airflow_provider_tenable.exceptions import StagingError
from airflow_provider_tenable.staging.parquet import encode_rows, read_table


class Row(msgspec.Struct):
    id: str
    name: str | None = None
    acr: float | None = None


ROWS = [Row("1", "one", 1.5), Row("2", None, None), Row("3", "", float("nan")), Row("4", "ü" * 300, 0.0)]


def by_pandas(rows: list[Row]) -> bytes:
    frame = pd.DataFrame.from_records([msgspec.structs.astuple(row) for row in rows], columns=["id", "name", "acr"])
    frame = frame.astype({"id": "string", "name": "string", "acr": "float64"})
    buffer = io.BytesIO()
    frame.to_parquet(buffer, engine="pyarrow", index=False, write_page_checksum=True)
    return buffer.getvalue()


@pytest.mark.parametrize("rows", [ROWS, ROWS[:1], [ROWS[1]], []], ids=["mixed", "one", "nothing but an id", "none"])
def test_a_part_is_byte_for_byte_that_of_pandas(rows: list[Row]) -> None:
    assert encode_rows(rows, Row) == by_pandas(rows)


def test_pandas_reads_its_own_types_back() -> None:
    frame = pd.read_parquet(io.BytesIO(encode_rows(ROWS, Row)))
    assert [str(dtype) for dtype in frame.dtypes] == ["string", "string", "float64"]
    assert frame["name"].isna().tolist() == [False, True, False, False]
    assert frame["acr"].isna().tolist() == [False, True, True, False]


def test_pages_have_checksums(tmp_path: Path) -> None:
    content = encode_rows(ROWS, Row)
    begin = pq.ParquetFile(io.BytesIO(content)).metadata.row_group(0).column(1).dictionary_page_offset
    assert begin is not None
    damaged = bytearray(content)
    # Behind the page's header, of some 20 bytes.
    damaged[begin + 40] ^= 1
    (tmp_path / "part").write_bytes(damaged)
    with pytest.raises(StagingError, match="is damaged"):
        read_table(ObjectStoragePath(f"file://{tmp_path}/part"))


def test_columns_come_in_the_order_in_which_they_are_asked_for(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(encode_rows(ROWS, Row))
    part = ObjectStoragePath(f"file://{tmp_path}/part")
    assert read_table(part).column_names == ["id", "name", "acr"]
    assert read_table(part, ["acr", "id"]).column_names == ["acr", "id"]
    table = read_table(part, ["owner", "id"], may_be_missing=["owner", "name"])
    assert list(table.to_pydict().items()) == [("owner", [None] * 4), ("id", ["1", "2", "3", "4"])]


def test_a_part_without_a_column_is_damaged(tmp_path: Path) -> None:
    (tmp_path / "part").write_bytes(encode_rows(ROWS, Row))
    with pytest.raises(StagingError, match=r"is damaged \(it has no region, zone\)"):
        read_table(
            ObjectStoragePath(f"file://{tmp_path}/part"), ["id", "region", "owner", "zone"], may_be_missing=["owner"]
        )
