"""Rows shared out by their keys to temporary files, so that of any number of them a bounded one is in memory."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np


def bucket_of(keys: np.ndarray[Any, Any], buckets: int) -> np.ndarray[Any, Any]:
    """The number of the bucket of each key. The order of the buckets is the order of the keys."""
    import numpy as np

    leading = np.ascontiguousarray(keys).view("u1").reshape(-1, keys.dtype.itemsize)[:, :2].astype("u4")
    return (leading[:, 0] << 8 | leading[:, 1]) * buckets >> 16


def needed(rows: int, at_once: int) -> int:
    """How many buckets so many rows take."""
    return max(1, min(-(-rows // at_once), 1 << 12))


class ArrayBuckets:
    """Structured arrays by bucket, in files of this process's own.

    :param dtype: of the arrays, which have a field ``key``.
    :param buckets: how many; with one, everything stays in memory.
    """

    def __init__(self, dtype: Any, buckets: int) -> None:
        self._dtype = dtype
        self._buckets = buckets
        self._held: list[np.ndarray[Any, Any]] = []
        self._folder = tempfile.TemporaryDirectory(prefix="tenable-buckets-") if buckets > 1 else None

    def add(self, rows: np.ndarray[Any, Any]) -> None:
        """Share rows out."""
        import numpy as np

        if self._folder is None:
            self._held.append(rows)
            return
        numbers = bucket_of(rows["key"], self._buckets)
        order = np.argsort(numbers, kind="stable")
        self._append(rows[order], numbers[order])

    def add_sorted(self, rows: np.ndarray[Any, Any]) -> None:
        """The same of rows that are sorted by key."""
        if self._folder is None:
            self._held.append(rows)
        else:
            self._append(rows, bucket_of(rows["key"], self._buckets))

    def _append(self, rows: np.ndarray[Any, Any], numbers: np.ndarray[Any, Any]) -> None:
        import numpy as np

        assert self._folder is not None
        bounds = np.searchsorted(numbers, np.arange(self._buckets + 1)).tolist()
        for number, (begin, end) in enumerate(itertools.pairwise(bounds)):
            if begin < end:
                with (Path(self._folder.name) / str(number)).open("ab") as file:
                    file.write(rows[begin:end].data)

    def arrays(self) -> Iterator[np.ndarray[Any, Any]]:
        """The rows of each bucket, in the order of the buckets."""
        import numpy as np

        if self._folder is None:
            yield np.concatenate(self._held) if self._held else np.empty(0, self._dtype)
            return
        for number in range(self._buckets):
            file = Path(self._folder.name) / str(number)
            yield np.fromfile(file, self._dtype) if file.exists() else np.empty(0, self._dtype)

    def close(self) -> None:
        """Remove the files."""
        self._held = []
        if self._folder is not None:
            self._folder.cleanup()
