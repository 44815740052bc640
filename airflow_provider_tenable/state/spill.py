"""Tables of an index, shared out by their keys to temporary files, so that one bucket of them is in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any

from airflow_provider_tenable.state.buckets import bucket_of, needed
from airflow_provider_tenable.state.parts import keys_of

if TYPE_CHECKING:
    import pyarrow as pa


class TableBuckets:
    """Arrow tables by bucket. Each table that is added is sorted by key.

    :param rows: how many rows there will be in all.
    :param at_once: about how many of them may be in memory.
    """

    def __init__(self, schema: pa.Schema, rows: int, at_once: int) -> None:
        self._schema = schema
        self._buckets = needed(rows, at_once)
        self._held: list[pa.Table] = []
        self._folder = tempfile.TemporaryDirectory(prefix="tenable-merge-") if self._buckets > 1 else None
        self._files = ExitStack()
        self._writers: dict[int, Any] = {}

    def add(self, table: pa.Table) -> None:
        """Share the rows of a table out."""
        import numpy as np

        if self._folder is None:
            self._held.append(table)
            return
        numbers = bucket_of(keys_of(table)[0], self._buckets)
        bounds = np.searchsorted(numbers, np.arange(self._buckets + 1))
        for number in range(self._buckets):
            if bounds[number] < bounds[number + 1]:
                self._writer(number).write_table(table.slice(bounds[number], bounds[number + 1] - bounds[number]))

    def _writer(self, number: int) -> Any:
        import pyarrow as pa

        assert self._folder is not None
        if number not in self._writers:
            path = str(Path(self._folder.name) / str(number))
            self._writers[number] = self._files.enter_context(pa.ipc.new_stream(path, self._schema))
        return self._writers[number]

    def tables(self) -> Iterator[pa.Table]:
        """The rows of each bucket, in the order of the buckets."""
        import pyarrow as pa

        if self._folder is None:
            yield pa.concat_tables(self._held) if self._held else self._schema.empty_table()
            return
        self._files.close()
        empty = self._schema.empty_table()
        for number in range(self._buckets):
            if number not in self._writers:
                yield empty
                continue
            with pa.ipc.open_stream(pa.OSFile(str(Path(self._folder.name) / str(number)))) as stream:
                yield stream.read_all()

    def close(self) -> None:
        """Remove the files."""
        self._held = []
        self._files.close()
        if self._folder is not None:
            self._folder.cleanup()
