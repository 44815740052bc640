"""Rules out quickly that a large body contains any of the secrets' forms.

Searching each body for each of eight forms took a twelfth of the CPU of a day on which nothing changed. Instead,
eight-byte words are sampled from the body at regular intervals, close enough together that a form, wherever it stands,
contains at least one of them entirely. A body in which no sampled word belongs to a form therefore contains no form.
Any other body may contain one, and is searched for each of them.
"""

from __future__ import annotations

from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

_WORD_BYTES = 8
#: The shortest form that contains a whole word wherever it stands in a body.
SHORTEST_FORM = 2 * _WORD_BYTES - 1
#: A word's hash is the upper half of its product's upper half: 16 bits (Knuth's multiplicative hashing).
_MULTIPLIER, _HASHES = 0x9E37_79B9_7F4A_7C15, 1 << 16


class BodySearch:
    """Searches bodies for a word of some forms.

    :param forms: at least one, of at least :data:`SHORTEST_FORM` bytes each.
    :raises ValueError: a form is shorter.
    """

    def __init__(self, forms: tuple[bytes, ...]) -> None:
        # Imported here, since hooks import this module, and a DAG file that is parsed needs none of it.
        import numpy as np

        shortest = min(map(len, forms))
        if shortest < SHORTEST_FORM:
            raise ValueError(f"a form has {shortest} bytes; at least {SHORTEST_FORM} are needed")
        # Distance between sampled words, in words: the first one that begins within a form must also end within it.
        self._step = (shortest - _WORD_BYTES + 1) // _WORD_BYTES
        # Wherever a form stands, the sampled word begins at one of these offsets.
        begins = range(self._step * _WORD_BYTES)
        self._words = {int.from_bytes(form[at : at + _WORD_BYTES], "little") for form in forms for at in begins}
        self._multiplier = np.uint64(_MULTIPLIER)
        # Few words share a hash with a known one, and only those are looked up exactly.
        self._is_known = np.zeros(_HASHES, bool)
        self._is_known[self._hashes(np.array(sorted(self._words), "<u8"))] = True

    def may_contain(self, body: bytes) -> bool:
        """Whether a body may contain one of the forms. False is certain."""
        import numpy as np

        words = np.frombuffer(body, "<u8", len(body) // _WORD_BYTES)[:: self._step]
        candidates = words[self._is_known[self._hashes(words)]]
        return not self._words.isdisjoint(candidates.tolist())

    def _hashes(self, words: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
        hashes: np.ndarray[Any, Any] = (words * self._multiplier).view("<u2")[3::4]
        return hashes


@lru_cache(maxsize=2)
def search_for(forms: tuple[bytes, ...]) -> BodySearch:
    """The search for these forms; the same object for the same forms."""
    return BodySearch(forms)
