"""Lines of a part come back as they were written, wherever its blocks end."""

from __future__ import annotations

from pathlib import Path

import pytest

from airflow_provider_tenable.staging import parts
from airflow_provider_tenable.staging.location import open_path
from airflow_provider_tenable.staging.parts import PartWriter, read_lines

LINES = [b"", b"a", b"b" * 29, b"", b"", b"c" * 9, b"d" * 10, b"e" * 95, b"f"]


@pytest.mark.parametrize("packed", [True, False])
@pytest.mark.parametrize("block", [1, 2, 9, 10, 11, 30, 1000])
def test_lines_span_any_number_of_blocks(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, packed: bool, block: int
) -> None:
    monkeypatch.setattr(parts, "BLOCK_BYTES", block)
    folder = open_path(f"file://{tmp_path}")
    writer = PartWriter(folder, "part", packed=packed)
    for line in LINES:
        writer.write(line)
    name = writer.close()
    assert list(read_lines(folder / name)) == [line for line in LINES if line]
