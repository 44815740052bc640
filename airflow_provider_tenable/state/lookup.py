"""Looks findings up in the finding index: of sorted keys the latest row of each."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    Array = np.ndarray[Any, Any]

#: What a comparison needs of a row of the index, apart from its key.
VALUES = [("content", "<u8"), ("archived", "?"), ("updated_at", "<i8"), ("as_of", "<i8"), ("sent_at", "<i8")]
#: The order of precedence among rows of one finding.
RANK = ("as_of", "updated_at", "sent_at", "archived", "content")
#: Rows of the index as a structured array: both halves of the key, then :data:`VALUES`.
ROW = [("hi", "<u8"), ("lo", "<u8"), *VALUES]


class Columns:
    """Rows of the index, sorted by key, each key once, as an array per column.

    :param hi: the first halves of the keys.
    :param lo: the second halves.
    :param values: :data:`VALUES`, by name.
    """

    def __init__(self, hi: Array, lo: Array, values: dict[str, Array]) -> None:
        self.hi, self.lo, self.values = hi, lo, values

    def __len__(self) -> int:
        return len(self.hi)

    def as_rows(self) -> Array:
        """The same as a structured array (:data:`ROW`)."""
        import numpy as np

        rows = np.empty(len(self), np.dtype(ROW))
        rows["hi"], rows["lo"] = self.hi, self.lo
        for name, _ in VALUES:
            rows[name] = self.values[name]
        return rows

    @classmethod
    def latest_of(cls, rows: Array) -> Columns:
        """Rows in any order (:data:`ROW`), of each key the latest."""
        import numpy as np

        order = np.lexsort((*(rows[name] for name in reversed(RANK)), rows["lo"], rows["hi"]))
        hi, lo = rows["hi"][order], rows["lo"][order]
        last = order[np.append((hi[1:] != hi[:-1]) | (lo[1:] != lo[:-1]), True)] if len(order) else order
        return cls(rows["hi"][last], rows["lo"][last], {name: rows[name][last] for name, _ in VALUES})


def positions(hi: Array, lo: Array, wanted_hi: Array, wanted_lo: Array) -> tuple[Array, Array]:
    """Where sorted keys are in other sorted keys.

    :return: (numbers of the wanted keys that were found, and where each of them is).
    """
    import numpy as np

    where = np.searchsorted(hi, wanted_hi)
    where[where == len(hi)] = 0
    equal = hi[where] == wanted_hi if len(hi) else np.zeros(len(wanted_hi), bool)
    found = equal & (lo[where] == wanted_lo) if len(hi) else equal
    # Half a key is not unique: some in ten million share theirs with another.
    rest = np.flatnonzero(equal & ~found)
    while len(rest):
        where[rest] += 1
        rest = rest[where[rest] < len(hi)]
        rest = rest[hi[where[rest]] == wanted_hi[rest]]
        found[rest] = lo[where[rest]] == wanted_lo[rest]
        rest = rest[~found[rest]]
    numbers = np.flatnonzero(found)
    return numbers, where[numbers]


class LookedUp:
    """What the index holds of sorted keys: of each the latest row.

    :ivar found: whether there is any.
    :ivar values: by column; meaningless where nothing was found.
    """

    def __init__(self, hi: Array, lo: Array) -> None:
        import numpy as np

        self._hi, self._lo = hi, lo
        self.found = np.zeros(len(hi), bool)
        self.values = {name: np.zeros(len(hi), kind) for name, kind in VALUES}

    def add(self, part: Columns) -> None:
        """Look the keys up in a part, too."""
        import numpy as np

        if not len(part) or not len(self._hi):
            return
        begin = int(np.searchsorted(self._hi, part.hi[0]))
        end = int(np.searchsorted(self._hi, part.hi[-1], "right"))
        numbers, where = positions(part.hi, part.lo, self._hi[begin:end], self._lo[begin:end])
        numbers += begin
        again = self.found[numbers]
        if again.any():
            better = ~again | self._later(part, where, numbers)
            numbers, where = numbers[better], where[better]
        self.found[numbers] = True
        for name, _ in VALUES:
            self.values[name][numbers] = part.values[name][where]

    def _later(self, part: Columns, where: Array, numbers: Array) -> Array:
        import numpy as np

        later, equal = np.zeros(len(where), bool), np.ones(len(where), bool)
        for name in RANK:
            new, old = part.values[name][where], self.values[name][numbers]
            later |= equal & (new > old)
            equal &= new == old
        return later


class PartStream:
    """Parts in the order of their keys, each read once, for buckets in the same order.

    :param parts: none of whose keys is in another one.
    """

    def __init__(self, parts: Iterable[Columns]) -> None:
        self._parts = iter(parts)
        self._kept: Columns | None = None

    def up_to(self, last: Any) -> Iterator[Columns]:
        """The next parts that may have keys up to one whose first half is ``last``."""
        while (part := self._kept if self._kept is not None else next(self._parts, None)) is not None:
            self._kept = None
            if not len(part):
                continue
            if part.hi[0] <= last:
                yield part
            if part.hi[-1] >= last:
                self._kept = part
                return
