"""Rows shared out by their keys to temporary files, so that a bounded number of them is in memory at a time."""

from __future__ import annotations

import itertools
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]


def halves(keys: bytes | memoryview | Array) -> tuple[Array, Array]:
    """Keys of 16 bytes, one after the other, as two numbers each. The order of the numbers is that of the bytes."""
    import numpy as np

    pairs = np.frombuffer(keys, ">u8").reshape(-1, 2)
    return pairs[:, 0].astype("<u8"), pairs[:, 1].astype("<u8")


def bucket_of(first_halves: Array, buckets: int) -> Array:
    """The number of the bucket of each key. The order of the buckets is the order of the keys."""
    import numpy as np

    return (first_halves >> np.uint64(48)).astype("u4") * buckets >> 16


def needed(rows: int, at_once: int) -> int:
    """How many buckets so many rows take."""
    return max(1, min(-(-rows // at_once), 1 << 12))


class ArrayBuckets:
    """Structured arrays by bucket, in private temporary files.

    :param dtype: of the arrays, which have a field ``hi``: the first half of the key.
    :param buckets: how many; with one, everything stays in memory.
    """

    def __init__(self, dtype: Any, buckets: int) -> None:
        self._dtype = dtype
        self._buckets = buckets
        self._held: list[Array] = []
        self._folder = tempfile.TemporaryDirectory(prefix="tenable-buckets-") if buckets > 1 else None

    def add(self, rows: Array) -> None:
        """Share rows out."""
        import numpy as np

        if self._folder is None:
            self._held.append(rows)
            return
        numbers = bucket_of(rows["hi"], self._buckets)
        order = np.argsort(numbers, kind="stable")
        rows, numbers = rows[order], numbers[order]
        bounds = np.searchsorted(numbers, np.arange(self._buckets + 1)).tolist()
        for number, (begin, end) in enumerate(itertools.pairwise(bounds)):
            if begin < end:
                with (Path(self._folder.name) / str(number)).open("ab") as file:
                    file.write(rows[begin:end].data)

    def arrays(self) -> Iterator[Array]:
        """The rows of each bucket, in the order of the buckets."""
        import numpy as np

        if self._folder is None:
            held, self._held = self._held, []
            yield np.concatenate(held) if held else np.empty(0, self._dtype)
            return
        for number in range(self._buckets):
            file = Path(self._folder.name) / str(number)
            yield np.fromfile(file, self._dtype) if file.exists() else np.empty(0, self._dtype)

    def close(self) -> None:
        """Remove the files."""
        self._held = []
        if self._folder is not None:
            self._folder.cleanup()
